"""What cases are made of: pages with texts in them, and what should be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from numalab.mm.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE
from numalab.mm.swapfile import swap_areas
from numalab.syscalls.sys import Sys

from tests.interleave.run import Case, Lab

__all__ = ["CASES", "PAGE", "RW", "case", "filled", "has", "slow_swap", "store"]

Main: TypeAlias = Callable[[Sys, Lab], object]

PAGE = 4096
RW = PROT_READ | PROT_WRITE
#: The last page under one page table, and the first under the next.
ACROSS = (64 << 30) - PAGE

CASES: dict[str, Case] = {}


def case(engine: str = "batched") -> Callable[[Main], Main]:
    """A program of this module, under the name of its function."""

    def add(main: Main) -> Main:
        CASES[main.__name__] = Case(main, engine)
        return main

    return add


def filled(sys: Sys, pages: int = 2, flags: int = MAP_PRIVATE) -> int:
    """Pages with `old0`, `old1` at their beginnings."""
    data = sys.mmap(pages * PAGE, RW, flags | MAP_ANONYMOUS | MAP_FIXED, addr=ACROSS)
    for i in range(pages):
        sys.memory.write(data + i * PAGE, b"old%d" % i)
    return data


def has(sys: Sys, data: int, *texts: bytes) -> None:
    """Page by page, these texts are there."""
    for i, text in enumerate(texts):
        got = sys.memory.read(data + i * PAGE, len(text))
        assert got == text, f"page {i} has {got!r}, not {text!r}"


def store(sys: Sys, data: int, *texts: bytes) -> None:
    """Write these, page by page, and read them back."""
    for i, text in enumerate(texts):
        sys.memory.write(data + i * PAGE, text)
    has(sys, data, *texts)


def slow_swap(lab: Lab) -> None:
    """The swap area becomes a disk that takes its time."""
    for area in swap_areas(lab.machine.mem):
        area.disk.latency = 100_000
        area.sync()
