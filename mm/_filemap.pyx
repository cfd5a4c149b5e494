"""The page cache: the pages of files by index, and their mappings.

Mirrors mm/filemap.c (filemap_map_pages), mm/shmem.c (shmem_get_folio) and the file half of mm/rmap.c. A page of a file
belongs to the file: it is there whether somebody maps it or not, the cache holds one reference, and who maps it holds
one more. Its policy is the file's, part by part, or else that of the task that first touches it.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport PTE_ACCESSED, PTE_DIRTY, PTE_RW, pte_address
from numalab.mm._lru cimport lru_cache_add, mark_page_accessed, mlock_page, mlock_wait, page_free_prepare
from numalab.mm._mm_types cimport (
    AddressSpace, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, MemMap, NR_FILE_MAPPED, NR_NODE_STATS, PG_NODE_SHIFT,
    PG_dirty, PG_locked, PG_swapbacked, PG_uptodate, PG_writeback, VM_LOCKED, alloc_ctx, file_pages, mapping_c,
    memmap, mm_c, mm_counter, mpol, page, page_cold, page_mapping, vma_c,
)
from numalab.mm._page_alloc cimport alloc_pages_mpol, free_pages_bulk
from numalab.mm._swap cimport free_swap_and_cache
from numalab.mm._xarray cimport xa_find, xa_is_value, xa_load, xa_page, xa_pfn, xa_reserve, xa_slot, xa_swap_entry

# ---------------------------------------------------------------- the cache

cdef mpol *shared_policy_lookup(mapping_c *mapping, uint64_t index, uint64_t *end) noexcept nogil:
    """mpol_shared_policy_lookup(): the policy of one page, NULL = none; end: where that answer ends."""
    cdef uint32_t low = 0, high = mapping.nr_policies, mid
    while low < high:                           # the first that ends behind the page
        mid = (low + high) // 2
        if mapping.policies[mid].end <= index:
            low = mid + 1
        else:
            high = mid
    end[0] = <uint64_t>-1
    if low == mapping.nr_policies:
        return NULL
    if index < mapping.policies[low].start:
        end[0] = mapping.policies[low].start
        return NULL
    end[0] = mapping.policies[low].end
    return mapping.policies[low].policy


cdef mpol *get_vma_policy(alloc_ctx *ctx, vma_c *v, uint64_t index) noexcept nogil:
    """get_vma_policy(): of the page with this index; for shared memory the file's counts, not the area's."""
    cdef uint64_t end
    cdef bint own = v.mapping != NULL and v.mapping.bdi == 0
    cdef mpol *policy = shared_policy_lookup(v.mapping, index, &end) if own else v.policy
    return policy if policy != NULL else ctx.policy


cdef bint shmem_full(const mapping_c *mapping) noexcept nogil:
    """Whether the file system has no room for one page more."""
    return mapping.sb != NULL and mapping.sb.used_blocks >= mapping.sb.max_blocks


cdef uint32_t shmem_alloc(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t n, uint32_t *pfns
                          ) noexcept nogil:
    """shmem_get_folio(): up to n new pages of zeros from `index` on, where none are. Returns how many there are now.

    0: no frame; the file system must not be full. Fewer than n: no frame or no room for the rest, or another policy
    begins there.
    """
    cdef uint64_t end
    cdef uint32_t i
    cdef mpol *policy = shared_policy_lookup(mapping, index, &end)
    if end - index < n:
        n = <uint32_t>(end - index)
    if mapping.sb != NULL and mapping.sb.max_blocks - mapping.sb.used_blocks < n:
        n = <uint32_t>(mapping.sb.max_blocks - mapping.sb.used_blocks)
    n = alloc_pages_mpol(m, ctx, policy if policy != NULL else ctx.policy, True, mapping.id + index,
                         GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, n, pfns)
    for i in range(n):
        if not add_to_page_cache(m, mapping, index + i, pfns[i], PG_uptodate | PG_swapbacked):
            free_pages_bulk(m, ctx.cpu, pfns + i, n - i)
            n = i
            break
        memset(m.h.ram + (<uint64_t>pfns[i] << PAGE_SHIFT), 0, PAGE_SIZE)
    m.h.now += n * m.h.cost.zero_page
    lru_cache_add(m, ctx.cpu, pfns, n)
    return n


cdef bint add_to_page_cache(memmap *m, mapping_c *mapping, uint64_t index, uint32_t pfn, uint32_t flags
                            ) noexcept nogil:
    """__filemap_add_folio(): a new page takes an empty place of a file. False: the host is out of memory."""
    cdef uint64_t *slot = xa_reserve(&mapping.i_pages, index)
    cdef page *p = &m.hot[pfn]
    cdef page_cold *c = &m.cold[pfn]
    if slot == NULL:
        return False
    VM_BUG_ON_PAGE(slot[0] != 0, pfn)
    slot[0] = xa_page(pfn)
    mapping.i_pages.count += 1
    if mapping.sb != NULL:
        mapping.sb.used_blocks += 1
    p.flags |= flags
    p.refcount = 1
    p.mapcount = 0
    p.pincount = 0
    p.rmap = 0
    c.mapping = mapping.id
    c.index = index
    c.private = 0
    c.mlock_count = 0
    count_cached(m, p, 1)
    return True


cdef void delete_from_page_cache(memmap *m, uint32_t pfn) noexcept nogil:
    """filemap_remove_folio(): the page has no file any more, and one reference less; what is not written is lost."""
    cdef mapping_c *mapping = page_mapping(m, pfn)
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(xa_load(&mapping.i_pages, m.cold[pfn].index) != xa_page(pfn) or p.mapcount, pfn)
    xa_slot(&mapping.i_pages, m.cold[pfn].index)[0] = 0
    mapping.i_pages.count -= 1
    if mapping.sb != NULL:
        mapping.sb.used_blocks -= 1
    count_cached(m, p, -1)
    if p.flags & PG_dirty:
        p.flags &= ~<uint32_t>PG_dirty
        count_dirty(m, p, -1)
    m.cold[pfn].mapping = 0
    p.refcount -= 1


cdef void replace_in_page_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil:
    """folio_migrate_mapping(): the page at this place of the file is another one from now on."""
    cdef mapping_c *mapping = page_mapping(m, src)
    VM_BUG_ON_PAGE(xa_load(&mapping.i_pages, m.cold[src].index) != xa_page(src), src)
    xa_slot(&mapping.i_pages, m.cold[src].index)[0] = xa_page(dst)
    m.hot[src].refcount -= 1
    m.hot[dst].refcount += 1
    count_cached(m, &m.hot[src], -1)
    count_cached(m, &m.hot[dst], 1)
    if m.hot[src].flags & PG_dirty:
        count_dirty(m, &m.hot[src], -1)
        count_dirty(m, &m.hot[dst], 1)


# ---------------------------------------------------------------- mappings

cdef void map_file_page(memmap *m, uint32_t cpu, vma_c *v, uint32_t pfn, uint64_t *pte, bint write) noexcept nogil:
    """set_pte_range() and folio_add_file_rmap_pte(): one mapping more."""
    cdef page *p = &m.hot[pfn]
    p.refcount += 1
    p.mapcount += 1
    if p.mapcount == 1:
        p.rmap = pte_address(m.h, pte)
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_MAPPED] += 1
    else:
        p.rmap = 0
    pte[0] = <uint64_t>pfn << PAGE_SHIFT | v.prot
    if write:
        pte[0] |= PTE_RW | PTE_DIRTY
        folio_mark_dirty(m, p)
    mm_counter(v.mm, p)[0] += 1
    if v.flags & VM_LOCKED:
        mlock_page(m, pfn)
        mlock_wait(m, cpu, pfn)


cdef void unmap_file_page(memmap *m, mm_c *mm, uint32_t pfn, uint64_t pte) noexcept nogil:
    """zap_present_folio_ptes(): one mapping less. What the PTE knew of use and change goes over to the page."""
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(p.mapcount == 0 or p.refcount <= 0, pfn)
    if pte & PTE_DIRTY:
        folio_mark_dirty(m, p)
    if pte & PTE_ACCESSED:
        mark_page_accessed(m, pfn)
    mm_counter(mm, p)[0] -= 1
    p.rmap = 0
    p.mapcount -= 1
    if p.mapcount == 0:
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_MAPPED] -= 1
    p.refcount -= 1


cdef void map_pages(memmap *m, uint32_t cpu, vma_c *v, uint64_t *ptes, uint64_t va) noexcept nogil:
    """do_fault_around(): map what the cache has of the 16 pages around a read fault. They begin at a multiple of 16
    or where the area does, and end with the table at the latest. ptes: va's table.
    """
    cdef uint64_t at = va & ~<uint64_t>(FAULT_AROUND * PAGE_SIZE - 1)
    cdef uint64_t end = (va | ((<uint64_t>PAGE_SIZE << 9) - 1)) + 1
    cdef uint64_t limit = file_pages(v.mapping), index
    cdef uint64_t *pte
    cdef uint32_t pfn
    if at < v.start:
        at = v.start
    if end > v.end:
        end = v.end
    if end > at + FAULT_AROUND * PAGE_SIZE:
        end = at + FAULT_AROUND * PAGE_SIZE
    while at < end:
        pte = &ptes[(at >> PAGE_SHIFT) & 511]
        if pte[0] == 0:
            index = v.pgoff + ((at - v.start) >> PAGE_SHIFT)
            pfn = xa_pfn(xa_load(&v.mapping.i_pages, index)) if index < limit else 0
            if pfn and m.hot[pfn].flags & (PG_locked | PG_uptodate) == PG_uptodate:
                map_file_page(m, cpu, v, pfn, pte, False)
        at += PAGE_SIZE


# ---------------------------------------------------------------- cutting off

def truncate_pages(MemMap mem, uint32_t cpu, AddressSpace mapping, uint64_t start, uint64_t end) -> int:
    """truncate_inode_pages_range(): the pages [start, end) leave the cache and swap; nobody may map them any more.

    Returns 0, or the page that somebody has locked or is writing: those before it are gone.
    """
    cdef uint64_t index = start, entry
    cdef uint64_t *slot = xa_find(&mapping.c.i_pages, &index, end)
    cdef uint32_t pfn
    cdef memmap *m = &mem.m
    while slot != NULL:
        entry = slot[0]
        if xa_is_value(entry):
            slot[0] = 0
            mapping.c.nr_swapped -= 1
            if mapping.c.sb != NULL:
                mapping.c.sb.used_blocks -= 1
            free_swap_and_cache(m, cpu, xa_swap_entry(entry))
        else:
            pfn = xa_pfn(entry)
            if m.hot[pfn].flags & (PG_locked | PG_writeback):
                return pfn
            delete_from_page_cache(m, pfn)
            if m.hot[pfn].refcount == 0:
                page_free_prepare(m, pfn)
                free_pages_bulk(m, cpu, &pfn, 1)
        index += 1
        slot = xa_find(&mapping.c.i_pages, &index, end)
    return 0


def invalidate_pages(MemMap mem, uint32_t cpu, AddressSpace mapping, uint64_t start, uint64_t end) -> int:
    """mapping_try_invalidate(): clean pages of a disk's file leave the cache if nobody uses them; how many did."""
    cdef uint64_t index = start
    cdef uint64_t *slot = xa_find(&mapping.c.i_pages, &index, end)
    cdef uint32_t pfn, gone = 0, used = PG_dirty | PG_locked | PG_swapbacked | PG_writeback
    cdef memmap *m = &mem.m
    while slot != NULL:
        if not xa_is_value(slot[0]):
            pfn = xa_pfn(slot[0])
            if m.hot[pfn].refcount == 1 and not m.hot[pfn].flags & used:
                delete_from_page_cache(m, pfn)
                page_free_prepare(m, pfn)
                free_pages_bulk(m, cpu, &pfn, 1)
                gone += 1
        index += 1
        slot = xa_find(&mapping.c.i_pages, &index, end)
    return gone
