# The page cache's C face: see _filemap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._pagetable cimport PTE_DIRTY
from numalab.mm._mm_types cimport (
    NR_FILE_PAGES, NR_NODE_STATS, NR_SHMEM, PG_NODE_SHIFT, PG_dirty, alloc_ctx, mapping_c, memmap, mm_c, mm_counter,
    mpol, page, vma_c,
)

cdef enum:
    FAULT_AROUND = 16           # fault_around_bytes, in pages

cdef mpol *shared_policy_lookup(mapping_c *mapping, uint64_t index, uint64_t *end) noexcept nogil
cdef uint32_t shmem_alloc(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t n, uint32_t *pfns
                          ) noexcept nogil
cdef void map_file_page(memmap *m, vma_c *v, uint32_t pfn, uint64_t *pte, bint write) noexcept nogil
cdef void unmap_file_page(memmap *m, mm_c *mm, uint32_t pfn, uint64_t pte) noexcept nogil
cdef void map_pages(memmap *m, vma_c *v, uint64_t *ptes, uint64_t va) noexcept nogil
cdef void delete_from_page_cache(memmap *m, uint32_t pfn) noexcept nogil
cdef void replace_in_page_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil


cdef inline void count_cached(memmap *m, const page *p, int n) noexcept nogil:
    """NR_FILE_PAGES and NR_SHMEM of the page's node."""
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_PAGES] += n
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_SHMEM] += n


cdef inline void unmap_from_file(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """try_to_unmap_one() for a page of a file: the PTE is empty, for the page can be found again. No TLB is flushed."""
    cdef page *p = &m.hot[pfn]
    if pte[0] & PTE_DIRTY:
        p.flags |= PG_dirty
    pte[0] = 0
    mm_counter(mm, p)[0] -= 1
    p.mapcount -= 1
    p.refcount -= 1
