"""Reverse mapping: from a page to the PTEs that name it.

Mirrors mm/rmap.c (rmap_walk_anon, try_to_migrate, try_to_unmap, folio_referenced) and remove_migration_ptes(). While
one PTE names a page, struct page holds its address and nothing is searched; the kernels in ``_migrate`` do that
themselves. This file is for the rest: pages shared after fork. It takes a whole batch, sorts it by
anon_vma and index, and goes through the VMAs of each anon_vma once, so that a page costs the same
whether 2 or 64 processes share it (docs/adr). There are no chains of PTEs to keep: fork and exit pay nothing.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport qsort

from numalab.arch._hw cimport PAGE_SHIFT
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_DIRTY, PTE_RW, PTE_SPECIAL, is_migration_entry, pte_address, pte_mapped, pte_offset, pte_pfn,
    pte_table,
)
from numalab.mm._migrate_entry cimport mig_entry_make, mig_entry_pfn, mig_entry_restore
from numalab.mm._mm_types cimport (
    MemMap, NR_NODE_STATS, PG_NODE_SHIFT, PG_anon_exclusive, PG_dirty, VM_LOCKED, anon_c, mapped_item, memmap, page,
    vma_c,
)

# What a walk does with each PTE that it finds.
cdef enum:
    RMAP_MIGRATE
    RMAP_TO_DST                 # migration entries name the new page
    RMAP_TO_SRC                 # or the old one again
    RMAP_SWAP
    RMAP_REFERENCED             # count and clear accessed bits
    RMAP_MKCLEAN                # the next write is a fault again


cdef int by_anon_and_index(const void *a, const void *b) noexcept nogil:
    cdef const mig_item *x = (<const mig_item **>a)[0]
    cdef const mig_item *y = (<const mig_item **>b)[0]
    if x.anon != y.anon:
        return -1 if x.anon < y.anon else 1
    if x.index != y.index:
        return -1 if x.index < y.index else 1
    return 0


cdef void sort_items(mig_item **items, uint32_t n) noexcept nogil:
    """Pages found by a walk are in order already; only pages found through the LRU are not."""
    cdef uint32_t i
    for i in range(1, n):
        if by_anon_and_index(&items[i - 1], &items[i]) > 0:
            qsort(items, n, sizeof(mig_item *), by_anon_and_index)
            return


cdef inline void unmap_pte(memmap *m, mig_item *item, uint64_t *pte) noexcept nogil:
    """try_to_migrate_one(): one PTE becomes a migration entry."""
    cdef page *p = &m.hot[item.src]
    if pte[0] & PTE_DIRTY:
        p.flags |= PG_dirty
    pte[0] = mig_entry_make(pte[0], item.src, (p.flags & PG_anon_exclusive) != 0)
    p.mapcount -= 1
    p.refcount -= 1


cdef inline void remap_pte(memmap *m, mig_item *item, uint64_t *pte, bint to_dst) noexcept nogil:
    """remove_migration_pte(): one migration entry becomes a PTE again, of the new page or of the old."""
    cdef uint32_t pfn = item.dst if to_dst else item.src
    cdef page *p = &m.hot[pfn]
    pte[0] = mig_entry_restore(pte[0], pfn)
    p.mapcount += 1
    p.refcount += 1
    p.rmap = pte_address(m.h, pte) if p.mapcount == 1 else 0


cdef void walk_vma(memmap *m, vma_c *v, mig_item **items, uint32_t n, int what) noexcept nogil:
    """One VMA against the part of a sorted group that lies in it. what: one of RMAP_*."""
    cdef uint64_t first = v.pgoff, last = v.pgoff + ((v.end - v.start) >> PAGE_SHIFT)
    cdef uint64_t va, next = 0
    cdef uint64_t *table = NULL
    cdef uint64_t *pte
    cdef uint32_t lo = 0, hi = n, mid
    cdef mig_item *item
    while lo < hi:                              # first item of this VMA's index range
        mid = (lo + hi) // 2
        if items[mid].index < first:
            lo = mid + 1
        else:
            hi = mid
    while lo < n and items[lo].index < last:
        item = items[lo]
        lo += 1
        if what == RMAP_MIGRATE and m.hot[item.src].mapcount == 0:
            continue
        va = v.start + ((item.index - first) << PAGE_SHIFT)
        if va >= next:
            table = pte_table(m.h, v.mm.pgd, va, &next)
        if table == NULL:
            continue
        pte = &table[(va >> PAGE_SHIFT) & 511]
        if what == RMAP_TO_DST or what == RMAP_TO_SRC:
            if is_migration_entry(pte[0]) and mig_entry_pfn(pte[0]) == item.src:
                remap_pte(m, item, pte, what == RMAP_TO_DST)
        elif pte_mapped(pte[0]) and not pte[0] & PTE_SPECIAL and pte_pfn(pte[0]) == item.src:
            if what == RMAP_MIGRATE:
                unmap_pte(m, item, pte)
            elif what == RMAP_SWAP:
                if v.flags & VM_LOCKED:
                    item.dst = item.src
                elif item.dst != item.src:
                    try_to_unmap_one(m, item.src, pte, v.mm)
            elif what == RMAP_MKCLEAN:
                pte[0] &= ~<uint64_t>(PTE_RW | PTE_DIRTY)
            elif pte[0] & PTE_ACCESSED:
                pte[0] &= ~<uint64_t>PTE_ACCESSED
                item.dst += 1


cdef void walk_groups(memmap *m, mig_item **items, uint32_t n, int what) noexcept nogil:
    """Sort a batch and take each anon_vma's pages through its VMAs, VMA outermost."""
    cdef uint32_t a = 0, b, i
    cdef anon_c *anon
    sort_items(items, n)
    while a < n:
        b = a + 1
        while b < n and items[b].anon == items[a].anon:
            b += 1
        anon = m.anon[items[a].anon] if items[a].anon < m.anon_size else NULL
        if anon != NULL:
            for i in range(anon.count):
                walk_vma(m, anon.vmas[i], items + a, b - a, what)
        a = b


cdef uint32_t rmap_unmap(memmap *m, mig_item **items, uint32_t n, bint to_swap) noexcept nogil:
    """try_to_migrate() for a batch: every PTE of these pages becomes a migration entry. Returns how many are left
    mapped. to_swap: try_to_unmap(), see try_to_unmap_one(), up to the first in a VM_LOCKED area: that one and those
    behind it stay, and the page's dst is then its src.
    """
    cdef uint32_t i, left = 0
    cdef page *p
    walk_groups(m, items, n, RMAP_SWAP if to_swap else RMAP_MIGRATE)
    for i in range(n):
        p = &m.hot[items[i].src]
        p.rmap = 0
        if p.mapcount:
            left += 1
        else:
            m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + mapped_item(p)] -= 1
    return left


cdef uint32_t rmap_referenced(memmap *m, mig_item *item) noexcept nogil:
    """folio_referenced(): how many PTEs of an anonymous page have been used since they were last asked."""
    item.dst = 0
    walk_groups(m, &item, 1, RMAP_REFERENCED)
    return item.dst


cdef void rmap_mkclean(memmap *m, mig_item *item) noexcept nogil:
    """folio_mkclean(): no PTE of a page is dirty or writable. No TLB is flushed."""
    walk_groups(m, &item, 1, RMAP_MKCLEAN)


cdef uint32_t rmap_remap(memmap *m, mig_item **items, uint32_t n, bint to_dst) noexcept nogil:
    """remove_migration_ptes() for a batch; returns how many pages nobody maps any more."""
    cdef uint32_t i, orphans = 0
    cdef page *p
    for i in range(n):                          # a page that never lost all its mappings is counted already
        p = &m.hot[items[i].dst if to_dst else items[i].src]
        if p.mapcount:
            m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + mapped_item(p)] -= 1
    walk_groups(m, items, n, RMAP_TO_DST if to_dst else RMAP_TO_SRC)
    for i in range(n):
        p = &m.hot[items[i].dst if to_dst else items[i].src]
        if p.mapcount:
            m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + mapped_item(p)] += 1
        else:
            orphans += 1
    return orphans


def rmap_walk(MemMap mem, uint32_t pfn) -> list:
    """Every mapping of a page: a list of (asid, virtual address), found through its anon_vma or its file."""
    cdef memmap *m = &mem.m
    cdef uint64_t index = m.cold[pfn].index, id = m.cold[pfn].mapping, va
    cdef uint64_t *pte
    cdef uint32_t i
    cdef vma_c *v
    found = []
    if id >= m.anon_size or m.anon[id] == NULL:
        return found
    for i in range(m.anon[id].count):
        v = m.anon[id].vmas[i]
        if index < v.pgoff or index >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
            continue
        va = v.start + ((index - v.pgoff) << PAGE_SHIFT)
        pte = pte_offset(m.h, v.mm.pgd, va)
        if pte != NULL and pte_mapped(pte[0]) and not pte[0] & PTE_SPECIAL and pte_pfn(pte[0]) == pfn:
            found.append((v.mm.asid, va))
    return found
