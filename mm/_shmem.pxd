# Shared memory in swap, C face: see _shmem.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport alloc_ctx, mapping_c, memmap

cdef bint shmem_writepage(memmap *m, uint32_t pfn) noexcept nogil
cdef int shmem_swapin(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t *pfn, uint64_t *stopped
                      ) noexcept nogil
