# The LRU lists' C face: see _lru.pyx.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.mm._mm_types cimport (
    CHUNK_COLDER, CHUNK_FILL, CHUNK_HOTTER, CHUNK_LIVE, HOLE, LRU_ACTIVE_ANON, LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE, LRU_UNEVICTABLE, NR_ISOLATED_ANON, NR_ISOLATED_FILE, NR_LRU_LISTS, NR_MLOCK, NR_NODE_STATS,
    PG_NODE_SHIFT, PG_ZONE_SHIFT, PG_active, PG_anon, PG_isolated, PG_lru, PG_lru_batch, PG_mlocked,
    PG_swapbacked, PG_swapcache, PG_table, PG_unevictable, PG_writeback,
    UNEVICTABLE_PGCLEARED, lru_list, memmap, page,
)

cdef void lru_unlink_chunk(memmap *m, lru_list *list, uint32_t c) noexcept nogil
cdef void lru_add_batch(memmap *m, uint32_t *pfns, uint32_t n) noexcept nogil
cdef void lru_cache_add(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil
cdef void drain_lru_add(memmap *m, uint32_t cpu) noexcept nogil
cdef void lru_drain_cpu(memmap *m, uint32_t cpu) noexcept nogil
cdef void folio_mark_lazyfree(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil
cdef void mark_huge_lazyfree(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil
cdef uint32_t isolate_batch(memmap *m, uint32_t *pfns, uint32_t n, uint32_t *failed) noexcept nogil
cdef void putback_batch(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil
cdef void lru_check_holes(memmap *m, lru_list *list) noexcept nogil
cdef void mark_page_accessed(memmap *m, uint32_t pfn) noexcept nogil
cdef void folio_deactivate(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil
cdef void mlock_new_folios(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil
cdef void mlock_page(memmap *m, uint32_t pfn) noexcept nogil
cdef void mlock_wait(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil
cdef void munlock_page(memmap *m, uint32_t pfn) noexcept nogil


cdef inline uint32_t page_lru(uint32_t flags) noexcept nogil:
    """folio_lru_list(): which of the node's lists a page with these flags belongs on."""
    if flags & PG_unevictable:
        return LRU_UNEVICTABLE
    return (LRU_INACTIVE_ANON if flags & PG_swapbacked else LRU_INACTIVE_FILE) + (1 if flags & PG_active else 0)


cdef inline bint is_lazyfree(const page *p) noexcept nogil:
    """Anonymous, and no swap stands behind it: its contents may be lost (MADV_FREE)."""
    return p.flags & (PG_anon | PG_swapbacked) == PG_anon


cdef inline void count_isolated(memmap *m, const page *p, int64_t n) noexcept nogil:
    """One page more (or less) is off the lists and will come back."""
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS
                + (NR_ISOLATED_ANON if p.flags & PG_swapbacked else NR_ISOLATED_FILE)] += n


cdef inline void folio_set_swapbacked(memmap *m, page *p) noexcept nogil:
    """An isolated page that was lazyfree is an anonymous page like others again."""
    count_isolated(m, p, -1)
    p.flags |= PG_swapbacked
    count_isolated(m, p, 1)


cdef inline void lru_del(memmap *m, page *p) noexcept nogil:
    """lruvec_del_folio(): leave a hole where the page stood. The caller clears PG_lru."""
    cdef uint32_t pos = p.lru
    cdef uint32_t c = pos >> 6
    cdef uint32_t kind = page_lru(p.flags)
    cdef uint32_t node = p.flags >> 26
    cdef lru_list *list = &m.lrus[node * NR_LRU_LISTS + kind]
    VM_BUG_ON_PAGE(not p.flags & PG_lru or m.chunks[pos] != p - m.hot, p - m.hot)
    m.chunks[pos] = HOLE
    p.lru = 0
    list.live -= 1
    m.node_stat[node * NR_NODE_STATS + kind] -= 1
    m.chunks[(c << 6) + CHUNK_LIVE] -= 1
    if m.chunks[(c << 6) + CHUNK_LIVE] == 0:
        lru_unlink_chunk(m, list, c)


# Pages that leave their lists one after the other, often slot by slot: what changes in a chunk and in its list is
# written once for all that stood together in the chunk.
cdef struct lru_leaving:
    uint32_t chunk              # 0 = none
    uint32_t n
    lru_list *list
    int64_t *counter


cdef inline void lru_leaving_begin(lru_leaving *leaving) noexcept nogil:
    leaving.chunk = 0
    leaving.n = 0
    leaving.list = NULL
    leaving.counter = NULL


cdef inline void lru_leaving_end(memmap *m, lru_leaving *leaving) noexcept nogil:
    cdef uint32_t n = leaving.n
    cdef uint32_t *live
    if n == 0:
        return
    live = &m.chunks[(leaving.chunk << 6) + CHUNK_LIVE]
    leaving.list.live -= n
    leaving.counter[0] -= n
    live[0] -= n
    if live[0] == 0:
        lru_unlink_chunk(m, leaving.list, leaving.chunk)
    lru_leaving_begin(leaving)


cdef inline void lru_leave(memmap *m, lru_leaving *leaving, page *p) noexcept nogil:
    """lru_del() for one page of many; lru_leaving_end() must follow the last one."""
    cdef uint32_t pos = p.lru, kind, node
    if pos >> 6 != leaving.chunk:
        lru_leaving_end(m, leaving)
        kind = page_lru(p.flags)
        node = p.flags >> PG_NODE_SHIFT
        leaving.chunk = pos >> 6
        leaving.list = &m.lrus[node * NR_LRU_LISTS + kind]
        leaving.counter = &m.node_stat[node * NR_NODE_STATS + kind]
    VM_BUG_ON_PAGE(not p.flags & PG_lru or m.chunks[pos] != p - m.hot, p - m.hot)
    m.chunks[pos] = HOLE
    p.lru = 0
    leaving.n += 1


cdef inline void pages_free_prepare(memmap *m, lru_leaving *leaving, uint32_t pfn) noexcept nogil:
    """free_pages_prepare(): off the LRU, and nothing left in struct page but its place."""
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(p.refcount > ((p.flags & PG_isolated) != 0) or p.mapcount or p.pincount, pfn)
    VM_BUG_ON_PAGE(p.flags & (PG_table | PG_swapcache | PG_writeback | PG_lru_batch), pfn)
    if p.flags & PG_lru:
        lru_leave(m, leaving, p)
    if p.flags & PG_mlocked:
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_MLOCK] -= 1
        m.event[UNEVICTABLE_PGCLEARED] += 1
        m.cold[pfn].mlock_count = 0
    p.flags = p.flags >> PG_ZONE_SHIFT << PG_ZONE_SHIFT
    p.refcount = 0
    p.mapcount = 0
    p.pincount = 0
    p.rmap = 0


cdef inline void page_free_prepare(memmap *m, uint32_t pfn) noexcept nogil:
    """pages_free_prepare() for one page."""
    cdef lru_leaving leaving
    lru_leaving_begin(&leaving)
    pages_free_prepare(m, &leaving, pfn)
    lru_leaving_end(m, &leaving)
