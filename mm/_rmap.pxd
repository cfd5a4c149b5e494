# Reverse mapping's C face: see _rmap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._pagetable cimport PTE_DIRTY
from numalab.mm._filemap cimport unmap_from_file
from numalab.mm._lru cimport folio_set_swapbacked
from numalab.mm._mm_types cimport PG_anon, PG_dirty, PG_swapbacked, memmap, mm_c, page
from numalab.mm._swap cimport unmap_to_swap

cdef enum:
    RMAP_BATCH = 512            # pages that a walk takes at most

# One page on its way from src to dst.
cdef struct mig_item:
    uint32_t src
    uint32_t dst                # NO_PFN until there is a target
    uint64_t pte                # physical address of its one PTE; 0 = several, or not known: walk the anon_vma
    uint64_t index              # what a batch is sorted by: page offset within
    uint32_t anon               # its anon_vma, by id
    uint32_t mapcount           # PTEs before they became migration entries

cdef uint32_t rmap_unmap(memmap *m, mig_item **items, uint32_t n, bint to_swap) noexcept nogil
cdef uint32_t rmap_referenced(memmap *m, mig_item *item) noexcept nogil
cdef void rmap_mkclean(memmap *m, mig_item *item) noexcept nogil
cdef uint32_t rmap_remap(memmap *m, mig_item **items, uint32_t n, bint to_dst) noexcept nogil


cdef inline bint unmap_lazyfree(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """try_to_unmap_one() for an isolated lazyfree page: the PTE is empty, and nobody can bring back what was there.
    False: somebody has written to the page, or holds it; it is lazyfree no more. No TLB is flushed.
    """
    cdef page *p = &m.hot[pfn]
    if pte[0] & PTE_DIRTY:
        p.flags |= PG_dirty
    if p.flags & PG_dirty or <uint32_t>p.refcount != 1 + p.mapcount:
        folio_set_swapbacked(m, p)
        return False
    pte[0] = 0
    p.mapcount -= 1
    p.refcount -= 1
    mm.rss_anon -= 1
    return True


cdef inline bint try_to_unmap_one(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """One PTE less: of an anonymous page, which is in the swap cache, it becomes a swap entry; of a file's, or of a
    lazyfree page, empty. False: it stays, and so do those that the walk has yet to find.
    """
    if not m.hot[pfn].flags & PG_anon:
        unmap_from_file(m, pfn, pte, mm)
    elif m.hot[pfn].flags & PG_swapbacked:
        unmap_to_swap(m, pfn, pte, mm)
    else:
        return unmap_lazyfree(m, pfn, pte, mm)
    return True
