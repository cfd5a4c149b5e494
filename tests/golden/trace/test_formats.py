"""Every event has the system, the name and the text that Linux 6.12 gives it.

``formats.txt`` has the first string of ``print fmt`` of each events/SYSTEM/NAME/format, and ``header.txt`` the first
lines of a trace, as a Debian kernel 6.12.117 shows them.
"""

import re
from pathlib import Path

import numalab
from numalab.arch.events import EVENTS

HERE = Path(__file__).parent


def shape(text: str) -> str:
    """A text with a * for each value."""
    text = re.sub(r"\{\w+\}|%[0-9]*(?:[lh]*[dux]|ps?|s)", "*", text)
    # A value may bring its 0x with it, and may be written in two parts.
    return text.replace("0x*", "*").replace("**", "*").removeprefix("*,")


def test_events_and_their_texts() -> None:
    rows = dict(line.split(" ", 1) for line in (HERE / "formats.txt").read_text().splitlines())
    linux = {name: shape(text) for name, text in rows.items()}
    ours = {f"{e.system}:{e.name}": shape(e.text) for e in EVENTS if e.system != "numalab"}
    fixed = {"none,0,0": "*,*,*", "()": "(*)", "oom_score_adj=0": "oom_score_adj=*"}
    for name, text in ours.items():
        for value, star in fixed.items():
            text = text.replace(value, star)  # noqa: PLW2901
        assert text == linux.pop(name), name
    assert linux == {}


def test_header() -> None:
    with numalab.boot("2x32M") as machine, machine.trace("tlb") as trace:
        pass
    written = re.compile(r"\d+/\d+ ")
    linux = [written.sub("0/0 ", line) for line in (HERE / "header.txt").read_text().splitlines()]
    assert list(trace.text()) == linux
