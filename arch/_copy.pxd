# Moving whole pages: non-temporal stores with prefetch, chosen once for this CPU. See _copy.pyx.

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from numalab.arch._hw cimport PAGE_SIZE


cdef void copy_page_nt(uint8_t *dst, const uint8_t *src, const uint8_t *next_src) noexcept nogil
cdef void zero_page_nt(uint8_t *dst) noexcept nogil
cdef void copy_fence() noexcept nogil


cdef inline bint zero_filled(const uint8_t *bytes) noexcept nogil:
    """Does a page hold nothing? Most that hold something show it in their first byte."""
    return bytes[0] == 0 and memcmp(bytes, bytes + 1, PAGE_SIZE - 1) == 0
