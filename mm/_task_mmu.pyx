"""Looking at page tables: what /proc says of a program's pages.

Mirrors the walks of fs/proc/task_mmu.c: pagemap_read(), gather_pte_stats() and smaps_account().
"""

import numpy as np

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_DIRTY, PTE_SPECIAL, is_migration_entry, leaf_table, pte_mapped, pte_pfn, pte_table, swp_offset,
    swp_type,
)
from numalab.mm._migrate_entry cimport mig_entry_pfn
from numalab.mm._mm_types cimport (
    HPAGE_PMD_NR, MemMap, MmStruct, PG_active, PG_anon, PG_dirty, PG_referenced, PG_swapbacked, PG_swapcache,
    PG_unevictable, PG_writeback, memmap, page,
)
from numalab.mm._swap cimport area_of, entry_of, swap_cache_page

cdef enum:
    PSS_SHIFT = 12

cdef struct mem_size_stats:                     # bytes; pss and swap_pss are shifted
    uint64_t resident, shared_clean, shared_dirty, private_clean, private_dirty, referenced, anonymous, lazyfree
    uint64_t anonymous_thp, swap, swap_pss, pss, pss_anon, pss_file, pss_shmem, pss_dirty


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


cdef inline void smaps_account(mem_size_stats *mss, const page *p, bint young, bint dirty, bint present) noexcept nogil:
    """smaps_account(): one page. One that is under migration is taken for shared, nobody knows by how many."""
    cdef bint private = present and p.mapcount < 2
    cdef uint64_t pss = <uint64_t>PAGE_SIZE << PSS_SHIFT
    if present and p.mapcount >= 2:
        pss //= p.mapcount
    mss.resident += PAGE_SIZE
    mss.pss += pss
    if p.flags & PG_anon:
        mss.anonymous += PAGE_SIZE
        mss.pss_anon += pss
        if not p.flags & (PG_swapbacked | PG_dirty) and not dirty:
            mss.lazyfree += PAGE_SIZE
    elif p.flags & PG_swapbacked:
        mss.pss_shmem += pss
    else:
        mss.pss_file += pss
    if young or p.flags & PG_referenced:
        mss.referenced += PAGE_SIZE
    if dirty or p.flags & PG_dirty:
        mss.pss_dirty += pss
        if private:
            mss.private_dirty += PAGE_SIZE
        else:
            mss.shared_dirty += PAGE_SIZE
    elif private:
        mss.private_clean += PAGE_SIZE
    else:
        mss.shared_clean += PAGE_SIZE


cdef inline void smaps_swap(memmap *m, mem_size_stats *mss, uint64_t pte) noexcept nogil:
    """A page in swap, by how many have its slot; the swap cache is none of them."""
    cdef uint64_t entry = entry_of(pte), pss = <uint64_t>PAGE_SIZE << PSS_SHIFT
    cdef uint32_t users = area_of(m, entry).map[swp_offset(entry)] - (swap_cache_page(m, entry) != 0)
    mss.swap += PAGE_SIZE
    mss.swap_pss += pss // users if users >= 2 else pss


def smaps_stats(MemMap mem, MmStruct mm, uint64_t start, uint64_t end) -> tuple:
    """smap_gather_stats() over [start, end): the first sixteen numbers of SmapsStats (mm/smaps.py)."""
    cdef mem_size_stats mss
    cdef uint64_t va = start, next, pte
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef bint leaf
    cdef memmap *m = &mem.m
    cdef page *p
    memset(&mss, 0, sizeof(mss))
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
                if pte_mapped(pte):
                    if pte & PTE_SPECIAL:
                        continue
                    p = &m.hot[pte_pfn(pte)]
                    smaps_account(&mss, p, (pte & PTE_ACCESSED) != 0, (pte & PTE_DIRTY) != 0, True)
                    if leaf and p.flags & PG_anon:
                        mss.anonymous_thp += PAGE_SIZE
                elif pte and is_migration_entry(pte):
                    smaps_account(&mss, &m.hot[mig_entry_pfn(pte)], False, False, False)
                elif pte:
                    smaps_swap(m, &mss, pte)
    return (
        mss.resident, mss.shared_clean, mss.shared_dirty, mss.private_clean, mss.private_dirty, mss.referenced,
        mss.anonymous, mss.lazyfree, mss.anonymous_thp, mss.swap, mss.swap_pss, mss.pss, mss.pss_anon, mss.pss_file,
        mss.pss_shmem, mss.pss_dirty,
    )
