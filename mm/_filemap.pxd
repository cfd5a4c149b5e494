# The page cache's C face: see _filemap.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport alloc_ctx, mapping_c, memmap, mm_c, page, vma_c

cdef enum:
    FAULT_AROUND = 16           # fault_around_bytes, in pages

cdef uint32_t shmem_alloc(memmap *m, alloc_ctx *ctx, mapping_c *mapping, uint64_t index, uint32_t n, uint32_t *pfns
                          ) noexcept nogil
cdef void map_file_page(memmap *m, vma_c *v, uint32_t pfn, uint64_t *pte, bint write) noexcept nogil
cdef void unmap_file_page(memmap *m, mm_c *mm, uint32_t pfn, uint64_t pte) noexcept nogil
cdef void map_pages(memmap *m, vma_c *v, uint64_t *ptes, uint64_t va) noexcept nogil
cdef void replace_in_page_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil
