"""Do files of /proc and /sys look as a real kernel's do: the same lines in the same order, the same blanks, columns?

The figures are different ones, so two lines are of one form if they are the same but for numbers, and each number
begins in the same column or ends in the same one; in tables, and in front of a unit, it ends there. `record.py` made
the recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

import numalab
from numalab import Machine, Sys

HERE = Path(__file__).parent
MACHINES = ("quad", "movable", "odd")
#: Of these files only what stands in front of the figures: the rest tells of the recorder's CPUs and interrupts.
LABELS_ONLY = ("/proc/stat", "/proc/cpuinfo")
_LABEL = re.compile(r"[^:]*:|\S*\s+")
_NUMBER = re.compile(r"( *)\b([0-9a-f]{16}|[0-9a-f]{8}|[0-9]+)\b")
_AREA = re.compile(r"[0-9a-f]{8,}-[0-9a-f]{8,} ")
_PADDED = re.compile(r"0[0-9a-f]|.*[a-f]")


def recordings(machine: str) -> dict[str, list[str]]:
    """The lines of each file."""
    _, *parts = (HERE / f"{machine}.txt").read_text().split("\n== ")
    files = (part.splitlines() for part in parts)
    return {name: lines for name, *lines in files}


FILES = [(machine, name) for machine in MACHINES for name in recordings(machine)]


def area(lines: list[str], name: str) -> list[str]:
    """What smaps says of an area that is not the last one."""
    first = next(i for i, line in enumerate(lines) if line.endswith(name))
    last = next(i for i, line in enumerate(lines[first:]) if line.startswith("VmFlags:"))
    return lines[first : first + last + 1]


def pieces(line: str) -> tuple[list[str], list[tuple[str, str]]]:
    """A line without its numbers and the blanks in front of them; and these."""
    return _NUMBER.split(line)[::3], [(match[1], match[2]) for match in _NUMBER.finditer(line)]


def same_form(line: str, other: str) -> bool:
    if _AREA.match(line) and _AREA.match(
        other
    ):  # its addresses are as long as they are, its name has a column
        return line.split()[1:] == other.split()[1:] and line.find("[") == other.find("[")
    (words, numbers), (other_words, other_numbers) = pieces(line), pieces(other)
    in_columns = line.endswith((" kB", " "))

    def same(one: tuple[str, str], two: tuple[str, str]) -> bool:
        padded = any(_PADDED.match(digits) for _, digits in (one, two))
        fits = min(len(digits) for _, digits in (one, two)) <= 8
        begin = one[0] == two[0] and not padded and not (in_columns and fits)
        return begin or len("".join(one)) == len("".join(two))

    return words == other_words and all(map(same, numbers, other_numbers))


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    booted = {name: numalab.boot(name) for name in MACHINES}
    yield booted
    for machine in booted.values():
        machine.close()


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_file_has_the_form_of_the_real_one(machines: dict[str, Machine], name: str, path: str) -> None:
    shown = ""

    def scn(sys: Sys) -> None:
        nonlocal shown
        sys.sched_setaffinity(0, mask={0})
        shown = sys.read_file(path)

    assert machines[name].run(scn) == 0
    assert shown.endswith("\n")
    lines, expected = [line for line in shown.split("\n") if line], recordings(name)[path]
    if path.endswith("smaps"):
        lines, expected = area(lines, "[stack]"), area(expected, "[stack]")
    if path in LABELS_ONLY:
        lines, expected = ([_LABEL.match(line)[0] for line in text] for text in (lines, expected))  # type: ignore[index]
    assert [
        (line, other)
        for line, other in zip_longest(lines, expected, fillvalue="(nothing)")
        if not same_form(line, other)
    ] == []


def test_what_has_another_form_is_noticed() -> None:
    assert same_form("Mapped:            4096 kB", "Mapped:               0 kB")
    assert not same_form("Mapped:            4096 kB", "Mapped:            0 kB")
    assert not same_form("Mapped:            4096 kB", "Mapped:               0 KB")
    assert same_form("nr_mlock     40", "nr_mlock     0")
    assert not same_form("nr_mlock     40", "nr_mlock    0")
    assert same_form("SigIgn:\tffffffffffffffff", "SigIgn:\t0000000000000000")
    assert not same_form("SigIgn:\tffffffffffffffff", "SigIgn:\t0")
