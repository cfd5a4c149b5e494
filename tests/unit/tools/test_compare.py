"""numalab compare: what it finds of each engine, and how it says it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from numalab.tools import cli
from numalab.tools.compare import compare

ROOT = Path(__file__).parents[3]
STORY = str(ROOT / "examples/three_engines.py")
PAGES = 64


def test_the_three_engines_leave_different_things_alone() -> None:
    swap, direct, batched = compare(STORY, [str(PAGES)], "quad", 0, "ram")
    assert [o.engine for o in (swap, direct, batched)] == ["swap", "direct", "batched"]
    assert {o.status for o in (swap, direct, batched)} == {0}
    # One page more is that in which a program's wrappers keep arguments. 16 are locked: only today's engine moves them.
    assert (swap.written, swap.read) == (PAGES + 1, PAGES + 1)
    assert swap.major == PAGES + 1
    assert (direct.written, direct.major, batched.written, batched.major) == (0, 0, 0, 0)
    assert batched.moved - direct.moved == 16
    assert direct.placement[0] - batched.placement.get(0, 0) == 16
    assert swap.placement[2] >= PAGES


def test_a_disk_that_takes_time_is_waited_for() -> None:
    swap, direct, _ = compare(STORY, ["16"], "quad", 0, "2005")
    assert swap.waited > 8_000_000
    assert swap.major == 16 + 1
    assert direct.waited == 0


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", STORY, "32"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["swap", "direct", "batched"]
    assert "pages moved or evicted" in out
    assert "swap: passes of its largest migration" in out
    assert "pass 0       tried" in out
    assert "virtual time of its migrations by phase" in out
    assert "Traceback" not in out
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--disk", "tape", STORY], "disk 'tape' is unknown: use ram, nvme, 2005"),
        (["nothing.py"], "nothing.py: No such file or directory"),
        (["--machine", "0x1M", STORY], "a machine has 1..64 nodes"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_what_a_program_complains_of_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    sys.migrate_pages(0, {0}, {1})\n    raise KeyError(1)\n")
    assert cli.main(["compare", str(program)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("KeyError: 1") == 1
    assert captured.out.splitlines()[1].split() == ["exit", "status", "1", "1", "1"]


def test_what_differs_is_said_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text("def main(sys):\n    raise KeyError(sys._k.mem.engine)\n")
    assert cli.main(["compare", str(program)]) == 0
    err = capsys.readouterr().err
    assert [err.count(f"KeyError: '{engine}'") for engine in ("swap", "direct", "batched")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("there", "name", "complaint"),
    [
        (False, "x.png", "a picture needs matplotlib: pip install numalab[lab]"),
        (True, "x.jpg", "x.jpg: a picture's name ends in .png"),
        (True, "nowhere/x.png", "nowhere/x.png: a picture's name ends in .png, and its folder"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_is_run(
    there: bool,
    name: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = SimpleNamespace(use=lambda backend: None) if there else None
    monkeypatch.setitem(sys.modules, "matplotlib", fake)
    monkeypatch.setattr("numalab.tools.compare.compare", lambda *args: pytest.fail("it was run"))
    assert cli.main(["compare", "--png", name, STORY]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"numalab: {complaint}")
