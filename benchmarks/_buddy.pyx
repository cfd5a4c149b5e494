"""The buddy allocator against its floor: the kernel's source and the same lists in C (buddy.h), in one unit."""

include "../mm/_page_alloc.pyx"

from libc.stdint cimport uint8_t, uint32_t

from numalab.mm._mm_types cimport MemMap, NO_PFN, memmap, zone

cdef extern from "buddy.h":
    struct floor_page:
        pass
    struct floor_zone:
        floor_page *hot
        uint8_t *order
        uint32_t start
        uint32_t end
    void floor_zone_reset(floor_zone *z) noexcept nogil
    uint32_t floor_alloc0(floor_zone *z, uint32_t *out, uint32_t n) noexcept nogil
    void floor_free0(floor_zone *z, const uint32_t *pfns, uint32_t n) noexcept nogil


def alloc0(MemMap mem, uint32_t index, uint32_t[::1] out) -> int:
    """Take single frames from the lists of one zone, one after the other; returns how many there were."""
    cdef memmap *m = &mem.m
    cdef zone *z = &m.zones[index]
    cdef uint32_t n = <uint32_t>out.shape[0], i
    with nogil:
        for i in range(n):
            out[i] = buddy_take(m, z, 0)
            if out[i] == NO_PFN:
                n = i
                break
    return n


def free0(MemMap mem, uint32_t index, uint32_t[::1] pfns) -> None:
    """Give single frames back to the lists of their zone, one after the other."""
    cdef memmap *m = &mem.m
    cdef zone *z = &m.zones[index]
    cdef Py_ssize_t i
    with nogil:
        for i in range(pfns.shape[0]):
            buddy_free(m, z, pfns[i], 0)


cdef class Floor:
    """The lists of one zone of frames [start, end) in C, all free; hot: 32 bytes a frame, order: one."""

    cdef floor_zone z
    cdef tuple arrays

    def __init__(self, uint8_t[::1] hot, uint8_t[::1] order, uint32_t start, uint32_t end):
        self.arrays = (hot, order)
        self.z.hot = <floor_page *>&hot[0]
        self.z.order = &order[0]
        self.z.start = start
        self.z.end = end
        floor_zone_reset(&self.z)

    def alloc0(self, uint32_t[::1] out) -> int:
        cdef uint32_t n
        with nogil:
            n = floor_alloc0(&self.z, &out[0], <uint32_t>out.shape[0])
        return n

    def free0(self, uint32_t[::1] pfns) -> None:
        with nogil:
            floor_free0(&self.z, &pfns[0], <uint32_t>pfns.shape[0])
