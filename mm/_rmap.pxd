# Reverse mapping's C face: see _rmap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._filemap cimport unmap_from_file
from numalab.mm._mm_types cimport PG_anon, memmap, mm_c
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


cdef inline void try_to_unmap_one(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """One PTE less: of an anonymous page, which is in the swap cache, it becomes a swap entry; of a file's, empty."""
    if m.hot[pfn].flags & PG_anon:
        unmap_to_swap(m, pfn, pte, mm)
    else:
        unmap_from_file(m, pfn, pte, mm)
