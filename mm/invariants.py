"""The invariants: what must hold between any two steps of a machine, whatever it has been through.

Everything is derived from the arrays that the kernels work on and from the page tables in RAM; there is no second
book-keeping that could be wrong in the same way. The numbers are those of the design:

     1  every frame is exactly one of: never used, in one free block, in one per-CPU set, allocated and somebody's
     2  free buddies are merged; counts equal lists; a zone's free frames add up
     3  refcount and mapcount are explained, rmap is right, page tables belong to one address space
     4  a page is on one LRU list at the place it claims, or isolated, or in an add batch, or off for a named reason
     5  no PTE names a freed frame; freed frames are poisoned (debug_vm); the zero page is zeros
     6  a swap slot is counted by the PTEs and files that name it and by the swap cache; slot and cached page agree
     7  no migration entry outlives its migration
     8  contents: a page that somebody may write is nobody else's, and no TLB remembers what is no longer so
     9  policies name nodes with memory
    10  counters equal what they count
    11  areas are sorted and apart, PTEs lie in them, anon_vmas and areas name each other

What a program reads back (8) and where a fault may put a page (9) cannot be seen in a state: the tests keep a model of
the one and watch the other as it happens.

A check costs some milliseconds for tens of thousands of pages in use and nothing for those never used. It changes
nothing, not even the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct
from numalab.mm.invariants_areas import (
    check_anon_vmas,
    check_areas,
    check_files,
    check_mapped_areas,
    check_policies,
)
from numalab.mm.invariants_counters import check_counters, check_rss
from numalab.mm.invariants_frames import check_buddies, check_frames, check_freed
from numalab.mm.invariants_huge import check_huge_pages
from numalab.mm.invariants_hugetlb import check_hugetlb
from numalab.mm.invariants_lru import check_lru
from numalab.mm.invariants_memory import PG
from numalab.mm.invariants_pages import (
    check_contents,
    check_migration_entries,
    check_references,
    check_tables,
)
from numalab.mm.invariants_report import Broken, InvariantError, Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_swap import check_swap

__all__ = ["Broken", "InvariantError", "check_invariants"]


def check_invariants(
    mem: MemMap,
    mms: Iterable[MmStruct],
    ctxs: Iterable[AllocCtx] = (),
    *,
    isolated: Sequence[int] = (),
    held: Mapping[int, int] | None = None,
) -> list[Broken]:
    """Everything that is broken on a machine; an empty list if nothing is.

    mms: all its address spaces (one that is missing makes its pages look lost); ctxs: its tasks', as far as known.
    isolated: frames that a test took off the LRU, beside those in ``mem.page_lists``. held: frame -> references that
    nothing in the machine explains, such as a test's own, beside those in ``mem.held``; a frame with 0 of them is
    somebody's all the same (taken from the allocator directly).
    """
    report = Report(mem)
    holders = dict(+mem.held)
    for pfn, n in (held or {}).items():
        holders[pfn] = holders.get(pfn, 0) + n
    state = State(mem, list(mms), [*isolated, *_on_the_way(mem)], holders)
    for check in (
        check_frames,
        check_buddies,
        check_references,
        check_tables,
        check_huge_pages,
        check_hugetlb,
        check_lru,
        check_freed,
        check_swap,
        check_migration_entries,
        check_contents,
        check_counters,
        check_rss,
        check_areas,
        check_anon_vmas,
        check_files,
        check_mapped_areas,
    ):
        check(state, report)
    check_policies(state.mms, list(ctxs), report)
    return report.broken


def _on_the_way(mem: MemMap) -> list[int]:
    """What migrations that sleep have isolated: of the pages in their lists those that have not been moved by now."""
    flags = mem.hot["flags"]
    return [
        pfn for pages in mem.page_lists for pfn in pages.frames().tolist() if int(flags[pfn]) & PG.ISOLATED
    ]
