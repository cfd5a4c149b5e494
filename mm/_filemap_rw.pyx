"""Reading and writing files through the page cache.

Mirrors filemap_read() and generic_perform_write() of mm/filemap.c, shmem_fallocate() of mm/shmem.c and the part of a
page that truncation leaves (mm/truncate.c). Page after page: what the cache has is copied from or to, what it has not
is made where it is zeros, and else the driver has it brought in.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.mm._filemap cimport add_to_page_cache, folio_mark_dirty, shmem_alloc, shmem_full
from numalab.mm._lru cimport lru_cache_add, mark_page_accessed
from numalab.mm._mm_types cimport (
    AddressSpace, AllocCtx, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, MemMap, PG_locked, PG_uptodate, WHY_DONE, WHY_FILE,
    WHY_NEED_RECLAIM, WHY_WAIT_IO, WHY_WAIT_PAGE, alloc_ctx, mapping_c, memmap,
)
from numalab.mm._page_alloc cimport alloc_pages_mpol, free_pages_bulk
from numalab.mm._writeback cimport page_mkwrite
from numalab.mm._xarray cimport xa_find, xa_is_value, xa_load, xa_pfn, xa_swap_entry

cdef enum:
    BATCH = 512                 # new pages for a write at a time

cdef int find_page(memmap *m, mapping_c *mapping, uint64_t index, uint64_t *found) noexcept nogil:
    """filemap_get_folio(): the frame that the cache has, 0 = none. WAIT_PAGE: it is locked; WAIT_IO: see read_range().
    """
    cdef uint64_t entry = xa_load(&mapping.i_pages, index)
    found[0] = xa_pfn(entry)
    if xa_is_value(entry):
        found[0] = xa_swap_entry(entry)
        return WHY_WAIT_IO
    if entry == 0:
        return WHY_WAIT_IO if mapping.bdi else WHY_DONE
    if m.hot[found[0]].flags & PG_locked:
        return WHY_WAIT_PAGE
    # In memory it is from fallocate() if it is not uptodate: zeros that nobody has asked for.
    return WHY_DONE if m.hot[found[0]].flags & PG_uptodate or mapping.bdi == 0 else WHY_WAIT_IO


cdef uint32_t missing(mapping_c *mapping, uint64_t index, uint64_t end) noexcept nogil:
    """How many pages from `index` on the cache has not: up to `end`, and up to what one batch takes."""
    cdef uint64_t first = index
    if end - index > BATCH:
        end = index + BATCH
    return <uint32_t>(end - index if xa_find(&mapping.i_pages, &first, end) == NULL else first - index)


cdef inline uint64_t part_of_page(uint64_t pos, uint64_t end) noexcept nogil:
    """Bytes of [pos, end) that lie in the page of pos."""
    cdef uint64_t n = PAGE_SIZE - (pos & (PAGE_SIZE - 1))
    return n if n < end - pos else end - pos


def read_range(MemMap mem, AddressSpace mapping, uint64_t pos, uint8_t[::1] buf) -> tuple[int, int, int]:
    """filemap_read(): fill ``buf``, which is zeros, with the file's bytes from ``pos`` on. In memory a hole stays one.

    Returns (bytes done, why, entry). WAIT_PAGE: a page is locked. WAIT_IO: one must come from the disk, or, if the file
    is shared memory, from swap; entry: the swap entry.
    """
    cdef uint64_t at = pos, end = pos + <uint64_t>buf.shape[0], n, found = 0
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    with nogil:
        while at < end:
            why = find_page(m, &mapping.c, at >> PAGE_SHIFT, &found)
            if why != WHY_DONE:
                break
            n = part_of_page(at, end)
            if found and m.hot[found].flags & PG_uptodate:
                if at % PAGE_SIZE == 0:
                    mark_page_accessed(m, <uint32_t>found)
                memcpy(&buf[at - pos], m.h.ram + (found << PAGE_SHIFT) + at % PAGE_SIZE, n)
            m.h.now += m.h.cost.zero_page
            at += n
    return at - pos, why, found


def write_range(MemMap mem, AllocCtx ctx, AddressSpace mapping, uint64_t pos, const uint8_t[::1] data
                ) -> tuple[int, int, int]:
    """generic_perform_write(): store bytes from ``pos`` on, in new pages where the file has none; i_size stays.

    Returns (bytes done, why, entry): as read_range(); NEED_RECLAIM: no frame; FILE: the file system is full.
    """
    cdef uint64_t at = pos, end = pos + <uint64_t>data.shape[0], n, found = 0
    cdef uint32_t pfns[512]
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    with nogil:
        while at < end:
            n = part_of_page(at, end)
            why = find_page(m, &mapping.c, at >> PAGE_SHIFT, &found)
            # What the disk has of the page is not needed if nothing of it stays, or if there is nothing.
            if why == WHY_WAIT_IO and found == 0 and (
                    n == PAGE_SIZE or xa_load(&mapping.c.i_blocks, at >> PAGE_SHIFT) == 0):
                why = WHY_DONE
            if why != WHY_DONE:
                break
            if found == 0:
                why = grow_cache(m, &ctx.c, &mapping.c, at >> PAGE_SHIFT, (end + PAGE_SIZE - 1) >> PAGE_SHIFT, pfns)
                if why != WHY_DONE:
                    break
                found = pfns[0]
            if not page_mkwrite(m, <uint32_t>found):
                why = WHY_FILE
                break
            mark_page_accessed(m, <uint32_t>found)
            m.hot[found].flags |= PG_uptodate
            memcpy(m.h.ram + (found << PAGE_SHIFT) + at % PAGE_SIZE, &data[at - pos], n)
            m.h.now += m.h.cost.zero_page
            at += n
    return at - pos, why, found


cdef int grow_cache(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint64_t end, uint32_t *pfns
                    ) noexcept nogil:
    """Give the file new pages of zeros from `index` on: at least one, and a batch at most, or on a disk one."""
    if mapping.bdi == 0:
        if shmem_full(mapping):
            return WHY_FILE
        return WHY_DONE if shmem_alloc(m, ctx, mapping, index, missing(mapping, index, end), pfns) else WHY_NEED_RECLAIM
    if alloc_pages_mpol(m, ctx, ctx.policy, False, 0, GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, 1, pfns) == 0:
        return WHY_NEED_RECLAIM
    if not add_to_page_cache(m, mapping, index, pfns[0], PG_uptodate):
        free_pages_bulk(m, ctx.cpu, pfns, 1)
        return WHY_NEED_RECLAIM
    memset(m.h.ram + (<uint64_t>pfns[0] << PAGE_SHIFT), 0, PAGE_SIZE)
    lru_cache_add(m, ctx.cpu, pfns, 1)
    return WHY_DONE


def alloc_range(MemMap mem, AllocCtx ctx, AddressSpace mapping, uint64_t start, uint64_t end) -> tuple[int, int]:
    """shmem_fallocate(): see to it that the file has all pages in [start, end). New ones are not uptodate until they
    are used, or asked for once more.

    Returns (index reached, why): NEED_RECLAIM: no frame; FILE: the file system is full.
    """
    cdef uint32_t pfns[512]
    cdef uint32_t i, n
    cdef uint64_t entry
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    with nogil:
        while start < end:
            entry = xa_load(&mapping.c.i_pages, start)
            if entry:
                if xa_pfn(entry):               # dirty, lest reclaim thinks that zeros need not be kept
                    m.hot[xa_pfn(entry)].flags |= PG_uptodate
                    folio_mark_dirty(m, &m.hot[xa_pfn(entry)])
                start += 1
                continue
            if shmem_full(&mapping.c):
                why = WHY_FILE
                break
            n = shmem_alloc(m, &ctx.c, &mapping.c, start, missing(&mapping.c, start, end), pfns)
            if n == 0:
                why = WHY_NEED_RECLAIM
                break
            for i in range(n):
                m.hot[pfns[i]].flags &= ~<uint32_t>PG_uptodate
                folio_mark_dirty(m, &m.hot[pfns[i]])
            start += n
    return start, why


def zero_range(MemMap mem, AddressSpace mapping, uint64_t pos, uint64_t end) -> tuple[int, int]:
    """truncate_inode_partial_folio(): zeros in [pos, end), a part of one page, if the file has that page.

    Returns (why, entry) as read_range().
    """
    cdef uint64_t found = 0
    cdef int why
    cdef memmap *m = &mem.m
    with nogil:
        why = find_page(m, &mapping.c, pos >> PAGE_SHIFT, &found)
        if why == WHY_WAIT_IO and found == 0 and xa_load(&mapping.c.i_blocks, pos >> PAGE_SHIFT) == 0:
            why = WHY_DONE                      # zeros already
        if why == WHY_DONE and found:
            memset(m.h.ram + (found << PAGE_SHIFT) + pos % PAGE_SIZE, 0, end - pos)
            page_mkwrite(m, <uint32_t>found)    # it has its block, or is clean zeros
    return why, found
