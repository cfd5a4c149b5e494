"""The isolation loop against its floor and its rivals: the kernel's source and lists in C (lru.h), in one unit."""

include "../mm/_vmscan.pyx"

from libc.stdint cimport uint8_t, uint32_t

from numalab.mm._lru cimport putback_batch

cdef extern from "lru.h":
    struct rival_page:
        pass
    void rival_link(rival_page *map, uint32_t head, const uint32_t *pfns, uint32_t n) noexcept nogil
    uint32_t rival_isolate(rival_page *map, uint32_t head, uint32_t n, uint32_t highest, uint32_t *out) noexcept nogil
    uint32_t rival_age(rival_page *map, uint32_t head, uint32_t n, uint8_t *ram, uint32_t *used) noexcept nogil
    void rival_remove(rival_page *map, const uint32_t *pfns, uint32_t n) noexcept nogil
    void rival_activate(rival_page *map, uint32_t head, const uint32_t *pfns, uint32_t n) noexcept nogil
    uint32_t rival_chase(const rival_page *map, uint32_t head, uint32_t n) noexcept nogil
    struct floor_lru:
        rival_page *map
        uint32_t *chunks
        uint32_t head
        uint32_t tail
        uint32_t virgin
        uint32_t free
    void floor_add(floor_lru *f, const uint32_t *pfns, uint32_t n) noexcept nogil
    uint32_t floor_isolate(floor_lru *f, uint32_t n, uint32_t highest, uint32_t *out) noexcept nogil


def remove(MemMap mem, uint32_t[::1] pfns) -> int:
    """Isolate pages wherever they stand; returns how many."""
    cdef uint32_t failed, taken
    with nogil:
        taken = isolate_batch(&mem.m, &pfns[0], <uint32_t>pfns.shape[0], &failed)
    return taken


def activate(MemMap mem, uint32_t[::1] pfns) -> None:
    """What reclaim does with pages that are in use, a batch at a time: off their list, and onto the active one."""
    cdef uint32_t at = 0, total = <uint32_t>pfns.shape[0], n, i, failed
    with nogil:
        while at < total:
            n = isolate_batch(&mem.m, &pfns[at], BATCH if total - at > BATCH else total - at, &failed)
            for i in range(n):
                mem.m.hot[pfns[at + i]].flags |= PG_active
            putback_batch(&mem.m, 0, &pfns[at], n)
            at += BATCH


cdef class Rival:
    """A doubly linked list through struct pages; page `head` is its head, the one behind that of a second, active list.

    struct_pages: 32 bytes each.
    """

    cdef rival_page *map
    cdef uint32_t head
    cdef object kept

    def __init__(self, uint8_t[::1] struct_pages, uint32_t head):
        self.kept = struct_pages
        self.map = <rival_page *>&struct_pages[0]
        self.head = head

    def link(self, const uint32_t[::1] pfns) -> None:
        """The list consists of these pages, coldest first; the active list is empty."""
        with nogil:
            rival_link(self.map, self.head, &pfns[0], <uint32_t>pfns.shape[0])
            rival_link(self.map, self.head + 1, &pfns[0], 0)

    def isolate(self, uint32_t n, uint32_t highest, uint32_t[::1] out) -> int:
        cdef uint32_t taken
        with nogil:
            taken = rival_isolate(self.map, self.head, n, highest, &out[0])
        return taken

    def age(self, MemMap mem, uint32_t n) -> tuple:
        """Isolate n pages, and ask and clear the accessed bits of their PTEs. Returns (taken, used)."""
        cdef uint32_t taken, used
        with nogil:
            taken = rival_age(self.map, self.head, n, mem.m.h.ram, &used)
        return taken, used

    def remove(self, const uint32_t[::1] pfns) -> None:
        with nogil:
            rival_remove(self.map, &pfns[0], <uint32_t>pfns.shape[0])

    def activate(self, const uint32_t[::1] pfns) -> None:
        with nogil:
            rival_activate(self.map, self.head + 1, &pfns[0], <uint32_t>pfns.shape[0])

    def chase(self, uint32_t n) -> int:
        cdef uint32_t last
        with nogil:
            last = rival_chase(self.map, self.head, n)
        return last


cdef class Floor:
    """The chunks in C. struct_pages: 32 bytes each; chunks: the pool, 64 words a chunk."""

    cdef floor_lru f
    cdef tuple kept

    def __init__(self, uint8_t[::1] struct_pages, uint32_t[::1] chunks):
        self.kept = (struct_pages, chunks)
        self.f.map = <rival_page *>&struct_pages[0]
        self.f.chunks = &chunks[0]

    def link(self, const uint32_t[::1] pfns) -> None:
        """The list consists of these pages, coldest first."""
        self.f.head = self.f.tail = self.f.free = 0
        self.f.virgin = 1
        with nogil:
            floor_add(&self.f, &pfns[0], <uint32_t>pfns.shape[0])

    def isolate(self, uint32_t n, uint32_t highest, uint32_t[::1] out) -> int:
        cdef uint32_t taken
        with nogil:
            taken = floor_isolate(&self.f, n, highest, &out[0])
        return taken
