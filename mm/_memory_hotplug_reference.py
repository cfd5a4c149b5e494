"""Plain-Python twin of _memory_hotplug: the frames of a memory block that is to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm import _constants as c
from numalab.mm._huge_memory_reference import NR, huge_head, is_huge
from numalab.mm._migrate_reference import BATCH, isolate_huge, isolate_into
from numalab.mm._reference import View
from numalab.mm.vm_flags import PAGE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numalab.mm._mm_types import MemMap
    from numalab.mm._page_list import PageList

ZONE_MOVABLE = 3


def used(m: View, start: int, end: int) -> Iterator[int]:
    """The frames of [start, end) that are in no free block."""
    pfn = start
    while pfn < end:
        if m.order[pfn] & c.ORDER_FREE:
            pfn += 1 << (m.order[pfn] & ~c.ORDER_FREE)
        else:
            yield pfn
            pfn += 1


def has_unmovable_pages(mem: MemMap, start: int, end: int, hugetlb_moves: bool) -> int:
    """The first frame of [start, end), a part of one zone, that will never be free; c.NO_PFN = there is none."""
    m = View(mem)
    z = m.pfn_zone(start)
    for pfn in used(m, start, min(end, m.zones.virgin[z])):
        flags = m.hot.flags[pfn]
        used_hugetlb = flags & c.PG_hugetlb and m.hot.refcount[pfn]
        if flags & c.PG_reserved or (used_hugetlb and not hugetlb_moves):
            return pfn
        if m.zones.type[z] != ZONE_MOVABLE and m.hot.refcount[pfn] and not flags & (c.PG_lru | c.PG_hugetlb):
            return pfn
    return c.NO_PFN


def isolate_movable_range(mem: MemMap, start: int, end: int, pagelist: PageList) -> int:
    """Isolate all of [start, end) that can be; returns how many pages were met that can move some day.

    0 means that there is nothing left to wait for. A huge page counts once. The log has physical addresses.
    """
    m = View(mem)
    met, large = 0, c.NO_PFN
    small: list[tuple[int, int]] = []
    for pfn in used(m, start, end):
        at = pfn << PAGE_SHIFT
        if is_huge(m, pfn):
            if huge_head(pfn) != large and is_wanted(m, pfn):
                met += 1
                large = huge_head(pfn)
                isolate_small(m, pagelist, small)
                isolate_huge(m, pagelist, pfn, at)
        elif m.hot.flags[pfn] & c.PG_lru and m.hot.refcount[pfn] > 0:
            met += 1
            small.append((pfn, at))
            if len(small) == BATCH:
                isolate_small(m, pagelist, small)
    isolate_small(m, pagelist, small)
    m.charge((end - start) * m.cost["scan_page"])
    return met


def is_wanted(m: View, pfn: int) -> bool:
    """Does somebody have this huge page of hugetlb, or is this page of another one on the LRU?"""
    if not m.hot.flags[pfn] & c.PG_hugetlb:
        return bool(m.hot.flags[pfn] & c.PG_lru)
    head = huge_head(pfn)
    return any(m.hot.refcount[part] for part in range(head, head + NR))


def isolate_small(m: View, pagelist: PageList, pages: list[tuple[int, int]]) -> None:
    """Take these off the LRU; the list of them is empty afterwards."""
    isolate_into(m, pagelist, pages)
    pages.clear()
