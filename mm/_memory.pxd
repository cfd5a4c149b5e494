# Page tables' C face: see _memory.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport alloc_ctx, memmap, mm_c, vma_c

cdef int fault_pages(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *at, uint64_t end, bint write, uint64_t *stopped
                     ) noexcept nogil
cdef void zap_table(memmap *m, mm_c *mm, uint32_t cpu, uint64_t *table, uint64_t va, uint64_t end,
                    bint locked, bint file) noexcept nogil
