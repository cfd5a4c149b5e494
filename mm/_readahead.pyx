"""Pages of files coming from the disk.

Mirrors mm/readahead.c (page_cache_ra_unbounded) and the end of a read in fs/mpage.c. A page is in the cache, locked,
from the moment it is asked for; whoever wants it waits for the lock. Its frame comes from where the policy of the task
that asks points, whatever the policy of the area: a file on a disk has none.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.mm._filemap cimport add_to_page_cache
from numalab.mm._lru cimport lru_cache_add
from numalab.mm._mm_types cimport (
    AddressSpace, AllocCtx, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, MemMap, PG_locked, PG_uptodate, file_pages,
    mapping_c, memmap, page_mapping,
)
from numalab.mm._page_alloc cimport alloc_pages_mpol, free_pages_bulk
from numalab.mm._xarray cimport xa_load


def page_cache_ra_unbounded(MemMap mem, AllocCtx ctx, AddressSpace mapping, uint64_t start, uint64_t n,
                            uint32_t[::1] out) -> int:
    """New, locked pages for those of [start, start + n) that the cache lacks; their contents are still to come.

    out: their frames, room for n. Returns how many; fewer than are missing: there is no frame for the rest.
    """
    cdef memmap *m = &mem.m
    cdef uint64_t index = start, end = start + n
    cdef uint32_t got = 0, missing = 0, used = 0
    if end > file_pages(&mapping.c):
        end = file_pages(&mapping.c)
    with nogil:
        while index < end:
            missing += xa_load(&mapping.c.i_pages, index) == 0
            index += 1
        if missing:
            got = alloc_pages_mpol(m, &ctx.c, ctx.c.policy, False, 0, GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, missing,
                                   &out[0])
        index = start
        while index < end and used < got:
            if xa_load(&mapping.c.i_pages, index) == 0:
                if not add_to_page_cache(m, &mapping.c, index, out[used], PG_locked):
                    free_pages_bulk(m, ctx.c.cpu, &out[used], got - used)
                    break
                used += 1
            index += 1
        if used:
            lru_cache_add(m, ctx.c.cpu, &out[0], used)
    return used


def end_read(MemMap mem, uint32_t[::1] pfns, bint ok) -> None:
    """mpage_read_end_io(): the contents are there, and the pages are unlocked; after an error they are not uptodate."""
    cdef memmap *m = &mem.m
    cdef uint32_t i, pfn
    cdef uint64_t block
    cdef uint8_t *here
    cdef mapping_c *mapping
    for i in range(<uint32_t>pfns.shape[0]):
        pfn = pfns[i]
        if ok:
            here = m.h.ram + (<uint64_t>pfn << PAGE_SHIFT)
            mapping = page_mapping(m, pfn)
            block = xa_load(&mapping.i_blocks, m.cold[pfn].index)
            if block:
                memcpy(here, m.bdi[mapping.bdi].store + (block << PAGE_SHIFT), PAGE_SIZE)
            else:                               # a hole
                memset(here, 0, PAGE_SIZE)
            m.hot[pfn].flags |= PG_uptodate
        m.hot[pfn].flags &= ~<uint32_t>PG_locked
