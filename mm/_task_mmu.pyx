"""Looking at page tables: what /proc says of a program's pages.

Mirrors the walks of fs/proc/task_mmu.c: pagemap_read() and gather_pte_stats().
"""

import numpy as np

from libc.stdint cimport int64_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport (
    PTE_DIRTY, PTE_SPECIAL, is_migration_entry, leaf_table, pte_mapped, pte_pfn, pte_table, swp_offset, swp_type,
)
from numalab.mm._migrate_entry cimport mig_entry_pfn
from numalab.mm._mm_types cimport (
    HPAGE_PMD_NR, MemMap, MmStruct, PG_active, PG_anon, PG_dirty, PG_swapcache, PG_unevictable, PG_writeback, memmap,
    page,
)


def pagemap_range(MemMap mem, MmStruct mm, uint64_t start, uint64_t[::1] out) -> None:
    """/proc/PID/pagemap: one word a page from ``start`` on (bit 63 present, 62 swapped or migrating, 61 file, 56
    exclusive).
    """
    cdef uint64_t va = start, next, pte, word, offset, end = start + <uint64_t>out.shape[0] * PAGE_SIZE
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef uint64_t i = 0
    cdef memmap *m = &mem.m
    cdef page *p
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if table == NULL:
                table = leaf_table(m.h, mm.c.pgd, va, spread)
            while va < next:
                word = 0
                pte = table[(va >> PAGE_SHIFT) & 511] if table != NULL else 0
                if pte_mapped(pte):
                    word = <uint64_t>1 << 63 | pte_pfn(pte)
                    if not pte & PTE_SPECIAL:
                        p = &m.hot[pte_pfn(pte)]
                        if not p.flags & PG_anon:
                            word |= <uint64_t>1 << 61
                        if p.mapcount == 1:
                            word |= <uint64_t>1 << 56
                elif pte:
                    offset = mig_entry_pfn(pte) if is_migration_entry(pte) else swp_offset(pte)
                    word = <uint64_t>1 << 62 | (offset << 5 & ((<uint64_t>1 << 55) - 1)) | (swp_type(pte) & 31)
                out[i] = word
                i += 1
                va += PAGE_SIZE


def numa_stats(MemMap mem, MmStruct mm, uint64_t start, uint64_t end) -> tuple:
    """gather_pte_stats() over [start, end): (anon, dirty, pages, mapcount_max, swapcache, active, writeback, per_node).

    Counts of pages; ``per_node`` is an int64 array indexed by node id. Only present pages count, the zero page does
    not. For how often what a leaf maps is mapped its first page stands.
    """
    per_node = np.zeros(mem.m.nr_nodes, np.int64)
    cdef int64_t[::1] node = per_node
    cdef int64_t anon = 0, dirty = 0, pages = 0, most = 0, swapcache = 0, active = 0, writeback = 0
    cdef uint64_t va = start, next, pte
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef bint leaf
    cdef memmap *m = &mem.m
    cdef page *p
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            leaf = table == NULL
            if leaf:
                table = leaf_table(m.h, mm.c.pgd, va, spread)
            if table == NULL:
                va = next
                continue
            while va < next:
                pte = table[(va >> PAGE_SHIFT) & 511]
                va += PAGE_SIZE
                if not pte_mapped(pte) or pte & PTE_SPECIAL:
                    continue
                p = &m.hot[pte_pfn(pte)]
                pages += 1
                anon += (p.flags & PG_anon) != 0
                dirty += (pte & PTE_DIRTY) != 0 or (p.flags & PG_dirty) != 0
                swapcache += (p.flags & PG_swapcache) != 0
                active += (p.flags & (PG_active | PG_unevictable)) != 0
                writeback += (p.flags & PG_writeback) != 0
                if p.mapcount > most and not (leaf and pte_pfn(pte) & (HPAGE_PMD_NR - 1)):
                    most = p.mapcount
                node[p.flags >> 26] += 1
    return anon, dirty, pages, most, swapcache, active, writeback, per_node
