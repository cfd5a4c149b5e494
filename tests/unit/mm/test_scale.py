"""What must not grow with the number of areas or of policies: lines of Python that run are counted, not the time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from numalab.mm._mm_types import MmStruct
from numalab.mm.mempolicy import do_mbind
from numalab.mm.mman import MAP_32BIT, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ
from numalab.mm.mmap import do_mmap, do_munmap
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.mprotect import do_mprotect
from numalab.mm.shared_policy import get_vma_policy
from numalab.mm.vma_tree import find_vma

from tests.mm_machine import PAGE, MmMachine
from tests.strategies import machine

PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS
SMALL, LARGE = 100, 1600
SLACK = 150  # a tree may be a level or two higher; a line for each of 1500 would be ten times that
TOP = 0x700000000000  # where the areas are: holes between them are above all other room

Scene = tuple[MmMachine, MmStruct]


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python run: a loop has some in each round, whatever it calls."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture
def scene() -> Iterator[Callable[[int], Scene]]:
    """Makes a space of so many areas of a page, with a hole of a page behind each, and nothing free above them."""
    machines = []

    def make(n: int) -> Scene:
        m = MmMachine(machine((0, (2048,), 1), (1, (2048,), 1)))
        machines.append(m)
        mm = m.new_mm()
        for at in range(n):
            do_mmap(mm, m.ctx, TOP + 2 * at * PAGE, PAGE, PROT_READ, PRIVATE | MAP_FIXED)
        end = TOP + 2 * n * PAGE
        do_mmap(mm, m.ctx, end, 0x7FFFF7FFF000 - end, 0, PRIVATE | MAP_FIXED | 0x4000)
        return m, mm

    yield make
    for m in machines:
        m.close()


CALLS: dict[str, Callable[[MmMachine, MmStruct], object]] = {
    "mmap: the highest hole": lambda m, mm: do_mmap(mm, m.ctx, 0, PAGE, 0, PRIVATE),
    "mmap: below all areas": lambda m, mm: do_mmap(mm, m.ctx, 0, 3 * PAGE, 0, PRIVATE),
    "mmap: from the bottom": lambda m, mm: do_mmap(mm, m.ctx, 0, PAGE, 0, PRIVATE | MAP_32BIT),
    "munmap": lambda m, mm: do_munmap(mm, m.ctx, TOP, PAGE),
    "mprotect": lambda m, mm: do_mprotect(mm, m.ctx, TOP, PAGE, 0),
    "mbind": lambda m, mm: do_mbind(m.mem, mm, m.ctx, TOP, PAGE, MPOL_BIND, 0, 2, 0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_takes_the_same_however_many_areas_there_are(
    scene: Callable[[int], Scene], call: Callable[[MmMachine, MmStruct], object]
) -> None:
    small, large = scene(SMALL), scene(LARGE)
    few, many = lines(lambda: call(*small)), lines(lambda: call(*large))
    assert many < few + SLACK


def test_a_policy_of_a_page_of_shared_memory_takes_the_same_however_many_there_are() -> None:
    def cost(n: int) -> tuple[int, int]:
        with MmMachine(machine((0, (2048,), 1), (1, (2048,), 1))) as m:
            mm = m.new_mm()
            start = m.map(mm, n, shared=True)

            def bind(at: int) -> None:
                do_mbind(m.mem, mm, m.ctx, start + at * PAGE, PAGE, MPOL_BIND, 0, 1 << (at & 1), 0)

            for at in range(n):
                bind(at)
            middle = start + n // 2 * PAGE
            vma = find_vma(mm, middle)
            assert vma is not None
            return lines(lambda: get_vma_policy(vma, middle)), lines(lambda: bind(n // 2 + 1))

    few, many = cost(SMALL), cost(LARGE)
    assert many[0] < few[0] + SLACK
    assert many[1] < few[1] + SLACK
