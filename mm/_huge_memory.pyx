"""Transparent huge pages: 512 frames in one block that a single PMD entry can map.

Mirrors mm/huge_memory.c. Deliberately different (docs/adr/0008): struct page knows which frames are one huge page
(PG_head, PG_tail), and everything else page by page. References, mappings, rights and the place on the LRU belong to
each of the 512 pages, and a PMD that maps the block counts as a mapping of every one. So whoever deals with pages need
not know of huge ones; only who goes through page tables meets PMD leaves, and who moves pages moves all 512 at once.

When one of its pages is freed, the others are still its parts, though no PMD can map them any more, and move together,
until the huge page is split.

Splitting a mapping must not fail. As in Linux the PTE table that it needs is taken when the PMD is set, and lies in
reserve until then: struct page of the PMD table has the first such table in `link`, each of these the next. In
the first page of a huge page `link` is the number of PMDs that map it.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._copy cimport copy_fence, zero_filled, zero_page_nt
from numalab.arch._hw cimport PAGE_SHIFT, hw
from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.arch._mmu cimport tlb_flush_mm
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_ADDR, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_SPECIAL, PTE_USER, huge_pmd,
    pte_address, pte_at, pte_mapped, pte_offset, pte_pfn, spread_leaf, table_at,
)
from numalab.mm._filemap cimport get_vma_policy
from numalab.mm._lru cimport (
    drain_lru_add, folio_set_swapbacked, is_lazyfree, lru_add_batch, lru_leaving, lru_leaving_begin, lru_leaving_end,
    munlock_page, page_free_prepare, pages_free_prepare,
)
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_USER_MOVABLE, HPAGE_PMD_NR, HPAGE_PMD_ORDER, MemMap, MmStruct, NO_PFN, NR_ANON_MAPPED,
    NR_ANON_THPS, NR_MLOCK, NR_NODE_STATS, PGFAULT, PGREUSE, PG_NODE_SHIFT, PG_anon, PG_anon_exclusive, PG_dirty,
    PG_head, PG_hugetlb, PG_isolated, PG_locked, PG_mlocked, PG_partially_mapped, PG_swapbacked, PG_table, PG_tail,
    PG_unevictable, PG_uptodate, THP_FAULT_ALLOC, THP_FAULT_FALLBACK, THP_MIGRATION_FAIL, THP_MIGRATION_SPLIT,
    THP_SPLIT_PAGE, THP_SPLIT_PMD, UNEVICTABLE_PGCULLED, UNEVICTABLE_PGMLOCKED, VMA, VM_LOCKED, VM_WRITE, WHY_DONE,
    WHY_NEED_RECLAIM, WHY_NO_TARGET, alloc_ctx, anon_c, memmap, mm_c, page, page_cold, rmap_areas, vma_c,
)
from numalab.mm._page_alloc cimport (
    alloc_huge_mpol, alloc_table, free_pages_block, free_pages_bulk, free_table, pmd_alloc, pte_alloc,
)
from numalab.mm._rmap cimport try_to_unmap_one
from numalab.mm._tlbbatch cimport flush_range
from numalab.mm._trace cimport trace_page_fault


# ---------------------------------------------------------------- tables in reserve, PMDs that map a page

cdef void deposit(memmap *m, uint64_t *pmd, uint64_t table) noexcept nogil:
    """pgtable_trans_huge_deposit()."""
    cdef page *owner = &m.hot[pte_address(m.h, pmd) >> PAGE_SHIFT]
    m.hot[table >> PAGE_SHIFT].link = owner.link
    owner.link = <uint32_t>(table >> PAGE_SHIFT)


cdef uint64_t withdraw(memmap *m, uint64_t *pmd) noexcept nogil:
    """pgtable_trans_huge_withdraw(): the physical address of an empty table, which belongs under this PMD now."""
    cdef uint32_t owner = <uint32_t>(pte_address(m.h, pmd) >> PAGE_SHIFT)
    cdef uint32_t table = m.hot[owner].link
    VM_BUG_ON_PAGE(table == 0 or not m.hot[table].flags & PG_table, owner)
    m.hot[owner].link = m.hot[table].link
    m.hot[table].link = 0
    m.cold[table].index = m.cold[owner].index << 9 | (pte_address(m.h, pmd) >> 3 & 511)
    return <uint64_t>table << PAGE_SHIFT


cdef void count_pmd(memmap *m, uint32_t head, int n) noexcept nogil:
    """One PMD more or less maps a huge page."""
    cdef page *p = &m.hot[head]
    cdef bint before = p.link != 0
    VM_BUG_ON_PAGE(head & (HPAGE_PMD_NR - 1) or (n < 0 and not before), head)
    p.link += n
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_THPS] += <int>(p.link != 0) - <int>before


cdef void set_huge_pmd(memmap *m, uint64_t *pmd, uint64_t leaf, uint64_t table) noexcept nogil:
    """Map a huge page. The caller counts the mapping in each of its pages."""
    deposit(m, pmd, table)
    pmd[0] = leaf | PTE_PSE
    count_pmd(m, <uint32_t>pte_pfn(leaf), 1)


# ---------------------------------------------------------------- a whole page

cdef void new_huge_page(memmap *m, vma_c *v, uint64_t va, uint32_t head) noexcept nogil:
    """A block of frames becomes an anonymous huge page, mapped once at va, 2 MiB aligned. It is on no list yet."""
    cdef uint32_t flags = PG_uptodate | PG_swapbacked | PG_anon | PG_anon_exclusive, i
    cdef bint locked = (v.flags & VM_LOCKED) != 0
    cdef int64_t *stat = m.node_stat + (m.hot[head].flags >> PG_NODE_SHIFT) * NR_NODE_STATS
    cdef page *p
    cdef page_cold *c
    if locked:
        flags |= PG_mlocked | PG_unevictable
        stat[NR_MLOCK] += HPAGE_PMD_NR
        m.event[UNEVICTABLE_PGMLOCKED] += HPAGE_PMD_NR
        m.event[UNEVICTABLE_PGCULLED] += HPAGE_PMD_NR
    for i in range(512):
        p = &m.hot[head + i]
        p.flags |= flags | (PG_tail if i else PG_head)
        p.refcount = 1
        p.mapcount = 1
        p.pincount = 0
        p.rmap = 0
        c = &m.cold[head + i]
        c.mapping = v.anon_id
        c.index = v.pgoff + ((va - v.start) >> PAGE_SHIFT) + i
        c.private = 0
        c.mlock_count = locked
    m.hot[head].link = 0
    stat[NR_ANON_MAPPED] += HPAGE_PMD_NR
    v.mm.rss_anon += HPAGE_PMD_NR


cdef void free_huge_page(memmap *m, uint32_t head) noexcept nogil:
    """A block that nobody holds goes back as one."""
    cdef lru_leaving leaving
    cdef uint32_t i
    lru_leaving_begin(&leaving)
    for i in range(512):
        pages_free_prepare(m, &leaving, head + i)
    lru_leaving_end(m, &leaving)
    free_pages_block(m, head, HPAGE_PMD_ORDER)


cdef bint put_huge_page(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil:
    """One mapping less of each page; frees those that nobody holds. Whether that were all."""
    cdef int64_t unmapped = 0
    cdef uint32_t i, pfn, held = 0
    cdef page *p
    for i in range(512):
        p = &m.hot[head + i]
        VM_BUG_ON_PAGE(p.mapcount == 0 or p.refcount <= 0, head + i)
        p.rmap = 0
        p.mapcount -= 1
        p.refcount -= 1
        unmapped += p.mapcount == 0
        held += p.refcount != 0
    m.node_stat[(m.hot[head].flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_MAPPED] -= unmapped
    if held == 0:
        free_huge_page(m, head)
        return True
    if held < HPAGE_PMD_NR:
        for pfn in range(head, head + HPAGE_PMD_NR):
            if m.hot[pfn].refcount == 0:
                page_free_prepare(m, pfn)
                free_pages_bulk(m, cpu, &pfn, 1)
    return False


cdef void try_to_map_to_zeropage(memmap *m, uint32_t pfn) noexcept nogil:
    """try_to_map_unused_to_zeropage(): what was never written goes, and who maps it maps the zero page, but for locked
    areas.
    """
    cdef page *p = &m.hot[pfn]
    cdef page_cold *c = &m.cold[pfn]
    cdef anon_c *anon = m.anon[c.mapping]
    cdef uint64_t *pte
    cdef uint32_t i
    cdef vma_c **areas
    cdef vma_c *v
    if p.mapcount == 0 or p.flags & PG_mlocked or not zero_filled(m.h.ram + (<uint64_t>pfn << PAGE_SHIFT)):
        return
    for i in range(rmap_areas(anon, c.index, c.index, &areas)):
        v = areas[i]
        if v.flags & VM_LOCKED or c.index < v.pgoff or c.index >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
            continue
        pte = pte_offset(m.h, v.mm.pgd, v.start + ((c.index - v.pgoff) << PAGE_SHIFT))
        if pte == NULL or not pte_mapped(pte[0]) or pte[0] & PTE_SPECIAL or pte_pfn(pte[0]) != pfn:
            continue
        pte[0] = <uint64_t>m.zero_pfn << PAGE_SHIFT | PTE_SPECIAL | v.prot
        tlb_flush_mm(m.h, v.mm.asid)
        v.mm.rss_anon -= 1
        p.mapcount -= 1
        p.refcount -= 1
        p.rmap = 0
    if p.mapcount == 0:
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_MAPPED] -= 1
    if p.refcount == 0:
        page_free_prepare(m, pfn)
        free_pages_block(m, pfn, 0)


cdef inline uint32_t huge_areas(memmap *m, uint32_t head, vma_c ***areas) noexcept nogil:
    """The areas that may map a huge page."""
    cdef page_cold *c = &m.cold[head]
    return rmap_areas(m.anon[c.mapping], c.index, c.index + HPAGE_PMD_NR - 1, areas)


cdef void split_folio(memmap *m, uint32_t pfn, bint zeros) noexcept nogil:
    """split_huge_page(): the pages go their own ways. Nobody need be asked: each has its own references.

    zeros: those that hold nothing are given up, as RMP_USE_SHARED_ZEROPAGE asks. Who calls looks again what is mapped.
    """
    cdef uint32_t head = huge_head(pfn), i = 0, n
    cdef uint64_t *pmd
    cdef vma_c **areas
    if m.hot[head].flags & PG_head:
        n = huge_areas(m, head, &areas)
        while m.hot[head].link and i < n:
            pmd = mapping_pmd(m, areas[i], head)
            if pmd != NULL:
                split_huge_pmd(m, pmd)
            i += 1
    for pfn in range(head, head + HPAGE_PMD_NR):
        if is_huge(m, pfn):
            m.hot[pfn].flags &= ~<uint32_t>(PG_head | PG_tail | PG_partially_mapped)
            if zeros:
                try_to_map_to_zeropage(m, pfn)
    m.event[THP_SPLIT_PAGE] += 1


cdef bint huge_mapped_shared(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_likely_mapped_shared() of a huge page: Linux knows how many PMDs and PTEs map it, and how often its first
    page is mapped; for the rest it guesses.
    """
    cdef uint32_t head = huge_head(pfn), first, i
    cdef int64_t pmds, total = 0
    if m.hot[head].flags & PG_hugetlb:
        return m.hot[head].mapcount > 1
    first = m.hot[head].mapcount if m.hot[head].flags & PG_head else 0
    pmds = m.hot[head].link if m.hot[head].flags & PG_head else 0
    for i in range(512):
        if is_huge(m, head + i):
            total += m.hot[head + i].mapcount
    total += pmds - pmds * HPAGE_PMD_NR
    return total > 1 and (pmds > 0 or total > HPAGE_PMD_NR or first > 1)


cdef bint partially_mapped(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_test_partially_mapped(): is there a part of a huge page that nobody maps any more?"""
    cdef uint32_t head = huge_head(pfn), i
    for i in range(512):
        if not is_huge(m, head + i) or m.hot[head + i].mapcount == 0:
            return True
    return False


cdef bint huge_page_pinned(memmap *m, uint32_t pfn) noexcept nogil:
    """Does a page have references that no mapping explains, and no list? Such a huge page cannot be split, in Linux."""
    cdef uint32_t head = huge_head(pfn), i
    cdef page *p
    for i in range(512):
        p = &m.hot[head + i]
        if is_huge(m, head + i) and <uint32_t>p.refcount > p.mapcount + ((p.flags & PG_isolated) != 0):
            return True
    return False


cdef bint try_split_folio(memmap *m, uint32_t pfn) noexcept nogil:
    """A huge page that cannot move as a whole goes on in small pages. False: somebody holds a part of it."""
    if huge_page_pinned(m, pfn):
        return False
    split_folio(m, pfn, True)
    m.event[THP_MIGRATION_SPLIT] += 1
    m.event[THP_MIGRATION_FAIL] += 1
    return True


cdef inline uint64_t *mapping_pmd(memmap *m, vma_c *v, uint32_t head) noexcept nogil:
    """The leaf by which an area maps a huge page, or NULL."""
    cdef uint64_t index = m.cold[head].index
    cdef uint64_t *pmd
    if index < v.pgoff or index >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
        return NULL
    pmd = huge_pmd(m.h, v.mm.pgd, v.start + ((index - v.pgoff) << PAGE_SHIFT))
    return pmd if pmd != NULL and pte_pfn(pmd[0]) == head else NULL


# ---------------------------------------------------------------- one PMD

cdef void split_huge_pmd(memmap *m, uint64_t *pmd) noexcept nogil:
    """__split_huge_pmd(): 512 PTEs map what the leaf has mapped. What TLBs know stays true. The pages take over its
    dirty bit, as the PTEs do.
    """
    cdef uint32_t head = <uint32_t>pte_pfn(pmd[0]), dirty = PG_dirty if pmd[0] & PTE_DIRTY else 0, i
    cdef uint64_t table = withdraw(m, pmd)
    cdef page *p
    spread_leaf(pmd[0], pte_at(m.h, table))
    for i in range(512):
        p = &m.hot[head + i]
        p.flags |= dirty
        if p.mapcount == 1:
            p.rmap = table + 8 * i
    pmd[0] = table | PTE_PRESENT | PTE_RW | PTE_USER
    count_pmd(m, head, -1)
    m.event[THP_SPLIT_PMD] += 1


cdef uint64_t *split_huge_table(memmap *m, mm_c *mm, uint64_t va) noexcept nogil:
    """Where pte_table() has none: the table of a leaf that had to be split, or NULL."""
    cdef uint64_t *pmd = huge_pmd(m.h, mm.pgd, va)
    if pmd == NULL:
        return NULL
    split_huge_pmd(m, pmd)
    return table_at(m.h, pmd[0])


cdef bint zap_huge_pmd(memmap *m, mm_c *mm, uint32_t cpu, uint64_t start, uint64_t end, bint locked) noexcept nogil:
    """Unmap [start, end) if that is all that a leaf maps; else it is split, if it is one: False."""
    cdef uint64_t *pmd = huge_pmd(m.h, mm.pgd, start)
    cdef uint64_t table
    cdef uint32_t head, i
    if pmd == NULL:
        return False
    if end - start < HPAGE_PMD_SIZE:
        split_huge_pmd(m, pmd)
        return False
    head = <uint32_t>pte_pfn(pmd[0])
    table = withdraw(m, pmd)
    pmd[0] = 0
    count_pmd(m, head, -1)
    if locked:
        for i in range(512):
            munlock_page(m, head + i)
    mm.rss_anon -= HPAGE_PMD_NR
    flush_range(m, mm, start, end)
    if put_huge_page(m, cpu, head):
        m.h.now += m.h.cost.free_page           # in Linux, one page
    free_table(m, cpu, mm, table)
    return True


cdef int copy_huge_pmd(memmap *m, alloc_ctx *ctx, mm_c *dst, uint64_t *frm, uint64_t va) noexcept nogil:
    """fork(): both map the page, and neither may write."""
    cdef uint64_t *to = pmd_alloc(m, ctx, dst, va)
    cdef uint64_t table = alloc_table(m, ctx, dst, va, 0) if to != NULL else 0
    cdef uint32_t head = <uint32_t>pte_pfn(frm[0]), i
    cdef page *p
    if table == 0:
        return WHY_NEED_RECLAIM
    frm[0] &= ~<uint64_t>PTE_RW
    set_huge_pmd(m, to, frm[0] & ~<uint64_t>PTE_ACCESSED, table)
    for i in range(512):
        p = &m.hot[head + i]
        p.mapcount += 1
        p.refcount += 1
        p.rmap = 0
        p.flags &= ~<uint32_t>PG_anon_exclusive
    dst.rss_anon += HPAGE_PMD_NR
    m.h.now += m.h.cost.fork_page
    return WHY_DONE


cdef bint all_exclusive(memmap *m, uint32_t head) noexcept nogil:
    cdef uint32_t every = PG_anon_exclusive, i
    for i in range(512):
        every &= m.hot[head + i].flags
    return every != 0


cdef void change_huge_pmd(memmap *m, vma_c *v, uint64_t *pmd) noexcept nogil:
    """mprotect(): the leaf gets the protection of its area."""
    cdef uint64_t leaf = pmd[0]
    cdef uint64_t new = PTE_ADDR(leaf) | (leaf & (PTE_ACCESSED | PTE_DIRTY)) | (v.prot & ~<uint64_t>PTE_ACCESSED)
    if v.flags & VM_WRITE and all_exclusive(m, <uint32_t>pte_pfn(leaf)):
        new |= PTE_RW
    pmd[0] = new | PTE_PSE


cdef int move_huge_pmd(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t *frm, uint64_t new) noexcept nogil:
    """mremap() of all that a leaf maps, to where a leaf can stand. NO_TARGET: a table is there already."""
    cdef uint64_t *to = pmd_alloc(m, ctx, mm, new)
    if to == NULL:
        return WHY_NEED_RECLAIM
    if to[0]:
        return WHY_NO_TARGET
    deposit(m, to, withdraw(m, frm))
    to[0] = frm[0]
    frm[0] = 0
    return WHY_DONE


cdef bint reuse_huge_pmd(memmap *m, vma_c *v, uint64_t *pmd) noexcept nogil:
    """do_huge_pmd_wp_page(): a write to a huge page mapped read-only, if nobody else has it. Else it must be split."""
    cdef uint32_t head = <uint32_t>pte_pfn(pmd[0]), i
    cdef page *p
    for i in range(512):
        p = &m.hot[head + i]
        if not p.flags & PG_anon_exclusive and (p.refcount != 1 or p.flags & PG_locked):
            return False
    for i in range(512):
        m.hot[head + i].flags |= PG_anon_exclusive
        m.cold[head + i].mapping = v.anon_id
    pmd[0] |= PTE_RW | PTE_DIRTY | PTE_ACCESSED
    tlb_flush_mm(m.h, v.mm.asid)
    m.event[PGREUSE] += 1
    return True


# ---------------------------------------------------------------- lazyfree

cdef bint discard_mappings(memmap *m, vma_c *v, uint32_t head, bint keep) noexcept nogil:
    """try_to_unmap_one() for all of a huge page that is lazyfree, in one area; False: it must stay."""
    cdef uint64_t index = m.cold[head].index
    cdef uint64_t *pmd = mapping_pmd(m, v, head)
    cdef uint64_t *pte
    cdef uint32_t i
    cdef page *p
    if pmd != NULL:
        split_huge_pmd(m, pmd)
    for i in range(512):
        if index + i < v.pgoff or index + i >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
            continue
        pte = pte_offset(m.h, v.mm.pgd, v.start + ((index + i - v.pgoff) << PAGE_SHIFT))
        if pte == NULL or not pte_mapped(pte[0]) or pte[0] & PTE_SPECIAL or pte_pfn(pte[0]) != head + i:
            continue
        if keep or not try_to_unmap_one(m, head + i, pte, v.mm):
            return False
        p = &m.hot[head + i]
        p.rmap = 0
        if p.mapcount == 0:
            m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_MAPPED] -= 1
    return True


cdef bint discard_huge_page(memmap *m, uint32_t head) noexcept nogil:
    """try_to_unmap() of a huge page that is lazyfree, all of it isolated. Leaves are split first; no TLB is flushed.

    False: somebody has written to a part of it, or holds one. Then it is lazyfree no more, and stays mapped where the
    walk has not been yet.
    """
    cdef vma_c **areas
    cdef uint32_t dirty = 0, a = 0, i, n = huge_areas(m, head, &areas)
    cdef bint keep = huge_page_pinned(m, head)
    for i in range(512):
        dirty |= m.hot[head + i].flags & PG_dirty
    keep |= dirty != 0
    while a < n and discard_mappings(m, areas[a], head, keep):
        a += 1
    if a == n:
        return True
    for i in range(512):
        dirty |= m.hot[head + i].flags & PG_dirty
    for i in range(512):
        m.hot[head + i].flags |= dirty
        if is_lazyfree(&m.hot[head + i]):
            folio_set_swapbacked(m, &m.hot[head + i])
    return False


# ---------------------------------------------------------------- migration

cdef bint is_huge_list(memmap *m, const uint32_t *pfns, uint64_t n) noexcept nogil:
    """Do these begin with all pages of a huge page, in order, that somebody maps and one anon_vma leads to? Not if it
    is to be split as soon as it is met.
    """
    cdef uint32_t head = pfns[0], i
    cdef uint64_t mapping = m.cold[head].mapping, index = m.cold[head].index
    if m.hot[head].flags & (PG_head | PG_partially_mapped) != PG_head or n < HPAGE_PMD_NR or m.hot[head].mapcount == 0:
        return False
    for i in range(512):
        if pfns[i] != head + i or not is_huge(m, head + i) or m.cold[head + i].mapping != mapping \
                or m.cold[head + i].index != index + i:
            return False
    return True


cdef inline void change_mapping(memmap *m, uint32_t src, uint32_t dst, uint64_t rmap) noexcept nogil:
    cdef page *p = &m.hot[dst]
    VM_BUG_ON_PAGE(m.hot[src].mapcount == 0 or m.hot[src].refcount <= 0, src)
    m.hot[src].mapcount -= 1
    m.hot[src].refcount -= 1
    m.hot[src].rmap = 0
    p.mapcount += 1
    p.refcount += 1
    p.rmap = rmap if p.mapcount == 1 else 0


cdef void remap_huge_page(memmap *m, uint32_t src, uint32_t dst) noexcept nogil:
    """Whoever maps the huge page at src, by a leaf or by PTEs, maps the one at dst. No TLB is flushed.

    There is no migration entry: nobody can look between this and the copy before it. Linux, which takes PTEs away one
    by one, sees the page partially mapped meanwhile, and splits it when it meets it next (deferred_split_folio()).
    """
    cdef vma_c **areas
    cdef uint64_t index = m.cold[src].index, moved = <uint64_t>dst - src << PAGE_SHIFT
    cdef uint64_t *pmd
    cdef uint64_t *pte
    cdef uint32_t a, i
    cdef vma_c *v
    for a in range(huge_areas(m, src, &areas)):
        v = areas[a]
        pmd = mapping_pmd(m, v, src)
        if pmd != NULL:
            pmd[0] += moved
            count_pmd(m, src, -1)
            count_pmd(m, dst, 1)
            for i in range(512):
                change_mapping(m, src + i, dst + i, 0)
            continue
        for i in range(512):
            if index + i < v.pgoff or index + i >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
                continue
            pte = pte_offset(m.h, v.mm.pgd, v.start + ((index + i - v.pgoff) << PAGE_SHIFT))
            if pte != NULL and pte_mapped(pte[0]) and not pte[0] & PTE_SPECIAL and pte_pfn(pte[0]) == src + i:
                pte[0] += moved
                change_mapping(m, src + i, dst + i, pte_address(m.h, pte))
                if m.hot[src + i].mapcount == 0:
                    m.hot[dst].flags |= PG_partially_mapped


cdef bint zapped_huge_zero(memmap *m, uint64_t *pmd) noexcept nogil:
    """Is nothing left of a huge page of zeros that was mapped here? Linux, which had no table for it, can map another.

    Once a part of it has become something else, it is a table like others.
    """
    cdef uint64_t *ptes
    cdef uint32_t i
    if pmd[0] & (PTE_SPECIAL | PTE_PSE) != PTE_SPECIAL:
        return False
    ptes = table_at(m.h, pmd[0])
    for i in range(512):
        if ptes[i]:
            pmd[0] &= ~<uint64_t>PTE_SPECIAL
            return False
    return True


# ---------------------------------------------------------------- Python face

def do_huge_pmd_anonymous_page(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t va, bint write,
                               uint32_t gfp) -> int:
    """First touch of the 2 MiB at va, of which nothing is mapped: a huge page, or for a read zeros.

    Returns ``Why``: NO_TARGET when there is no huge page, or something is mapped there; NEED_RECLAIM: no frame for a
    table. For reads Linux has one huge page of zeros; here 512 PTEs name the small one, and the PMD is SPECIAL.
    """
    cdef memmap *m = &mem.m
    cdef hw *h = m.h
    cdef uint64_t *pmd
    cdef uint64_t table, next
    cdef uint64_t *ptes
    cdef uint32_t head, i
    cdef vma_c *v = &vma.v
    cdef uint64_t index = v.pgoff + ((va - v.start) >> PAGE_SHIFT)
    pmd = pmd_alloc(m, &ctx.c, &mm.c, va)
    if pmd == NULL:
        return WHY_NEED_RECLAIM
    if pmd[0] and not zapped_huge_zero(m, pmd):
        return WHY_NO_TARGET
    if not write:
        ptes = pte_alloc(m, &ctx.c, &mm.c, va, &next)
        if ptes == NULL:
            return WHY_NEED_RECLAIM
        for i in range(512):
            ptes[i] = <uint64_t>m.zero_pfn << PAGE_SHIFT | PTE_SPECIAL | v.prot
        pmd[0] |= PTE_SPECIAL
    else:
        head = alloc_huge_mpol(m, &ctx.c, get_vma_policy(&ctx.c, v, index), index >> HPAGE_PMD_ORDER,
                               GFP_USER_MOVABLE | gfp)
        if head == NO_PFN:
            m.event[THP_FAULT_FALLBACK] += 1
            return WHY_NO_TARGET
        table = PTE_ADDR(pmd[0]) or alloc_table(m, &ctx.c, &mm.c, va, 0)
        if table == 0:
            free_pages_block(m, head, HPAGE_PMD_ORDER)
            return WHY_NEED_RECLAIM
        with nogil:
            for i in range(512):
                zero_page_nt(h.ram + (<uint64_t>(head + i) << PAGE_SHIFT))
            copy_fence()
        new_huge_page(m, v, va, head)
        set_huge_pmd(m, pmd, <uint64_t>head << PAGE_SHIFT | v.prot | PTE_DIRTY | (PTE_RW if v.flags & VM_WRITE else 0),
                     table)
        add_huge_to_lru(m, ctx.c.cpu, head)
        m.event[THP_FAULT_ALLOC] += 1
        h.now += HPAGE_PMD_NR * h.cost.zero_page
    ctx.c.min_flt += 1
    m.event[PGFAULT] += 1
    h.now += h.cost.fault
    trace_page_fault(m, va, 1, write, False)
    return WHY_DONE


cdef void add_huge_to_lru(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil:
    """folio_add_lru(): a large page does not wait in the CPU's batch, and neither do those before it."""
    cdef uint32_t pfns[512]
    cdef uint32_t i
    drain_lru_add(m, cpu)
    for i in range(512):
        pfns[i] = head + i
    lru_add_batch(m, pfns, HPAGE_PMD_NR)


def split_pmd(MemMap mem, MmStruct mm, uint64_t va) -> None:
    """split_huge_pmd_address(): if a leaf maps va, small pages do so now."""
    split_huge_table(&mem.m, &mm.c, va)


def split_pages(MemMap mem, uint32_t[::1] pfns) -> int:
    """split_folio() for every huge page that has a page in the list; returns how many there were."""
    cdef uint64_t i
    cdef int n = 0
    for i in range(<uint64_t>pfns.shape[0]):
        if mem.m.hot[pfns[i]].flags & (PG_head | PG_tail):
            split_folio(&mem.m, pfns[i], True)
            n += 1
    return n
