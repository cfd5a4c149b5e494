# The page cache's C face: see _filemap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport PTE_DIRTY
from numalab.mm._mm_types cimport (
    NR_FILE_DIRTY, NR_FILE_PAGES, NR_NODE_STATS, NR_SHMEM, PG_NODE_SHIFT, PG_anon, PG_dirty, PG_swapbacked,
    alloc_ctx, mapping_c, memmap, mm_c, mm_counter, mpol, page, vma_c,
)

cdef enum:
    FAULT_AROUND = 16           # fault_around_bytes, in pages

cdef mpol *shared_policy_lookup(mapping_c *mapping, uint64_t index, uint64_t *end) noexcept nogil
cdef mpol *get_vma_policy(alloc_ctx *ctx, vma_c *v, uint64_t index) noexcept nogil
cdef bint shmem_full(const mapping_c *mapping) noexcept nogil
cdef uint32_t shmem_alloc(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t n, uint32_t *pfns
                          ) noexcept nogil
cdef void map_file_page(memmap *m, uint32_t cpu, vma_c *v, uint32_t pfn, uint64_t *pte, bint write) noexcept nogil
cdef void unmap_file_page(memmap *m, mm_c *mm, uint32_t pfn, uint64_t pte) noexcept nogil
cdef void map_pages(memmap *m, uint32_t cpu, vma_c *v, uint64_t *ptes, uint64_t va) noexcept nogil
cdef bint add_to_page_cache(memmap *m, mapping_c *mapping, uint64_t index, uint32_t pfn, uint32_t flags) noexcept nogil
cdef void delete_from_page_cache(memmap *m, uint32_t pfn) noexcept nogil
cdef void replace_in_page_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil


cdef inline void count_cached(memmap *m, const page *p, int n) noexcept nogil:
    """NR_FILE_PAGES of the page's node, and NR_SHMEM of shared memory."""
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_PAGES] += n
    if p.flags & PG_swapbacked:
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_SHMEM] += n


cdef inline void count_dirty(memmap *m, const page *p, int n) noexcept nogil:
    """folio_account_dirtied() and folio_account_cleaned(): NR_FILE_DIRTY, in which only pages of disks are."""
    if not p.flags & (PG_swapbacked | PG_anon):
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_DIRTY] += n


cdef inline void folio_mark_dirty(memmap *m, page *p) noexcept nogil:
    """A page of a file is no longer what the disk has. No PTE of one that is clean may be dirty, or writable."""
    if not p.flags & PG_dirty:
        p.flags |= PG_dirty
        count_dirty(m, p, 1)


cdef inline void unmap_from_file(memmap *m, uint32_t pfn, uint64_t *pte, mm_c *mm) noexcept nogil:
    """try_to_unmap_one() for a page of a file: the PTE is empty, for the page can be found again. No TLB is flushed."""
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(p.mapcount == 0 or p.refcount <= 0, pfn)
    if pte[0] & PTE_DIRTY:
        folio_mark_dirty(m, p)
    pte[0] = 0
    mm_counter(mm, p)[0] -= 1
    p.mapcount -= 1
    p.refcount -= 1
