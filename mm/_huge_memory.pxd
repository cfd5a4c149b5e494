# Huge pages' C face: see _huge_memory.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from numalab.arch._pagetable cimport pte_mapped, pte_pfn
from numalab.mm._mm_types cimport HPAGE_PMD_NR, PG_head, PG_tail, alloc_ctx, memmap, mm_c, vma_c

cdef enum:
    HPAGE_PMD_SIZE = 1 << 21

cdef void set_huge_pmd(memmap *m, uint64_t *pmd, uint64_t leaf, uint64_t table) noexcept nogil
cdef void new_huge_page(memmap *m, vma_c *v, uint64_t va, uint32_t head) noexcept nogil
cdef void add_huge_to_lru(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil
cdef void free_huge_page(memmap *m, uint32_t head) noexcept nogil
cdef void split_huge_pmd(memmap *m, uint64_t *pmd) noexcept nogil
cdef uint64_t *split_huge_table(memmap *m, mm_c *mm, uint64_t va) noexcept nogil
cdef bint zap_huge_pmd(memmap *m, mm_c *mm, uint32_t cpu, uint64_t start, uint64_t end, bint locked) noexcept nogil
cdef int copy_huge_pmd(memmap *m, alloc_ctx *ctx, mm_c *dst, uint64_t *frm, uint64_t va) noexcept nogil
cdef void change_huge_pmd(memmap *m, vma_c *v, uint64_t *pmd) noexcept nogil
cdef int move_huge_pmd(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t *frm, uint64_t new) noexcept nogil
cdef bint reuse_huge_pmd(memmap *m, vma_c *v, uint64_t *pmd) noexcept nogil
cdef bint huge_mapped_shared(memmap *m, uint32_t pfn) noexcept nogil
cdef bint partially_mapped(memmap *m, uint32_t pfn) noexcept nogil
cdef bint huge_page_pinned(memmap *m, uint32_t pfn) noexcept nogil
cdef void split_folio(memmap *m, uint32_t pfn, bint zeros) noexcept nogil
cdef bint try_split_folio(memmap *m, uint32_t pfn) noexcept nogil
cdef bint discard_huge_page(memmap *m, uint32_t head) noexcept nogil
cdef bint is_huge_list(memmap *m, const uint32_t *pfns, uint64_t n) noexcept nogil
cdef void remap_huge_page(memmap *m, uint32_t src, uint32_t dst) noexcept nogil


cdef inline bint is_huge(const memmap *m, uint32_t pfn) noexcept nogil:
    """Is a page a part of a huge page?"""
    return (m.hot[pfn].flags & (PG_head | PG_tail)) != 0


cdef inline uint32_t huge_head(uint32_t pfn) noexcept nogil:
    """Where the huge page begins that a page is a part of."""
    return pfn & ~<uint32_t>(HPAGE_PMD_NR - 1)


cdef inline bint likely_mapped_shared(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_likely_mapped_shared(): does somebody else map a page too?"""
    return huge_mapped_shared(m, pfn) if is_huge(m, pfn) else m.hot[pfn].mapcount > 1


cdef inline bint maps_whole(const uint64_t *table, uint32_t pfn) noexcept nogil:
    """Does a PTE table map all of the huge page of ``pfn``, and nothing else?"""
    cdef uint32_t i
    for i in range(512):
        if not pte_mapped(table[i]) or pte_pfn(table[i]) != huge_head(pfn) + i:
            return False
    return True
