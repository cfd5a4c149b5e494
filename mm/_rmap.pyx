"""Reverse mapping: from a page to the PTEs that name it.

Mirrors mm/rmap.c (rmap_walk_anon, try_to_migrate, try_to_unmap, folio_referenced) and remove_migration_ptes(). While
one PTE names a page, struct page holds its address and nothing is searched; the kernels in ``_migrate`` do that
themselves. This file is for the rest: pages shared after fork. It takes a whole batch, sorts it by
anon_vma and index, and goes through the VMAs of each anon_vma once, so that a page costs the same
whether 2 or 64 processes share it (docs/adr). There are no chains of PTEs to keep: fork and exit pay nothing.

Migration, which takes many pages at once, has a loop of its own (walk_migrating): PTE table by PTE table, what it needs
of each page in arrays beside each other, struct pages written once at the end. Half of the PTEs may be a process's own
copies by now, at random; then no branch depends on what a PTE says.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport (
    EV_REMOVE_MIGRATION_PTE, EV_SET_MIGRATION_PTE, PAGE_SHIFT, trace, trace_enabled,
)
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_ADDR, PTE_DIRTY, PTE_RW, PTE_SPECIAL, huge_pmd, is_migration_entry, leaf_table, pte_address,
    pte_mapped, pte_offset, pte_pfn, pte_table,
)
from numalab.mm._migrate_entry cimport mig_entry_make, mig_entry_restore
from numalab.mm._mm_types cimport (
    MemMap, NR_ANON_MAPPED, NR_FILE_MAPPED, PG_NODE_SHIFT, PG_anon, PG_anon_exclusive, PG_dirty, VM_LOCKED, anon_c,
    memmap, page, rmap_areas, stat_add, stat_begin, stat_end, stat_run, vma_c,
)

# What a walk does with each PTE that it finds.
cdef enum:
    RMAP_MIGRATE
    RMAP_TO_DST                 # migration entries name the new page
    RMAP_TO_SRC                 # or the old one again
    RMAP_SWAP
    RMAP_REFERENCED             # count and clear accessed bits
    RMAP_MKCLEAN                # the next write is a fault again


cdef inline uint64_t sort_key(const mig_item *item, uint32_t which) noexcept nogil:
    return item.anon if which else item.index


cdef void sort_items(mig_item **items, uint32_t n) noexcept nogil:
    """By anon_vma and index. Pages found by a walk are in order already; those found through the LRU are not.

    A radix sort, least byte first, over the bytes in which the keys differ: two or three for the pages of one mapping.
    """
    cdef mig_item *other[RMAP_BATCH]
    cdef mig_item **here = items
    cdef mig_item **there = other
    cdef uint32_t starts[256]
    cdef uint32_t i, which, shift, at, count
    cdef uint64_t first, differ
    for i in range(1, n):
        if items[i - 1].anon > items[i].anon or (
                items[i - 1].anon == items[i].anon and items[i - 1].index > items[i].index):
            break
    else:
        return
    for which in range(2):                      # the index, then the anon_vma
        first = sort_key(items[0], which)
        differ = 0
        for i in range(1, n):
            differ |= sort_key(items[i], which) ^ first
        shift = 0
        while differ >> shift:
            if not differ >> shift & 255:
                shift += 8
                continue
            memset(starts, 0, sizeof(starts))
            for i in range(n):
                starts[sort_key(here[i], which) >> shift & 255] += 1
            at = 0
            for i in range(256):
                count = starts[i]
                starts[i] = at
                at += count
            for i in range(n):
                at = <uint32_t>(sort_key(here[i], which) >> shift & 255)
                there[starts[at]] = here[i]
                starts[at] += 1
            here, there = there, here
            shift += 8
            if shift == 64:
                break
    if here != items:
        memcpy(items, here, n * sizeof(mig_item *))


cdef uint32_t first_of_vma(vma_c *v, mig_item **items, uint32_t n) noexcept nogil:
    """The first page of a sorted group that a VMA may map."""
    cdef uint32_t lo = 0, hi = n, mid
    while lo < hi:
        mid = (lo + hi) // 2
        if items[mid].index < v.pgoff:
            lo = mid + 1
        else:
            hi = mid
    return lo


# ---------------------------------------------------------------- migration

cdef enum:
    HITS = 20

# A page of a sorted group, and what is found out about it.
cdef struct rmap_page:
    uint64_t index
    uint64_t seen               # low HITS bits: PTEs changed; above: dirty ones, or where the only one made is
    uint32_t src
    uint32_t to                 # whom the PTE names afterwards: src itself while it is a migration entry
    bint exclusive


cdef inline uint64_t names(uint64_t pte, uint32_t pfn, bint unmap) noexcept nogil:
    """1 if this is a PTE of the page (unmap), or the migration entry that stands for one, else 0."""
    cdef uint64_t address = <uint64_t>pfn << PAGE_SHIFT
    if unmap:
        return (PTE_ADDR(pte) | pte & PTE_SPECIAL == address) & pte_mapped(pte)
    return (PTE_ADDR(pte) == address) & is_migration_entry(pte)


cdef inline void turn(memmap *m, rmap_page *r, uint64_t *pte, bint unmap) noexcept nogil:
    """try_to_migrate_one() or remove_migration_pte() for such a PTE."""
    cdef uint64_t old = pte[0]
    pte[0] = mig_entry_make(old, r.src, r.exclusive) if unmap else mig_entry_restore(old, r.to)
    r.seen += (old & PTE_DIRTY if unmap else pte_address(m.h, pte)) << HITS | 1


cdef inline void walk_migrating(memmap *m, vma_c *v, rmap_page *r, rmap_page *end, bint unmap, bint copied
                                ) noexcept nogil:
    """Turn the PTEs that one VMA has for the pages from r on.

    copied: nobody can foretell which of its PTEs still name one of these pages. They are collected first, without a
    branch.
    """
    cdef uint64_t shift = (v.start >> PAGE_SHIFT) - v.pgoff, last = v.pgoff + ((v.end - v.start) >> PAGE_SHIFT)
    cdef uint64_t next, limit
    cdef uint64_t *table
    cdef uint64_t *pte
    cdef rmap_page *found[RMAP_BATCH + 1]
    cdef uint32_t i, k
    while r < end and r.index < last:
        table = pte_table(m.h, v.mm.pgd, (r.index + shift) << PAGE_SHIFT, &next)
        limit = (next >> PAGE_SHIFT) - shift
        if limit > last:
            limit = last
        k = 0
        while r < end and r.index < limit:
            pte = &table[(r.index + shift) & 511]
            if copied and table != NULL:
                found[k] = r
                k += <uint32_t>names(pte[0], r.src, unmap)
            elif table != NULL and names(pte[0], r.src, unmap):
                turn(m, r, pte, unmap)
            r += 1
        for i in range(k):
            turn(m, found[i], &table[(found[i].index + shift) & 511], unmap)


cdef void trace_migrating(memmap *m, vma_c *v, rmap_page *r, rmap_page *end, bint unmap) noexcept nogil:
    """trace_set_migration_pte() for the entries that one VMA has now, trace_remove_migration_pte() before they go."""
    cdef uint64_t va, last = v.pgoff + ((v.end - v.start) >> PAGE_SHIFT)
    cdef uint64_t *pte
    while r < end and r.index < last:
        va = v.start + ((r.index - v.pgoff) << PAGE_SHIFT)
        pte = pte_offset(m.h, v.mm.pgd, va)
        if pte != NULL and names(pte[0], r.src, False):
            if unmap:
                trace(m.h, EV_SET_MIGRATION_PTE, va, pte[0], 0)
            else:
                trace(m.h, EV_REMOVE_MIGRATION_PTE, va, mig_entry_restore(pte[0], r.to), 0)
        r += 1


cdef bint many_copied(memmap *m, uint32_t areas, mig_item **items, uint32_t n, bint unmap) noexcept nogil:
    """Is it hard to foretell which PTEs of so many VMAs name the pages? Not if nearly all do, or hardly any."""
    cdef uint64_t mapped = 0, most = <uint64_t>n * areas
    cdef uint32_t i
    for i in range(n):
        if unmap:
            items[i].mapcount = m.hot[items[i].src].mapcount
        mapped += items[i].mapcount
    return most < 16 * mapped and 16 * mapped < 15 * most


cdef void migrate_group(memmap *m, vma_c **areas, uint32_t nr_areas, mig_item **items, uint32_t n, bint unmap,
                        bint to_dst, bint copied) noexcept nogil:
    """Every PTE of pages that share an anon_vma becomes a migration entry (unmap), or is made from one."""
    cdef rmap_page pages[RMAP_BATCH]
    cdef rmap_page *r
    cdef rmap_page *end = pages + n
    cdef uint32_t i, hits
    cdef vma_c *v
    cdef page *p
    for i in range(n):
        r = &pages[i]
        r.index = items[i].index
        r.src = items[i].src
        r.to = items[i].dst if to_dst else items[i].src
        r.exclusive = m.hot[r.src].flags & PG_anon_exclusive != 0
        r.seen = 0
    for i in range(nr_areas):
        v = areas[i]
        r = pages + first_of_vma(v, items, n)
        if not unmap and trace_enabled(m.h, EV_REMOVE_MIGRATION_PTE):
            trace_migrating(m, v, r, end, False)
        if unmap:
            if copied:
                walk_migrating(m, v, r, end, True, True)
            else:
                walk_migrating(m, v, r, end, True, False)
        elif copied:
            walk_migrating(m, v, r, end, False, True)
        else:
            walk_migrating(m, v, r, end, False, False)
        if unmap and trace_enabled(m.h, EV_SET_MIGRATION_PTE):
            trace_migrating(m, v, pages + first_of_vma(v, items, n), end, True)
    for i in range(n):
        r = &pages[i]
        hits = r.seen & (1 << HITS) - 1
        if hits == 0:
            continue
        p = &m.hot[r.to]
        VM_BUG_ON_PAGE(unmap and (p.mapcount < hits or <uint32_t>p.refcount < hits), r.to)
        if unmap:
            p.mapcount -= hits
            p.refcount -= hits
            if r.seen >> HITS:
                p.flags |= PG_dirty
        else:
            p.mapcount += hits
            p.refcount += hits
            p.rmap = r.seen >> HITS if p.mapcount == 1 else 0


# ---------------------------------------------------------------- any walk

cdef bint leaf_referenced(memmap *m, vma_c *v, uint64_t va, uint32_t pfn) noexcept nogil:
    """Has a 2 MiB leaf been used since it was last asked? It has one accessed bit for 512 pages, which are asked one
    after the other, in order: they hear the same, and the last clears it.
    """
    cdef uint64_t *pmd = huge_pmd(m.h, v.mm.pgd, va)
    cdef bint used
    if pmd == NULL or pte_pfn(pmd[0]) + ((va >> PAGE_SHIFT) & 511) != pfn:
        return False
    used = (pmd[0] & PTE_ACCESSED) != 0
    if pfn & 511 == 511:
        pmd[0] &= ~<uint64_t>PTE_ACCESSED
    return used


cdef void walk_vma(memmap *m, vma_c *v, mig_item **items, uint32_t n, int what) noexcept nogil:
    """One VMA against the part of a sorted group that lies in it. what: one of RMAP_*, but no migration."""
    cdef uint64_t first = v.pgoff, last = v.pgoff + ((v.end - v.start) >> PAGE_SHIFT)
    cdef uint64_t va, next = 0
    cdef uint64_t *table = NULL
    cdef uint64_t *pte
    cdef uint32_t i = first_of_vma(v, items, n)
    cdef mig_item *item
    while i < n and items[i].index < last:
        item = items[i]
        i += 1
        va = v.start + ((item.index - first) << PAGE_SHIFT)
        if va >= next:
            table = pte_table(m.h, v.mm.pgd, va, &next)
        if table == NULL:
            if what == RMAP_REFERENCED:
                item.dst += leaf_referenced(m, v, va, item.src)
            continue
        pte = &table[(va >> PAGE_SHIFT) & 511]
        if not names(pte[0], item.src, True):
            continue
        if what == RMAP_SWAP:
            if v.flags & VM_LOCKED:
                item.dst = item.src
            elif item.dst != item.src and not try_to_unmap_one(m, item.src, pte, v.mm):
                item.dst = item.src
        elif what == RMAP_MKCLEAN:
            pte[0] &= ~<uint64_t>(PTE_RW | PTE_DIRTY)
        elif pte[0] & PTE_ACCESSED:
            pte[0] &= ~<uint64_t>PTE_ACCESSED
            item.dst += 1


cdef void walk_groups(memmap *m, mig_item **items, uint32_t n, int what) noexcept nogil:
    """Sort a batch and take each anon_vma's pages through its VMAs, VMA outermost."""
    cdef uint32_t a = 0, b, i, n_areas
    cdef anon_c *anon
    cdef vma_c **areas
    cdef bint unmap = what == RMAP_MIGRATE
    VM_BUG_ON(n > RMAP_BATCH)
    sort_items(items, n)
    while a < n:
        b = a + 1
        while b < n and items[b].anon == items[a].anon:
            b += 1
        anon = m.anon[items[a].anon] if items[a].anon < m.anon_size else NULL
        if anon != NULL:
            n_areas = rmap_areas(anon, items[a].index, items[b - 1].index, &areas)
            if what <= RMAP_TO_SRC:
                migrate_group(m, areas, n_areas, items + a, b - a, unmap, what == RMAP_TO_DST,
                              many_copied(m, n_areas, items + a, b - a, unmap))
            else:
                for i in range(n_areas):
                    walk_vma(m, areas[i], items + a, b - a, what)
        a = b


cdef uint32_t count_mapped(memmap *m, mig_item **items, uint32_t n, bint to_dst, int sign) noexcept nogil:
    """Add `sign` to the counter of mapped pages for each page that somebody maps; returns how many nobody maps."""
    cdef stat_run anon
    cdef stat_run file
    cdef uint32_t i, orphans = 0
    cdef page *p
    stat_begin(&anon, NR_ANON_MAPPED)
    stat_begin(&file, NR_FILE_MAPPED)
    for i in range(n):
        p = &m.hot[items[i].dst if to_dst else items[i].src]
        if p.mapcount == 0:
            orphans += 1
        elif p.flags & PG_anon:
            stat_add(m, &anon, p.flags >> PG_NODE_SHIFT, sign)
        else:
            stat_add(m, &file, p.flags >> PG_NODE_SHIFT, sign)
    stat_end(m, &anon)
    stat_end(m, &file)
    return orphans


cdef uint32_t rmap_unmap(memmap *m, mig_item **items, uint32_t n, bint to_swap) noexcept nogil:
    """try_to_migrate() for a batch: every PTE of these pages becomes a migration entry. Returns how many are left
    mapped. to_swap: try_to_unmap(), see try_to_unmap_one(), up to the first that must stay, as in a VM_LOCKED area:
    that one and those behind it do, and the page's dst is then its src.
    """
    cdef uint32_t i
    count_mapped(m, items, n, False, -1)
    walk_groups(m, items, n, RMAP_SWAP if to_swap else RMAP_MIGRATE)
    for i in range(n):
        m.hot[items[i].src].rmap = 0
    return n - count_mapped(m, items, n, False, 1)


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
    count_mapped(m, items, n, to_dst, -1)       # a page that never lost all its mappings is counted already
    walk_groups(m, items, n, RMAP_TO_DST if to_dst else RMAP_TO_SRC)
    return count_mapped(m, items, n, to_dst, 1)


def rmap_walk(MemMap mem, uint32_t pfn) -> list:
    """Every mapping of a page: a list of (asid, virtual address), found through its anon_vma or its file."""
    cdef memmap *m = &mem.m
    cdef uint64_t index = m.cold[pfn].index, id = m.cold[pfn].mapping, va
    cdef uint64_t spread[512]
    cdef uint64_t *pte
    cdef uint32_t i
    cdef vma_c **areas
    cdef vma_c *v
    found = []
    if id >= m.anon_size or m.anon[id] == NULL:
        return found
    for i in range(rmap_areas(m.anon[id], index, index, &areas)):
        v = areas[i]
        if index < v.pgoff or index >= v.pgoff + ((v.end - v.start) >> PAGE_SHIFT):
            continue
        va = v.start + ((index - v.pgoff) << PAGE_SHIFT)
        pte = pte_offset(m.h, v.mm.pgd, va)
        if pte == NULL and leaf_table(m.h, v.mm.pgd, va, spread) != NULL:
            pte = &spread[(va >> PAGE_SHIFT) & 511]
        if pte != NULL and pte_mapped(pte[0]) and not pte[0] & PTE_SPECIAL and pte_pfn(pte[0]) == pfn:
            found.append((v.mm.asid, va))
    return found
