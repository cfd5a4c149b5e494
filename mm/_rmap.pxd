# Reverse mapping's C face: see _rmap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport memmap

# One page on its way from src to dst.
cdef struct mig_item:
    uint32_t src
    uint32_t dst                # NO_PFN until there is a target
    uint64_t pte                # physical address of its one PTE; 0 = several, or not known: walk the anon_vma
    uint64_t anon               # what a batch is sorted by: anon_vma id,
    uint64_t index              # and page offset within it

cdef uint32_t rmap_unmap(memmap *m, mig_item **items, uint32_t n, bint to_swap) noexcept nogil
cdef uint32_t rmap_referenced(memmap *m, mig_item *item) noexcept nogil
cdef uint32_t rmap_remap(memmap *m, mig_item **items, uint32_t n, bint to_dst) noexcept nogil
