"""numalab conform: what is compared, what is counted, and how it is told."""

from pathlib import Path

import pytest

from numalab.tools import conform
from numalab.tools.errors import UsageError

GOLDEN = """\
# linux 6.12.107+deb13-amd64
1 mmap a 4 => ret=0
2 touch a w => ret=0
4 nodes a => ret=0 nodes=0*4
5 verify a 1 => ret=0 bad_pages=0
6 numa_maps a => ret=0 [+0 default anon=4]
"""


def test_equal() -> None:
    result = conform.compare("quad", "x", GOLDEN, GOLDEN)
    assert result.equal
    assert (result.lines, result.lines_equal, result.telling, result.telling_equal) == (5, 5, 2, 2)


def test_differences_are_found_by_line_number() -> None:
    run = (
        GOLDEN.replace("nodes=0*4", "nodes=1*4")
        .replace("5 verify", "7 verify")
        .replace("6 numa_maps", "8 other")
    )
    result = conform.compare("quad", "x", GOLDEN, run)
    assert [d.number for d in result.differences] == [4, 5, 6, 7, 8]
    assert (result.lines_equal, result.telling_equal) == (2, 0)
    assert [d.got for d in result.differences][:2] == ["ret=0 nodes=1*4", None]


def test_a_run_that_stops_early_differs() -> None:
    result = conform.compare("quad", "x", GOLDEN, "1 mmap a 4 => ret=0\n")
    assert (len(result.differences), result.lines_equal) == (4, 1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "scenarios").mkdir(exist_ok=True)
        (tmp_path / f"scenarios/{name}.scn").write_text("getcpu\n")
    (tmp_path / "golden/quad").mkdir(parents=True)
    (tmp_path / "golden/quad/one.out").write_text("1 getcpu => ret=0 node=0\n")
    return tmp_path


EQUAL = """\
quad/one                                 1/1 lines      1/1 telling  equal

quad: 1 of 1 scenarios equal in full, 1/1 lines (100.0 %), 1/1 telling (100.0 %)
skipped, not recorded for the machine: 1
"""
DIFFERENT = """\
quad/one                                 0/1 lines      0/1 telling  1 differ
    line 1: getcpu
        expected ret=0 node=0
        got      ret=0 node=1

quad: 0 of 1 scenarios equal in full, 0/1 lines (0.0 %), 0/1 telling (0.0 %)
skipped, not recorded for the machine: 1
"""


@pytest.mark.parametrize(
    ("answer", "status", "report"), [("ret=0 node=0", 0, EQUAL), ("ret=0 node=1", 1, DIFFERENT)]
)
def test_report(directory: Path, monkeypatch, capsys, answer: str, status: int, report: str) -> None:
    monkeypatch.setattr(conform, "run_scenario", lambda *_: f"1 getcpu => {answer}\n")
    assert conform.main(directory, []) == status
    assert capsys.readouterr().out == report


def test_wrong_use(directory: Path) -> None:
    with pytest.raises(UsageError, match="no scenarios/ and golden/"):
        conform.main(directory / "scenarios", [])
    with pytest.raises(UsageError, match="machine big: no recordings"):
        conform.main(directory, ["big"])


@pytest.mark.parametrize(
    "text", ["xx => yy", "1 getcpu", "\N{ARABIC-INDIC DIGIT ONE} a => b", "9" * 5000 + " a => b"]
)
def test_a_recording_that_is_none(directory: Path, text: str) -> None:
    (directory / "golden/quad/one.out").write_text(f"1 getcpu => ret=0 node=0\n{text}\n")
    with pytest.raises(UsageError, match=r"one\.out: .* is no answer: write NUMBER OPERATION => ANSWER"):
        conform.main(directory, [])


def test_what_cannot_be_read(directory: Path) -> None:
    (directory / "scenarios/one.scn").unlink()
    (directory / "scenarios/one.scn").mkdir()
    with pytest.raises(UsageError, match=r"one\.scn: Is a directory"):
        conform.main(directory, [])


def test_nothing_to_compare_is_wrong_use(directory: Path) -> None:
    (directory / "golden/quad/one.out").unlink()
    with pytest.raises(UsageError, match="no scenario has a recording"):
        conform.main(directory, [])
    with pytest.raises(UsageError, match="no scenario has a recording for quad"):
        conform.main(directory, ["quad"])


def test_an_operation_may_hold_what_looks_like_the_end_of_a_line() -> None:
    text = "1 getcpu \x85\x0c => ret=0 node=0\n"
    assert conform.parse_answers(text) == {1: ("getcpu \x85\x0c", "ret=0 node=0")}


def test_a_directory_may_stand_behind_the_machines(directory: Path, monkeypatch) -> None:
    monkeypatch.setattr(conform, "run_scenario", lambda *_: "1 getcpu => ret=0 node=0\n")
    assert conform.main(None, ["quad", str(directory)]) == 0
