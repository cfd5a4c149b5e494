# Page tables' C face: see _memory.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport memmap, mm_c

cdef void zap_table(memmap *m, mm_c *mm, uint32_t cpu, uint64_t *table, uint64_t va, uint64_t end,
                    bint locked, bint file) noexcept nogil
