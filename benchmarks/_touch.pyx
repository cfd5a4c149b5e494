"""The range touch against its floor: the kernel's source and the same work in C (touch.h), in one unit."""

include "../mm/_memory.pyx"

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.mm._mm_types cimport AllocCtx, MemMap, MmStruct, VMA, memmap
from numalab.mm._page_alloc cimport pte_alloc

cdef extern from "touch.h":
    enum:
        FLOOR_BLOCKS, FLOOR_ARRAY, FLOOR_LIST
    struct floor_page:
        pass
    struct floor_cold:
        pass
    struct floor:
        uint8_t *ram
        floor_page *hot
        floor_cold *cold
        uint8_t *order
        uint32_t *chunks
        uint64_t *root
        uint32_t *array
    void floor_reset(floor *f, int where, uint32_t *pfns, uint32_t n) noexcept nogil
    uint64_t floor_touch(floor *f, uint64_t va, uint64_t n, int zero) noexcept nogil

BLOCKS, ARRAY, LIST = FLOOR_BLOCKS, FLOOR_ARRAY, FLOOR_LIST


def touch_metadata(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t start, uint64_t end) -> None:
    """fault_range() for a write to untouched pages, contents not zeroed."""
    cdef uint64_t va = start, next
    cdef uint64_t *table
    cdef uint64_t *ptes
    cdef uint32_t n, most
    cdef memmap *m = &mem.m
    with nogil:
        while va < end:
            table = pte_alloc(m, &ctx.c, &mm.c, va, &next)
            if next > end:
                next = end
            ptes = &table[(va >> PAGE_SHIFT) & 511]
            n = 0
            most = min(<uint32_t>((next - va) >> PAGE_SHIFT), <uint32_t>TOUCH_RUN)
            while n < most and ptes[n] == 0:
                n += 1
            if n == 0 or anon_pages(m, &ctx.c, &vma.v, ptes, va, n, write_bits(&vma.v), False) < n:
                with gil:
                    raise MemoryError
            va += <uint64_t>n << PAGE_SHIFT


def set_pages(MemMap mem, uint32_t[::1] pfns) -> None:
    """memset() of each frame: what the metadata of a page is compared with."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(pfns.shape[0]):
            memset(mem.m.h.ram + (<uint64_t>pfns[i] << PAGE_SHIFT), 0, PAGE_SIZE)


def copy_pages(MemMap mem, uint32_t[::1] frm, uint32_t[::1] to) -> None:
    """memcpy() of each frame of one array to that of the other: what moving pages is compared with."""
    cdef Py_ssize_t i
    cdef uint8_t *ram = mem.m.h.ram
    with nogil:
        for i in range(frm.shape[0]):
            memcpy(ram + (<uint64_t>to[i] << PAGE_SHIFT), ram + (<uint64_t>frm[i] << PAGE_SHIFT), PAGE_SIZE)


def copy_out(MemMap mem, uint32_t[::1] frm, uint8_t[::1] store) -> None:
    """memcpy() of each frame to the next page of an array."""
    cdef Py_ssize_t i
    cdef uint8_t *ram = mem.m.h.ram
    with nogil:
        for i in range(frm.shape[0]):
            memcpy(&store[i << PAGE_SHIFT], ram + (<uint64_t>frm[i] << PAGE_SHIFT), PAGE_SIZE)


cdef class Floor:
    """A small memory management in C, on RAM of `mem` that nobody else uses.

    Arrays by pfn as in the machine: hot and cold (32 bytes a frame), order; chunks: the LRU's pool; array: room for
    as many frame numbers as will ever be free; root: pfn of a frame for the root table.
    """

    cdef floor f
    cdef tuple arrays

    def __init__(self, MemMap mem, uint8_t[::1] hot, uint8_t[::1] cold, uint8_t[::1] order, uint32_t[::1] chunks,
                 uint32_t[::1] array, uint32_t root):
        self.arrays = (mem, hot, cold, order, chunks, array)
        self.f.ram = mem.m.h.ram
        self.f.hot = <floor_page *>&hot[0]
        self.f.cold = <floor_cold *>&cold[0]
        self.f.order = &order[0]
        self.f.chunks = &chunks[0]
        self.f.array = &array[0]
        self.f.root = <uint64_t *>(self.f.ram + (<uint64_t>root << PAGE_SHIFT))

    def reset(self, int where, uint32_t[::1] pfns) -> None:
        """Nothing is mapped, and these frames are free: heads of top-order blocks (BLOCKS), or single ones."""
        floor_reset(&self.f, where, &pfns[0], <uint32_t>pfns.shape[0])

    def touch(self, uint64_t va, uint64_t pages, bint zero) -> int:
        """Write fault on a range; returns how many pages could be mapped."""
        cdef uint64_t done
        with nogil:
            done = floor_touch(&self.f, va, pages, zero)
        return done
