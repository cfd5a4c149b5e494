"""The seed's story, as the demo tells it: October 2005, when pages followed their process by way of swap.

A program fills memory on node 0 and is moved to node 2; migrate_pages(2) forces its pages out, pass by pass; as it
touches them from its new CPU they come back there. Nothing shown is written down here: it happens on a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from numalab.kernel.fs.block import disk_state
from numalab.tools.compare import DISKS, pass_lines
from numalab.tools.picture import time_text
from numalab.tools.run import boot

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.syscalls.sys import Sys

__all__ = ["story"]

PAGE = 4096
PAGES, LOCKED = 256, 8


def story(spec: str) -> Iterator[str]:
    """The lines of the story, told by a machine of its own. Raises AssertionError if a byte was lost on the way."""
    with boot(spec, engine="swap") as machine:
        disk_state(machine.mem, *DISKS["2005"])
        lines: list[str] = []
        status = machine.run(lambda sys: _program(machine, sys, lines))
        assert status == 0, f"the program ended with {status}"
        yield from lines


def _program(machine: Machine, sys: Sys, lines: list[str]) -> None:
    data = sys.mmap(PAGES * PAGE)
    for page in range(PAGES):
        sys.memory.write(data + page * PAGE, page.to_bytes(4, "little") * 1024)
    locked = sys.mmap(LOCKED * PAGE)
    sys.mlock(locked, LOCKED * PAGE)
    span = [*range(data, data + PAGES * PAGE, PAGE), *range(locked, locked + LOCKED * PAGE, PAGE)]
    lines.append(f"{PAGES} pages written on node 0, {LOCKED} more locked; then to CPU 2: {_where(sys, span)}")
    sys.sched_setaffinity(0, {2})

    start = machine.now
    left = sys.migrate_pages(0, {0}, {2})
    lines += [f"migrate_pages(0, {{0}}, {{2}}) = {left} after {time_text(machine.now - start)} (virtual)"]
    lines += pass_lines(machine.mem.ledger)
    lines.append(f"now: {_where(sys, span)}")

    start, before = machine.now, sys.getrusage(0).usage
    for page in range(PAGES):
        assert sys.memory.read(data + page * PAGE, PAGE) == page.to_bytes(4, "little") * 1024
    after = sys.getrusage(0).usage
    lines.append(
        f"every page read again, byte for byte: {after.ru_majflt - before.ru_majflt} major faults, "
        f"{time_text(machine.now - start)} (virtual)"
    )
    lines.append(f"now: {_where(sys, span)}")


def _where(sys: Sys, pages: list[int]) -> str:
    """Where pages are, by move_pages(2)."""
    status = sys.move_pages(0, pages, None).status
    nodes = [f"node {node}: {status.count(node)}" for node in sorted(set(status)) if node >= 0]
    away = sum(node < 0 for node in status)
    return ", ".join(nodes + ([f"in swap: {away}"] if away else []))
