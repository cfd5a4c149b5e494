# Writing back pages of files, C face: see _writeback.pyx.

from libc.stdint cimport uint32_t

from numalab.mm._mm_types cimport memmap

cdef bint page_mkwrite(memmap *m, uint32_t pfn) noexcept nogil
cdef bint write_page(memmap *m, uint32_t pfn) noexcept nogil
