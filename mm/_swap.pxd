# Swap's C face: slots, the swap cache, and a page's way in; see _swap.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport PTE_DIRTY, swp_entry, swp_offset, swp_type
from numalab.mm._mm_types cimport (
    NR_SWAP_AREAS, PG_anon_exclusive, PG_dirty, PG_swapcache, alloc_ctx, memmap, mm_c, mpol, page, swap_info, vma_c,
)

cdef enum:
    SWP_EXCLUSIVE = 0x8         # in a swap PTE: the page is its owner's alone (x86's _PAGE_SWP_EXCLUSIVE)

cdef uint64_t slot_alloc(memmap *m) noexcept nogil
cdef void swap_put(memmap *m, uint64_t entry) noexcept nogil
cdef bint try_to_free_swap(memmap *m, uint32_t pfn) noexcept nogil
cdef void free_swap_and_cache(memmap *m, uint32_t cpu, uint64_t entry) noexcept nogil
cdef void add_to_swap_cache(memmap *m, uint32_t pfn, uint64_t entry) noexcept nogil
cdef void replace_in_swap_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil
cdef void delete_from_swap_cache(memmap *m, uint32_t pfn) noexcept nogil
cdef uint32_t swapin_new(memmap *m, alloc_ctx *ctx, mpol *policy, uint64_t ilx, uint64_t entry) noexcept nogil
cdef int swapin_pte(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *pte, uint64_t va, bint write, bint *major
                    ) noexcept nogil


cdef inline uint64_t entry_of(uint64_t pte) noexcept nogil:
    """The swap entry in a PTE, without the marks beside it."""
    return swp_entry(swp_type(pte), swp_offset(pte))


cdef inline swap_info *area_of(const memmap *m, uint64_t entry) noexcept nogil:
    VM_BUG_ON(swp_type(entry) >= NR_SWAP_AREAS or swp_offset(entry) - 1 >= m.swap[swp_type(entry)].pages - 1)
    return &m.swap[swp_type(entry)]


cdef inline void swap_dup(memmap *m, uint64_t entry) noexcept nogil:
    """swap_duplicate(): one swap PTE more."""
    VM_BUG_ON(area_of(m, entry).map[swp_offset(entry)] == 0xffff)
    area_of(m, entry).map[swp_offset(entry)] += 1


cdef inline uint32_t swap_cache_page(const memmap *m, uint64_t entry) noexcept nogil:
    """The frame that holds the slot's page, 0 = none."""
    return area_of(m, entry).cache[swp_offset(entry)]


cdef inline uint8_t *slot_bytes(const memmap *m, uint64_t entry) noexcept nogil:
    """The slot's contents in host memory."""
    return area_of(m, entry).store + (swp_offset(entry) << PAGE_SHIFT)


cdef inline uint8_t *slot_zero(const memmap *m, uint64_t entry) noexcept nogil:
    """The slot's place in the zeromap."""
    return area_of(m, entry).zeromap + swp_offset(entry)


cdef inline void unmap_to_swap(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """try_to_unmap_one(): one PTE of a page in the swap cache becomes a swap entry. No TLB is flushed."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t entry = m.cold[pfn].private
    VM_BUG_ON_PAGE(not p.flags & PG_swapcache or p.mapcount == 0 or p.refcount <= 0, pfn)
    if pte[0] & PTE_DIRTY:
        p.flags |= PG_dirty
    if p.flags & PG_anon_exclusive:
        p.flags &= ~<uint32_t>PG_anon_exclusive
        pte[0] = entry | SWP_EXCLUSIVE
    else:
        pte[0] = entry
    swap_dup(m, entry)
    p.mapcount -= 1
    p.refcount -= 1
    mm.rss_anon -= 1
    mm.rss_swap += 1
