# The page allocator's C face: see _page_alloc.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from numalab.arch._hw cimport hw
from numalab.arch._pagetable cimport pte_table
from numalab.mm._mm_types cimport alloc_ctx, memmap, mm_c, mpol, zone

# Prefetches go into the second-level cache, which can wait for several times as many lines as the first: for what lies
# scattered nothing else counts. near: into the first, for what mostly lies in order.
cdef extern from *:
    """
    #define nl_ctz(x) __builtin_ctz(x)
    #define nl_log2(x) (31 - __builtin_clz(x))
    #define nl_prefetchw_near(p) __builtin_prefetch((const void *)(p), 1)
    #define nl_prefetch(p) __builtin_prefetch((const void *)(p), 0, 2)
    #define nl_prefetchw(p) __builtin_prefetch((const void *)(p), 1, 2)
    """
    int nl_ctz(uint32_t x) noexcept nogil
    int nl_log2(uint32_t x) noexcept nogil
    void nl_prefetchw_near(const void *p) noexcept nogil
    void nl_prefetch(const void *p) noexcept nogil
    void nl_prefetchw(const void *p) noexcept nogil

cdef uint32_t zone_alloc_bulk(memmap *m, zone *z, uint32_t cpu, uint32_t want, uint32_t *out) noexcept nogil
cdef uint32_t alloc_pages_bulk(memmap *m, alloc_ctx *ctx, int nid, uint64_t nodes, uint32_t gfp,
                               uint32_t want, uint32_t *out) noexcept nogil
cdef uint32_t alloc_pages_mpol(memmap *m, alloc_ctx *ctx, mpol *pol, bint has_ilx, uint64_t ilx, uint32_t gfp,
                               uint32_t want, uint32_t *out) noexcept nogil
cdef void free_pages_bulk(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil
cdef uint32_t alloc_huge_mpol(memmap *m, alloc_ctx *ctx, mpol *pol, uint64_t ilx, uint32_t gfp) noexcept nogil
cdef uint32_t alloc_huge_node(memmap *m, alloc_ctx *ctx, int nid, uint64_t nodes, uint32_t gfp) noexcept nogil
cdef void free_pages_block(memmap *m, uint32_t pfn, int order) noexcept nogil
cdef uint64_t *pmd_alloc(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va) noexcept nogil
cdef uint64_t alloc_table(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va, int level) noexcept nogil
cdef void free_table(memmap *m, uint32_t cpu, mm_c *mm, uint64_t address) noexcept nogil
cdef uint64_t *pte_alloc(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va, uint64_t *next) noexcept nogil


cdef inline void fetch_next_table(hw *h, uint64_t root, uint64_t next, uint64_t end) noexcept nogil:
    """Fetch the first quarter of the PTE table at `next`, if [.., end) goes on there, before the walk reaches it.

    Tables are scattered, and the processor's own prefetching does not look beyond the page that it is in.
    """
    cdef uint64_t unused
    cdef uint64_t *table
    cdef int i
    if next < end:
        table = pte_table(h, root, next, &unused)
        if table != NULL:
            for i in range(0, 128, 8):
                nl_prefetch(&table[i])
