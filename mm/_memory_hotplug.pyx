"""The frames of a memory block that is to go: what among them can never move, and what can, off the LRU.

Mirrors has_unmovable_pages() of mm/page_isolation.c, and scan_movable_pages() and the first half of do_migrate_range()
of mm/memory_hotplug.c. Both go by frames, not by address spaces: who uses a page does not matter.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT
from numalab.mm._huge_memory cimport huge_head
from numalab.mm._lru cimport isolate_batch
from numalab.mm._migrate cimport REASON_NONE, isolate_huge
from numalab.mm._mm_types cimport (
    MemMap, NO_PFN, ORDER_FREE, PG_head, PG_hugetlb, PG_lru, PG_reserved, PG_tail, memmap, page, pfn_zone,
    zone,
)
from numalab.mm._page_list cimport FATE_QUEUED, PageList, log_of, note, page_log

cdef enum:
    BATCH = 512
    ZONE_MOVABLE = 3


def has_unmovable_pages(MemMap mem, uint32_t start, uint32_t end, bint hugetlb_moves) -> int:
    """The first frame of [start, end), a part of one zone, that will never be free; NO_PFN = there is none.

    In ZONE_MOVABLE there is nothing that cannot go: what does not move now is tried again. hugetlb_moves: pages of
    hugetlb can, by the engine in use; those in its pool can in any case.
    """
    cdef memmap *m = &mem.m
    cdef zone *z = pfn_zone(m, start)
    cdef uint32_t pfn = start, stop = end if end < z.virgin else z.virgin
    cdef page *p
    with nogil:
        while pfn < stop:
            p = &m.hot[pfn]
            if m.order[pfn] & ORDER_FREE:
                pfn += <uint32_t>1 << (m.order[pfn] & ~ORDER_FREE)
                continue
            if p.flags & PG_reserved or (p.flags & PG_hugetlb and p.refcount and not hugetlb_moves):
                break
            if z.type != ZONE_MOVABLE and p.refcount and not p.flags & (PG_lru | PG_hugetlb):
                break
            pfn += 1
    return pfn if pfn < stop else <uint32_t>NO_PFN


cdef bint is_wanted(memmap *m, uint32_t pfn) noexcept nogil:
    """Does somebody have this huge page of hugetlb, or is this page of another one on the LRU?"""
    cdef uint32_t i, head = huge_head(pfn)
    if not m.hot[pfn].flags & PG_hugetlb:
        return (m.hot[pfn].flags & PG_lru) != 0
    for i in range(512):
        if m.hot[head + i].refcount:
            return True
    return False


def isolate_movable_range(MemMap mem, uint32_t start, uint32_t end, PageList pagelist) -> int:
    """Isolate all of [start, end) that can be; returns how many pages were met that can move some day.

    0 means that there is nothing left to wait for. A huge page counts once. The log has physical addresses.
    """
    cdef memmap *m = &mem.m
    cdef page_log *log = log_of(pagelist.log)
    cdef uint32_t pfn = start, n, missed, met = 0, large = NO_PFN
    cdef uint32_t *out
    cdef page *p
    with nogil:
        while pfn < end:
            pagelist.reserve(BATCH)
            out = pagelist.pfns + pagelist.n
            n = 0
            while pfn < end and n < BATCH:
                p = &m.hot[pfn]
                if m.order[pfn] & ORDER_FREE:
                    pfn += <uint32_t>1 << (m.order[pfn] & ~ORDER_FREE)
                    continue
                if p.flags & (PG_head | PG_tail) and huge_head(pfn) != large:
                    break
                if p.flags & PG_lru and p.refcount > 0 and not p.flags & (PG_head | PG_tail):
                    note(log, FATE_QUEUED, pfn, <uint64_t>pfn << PAGE_SHIFT, 0, REASON_NONE)
                    out[n] = pfn
                    n += 1
                pfn += 1
            if n:
                met += n
                pagelist.n += isolate_batch(m, out, n, &missed)
            if pfn < end and n < BATCH:
                if is_wanted(m, pfn):
                    met += 1
                    large = huge_head(pfn)
                    isolate_huge(m, pagelist, pfn, <uint64_t>pfn << PAGE_SHIFT, log)
                pfn += 1
        m.h.now += (end - start) * m.h.cost.scan_page
    return met
