"""Finding areas, against a search through all of them."""

from __future__ import annotations

import pytest

from numalab.mm._mm_types import VMA
from numalab.mm.mlock import do_mlock
from numalab.mm.vm_flags import STACK_GUARD_GAP, VM_GROWSDOWN
from numalab.mm.vma_tree import (
    find_vma,
    find_vma_intersection,
    linear_page_index,
    locked_pages,
    vm_start_gap,
    vma_lookup,
    vma_next,
    vma_prev,
)

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.mark.parametrize("layout", [[], [(2, 3)], [(0, 1), (1, 2), (4, 6)], [(3, 5), (7, 8)]])
def test_finding(layout: list[tuple[int, int]]) -> None:
    with MmMachine("1x8M") as m:
        mm = m.new_mm()
        for i, (first, last) in enumerate(layout):
            m.map(mm, last - first, AT + first * PAGE, prot=i % 2)
        areas = list(mm.vmas.values())

        def first_that(*tests: bool) -> VMA | None:
            return next((vma for vma, test in zip(areas, tests, strict=True) if test), None)

        for page in range(10):
            addr = AT + page * PAGE
            for at in (addr, addr + PAGE - 1):
                assert find_vma(mm, at) is first_that(*(at < v.end for v in areas))
                assert vma_lookup(mm, at) is first_that(*(v.start <= at < v.end for v in areas))
            below = [v for v in areas if v.start < addr]
            assert vma_prev(mm, addr) is (below[-1] if below else None)
            for end in (addr, addr + 1, addr + 3 * PAGE):
                overlap = first_that(*(v.start < end and addr < v.end and addr < end for v in areas))
                assert find_vma_intersection(mm, addr, end) is overlap
        assert [vma_next(mm, vma) for vma in areas] == [*areas[1:], None][: len(areas)]


def test_what_is_added_up() -> None:
    with MmMachine("1x8M") as m:
        mm = m.new_mm()
        m.map(mm, 8, AT)
        do_mlock(mm, m.ctx, AT + PAGE, 3 * PAGE, 0)
        assert locked_pages(mm) == 3
        low, locked = m.vma(mm, AT), m.vma(mm, AT + PAGE)
        assert linear_page_index(low, AT) == AT // PAGE
        assert linear_page_index(locked, AT + 2 * PAGE + 5) == AT // PAGE + 2
        assert vm_start_gap(low) == AT
        low.flags |= VM_GROWSDOWN
        assert vm_start_gap(low) == AT - STACK_GUARD_GAP
