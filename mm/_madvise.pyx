"""MADV_FREE: a program does not need what is in these pages, and may write to them again.

Mirrors madvise_free_pte_range() of mm/madvise.c and madvise_free_huge_pmd() of mm/huge_memory.c. Each page forgets that
it was written to, in the page table and in struct page, and is marked lazyfree (mm/_lru.pyx): reclaim discards it if it
is still clean then. What is in swap is given up at once.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport (
    PTE_SPECIAL, huge_pmd, is_migration_entry, pte_mapped, pte_pfn, pte_table,
)
from numalab.mm._huge_memory cimport (
    HPAGE_PMD_SIZE, huge_page_pinned, is_huge, likely_mapped_shared, maps_whole, split_folio,
)
from numalab.mm._lru cimport folio_mark_lazyfree, lru_check_holes, mark_huge_lazyfree
from numalab.mm._mm_types cimport (
    HPAGE_PMD_NR, MemMap, MmStruct, NR_LRU_LISTS, PG_dirty, PG_locked, PG_swapcache, memmap, mm_c, page,
)
from numalab.mm._swap cimport entry_of, free_swap_and_cache, try_to_free_swap
from numalab.mm._tlbbatch cimport flush_range

cdef enum:
    USED = 0x060                # PTE_ACCESSED, PTE_DIRTY


cdef bint free_folio(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil:
    """A small page. False: what it holds may be somebody else's too, and is nowhere else."""
    cdef page *p = &m.hot[pfn]
    if p.flags & (PG_swapcache | PG_dirty):
        if p.flags & PG_locked or p.mapcount != 1:
            return False
        if p.flags & PG_swapcache and not try_to_free_swap(m, pfn):
            return False
        p.flags &= ~<uint32_t>PG_dirty
    folio_mark_lazyfree(m, cpu, pfn)
    return True


cdef bint free_whole(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil:
    """The same for a huge page, all of which is given up."""
    cdef uint32_t flags = 0, i
    cdef uint64_t mapped = 0
    for i in range(512):
        flags |= m.hot[head + i].flags
        mapped += m.hot[head + i].mapcount
    if flags & PG_dirty and (flags & PG_locked or mapped != HPAGE_PMD_NR):
        return False
    for i in range(512):
        m.hot[head + i].flags &= ~<uint32_t>PG_dirty
    mark_huge_lazyfree(m, cpu, head)
    return True


cdef bint free_huge_pmd(memmap *m, uint32_t cpu, uint64_t *pmd, uint64_t length) noexcept nogil:
    """madvise_free_huge_pmd(): all that a leaf maps, or a part of it, which splits the page. Whether a TLB must hear of
    it.
    """
    cdef uint32_t head = <uint32_t>pte_pfn(pmd[0])
    if likely_mapped_shared(m, head) or m.hot[head].flags & PG_locked:
        return False
    if length < HPAGE_PMD_SIZE:
        if not huge_page_pinned(m, head):
            split_folio(m, head, True)
        return False
    if not free_whole(m, cpu, head) or not pmd[0] & USED:
        return False
    pmd[0] &= ~<uint64_t>USED
    return True


cdef bint free_table_range(memmap *m, mm_c *mm, uint32_t cpu, uint64_t *table, uint64_t va, uint64_t end
                           ) noexcept nogil:
    """madvise_free_pte_range() below one PTE table. Whether a TLB must hear of it."""
    cdef bint changed = False
    cdef uint64_t *pte
    cdef uint64_t bits
    cdef uint32_t pfn, i
    m.h.now += ((end - va) >> PAGE_SHIFT) * m.h.cost.scan_page
    while va < end:
        pte = &table[(va >> PAGE_SHIFT) & 511]
        va += PAGE_SIZE
        if not pte_mapped(pte[0]):
            if pte[0] and not is_migration_entry(pte[0]):
                free_swap_and_cache(m, cpu, entry_of(pte[0]))
                pte[0] = 0
                mm.rss_swap -= 1
            continue
        if pte[0] & PTE_SPECIAL:
            continue
        pfn = <uint32_t>pte_pfn(pte[0])
        if is_huge(m, pfn):
            if pte == table and end - va == HPAGE_PMD_SIZE - PAGE_SIZE and maps_whole(table, pfn):
                if not free_whole(m, cpu, pfn):
                    return False
                for i in range(512):
                    table[i] &= ~<uint64_t>USED
                return True
            if likely_mapped_shared(m, pfn) or m.hot[pfn].flags & PG_locked or huge_page_pinned(m, pfn):
                continue
            split_folio(m, pfn, True)
            if pte[0] & PTE_SPECIAL:
                continue
        bits = pte[0] & USED
        if free_folio(m, cpu, pfn) and bits:
            pte[0] &= ~<uint64_t>USED
            changed = True
    return changed


def free_range(MemMap mem, MmStruct mm, uint32_t cpu, uint64_t start, uint64_t end) -> None:
    """madvise_free_single_vma(): what is in [start, end), private anonymous memory, may be lost.

    Those whose page is in swap's cache for others too, or was written to and is shared, stay what they are.
    """
    cdef uint64_t va = start, next
    cdef uint64_t *table
    cdef uint64_t *pmd
    cdef bint changed = False
    cdef memmap *m = &mem.m
    cdef uint32_t i
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if table == NULL:
                pmd = huge_pmd(m.h, mm.c.pgd, va)
                if pmd != NULL:
                    changed |= free_huge_pmd(m, cpu, pmd, next - va)
                    table = pte_table(m.h, mm.c.pgd, va, &next)
                    if next > end:
                        next = end
            if table != NULL:
                changed |= free_table_range(m, &mm.c, cpu, table, va, next)
            va = next
        if changed:
            flush_range(m, &mm.c, start, end)
        for i in range(m.nr_nodes * NR_LRU_LISTS):
            lru_check_holes(m, &m.lrus[i])
