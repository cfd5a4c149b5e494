"""The demo: its recorded data, and the shape of what it shows."""

import io
import re
from pathlib import Path

import pytest

from numalab.tools import demo
from numalab.tools.demo import MACHINE, SCENARIO, WIDTH, Demo
from numalab.tools.run import boot

TESTS = Path(__file__).resolve().parents[2]
PACKAGED = TESTS.parent / "tools/recorded"


@pytest.fixture(scope="module")
def shown() -> str:
    stream = io.StringIO()
    with boot(MACHINE) as machine:
        assert Demo(machine, stream).play()
    return stream.getvalue()


def test_the_packaged_recording_is_the_recorded_one() -> None:
    assert (PACKAGED / f"{SCENARIO}.scn").read_bytes() == (
        TESTS / f"conformance/scenarios/{SCENARIO}.scn"
    ).read_bytes()
    assert (PACKAGED / f"{SCENARIO}.out").read_bytes() == (
        TESTS / f"conformance/golden/{MACHINE}/{SCENARIO}.out"
    ).read_bytes()


def test_it_fits_and_is_plain(shown: str) -> None:
    assert "\033" not in shown
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def shape(text: str) -> str:
    """The text without the numbers that have other reasons to change."""
    text = re.sub(r"0x[0-9a-f]{9,12}(?=[,\n.\]])", "ADDR", text)
    text = re.sub(r"(?<=\()1\d\d(?=,)|(?<=\) = )1\d\d$", "PID", text, flags=re.MULTILINE)
    text = re.sub(
        r"^( +(?:ledger|pairs) ).*", lambda m: re.sub(r"\b[0-9]+\b", "N", m[0]), text, flags=re.MULTILINE
    )
    return re.sub(r"^( +(?:time|phases) ).*", r"\1...", text, flags=re.MULTILINE)


def test_its_text(shown: str) -> None:
    """Golden: as it stands in tests/golden, but for pids, addresses, and numbers of the ledger."""
    assert shape(shown) == (TESTS / "golden/demo.txt").read_text()


def test_everything_is_shown(shown: str) -> None:
    for piece in (
        "migrate_pages(",
        "sched_setaffinity(",
        "mbind(",
        "before",
        "after",
        "ledger",
        "(virtual)",
    ):
        assert piece in shown
    assert "29 of 29 answers are those of the real kernel." in shown
    assert "no invariants of the kernel's state broken" in shown


def test_a_different_answer_is_seen(monkeypatch) -> None:
    stream = io.StringIO()
    with boot(MACHINE) as machine:
        play = Demo(machine, stream)
        play.recorded[12] = play.recorded[12][0], "ret=0 N1=2048 other=0"
        assert not play.play()
    assert "DIFFERENT" in stream.getvalue()
    assert "28 of 29" in stream.getvalue()


def test_colours_only_for_a_terminal(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert demo.Style(Terminal())("1", "x") == "\033[1mx\033[0m"
    assert demo.Style(io.StringIO())("1", "x") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert demo.Style(Terminal())("1", "x") == "x"
