"""The per-CPU batches of mm/swap.c and mm/mlock.c: what waits there has a reference more, and somebody may see it.

The recordings mlock-batches and populate-references show the same on a real kernel.
"""

from __future__ import annotations

import pytest

from numalab.mm import _constants as c
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import touch_user
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MADV_COLD, MADV_DONTNEED, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MLOCK_ONFAULT
from numalab.mm.swap import lru_add_drain, lru_add_drain_all

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m(either: MmMachine) -> MmMachine:
    return either


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    """40 pages, not there yet."""
    space = m.new_mm()
    m.map(space, 40, AT)
    return space


def refcounts(m: MmMachine, mm: MmStruct) -> list[int]:
    return [int(m.mem.hot["refcount"][m.pfn(mm, AT + i * PAGE)]) for i in range(40)]


def referenced(m: MmMachine, mm: MmStruct) -> list[int]:
    """Which pages are marked as used, by number."""
    flags = [int(m.mem.hot["flags"][m.pfn(mm, AT + i * PAGE)]) for i in range(40)]
    return [i for i in range(40) if flags[i] & c.PG_referenced]


def test_new_pages_of_a_locked_area_wait_in_a_batch_of_their_own(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 40 * PAGE, MLOCK_ONFAULT)
    touch_user(mm, m.ctx, AT, PAGE, 40, True)
    assert not m.mem.fbatches["lru_add"]["count"].any()
    assert m.mem.fbatches["mlock"]["count"][:2].tolist() == [9, 0]
    assert m.mem.node_stat[0, [c.NR_MLOCK, c.NR_UNEVICTABLE]].tolist() == [40, 31]
    assert refcounts(m, mm) == [1] * 31 + [2] * 9
    assert m.check() == []
    lru_add_drain(m.mem, 1)
    assert m.mem.fbatches["mlock"]["count"][:2].tolist() == [9, 0]
    lru_add_drain(m.mem, 0)
    assert m.mem.node_stat[0, c.NR_UNEVICTABLE] == 40
    assert refcounts(m, mm) == [1] * 40


def test_a_copy_puts_itself_and_its_original_there(m: MmMachine, mm: MmStruct) -> None:
    """So whoever writes next finds the original in use, and copies it too."""
    do_mlock(mm, m.ctx, AT, 40 * PAGE, 0)
    child = m.fork(mm)
    originals = [m.pfn(mm, AT + i * PAGE) for i in range(40)]
    touch_user(mm, m.ctx, AT, PAGE, 40, True)
    assert m.mem.fbatches["mlock"]["count"][0] == 80 % 31
    touch_user(child, m.task(1), AT, PAGE, 40, True)
    copied = [i for i in range(40) if m.pfn(child, AT + i * PAGE) != originals[i]]
    assert copied == list(range(31, 40))


def test_cold_pages_wait(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 40, True)
    do_madvise(mm, m.ctx, AT, 40 * PAGE, MADV_COLD)
    assert refcounts(m, mm) == [1] * 31 + [2] * 9
    assert m.check() == []
    lru_add_drain_all(m.mem)
    assert refcounts(m, mm) == [1] * 40


def test_a_page_that_waits_and_is_unmapped_is_freed_when_the_batch_is_emptied(
    m: MmMachine, mm: MmStruct
) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 40, True)
    do_madvise(mm, m.ctx, AT, 40 * PAGE, MADV_COLD)
    pfn = m.pfn(mm, AT + 39 * PAGE)
    other = m.task(1)
    do_madvise(mm, other, AT, 40 * PAGE, MADV_DONTNEED)
    assert m.mem.hot["refcount"][pfn] == 1
    assert m.check() == []
    lru_add_drain_all(m.mem)
    assert m.mem.hot["refcount"][pfn] == 0


@pytest.mark.parametrize(
    ("lock", "times", "marked"),
    [(False, 1, [30]), (False, 2, list(range(40))), (True, 1, [*range(30), *range(31, 40)])],
)
def test_who_populates_has_used_the_pages(
    m: MmMachine, mm: MmStruct, lock: bool, times: int, marked: list[int]
) -> None:
    """A mark is lost when the page gets to the list of those that can be reclaimed: only the one that makes the batch
    full gets it afterwards. Those that cannot be reclaimed keep it, but get none any more.
    """
    for _ in range(times):
        if lock:
            do_mlock(mm, m.ctx, AT, 40 * PAGE, 0)
        else:
            do_madvise(mm, m.ctx, AT, 40 * PAGE, MADV_POPULATE_WRITE)
    assert referenced(m, mm) == marked


def test_cold_pages_are_forgotten_to_be_used(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 40, True)
    lru_add_drain_all(m.mem)
    do_madvise(mm, m.ctx, AT, 40 * PAGE, MADV_POPULATE_READ)
    assert referenced(m, mm) == list(range(40))
    do_madvise(mm, m.ctx, AT, 40 * PAGE, MADV_COLD)
    assert referenced(m, mm) == []
