# Moving whole pages: non-temporal stores with prefetch, chosen once for this CPU. See _copy.pyx.

from libc.stdint cimport uint8_t


cdef void copy_page_nt(uint8_t *dst, const uint8_t *src, const uint8_t *next_src) noexcept nogil
cdef void zero_page_nt(uint8_t *dst) noexcept nogil
cdef void copy_fence() noexcept nogil
