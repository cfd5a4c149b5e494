"""What /proc shows of an address space: the lines that numa_maps and maps have for it, pagemap, sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import touch_user
from numalab.mm.mempolicy import do_mbind, do_set_mempolicy
from numalab.mm.mlock import do_mlock
from numalab.mm.mmap import do_brk
from numalab.mm.mpol import MPOL_BIND, MPOL_INTERLEAVE
from numalab.mm.stack import setup_stack
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.task_mmu import (
    NumaStats,
    VmSizes,
    numa_maps_stats,
    pagemap,
    show_map_vma,
    show_numa_map,
    vm_sizes,
)

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("4x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    m.map(space, 8, AT)
    return space


def numa_map(m: MmMachine, mm: MmStruct, at: int = AT) -> str:
    return show_numa_map(mm, m.vma(mm, at), m.ctx.policy)


def test_numa_maps(m: MmMachine, mm: MmStruct) -> None:
    assert numa_map(m, mm) == "10000000 default"
    touch_user(mm, m.ctx, AT, PAGE, 8, False)
    assert numa_map(m, mm) == "10000000 default"  # the zero page is nobody's
    do_mbind(m.mem, mm, m.ctx, AT, 8 * PAGE, MPOL_INTERLEAVE, 0, 0b101, 0)
    touch_user(mm, m.ctx, AT, PAGE, 5, True)
    lru_add_drain_all(m.mem)
    assert numa_map(m, mm) == "10000000 interleave:0,2 anon=5 dirty=5 active=0 N0=3 N2=2 kernelpagesize_kB=4"
    child = m.fork(mm)
    assert (
        numa_map(m, child)
        == "10000000 interleave:0,2 anon=5 dirty=5 mapmax=2 active=0 N0=3 N2=2 kernelpagesize_kB=4"
    )


def test_a_locked_page_counts_as_active(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 8 * PAGE, 0)
    assert numa_map(m, mm) == "10000000 default anon=8 dirty=8 N0=8 kernelpagesize_kB=4"


def test_the_policy_of_the_task_stands_in(m: MmMachine, mm: MmStruct) -> None:
    do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, 0, 0b10)
    assert numa_map(m, mm) == "10000000 bind:1"
    do_mbind(m.mem, mm, m.ctx, AT, 8 * PAGE, MPOL_BIND, 0, 0b100, 0)
    assert numa_map(m, mm) == "10000000 bind:2"


def test_the_areas_that_have_names(m: MmMachine, mm: MmStruct) -> None:
    stack = setup_stack(mm)
    do_brk(mm, m.ctx, mm.start_brk + PAGE)
    heap = m.vma(mm, mm.start_brk)
    assert show_numa_map(mm, stack, None) == f"{stack.start:x} default stack"
    assert show_numa_map(mm, heap, None) == f"{heap.start:x} default heap"
    assert show_map_vma(mm, m.vma(mm, AT)) == "10000000-10008000 rw-p 00000000 00:00 0 "
    assert show_map_vma(mm, stack) == (
        "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]"
    )
    assert show_map_vma(mm, heap).endswith(" [heap]")


def test_counts(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 3, True)
    lru_add_drain_all(m.mem)
    stats = numa_maps_stats(mm, m.vma(mm, AT))
    assert stats == NumaStats(
        anon=3,
        dirty=3,
        pages=3,
        mapcount_max=1,
        swapcache=0,
        active=stats.active,
        writeback=0,
        nodes=(3, 0, 0, 0),
    )


def test_pagemap(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 2, True)
    touch_user(mm, m.ctx, AT + 2 * PAGE, PAGE, 1, False)
    soft_dirty, exclusive, present = 1 << 55, 1 << 56, 1 << 63
    words = [int(word) for word in pagemap(mm, AT - PAGE, 10)]
    pfns = [m.pfn(mm, AT + page * PAGE) for page in range(2)]
    assert words[:3] == [0, *(present | exclusive | soft_dirty | pfn for pfn in pfns)]
    assert words[3] == present | soft_dirty | m.mem.zero_pfn
    assert words[4:] == [*[soft_dirty] * 5, 0]
    m.fork(mm)
    assert not int(pagemap(mm, AT, 1)[0]) & exclusive
    assert len(pagemap(mm, AT, 0)) == 0


def test_of_the_stack_only_what_was_written_is_soft_dirty(m: MmMachine, mm: MmStruct) -> None:
    stack = setup_stack(mm)
    touch_user(mm, m.ctx, stack.end - 3 * PAGE, PAGE, 1, False)
    touch_user(mm, m.ctx, stack.end - PAGE, PAGE, 1, True)
    assert [int(word) >> 55 for word in pagemap(mm, stack.end - 3 * PAGE, 4)] == [0x100, 0, 0x103, 0]


def test_sizes(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, AT + 20 * PAGE, prot=1)
    m.map(mm, 3, AT + 30 * PAGE, prot=5)
    setup_stack(mm)
    do_mlock(mm, m.ctx, AT, 2 * PAGE, 0)
    assert vm_sizes(mm) == VmSizes(total=8 + 4 + 3 + 33, locked=2, data=8, stack=33, exec=3)
