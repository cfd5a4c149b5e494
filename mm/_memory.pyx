"""Page tables of programs: faults, unmapping, fork, protection and moving.

Mirrors mm/memory.c, mm/mprotect.c and mm/mremap.c, for anonymous memory and files. Every kernel takes a
range and goes through it one PTE table at a time; one page is the same call with a range of one. They
never wait: a range that cannot be finished is left at the page where it stopped, with the reason.

Deliberately different: no page-table locks (one host thread), and a fault serves the whole range that
the program is about to touch, which gives the same pages, counts and order as one fault a page.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from numalab.arch._copy cimport copy_fence, zero_page_nt
from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._mmu cimport tlb_flush_page, tlb_insert
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_ADDR, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_SPECIAL, huge_pmd, is_migration_entry, pte_address,
    pte_mapped, pte_pfn, pte_table, table_at,
)
from numalab.mm._filemap cimport (
    FAULT_AROUND, get_vma_policy, map_file_page, map_pages, shmem_alloc, shmem_full, unmap_file_page,
)
from numalab.mm._huge_memory cimport (
    HPAGE_PMD_SIZE, change_huge_pmd, copy_huge_pmd, move_huge_pmd, reuse_huge_pmd, split_huge_pmd, split_huge_table,
    zap_huge_pmd,
)
from numalab.mm._lru cimport (
    lru_cache_add, lru_check_holes, lru_drain_cpu, lru_leaving, lru_leaving_begin, lru_leaving_end, mlock_new_folios,
    mlock_wait, munlock_page, page_free_prepare, pages_free_prepare,
)
from numalab.mm._migrate_entry cimport mig_entry_pfn, mig_entry_protect, mig_entry_to_read
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, HOLE, MemMap, MmStruct, NR_ANON_MAPPED, NR_LRU_LISTS,
    NR_NODE_STATS, PGFAULT, PGMAJFAULT, PGREUSE, PG_NODE_SHIFT, PG_ZONE_SHIFT, PG_anon, PG_anon_exclusive,
    PG_head, PG_locked, PG_lru, PG_migration_shared, PG_mlocked, PG_swapbacked, PG_swapcache, PG_tail, PG_unevictable,
    PG_uptodate, VMA, VM_LOCKED, VM_SHARED, VM_WRITE,
    WHY_DONE, WHY_FILE, WHY_MIGRATION_ENTRY, WHY_NEED_RECLAIM, WHY_WAIT_PAGE, alloc_ctx, file_pages, mapped_item,
    memmap, mm_c, mm_counter, page, page_cold, stat_add, stat_begin, stat_end, stat_run, vma_c,
)
from numalab.mm._page_alloc cimport (
    alloc_pages_mpol, fetch_next_table, free_pages_bulk, free_table, nl_prefetchw, nl_prefetchw_near, pte_alloc,
)
from numalab.mm._shmem cimport shmem_swapin
from numalab.mm._swap cimport entry_of, free_swap_and_cache, swap_dup, swapin_pte, try_to_free_swap
from numalab.mm._tlbbatch cimport flush_range
from numalab.mm._trace cimport trace_page_fault
from numalab.mm._writeback cimport page_mkwrite
from numalab.mm._xarray cimport xa_is_value, xa_load, xa_pfn

cdef enum:
    TOUCH_RUN = 256             # pages mapped per step: what is written of them fits the first-level cache
    NT_MIN = 64                 # zero with non-temporal stores from this many pages on; fewer are touched at once
    TLB_REFILL = 8              # translations that a range fault leaves in the TLB: the last ones


# ---------------------------------------------------------------- faults

cdef inline uint64_t linear_index(vma_c *v, uint64_t va) noexcept nogil:
    return v.pgoff + ((va - v.start) >> PAGE_SHIFT)


cdef uint32_t anon_pages(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *ptes, uint64_t va, uint32_t n,
                         uint64_t pte_bits, bint zero) noexcept nogil:
    """Map n new anonymous pages at the consecutive PTEs `ptes`; returns how many frames could be had."""
    cdef uint32_t pfns[512]
    cdef uint32_t got, i, pfn
    cdef uint64_t index = linear_index(v, va), ilx = index
    cdef uint64_t where
    cdef uint32_t flags = PG_uptodate | PG_swapbacked | PG_anon | PG_anon_exclusive, all_flags
    cdef uint64_t anon_id = v.anon_id
    cdef bint locked = (v.flags & VM_LOCKED) != 0
    cdef page *hot = m.hot
    cdef page_cold *cold = m.cold
    cdef page *p
    cdef page_cold *c
    cdef stat_run mapped
    cdef hw *h = m.h
    VM_BUG_ON(n > 512 or va < v.start or va + <uint64_t>n * PAGE_SIZE > v.end)
    if v.mapping != NULL and v.mapping.bdi == 0:
        ilx += v.mapping.id
    got = alloc_pages_mpol(m, ctx, get_vma_policy(ctx, v, index), True, ilx,
                           GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, n, pfns)
    if got == 0:
        return 0
    if locked:
        flags |= PG_mlocked | PG_unevictable
    where = pte_address(h, ptes)
    stat_begin(&mapped, NR_ANON_MAPPED)
    for i in range(0, 40 if got > 40 else got, 2):   # two of one line, if they are neighbours
        nl_prefetchw_near(&cold[pfns[i]])       # the allocator had the other half in hand
    for i in range(got):
        pfn = pfns[i]
        if i + 40 < got:
            nl_prefetchw_near(&cold[pfns[i + 40]])
        p = &hot[pfn]
        all_flags = p.flags | flags
        p.flags = all_flags
        p.refcount = 1
        p.mapcount = 1
        p.pincount = 0
        p.rmap = where + 8 * i
        c = &cold[pfn]
        c.mapping = anon_id
        c.index = index + i
        c.private = 0
        c.mlock_count = locked
        ptes[i] = <uint64_t>pfn << PAGE_SHIFT | pte_bits
        stat_add(m, &mapped, all_flags >> PG_NODE_SHIFT, 1)
    stat_end(m, &mapped)
    if zero:
        if got >= NT_MIN:
            for i in range(got):
                zero_page_nt(h.ram + (<uint64_t>pfns[i] << PAGE_SHIFT))
            copy_fence()
        else:
            for i in range(got):
                memset(h.ram + (<uint64_t>pfns[i] << PAGE_SHIFT), 0, PAGE_SIZE)
    if locked:
        mlock_new_folios(m, ctx.cpu, pfns, got)
    else:
        lru_cache_add(m, ctx.cpu, pfns, got)
    v.mm.rss_anon += got
    i = got - TLB_REFILL if got > TLB_REFILL else 0
    while i < got:
        tlb_insert(h, ctx.cpu, v.mm.asid, va + <uint64_t>i * PAGE_SIZE, ptes[i])
        i += 1
    return got


cdef inline uint64_t write_bits(vma_c *v) noexcept nogil:
    """maybe_mkwrite(pte_mkdirty(pte)) for a new page of this VMA."""
    return v.prot | PTE_DIRTY | (PTE_RW if v.flags & VM_WRITE else 0)


cdef inline bint free_swap_cache(memmap *m, page *p, uint32_t pfn) noexcept nogil:
    """free_swap_cache(): a page that nobody maps gives up a slot that no PTE names; whether nobody holds it then."""
    if not p.flags & PG_swapcache or p.mapcount or p.flags & PG_locked:
        return False
    return try_to_free_swap(m, pfn) and p.refcount == 0


cdef int cow_page(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *pte, uint64_t va, uint32_t pfn, uint64_t *stopped
                  ) noexcept nogil:
    """A page of our own with the contents of another; the PTE names it from now on. stopped: the other, if it must stay
    until there is a frame for the copy.
    """
    cdef uint64_t fresh = 0
    cdef hw *h = m.h
    if anon_pages(m, ctx, v, &fresh, va, 1, write_bits(v), False) == 0:
        stopped[0] = pfn
        return WHY_NEED_RECLAIM
    memcpy(h.ram + PTE_ADDR(fresh), h.ram + (<uint64_t>pfn << PAGE_SHIFT), PAGE_SIZE)
    h.now += h.cost.zero_page
    m.hot[pte_pfn(fresh)].rmap = pte_address(h, pte)
    pte[0] = fresh
    return WHY_DONE


cdef int wp_page(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *pte, uint64_t va, uint64_t *stopped) noexcept nogil:
    """do_wp_page(): a write to a page mapped read-only; reuse it when nobody else has it, else copy. stopped: see
    cow_page().
    """
    cdef uint64_t old = pte[0]
    cdef uint32_t pfn = <uint32_t>pte_pfn(old)
    cdef page *p = &m.hot[pfn]
    cdef hw *h = m.h
    if old & PTE_SPECIAL:                       # the zero page: a new page of zeros is a copy of it
        if anon_pages(m, ctx, v, pte, va, 1, write_bits(v), True) == 0:
            return WHY_NEED_RECLAIM
        h.now += h.cost.zero_page
        flush_range(m, v.mm, va, va + PAGE_SIZE)
        return WHY_DONE
    if not p.flags & PG_anon and v.flags & VM_SHARED:
        if not page_mkwrite(m, pfn):
            return WHY_FILE
        pte[0] = old | PTE_RW | PTE_DIRTY | PTE_ACCESSED
        tlb_flush_page(h, v.mm.asid, va)
        return WHY_DONE
    if not p.flags & PG_anon_exclusive and p.refcount <= 3 and not p.flags & PG_lru:
        lru_drain_cpu(m, ctx.cpu)               # its other reference may be the CPU's own batch
    if p.flags & PG_swapcache and p.refcount == 2 and not p.flags & PG_locked:
        try_to_free_swap(m, pfn)                # or the swap cache's, for a slot that nobody needs
    # A part of a huge page is not taken over (wp_can_reuse_anon_folio()).
    if p.flags & PG_anon_exclusive or (p.flags & PG_anon and p.refcount == 1
                                       and not p.flags & (PG_head | PG_tail)):
        p.flags |= PG_anon_exclusive
        m.cold[pfn].mapping = v.anon_id         # folio_move_anon_rmap(): ours alone from now on
        m.cold[pfn].index = linear_index(v, va)
        p.rmap = pte_address(h, pte)
        pte[0] = old | PTE_RW | PTE_DIRTY | PTE_ACCESSED
        tlb_flush_page(h, v.mm.asid, va)
        m.event[PGREUSE] += 1
        return WHY_DONE
    if cow_page(m, ctx, v, pte, va, pfn, stopped) != WHY_DONE:
        return WHY_NEED_RECLAIM
    flush_range(m, v.mm, va, va + PAGE_SIZE)
    tlb_insert(h, ctx.cpu, v.mm.asid, va, pte[0])
    if v.flags & VM_LOCKED:
        munlock_page(m, pfn)
        mlock_wait(m, ctx.cpu, pfn)
    VM_BUG_ON_PAGE(p.mapcount == 0 or p.refcount <= 0, pfn)
    mm_counter(v.mm, p)[0] -= 1
    p.rmap = 0
    p.mapcount -= 1
    if p.mapcount == 0:
        m.node_stat[(p.flags >> 26) * NR_NODE_STATS + mapped_item(p)] -= 1
    p.refcount -= 1
    if p.refcount == 0 or free_swap_cache(m, p, pfn):
        page_free_prepare(m, pfn)
        free_pages_bulk(m, ctx.cpu, &pfn, 1)
    return WHY_DONE


cdef int file_fault(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *table, uint64_t va, uint64_t end, bint write,
                    uint32_t *served, uint64_t *stopped) noexcept nogil:
    """do_fault() for empty PTEs of a file, from va on: the page that the cache has; of shared memory as many new ones
    as are missing.

    A private write gets a copy. served: pages in a row that are mapped now, with one fault each. FILE: somebody must
    read the page, or it is beyond the end of the file, or the disk is full.
    """
    cdef uint64_t *ptes = &table[(va >> PAGE_SHIFT) & 511]
    cdef uint64_t index = linear_index(v, va), limit = file_pages(v.mapping)
    cdef uint32_t pfns[512]
    cdef uint64_t entry
    cdef uint32_t n = 1, most, i
    cdef int why
    cdef bint cow = write and not v.flags & VM_SHARED
    if not write:                               # also beyond the end of the file, of the pages before it
        map_pages(m, ctx.cpu, v, table, va)
        served[0] = 1
        if ptes[0]:
            return WHY_DONE
    if index >= limit:
        return WHY_FILE
    entry = xa_load(&v.mapping.i_pages, index)
    pfns[0] = xa_pfn(entry)
    if xa_is_value(entry):
        why = shmem_swapin(m, ctx, v.mapping, index, pfns, stopped)
        if why != WHY_DONE:
            return why
    elif entry == 0 and v.mapping.bdi:
        return WHY_FILE
    elif entry == 0:
        most = <uint32_t>((end - va + PAGE_SIZE - 1) >> PAGE_SHIFT)
        if not write and most > FAULT_AROUND - ((va >> PAGE_SHIFT) & (FAULT_AROUND - 1)):
            most = FAULT_AROUND - ((va >> PAGE_SHIFT) & (FAULT_AROUND - 1))
        if cow:                                 # page and copy, page and copy: as one fault after the other would
            most = 1
        while n < most and index + n < limit and ptes[n] == 0 and xa_load(&v.mapping.i_pages, index + n) == 0:
            n += 1
        if shmem_full(v.mapping):
            return WHY_FILE
        n = shmem_alloc(m, ctx, v.mapping, index, n, pfns)
        if n == 0:
            return WHY_NEED_RECLAIM
    elif m.hot[pfns[0]].flags & PG_locked:
        stopped[0] = pfns[0]
        return WHY_WAIT_PAGE
    elif v.mapping.bdi and not m.hot[pfns[0]].flags & PG_uptodate:
        return WHY_FILE
    else:
        m.hot[pfns[0]].flags |= PG_uptodate     # it may be from fallocate(): zeros
    served[0] = n
    if cow:
        return cow_page(m, ctx, v, ptes, va, pfns[0], stopped)
    if write and not page_mkwrite(m, pfns[0]):
        return WHY_FILE
    for i in range(n):
        map_file_page(m, ctx.cpu, v, pfns[i], &ptes[i], write)
    return WHY_DONE


cdef inline void count_faults(memmap *m, alloc_ctx *ctx, uint64_t va, int64_t n, bint write, bint had) noexcept nogil:
    """Every page of a range is a fault of its own in Linux, so it is one here."""
    ctx.min_flt += n
    m.event[PGFAULT] += n
    m.h.now += n * m.h.cost.fault
    trace_page_fault(m, va, n, write, had)


cdef int fault_table(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *table, uint64_t *at, uint64_t end, bint write,
                     uint64_t *stopped) noexcept nogil:
    """Fault the part of [at, end) that one PTE table covers."""
    cdef uint64_t va = at[0], pte
    cdef uint64_t *ptes
    cdef uint32_t n, most, got
    cdef int why = WHY_DONE
    cdef bint major
    cdef hw *h = m.h
    while va < end:
        ptes = &table[(va >> PAGE_SHIFT) & 511]
        pte = ptes[0]
        if pte == 0 and v.mapping != NULL:
            why = file_fault(m, ctx, v, table, va, end, write, &n, stopped)
            if why != WHY_DONE:
                break
            count_faults(m, ctx, va, n, write, False)
            va += <uint64_t>n * PAGE_SIZE
            continue
        if pte == 0:
            n = 1
            most = <uint32_t>((end - va + PAGE_SIZE - 1) >> PAGE_SHIFT)
            if most > TOUCH_RUN:
                most = TOUCH_RUN
            while n < most and ptes[n] == 0:
                n += 1
            if write:
                got = anon_pages(m, ctx, v, ptes, va, n, write_bits(v), True)
                h.now += got * h.cost.zero_page
            else:
                for got in range(n):
                    ptes[got] = <uint64_t>m.zero_pfn << PAGE_SHIFT | PTE_SPECIAL | v.prot
                got = n
            count_faults(m, ctx, va, got, write, False)
            va += <uint64_t>got * PAGE_SIZE
            if got < n:
                why = WHY_NEED_RECLAIM
                break
            continue
        if is_migration_entry(pte):
            why = WHY_MIGRATION_ENTRY
            stopped[0] = mig_entry_pfn(pte)
            break
        if not pte_mapped(pte):
            why = swapin_pte(m, ctx, v, ptes, va, write, &major)
            if why != WHY_DONE:
                stopped[0] = 0 if why == WHY_NEED_RECLAIM else entry_of(pte)
                break
            if major:
                ctx.maj_flt += 1
                m.event[PGMAJFAULT] += 1
            ctx.min_flt -= major                # it is counted below with the others
            count_faults(m, ctx, va, 1, write, False)
            if write and not ptes[0] & PTE_RW:  # others have it too
                why = wp_page(m, ctx, v, ptes, va, stopped)
                if why != WHY_DONE:
                    break
            va += PAGE_SIZE
            continue
        if write and not pte & PTE_RW:
            why = wp_page(m, ctx, v, ptes, va, stopped)
            if why != WHY_DONE:
                break
            count_faults(m, ctx, va, 1, True, True)
        va += PAGE_SIZE
    at[0] = va
    return why


cdef bint fault_leaf(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t va, bint write) noexcept nogil:
    """Is va mapped by a 2 MiB leaf that allows the access? What others have too must be copied, a small page at a
    time: the leaf is split.
    """
    cdef uint64_t *pmd = huge_pmd(m.h, v.mm.pgd, va)
    if pmd == NULL:
        return False
    if not write or pmd[0] & PTE_RW:
        return True
    if not reuse_huge_pmd(m, v, pmd):
        split_huge_pmd(m, pmd)
        return False
    count_faults(m, ctx, va, 1, True, True)
    return True


cdef int fault_pages(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *at, uint64_t end, bint write, uint64_t *stopped
                     ) noexcept nogil:
    """Fault [at, end) of one VMA; at: how far it came."""
    cdef uint64_t va = at[0], next
    cdef uint64_t *table
    cdef int why = WHY_DONE
    while va < end:
        if fault_leaf(m, ctx, v, va, write):
            va = (va | (HPAGE_PMD_SIZE - 1)) + 1
            continue
        table = pte_alloc(m, ctx, v.mm, va, &next)
        if table == NULL:
            why = WHY_NEED_RECLAIM
            break
        why = fault_table(m, ctx, v, table, &va, next if next < end else end, write, stopped)
        if why != WHY_DONE:
            break
    at[0] = va if va < end else end
    return why


def fault_range(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t start, uint64_t end, bint write):
    """Fault [start, end) of one VMA that allows the access: handle_mm_fault() for a range.

    Returns (next, why, entry): how far it came, ``Why``; for WAIT_IO and WAIT_LOCK the swap entry, for MIGRATION_ENTRY
    and WAIT_PAGE the page, for NEED_RECLAIM that which is to be copied; FILE: see file_fault(). A private write needs
    ``vma.anon_vma``.
    """
    cdef uint64_t va = start, stopped = 0
    cdef int why
    with nogil:
        why = fault_pages(&mem.m, &ctx.c, &vma.v, &va, end, write, &stopped)
    return va, why, stopped


# ---------------------------------------------------------------- unmapping

cdef inline bint all_pages(const uint64_t *ptes, uint32_t n) noexcept nogil:
    """Do all these entries name pages with a struct page? The usual table, gone through by loops without a branch."""
    cdef uint64_t every = PTE_PRESENT, some = 0
    cdef uint32_t i
    for i in range(n):
        every &= ptes[i]
        some |= ptes[i]
    return every != 0 and not some & PTE_SPECIAL


cdef void gather_free(memmap *m, uint32_t cpu, mm_c *mm, uint32_t *pfns, uint32_t n, uint64_t start,
                      uint64_t end) noexcept nogil:
    """tlb_finish_mmu(): flush, so that no TLB names the frames that were gathered, then free them."""
    flush_range(m, mm, start, end)
    free_pages_bulk(m, cpu, pfns, n)
    m.h.now += n * m.h.cost.free_page


cdef uint32_t put_usual(page *hot, uint32_t *chunks, uint32_t *pfns, uint32_t n, uint32_t chunk) noexcept nogil:
    """Free the pages in front of pfns that are mapped once, held by nobody else, and stand on the LRU in this chunk.

    Returns how many there were; chunk, list and counters do not know of it yet. Behind pfns[n] there are 32 more.
    """
    cdef uint32_t i
    cdef page *p
    for i in range(n):
        nl_prefetchw(&hot[pfns[i + 32]])
        p = &hot[pfns[i]]
        if (p.lru >> 6 ^ chunk) | (p.mapcount ^ 1) | (<uint32_t>p.refcount ^ 1) | (p.flags & PG_mlocked):
            return i
        chunks[p.lru] = HOLE
        p.flags = p.flags >> PG_ZONE_SHIFT << PG_ZONE_SHIFT
        p.refcount = 0
        p.lru = 0
        p.mapcount = 0
        p.link = 0                              # it is already; but one store for all is the fastest
        p.pincount = 0
        p.rmap = 0
    return n


cdef uint32_t put_mappings(memmap *m, uint32_t *pfns, uint32_t n) noexcept nogil:
    """page_remove_rmap() and folio_put() for PTEs of n anonymous pages.

    Keeps those that nobody holds any more in front of pfns, and returns how many there are. Behind pfns[n] there are
    32 more.
    """
    cdef page *p
    cdef lru_leaving leaving
    cdef stat_run mapped
    cdef uint32_t i = 0, k = 0, pfn, chunk, usual
    lru_leaving_begin(&leaving)
    stat_begin(&mapped, NR_ANON_MAPPED)
    while i < n:
        nl_prefetchw(&m.hot[pfns[i + 32]])
        pfn = pfns[i]
        i += 1
        p = &m.hot[pfn]
        VM_BUG_ON_PAGE(p.mapcount == 0 or p.refcount <= 0, pfn)
        p.rmap = 0
        p.mapcount -= 1
        if p.mapcount == 0:
            stat_add(m, &mapped, p.flags >> PG_NODE_SHIFT, -1)
        p.refcount -= 1
        if p.refcount and not free_swap_cache(m, p, pfn):
            continue
        chunk = p.lru >> 6 if p.flags & PG_lru else 0
        pages_free_prepare(m, &leaving, pfn)
        pfns[k] = pfn
        k += 1
        if chunk:                               # most often its neighbours go the same way, and lie on its node
            usual = put_usual(m.hot, m.chunks, pfns + i, n - i, chunk)
            leaving.n += usual
            mapped.n -= usual
            if k < i:
                memmove(&pfns[k], &pfns[i], usual * sizeof(uint32_t))
            k += usual
            i += usual
    lru_leaving_end(m, &leaving)
    stat_end(m, &mapped)
    return k


cdef void zap_table(memmap *m, mm_c *mm, uint32_t cpu, uint64_t *table, uint64_t va, uint64_t end,
                    bint locked, bint file) noexcept nogil:
    """zap_pte_range(): empty the PTEs of [va, end)."""
    cdef uint64_t *ptes = &table[(va >> PAGE_SHIFT) & 511]
    cdef uint32_t most = <uint32_t>((end - va + PAGE_SIZE - 1) >> PAGE_SHIFT)
    cdef uint32_t pfns[544]                     # 512, and 32 that put_usual() may look at
    cdef uint32_t late[512]                     # pages of a file that were cut off while they were mapped
    cdef uint32_t n = 0, special = 0, swapped = 0, k = 0, nr_late = 0, at, pfn
    cdef uint64_t pte
    if not file and all_pages(ptes, most):
        n = most
        for at in range(most):
            pfns[at] = <uint32_t>pte_pfn(ptes[at])
    else:
        for at in range(most):
            pte = ptes[at]
            if pte_mapped(pte):
                if pte & PTE_SPECIAL:
                    special += 1
                    continue
                pfn = <uint32_t>pte_pfn(pte)
                if m.hot[pfn].flags & PG_anon:
                    pfns[n] = pfn
                    n += 1
                    continue
                special += 1
                if locked:
                    munlock_page(m, pfn)
                unmap_file_page(m, mm, pfn, pte)
                if m.hot[pfn].refcount == 0:
                    page_free_prepare(m, pfn)
                    late[nr_late] = pfn
                    nr_late += 1
            elif is_migration_entry(pte):
                mm_counter(mm, &m.hot[mig_entry_pfn(pte)])[0] -= 1
                if locked:
                    munlock_page(m, mig_entry_pfn(pte))
            elif pte:
                free_swap_and_cache(m, cpu, entry_of(pte))
                swapped += 1
    memset(ptes, 0, most * sizeof(uint64_t))
    memset(&pfns[n], 0, 32 * sizeof(uint32_t))
    mm.rss_anon -= n
    mm.rss_swap -= swapped
    if locked:
        for at in range(n):                     # one by one: each goes back to the list of its age first, and leaves it
            munlock_page(m, pfns[at])
            pfns[k] = pfns[at]
            k += put_mappings(m, &pfns[k], 1)
    else:
        k = put_mappings(m, pfns, n)
    memcpy(&pfns[k], late, nr_late * sizeof(uint32_t))
    k += nr_late
    if n + special:
        gather_free(m, cpu, mm, pfns, k, va, end)


def zap_range(MemMap mem, MmStruct mm, uint32_t cpu, uint64_t start, uint64_t end, bint locked=False,
              bint file=False) -> None:
    """Unmap every page of [start, end) and free those that nobody else holds: unmap_page_range().

    locked: the range lies in a VM_LOCKED VMA; file: in one of a file. Page tables stay.
    """
    cdef uint64_t va = start, next, stop
    cdef uint64_t *table
    cdef uint32_t i
    cdef memmap *m = &mem.m
    with nogil:
        lru_drain_cpu(m, cpu)
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            stop = next if next < end and next > va else end
            if table == NULL and not zap_huge_pmd(m, &mm.c, cpu, va, stop, locked):
                table = pte_table(m.h, mm.c.pgd, va, &next)
            if table != NULL:
                fetch_next_table(m.h, mm.c.pgd, stop, end)
                zap_table(m, &mm.c, cpu, table, va, stop, locked, file)
            va = stop
        for i in range(m.nr_nodes * NR_LRU_LISTS):
            lru_check_holes(m, &m.lrus[i])


cdef bint free_level(memmap *m, uint32_t cpu, mm_c *mm, uint64_t *table, int level, uint64_t base, uint64_t start,
                     uint64_t end, uint64_t floor, uint64_t ceiling) noexcept nogil:
    """free_pgd_range() at one level: free lower tables whose whole reach lies in [floor, ceiling)."""
    cdef int shift = PAGE_SHIFT + 9 * level
    cdef uint64_t size = <uint64_t>1 << shift
    cdef uint64_t at
    cdef uint32_t first, last, i
    first = <uint32_t>((start - base) >> shift) if start > base else 0
    last = <uint32_t>((end - 1 - base) >> shift) if (end - 1 - base) >> shift < 511 else 511
    for i in range(first, last + 1):
        if not table[i] & PTE_PRESENT:
            continue
        at = base + i * size
        if level > 1:
            free_level(m, cpu, mm, table_at(m.h, table[i]), level - 1, at, start, end, floor, ceiling)
        if at >= floor and (ceiling == 0 or at + size <= ceiling):
            free_table(m, cpu, mm, PTE_ADDR(table[i]))
            table[i] = 0
    return True


def free_tables(MemMap mem, MmStruct mm, uint32_t cpu, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling):
    """free_pgtables(): give back the page tables of [start, end) that no VMA needs any more.

    floor: end of the VMA before (0 = none), ceiling: start of the next one (0 = none).
    """
    with nogil:
        free_level(&mem.m, cpu, &mm.c, table_at(mem.m.h, mm.c.pgd), <int>mem.m.h.levels - 1, 0, start, end,
                   floor, ceiling)


# ---------------------------------------------------------------- fork

cdef inline void share_page(page *p) noexcept nogil:
    """folio_dup_anon_rmap_pte() and folio_get()."""
    p.mapcount += 1
    p.refcount += 1
    p.rmap = 0
    p.flags &= ~<uint32_t>PG_anon_exclusive


cdef inline void share_migrating(page *p) noexcept nogil:
    """A page under migration gets a second entry: whoever ends the migration must look for both, and it is nobody's
    own.
    """
    p.flags = (p.flags | PG_migration_shared) & ~<uint32_t>PG_anon_exclusive


cdef void copy_table(memmap *m, mm_c *dst, vma_c *v, uint64_t *to, uint64_t *frm, uint64_t va, uint64_t end
                     ) noexcept nogil:
    """copy_present_ptes() for one table: share every page, read-only on both sides."""
    cdef uint64_t pte
    cdef uint32_t first = <uint32_t>(va >> PAGE_SHIFT) & 511, n = <uint32_t>((end - va) >> PAGE_SHIFT), i
    cdef page *hot = m.hot
    cdef int64_t copied = 0, anon = 0
    to += first
    frm += first
    if v.mapping == NULL and all_pages(frm, n):
        for i in range(n):
            to[i] = frm[i] & ~<uint64_t>(PTE_RW | PTE_ACCESSED)
            frm[i] = frm[i] & ~<uint64_t>PTE_RW
        for i in range(n):
            nl_prefetchw(&hot[pte_pfn(to[i + 32 if i + 32 < n else i])])
            share_page(&hot[pte_pfn(to[i])])
        copied = anon = n
    else:
        for i in range(n):
            pte = frm[i]
            if pte_mapped(pte):
                if not pte & PTE_SPECIAL:
                    share_page(&hot[pte_pfn(pte)])
                    mm_counter(dst, &hot[pte_pfn(pte)])[0] += 1
                    copied += 1
                if pte & PTE_RW:
                    pte &= ~<uint64_t>PTE_RW
                    frm[i] = pte
                pte &= ~<uint64_t>PTE_ACCESSED
            elif is_migration_entry(pte):
                share_migrating(&hot[mig_entry_pfn(pte)])
                pte = mig_entry_to_read(pte)
                frm[i] = pte
                mm_counter(dst, &hot[mig_entry_pfn(pte)])[0] += 1
                copied += 1
            elif pte == 0:
                continue
            else:                               # neither side has it for itself any more
                pte = entry_of(pte)
                swap_dup(m, pte)
                frm[i] = pte
                dst.rss_swap += 1
            to[i] = pte
    dst.rss_anon += anon
    m.h.now += copied * m.h.cost.fork_page


def copy_range(MemMap mem, MmStruct dst, MmStruct src, VMA dst_vma, VMA src_vma, AllocCtx ctx, uint64_t start,
               uint64_t end):
    """copy_page_range() for [start, end) of a private anonymous VMA; returns (next, why, 0)."""
    cdef uint64_t va = start, next, unused
    cdef uint64_t *frm
    cdef uint64_t *to
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    with nogil:
        while va < end:
            frm = pte_table(m.h, src.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if frm == NULL:
                frm = huge_pmd(m.h, src.c.pgd, va)
                if frm != NULL:
                    why = copy_huge_pmd(m, &ctx.c, &dst.c, frm, va)
                    if why != WHY_DONE:
                        break
            else:
                to = pte_alloc(m, &ctx.c, &dst.c, va, &unused)
                if to == NULL:
                    why = WHY_NEED_RECLAIM
                    break
                fetch_next_table(m.h, src.c.pgd, next, end)
                copy_table(m, &dst.c, &dst_vma.v, to, frm, va, next)
            va = next
        flush_range(m, &src.c, start, va)
    return va, why, 0


# ---------------------------------------------------------------- protection, moving

cdef void protect_table(memmap *m, vma_c *v, uint64_t *table, uint64_t va, uint64_t end) noexcept nogil:
    """change_pte_range(): give present PTEs the protection of their VMA, keeping frame, accessed and dirty."""
    cdef uint64_t keep = PTE_ACCESSED | PTE_DIRTY | PTE_SPECIAL
    cdef uint64_t pte, new
    cdef uint32_t i
    while va < end:
        i = <uint32_t>(va >> PAGE_SHIFT) & 511
        va += PAGE_SIZE
        pte = table[i]
        if pte_mapped(pte):
            new = PTE_ADDR(pte) | (pte & keep) | (v.prot & ~<uint64_t>PTE_ACCESSED)
            # can_change_pte_writable(): a page that is ours alone need not fault to become writable again
            if v.flags & VM_WRITE and not pte & PTE_SPECIAL and m.hot[pte_pfn(pte)].flags & PG_anon_exclusive:
                new |= PTE_RW
            table[i] = new
        elif is_migration_entry(pte):
            table[i] = mig_entry_protect(pte, v.prot, (v.flags & VM_WRITE) != 0)


def protect_range(MemMap mem, MmStruct mm, VMA vma, uint64_t start, uint64_t end):
    """change_protection(): bring the PTEs of [start, end) in line with ``vma.flags``."""
    cdef uint64_t va = start, next
    cdef uint64_t *table
    cdef memmap *m = &mem.m
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if table == NULL:
                table = huge_pmd(m.h, mm.c.pgd, va)
                if table != NULL and next - va == HPAGE_PMD_SIZE:
                    change_huge_pmd(m, &vma.v, table)
                    table = NULL
                elif table != NULL:
                    table = split_huge_table(m, &mm.c, va)
            if table != NULL:
                protect_table(m, &vma.v, table, va, next)
            va = next
        flush_range(m, &mm.c, start, end)


def move_range(MemMap mem, MmStruct mm, AllocCtx ctx, uint64_t old, uint64_t new, uint64_t length):
    """move_page_tables(): move every PTE of [old, old + length) to ``new``; returns (bytes done, why, 0)."""
    cdef uint64_t done = 0, next, pte
    cdef uint64_t *frm
    cdef uint64_t *to
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    cdef page *p
    with nogil:
        while done < length:
            frm = pte_table(m.h, mm.c.pgd, old + done, &next)
            if frm == NULL:
                frm = huge_pmd(m.h, mm.c.pgd, old + done)
                if frm != NULL and not ((old + done) | (new + done)) & (HPAGE_PMD_SIZE - 1) \
                        and length - done >= HPAGE_PMD_SIZE:
                    why = move_huge_pmd(m, &ctx.c, &mm.c, frm, new + done)
                    if why == WHY_NEED_RECLAIM:
                        break
                    if why == WHY_DONE:
                        done += HPAGE_PMD_SIZE
                        continue
                    why = WHY_DONE
                if frm != NULL:
                    frm = split_huge_table(m, &mm.c, old + done)
            if frm == NULL:
                done = next - old if next > old + done and next - old < length else length
                continue
            frm = &frm[((old + done) >> PAGE_SHIFT) & 511]
            pte = frm[0]
            if pte:
                to = pte_alloc(m, &ctx.c, &mm.c, new + done, &next)
                if to == NULL:
                    why = WHY_NEED_RECLAIM
                    break
                to = &to[((new + done) >> PAGE_SHIFT) & 511]
                to[0] = pte
                frm[0] = 0
                if pte_mapped(pte) and not pte & PTE_SPECIAL:
                    p = &m.hot[pte_pfn(pte)]
                    if p.mapcount == 1:
                        p.rmap = pte_address(m.h, to)
                elif is_migration_entry(pte):
                    m.hot[mig_entry_pfn(pte)].flags |= PG_migration_shared
            done += PAGE_SIZE
        flush_range(m, &mm.c, old, old + done)
    return done, why, 0
