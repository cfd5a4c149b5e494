"""The isolation loop against its rivals: the kernel's source and lists in C (lru.h), in one unit."""

include "../mm/_vmscan.pyx"

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "lru.h":
    struct rival_page:
        pass
    void rival_link(rival_page *map, uint32_t head, const uint32_t *pfns, uint32_t n) noexcept nogil
    uint32_t rival_isolate(rival_page *map, uint32_t head, uint32_t n, uint32_t highest, uint32_t *out) noexcept nogil
    uint32_t rival_chase(const rival_page *map, uint32_t head, uint32_t n) noexcept nogil


cdef class Rival:
    """A doubly linked list through struct pages; page `head` is its head. struct_pages: 32 bytes each."""

    cdef rival_page *map
    cdef uint32_t head
    cdef object kept

    def __init__(self, uint8_t[::1] struct_pages, uint32_t head):
        self.kept = struct_pages
        self.map = <rival_page *>&struct_pages[0]
        self.head = head

    def link(self, const uint32_t[::1] pfns) -> None:
        """The list consists of these pages, coldest first."""
        with nogil:
            rival_link(self.map, self.head, &pfns[0], <uint32_t>pfns.shape[0])

    def isolate(self, uint32_t n, uint32_t highest, uint32_t[::1] out) -> int:
        cdef uint32_t taken
        with nogil:
            taken = rival_isolate(self.map, self.head, n, highest, &out[0])
        return taken

    def chase(self, uint32_t n) -> int:
        cdef uint32_t last
        with nogil:
            last = rival_chase(self.map, self.head, n)
        return last
