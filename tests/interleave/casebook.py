"""What cases are made of: pages with texts in them, and what should be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from numalab.mm.mman import (
    MADV_DONTNEED,
    MADV_PAGEOUT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
)
from numalab.mm.swapfile import swap_areas
from numalab.syscalls.sys import Sys

from tests.interleave.run import Case, Lab

__all__ = [
    "CASES", "MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL", "PAGE", "RW", "away", "case", "discarded", "filled", "filled_file",
    "forked", "has", "out", "slow_swap", "store", "touched",
]  # fmt: skip

Main: TypeAlias = Callable[[Sys, Lab], object]
#: What a task does to pages at an address.
Act: TypeAlias = Callable[[int], Callable[[Sys], object]]

PAGE = 4096
RW = PROT_READ | PROT_WRITE
MPOL_MF_MOVE, MPOL_MF_MOVE_ALL = 2, 4
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


def filled_file(sys: Sys, fd: int) -> int:
    """The same two pages, of a file."""
    sys.ftruncate(fd, 2 * PAGE)
    data = sys.mmap(2 * PAGE, RW, MAP_SHARED, fd=fd)
    store(sys, data, b"old0", b"old1")
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


# --- what is done to pages, and what others do with them meanwhile ---------------------------------------------------


def away(data: int) -> Callable[[Sys], object]:
    """Everything moves to the other node."""
    return lambda sys: sys.migrate_pages(0, {0}, {1})


def out(data: int, pages: int = 2) -> Callable[[Sys], object]:
    """The pages go to swap."""
    return lambda sys: sys.madvise(data, pages * PAGE, MADV_PAGEOUT)


def touched(sys: Sys, lab: Lab, act: Act) -> None:
    """Another thread writes twice meanwhile: through its TLB, through PTEs, through migration and swap entries."""
    data = filled(sys)

    def b(sys: Sys) -> None:
        store(sys, data, b"one0", b"one1")
        store(sys, data, b"two0", b"two1")

    lab.threads(sys, act(data), b)
    has(sys, data, b"two0", b"two1")


def forked(sys: Sys, lab: Lab, act: Act) -> None:
    """Another thread forks, and both sides write."""
    data = filled(sys)

    def child(sys: Sys) -> None:
        has(sys, data, b"old0", b"old1")
        store(sys, data, b"its0")

    def b(sys: Sys) -> None:
        pid = sys.fork(lab.watched(child))
        store(sys, data, b"our0", b"our1")
        assert sys.wait(pid)[1] == 0
        has(sys, data, b"our0", b"our1")

    lab.threads(sys, act(data), b)
    has(sys, data, b"our0", b"our1")


def discarded(sys: Sys, lab: Lab, act: Act) -> None:
    """Another thread throws the pages away, and gets new ones."""
    data = filled(sys)

    def b(sys: Sys) -> None:
        sys.madvise(data, 2 * PAGE, MADV_DONTNEED)
        has(sys, data, bytes(4), bytes(4))
        store(sys, data, b"new0")

    lab.threads(sys, act(data), b)
    has(sys, data, b"new0", bytes(4))
