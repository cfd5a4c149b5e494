# Poison in free frames (debug_vm), which tells who writes to a frame that he has given back.
#
# Mirrors mm/page_poison.c, and page_expected_state() of mm/page_alloc.c.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.mm._mm_types cimport PAGE_POISON, PG_ZONE_SHIFT, memmap, page


cdef inline bint page_is_bad(memmap *m, uint32_t pfn) noexcept nogil:
    """page_expected_state(): a page on its way in or out is nobody's."""
    cdef page *p = &m.hot[pfn]
    return (pfn >= m.h.nr_frames or p.refcount != 0 or p.mapcount or p.pincount
            or p.flags << (32 - PG_ZONE_SHIFT) != 0)


cdef inline void poison_pages(memmap *m, uint32_t pfn, int order) noexcept nogil:
    """__kernel_poison_pages(): whoever reads a block after it was freed reads nonsense."""
    memset(m.h.ram + (<uint64_t>pfn << PAGE_SHIFT), PAGE_POISON, <uint64_t>PAGE_SIZE << order)


cdef inline void unpoison_page(memmap *m, uint32_t pfn) noexcept nogil:
    """check_poison_mem() for a frame that is about to be taken: was it written to since it was freed? One that was
    never used holds zeros; without flags it may be either.
    """
    cdef const uint8_t *ram = m.h.ram + (<uint64_t>pfn << PAGE_SHIFT)
    cdef bint never = m.hot[pfn].flags == 0 and ram[0] == 0
    VM_BUG_ON_PAGE(page_is_bad(m, pfn), pfn)
    if (ram[0] != (0 if never else PAGE_POISON) or memcmp(ram, ram + 1, PAGE_SIZE - 1)) and not m.corrupted:
        m.corrupted = pfn
