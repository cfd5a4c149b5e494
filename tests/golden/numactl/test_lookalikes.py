"""Do our numactl, memhog, taskset... print what the real ones do, on the same stream, with the same exit status?"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator

import pytest

import numalab
from numalab.tools.programs import lookalike

from tests.golden.numactl.cases import HERE, MACHINES, commands, without_usage

#: Figures of one boot: how much memory is free, addresses, speed; which node is next depends on pages touched before.
FIGURES = [
    (re.compile(r"(node \d size|node \d free): \d+"), r"\1: #"),
    (re.compile(r"\d+ \(interleave next\)|interleavenode: \d+"), "#"),
    (re.compile(r"\b[0-9a-f]{8,12} (?=bind)|(active|N\d)=\d+ "), ""),
    (re.compile(r"verify [0-9a-f]+"), "verify #"),
    (re.compile(r"in \d.\d\d secs. [0-9.]+"), "in # secs. #"),
]
COLUMN = re.compile(r" +\d+(\.\d\d)?(?= |$)")


def form(command: str, line: str) -> str:
    """A line without figures; of the columns of a table it stays how wide they are."""
    if command.startswith("numastat") and not line.startswith("$"):
        return COLUMN.sub(lambda found: f"{'#':>{len(found[0])}}", line)
    for pattern, text in FIGURES:
        line = pattern.sub(text, line)
    return line


def forms(text: str) -> Iterator[list[str]]:
    """What one command after the other prints."""
    for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        yield [form(lines[0].removeprefix("$ "), line) for line in lines]


def ours(machine: numalab.Machine, command: str) -> str:
    name, *args = shlex.split(command)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = machine.run(lookalike(name), argv=args)
    printed = [("1", line) for line in out.getvalue().splitlines(keepends=True)]
    printed += [("2", line) for line in err.getvalue().splitlines(keepends=True)]
    lines = [f"{n} {line[:-1]}" if line.endswith("\n") else f"{n}~ {line}" for n, line in printed]
    return without_usage([f"$ {command}", *lines, f"= {status}"])


@pytest.mark.parametrize("name", MACHINES)
def test_the_same_as_the_real_ones(name: str) -> None:
    recorded = forms((HERE / f"{name}.txt").read_text())
    with numalab.boot(name) as machine:
        for command, real in zip(commands(name), recorded, strict=True):
            (mine,) = forms(ours(machine, command))
            assert mine == real, command
