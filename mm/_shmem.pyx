"""Shared memory in swap: a page's way out of its file and back.

Mirrors shmem_writepage(), shmem_swapin_folio() and shmem_unuse_inode() of mm/shmem.c. Unlike an anonymous page one of
shared memory leaves no swap entries in page tables: its PTEs become empty, and the entry stands in the file, at the
page's place. The page itself is the swap cache's as long as it lives, and the file's again with the next access.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._pagetable cimport swp_type
from numalab.mm._filemap cimport count_cached, shared_policy_lookup
from numalab.mm._lru cimport lru_cache_add
from numalab.mm._mm_types cimport (
    AddressSpace, AllocCtx, MemMap, PGMAJFAULT, PG_dirty, PG_locked, PG_uptodate, PG_writeback, SWP_SYNCHRONOUS_IO,
    WHY_DONE, WHY_NEED_RECLAIM, WHY_WAIT_IO, WHY_WAIT_LOCK, alloc_ctx, mapping_c, memmap, page, page_mapping,
)
from numalab.mm._swap cimport (
    add_to_swap_cache, area_of, delete_from_swap_cache, slot_alloc, swap_cache_page, swap_dup, swap_put, swapin_new,
)
from numalab.mm._xarray cimport xa_find, xa_is_value, xa_page, xa_slot, xa_swap_entry, xa_value


cdef bint shmem_writepage(memmap *m, uint32_t pfn) noexcept nogil:
    """A page that nobody maps gets a slot and goes over to the swap cache; False: swap is full, and it stays."""
    cdef mapping_c *mapping = page_mapping(m, pfn)
    cdef uint64_t entry = slot_alloc(m)
    if entry == 0:
        return False
    add_to_swap_cache(m, pfn, entry)
    m.hot[pfn].flags |= PG_uptodate             # one from fallocate() too: its zeros are in the slot
    swap_dup(m, entry)                          # the file's own reference
    xa_slot(&mapping.i_pages, m.cold[pfn].index)[0] = xa_value(entry)
    mapping.i_pages.count -= 1
    mapping.nr_swapped += 1
    count_cached(m, &m.hot[pfn], -1)
    m.hot[pfn].refcount -= 1
    m.cold[pfn].mapping = 0
    return True


cdef int shmem_swapin(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t *pfn, uint64_t *stopped
                      ) noexcept nogil:
    """The page at a place where a swap entry stands is the file's again; a fault that had to read it is a major one.

    WAIT_IO: it must be read into the swap cache first, or reading it has failed; WAIT_LOCK: it is there, locked or
    being written. stopped: the entry.
    """
    cdef uint64_t *slot = xa_slot(&mapping.i_pages, index)
    cdef uint64_t entry = xa_swap_entry(slot[0]), end
    cdef uint32_t found = swap_cache_page(m, entry)
    cdef bint fresh = found == 0
    cdef page *p = &m.hot[found]
    stopped[0] = entry
    if fresh:
        if not area_of(m, entry).flags & SWP_SYNCHRONOUS_IO:
            return WHY_WAIT_IO
        found = swapin_new(m, ctx, shared_policy_lookup(mapping, index, &end), mapping.id + index, entry)
        if found == 0:
            stopped[0] = 0
            return WHY_NEED_RECLAIM
        p = &m.hot[found]
    elif p.flags & (PG_locked | PG_writeback):
        return WHY_WAIT_LOCK
    elif not p.flags & PG_uptodate:
        return WHY_WAIT_IO
    else:
        delete_from_swap_cache(m, found)
    swap_put(m, entry)
    slot[0] = xa_page(found)
    mapping.i_pages.count += 1
    mapping.nr_swapped -= 1
    p.flags |= PG_dirty
    p.refcount += 1
    m.cold[found].mapping = mapping.id
    m.cold[found].index = index
    count_cached(m, p, 1)
    if fresh:
        lru_cache_add(m, ctx.cpu, &found, 1)
        ctx.maj_flt += 1
        ctx.min_flt -= 1                        # it will be counted with the others
        m.event[PGMAJFAULT] += 1
    pfn[0] = found
    stopped[0] = 0
    return WHY_DONE


def swapin_range(MemMap mem, AllocCtx ctx, AddressSpace mapping, uint64_t start, uint64_t end, uint32_t types) -> tuple:
    """Bring back the pages [start, end) of a file that are in swap areas of ``types`` (bit t: type t).

    Returns (next, why, entry) as fault_range() does.
    """
    cdef uint64_t index = start, stopped = 0
    cdef uint64_t *slot
    cdef uint32_t pfn
    cdef int why = WHY_DONE
    with nogil:
        while index < end and mapping.c.nr_swapped:
            slot = xa_find(&mapping.c.i_pages, &index, end)
            if slot == NULL:
                break
            if xa_is_value(slot[0]) and types >> swp_type(xa_swap_entry(slot[0])) & 1:
                why = shmem_swapin(&mem.m, &ctx.c, &mapping.c, index, &pfn, &stopped)
                if why != WHY_DONE:
                    break
            index += 1
    return (index if why != WHY_DONE else end), why, stopped
