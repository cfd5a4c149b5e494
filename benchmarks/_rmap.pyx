"""The kernel's walk of the mappings of pages, by batches of any size, and what it is compared with, in one unit."""

include "../mm/_rmap.pyx"

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._pagetable cimport PMD_SHIFT


cdef void walk_unsorted(memmap *m, mig_item **items, uint32_t n, bint unmap) noexcept nogil:
    """migrate_group() for a batch as it comes, through VMAs that cover all of it."""
    cdef anon_c *anon = m.anon[items[0].anon]
    cdef uint64_t va, low, next
    cdef uint64_t *table
    cdef uint64_t *pte
    cdef uint32_t i, k
    cdef vma_c *v
    cdef page *p
    for k in range(anon.count):
        v = anon.vmas[k]
        low = next = 0
        table = NULL
        for i in range(n):
            va = v.start + ((items[i].index - v.pgoff) << PAGE_SHIFT)
            if not low <= va < next:
                table = pte_table(m.h, v.mm.pgd, va, &next)
                low = next - (1 << PMD_SHIFT)
            pte = &table[(va >> PAGE_SHIFT) & 511]
            if not names(pte[0], items[i].src, unmap):
                continue
            p = &m.hot[items[i].src]
            if unmap:
                pte[0] = mig_entry_make(pte[0], items[i].src, p.flags & PG_anon_exclusive != 0)
                p.mapcount -= 1
                p.refcount -= 1
            else:
                pte[0] = mig_entry_restore(pte[0], items[i].src)
                p.mapcount += 1
                p.refcount += 1


cdef void walk(memmap *m, mig_item **items, uint32_t n, bint unmap, bint sort, bint copied) noexcept nogil:
    """walk_groups() for pages of one anon_vma: sorted or not, and by which of its two loops."""
    cdef anon_c *anon = m.anon[items[0].anon]
    if sort:
        sort_items(items, n)
        migrate_group(m, anon.vmas, anon.count, items, n, unmap, False, copied)
    else:
        walk_unsorted(m, items, n, unmap)


def unmap_and_remap(MemMap mem, uint32_t[::1] pfns, uint32_t size, str how="kernel") -> int:
    """Turn every PTE of these pages into a migration entry and back, `size` pages at a time, 512 at most.

    how: as the "kernel" does it; by one of its two loops, whatever the pages, "predicting" or "copied"; or "unsorted".
    Returns how many PTEs that were.
    """
    cdef mig_item items[512]
    cdef mig_item *batch[512]
    cdef uint32_t at = 0, total = <uint32_t>pfns.shape[0], n, i
    cdef uint64_t ptes = 0
    cdef memmap *m = &mem.m
    cdef bint kernel = how == "kernel", sort = how != "unsorted", copied = how == "copied"
    with nogil:
        while at < total:
            n = size if total - at > size else total - at
            for i in range(n):
                items[i].src = pfns[at + i]
                items[i].anon = <uint32_t>m.cold[pfns[at + i]].mapping
                items[i].index = m.cold[pfns[at + i]].index
                batch[i] = &items[i]
                ptes += m.hot[pfns[at + i]].mapcount
            if kernel:
                rmap_unmap(m, batch, n, False)
                rmap_remap(m, batch, n, False)
            else:
                walk(m, batch, n, True, sort, copied)
                walk(m, batch, n, False, sort, copied)
            at += n
    return ptes
