"""The LRU lists: unrolled lists of 60 frame numbers a chunk.

Mirrors mm/swap.c and the list half of mm/vmscan.c. A page keeps one number, its slot
(``chunk * 64 + slot``); taking it off writes HOLE there and decrements the chunk's live count; a chunk
with nothing alive is unlinked. Adding appends to the hottest chunk, scanning runs from the coldest
chunk's first slot. The next frame never depends on the page just looked at, so misses overlap: that is
what makes a scan of scattered memory 27 to 33 times as fast as a linked list (docs/adr).

A CPU collects 31 pages before it adds them (the per-CPU batch); a page waiting there holds a
reference and cannot be isolated, as in Linux. Those that MADV_COLD and MADV_FREE name, and those that are locked or
unlocked, it collects in batches of their own; they stay on their lists meanwhile, and may be isolated from there.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport (
    CHUNK_SLOTS, HPAGE_PMD_NR, LRU_BATCH, MemMap, MmStruct, NR_ISOLATED_ANON, NR_ISOLATED_FILE, PGACTIVATE,
    PGDEACTIVATE, PGLAZYFREE, PG_head, PG_isolated, PG_lru_batch, PG_referenced, PG_swapcache, PG_tail, POOL_FREE,
    POOL_LIMIT, POOL_VIRGIN, UNEVICTABLE_PGCULLED, UNEVICTABLE_PGMLOCKED, UNEVICTABLE_PGMUNLOCKED,
    UNEVICTABLE_PGRESCUED, cpu_fbatches, folio_batch, stat_add, stat_begin, stat_end, stat_run,
)
from numalab.mm._page_alloc cimport free_pages_bulk, nl_prefetchw
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport PTE_SPECIAL, is_migration_entry, leaf_table, pte_mapped, pte_pfn, pte_table
from numalab.mm._migrate_entry cimport mig_entry_pfn

cdef enum:
    NODE_BITS = 0xfc000000      # page.flags: the node


# ---------------------------------------------------------------- chunks

cdef uint32_t chunk_alloc(memmap *m) noexcept nogil:
    """A chunk from the pool, last returned first; head_chunk() sees to it that there is one."""
    cdef uint32_t c = m.chunks[POOL_FREE]
    if c:
        m.chunks[POOL_FREE] = m.chunks[(c << 6) + CHUNK_HOTTER]
    else:
        c = m.chunks[POOL_VIRGIN]
        VM_BUG_ON(c >= m.chunks[POOL_LIMIT])
        m.chunks[POOL_VIRGIN] = c + 1
    m.chunks[(c << 6) + CHUNK_HOTTER] = 0
    m.chunks[(c << 6) + CHUNK_COLDER] = 0
    m.chunks[(c << 6) + CHUNK_FILL] = 0
    m.chunks[(c << 6) + CHUNK_LIVE] = 0
    return c


cdef void lru_unlink_chunk(memmap *m, lru_list *list, uint32_t c) noexcept nogil:
    """Take a chunk out of its list and give it back to the pool."""
    cdef uint32_t *w = &m.chunks[c << 6]
    if w[CHUNK_HOTTER]:
        m.chunks[(w[CHUNK_HOTTER] << 6) + CHUNK_COLDER] = w[CHUNK_COLDER]
    else:
        list.head = w[CHUNK_COLDER]
    if w[CHUNK_COLDER]:
        m.chunks[(w[CHUNK_COLDER] << 6) + CHUNK_HOTTER] = w[CHUNK_HOTTER]
    else:
        list.tail = w[CHUNK_HOTTER]
    list.chunks -= 1
    w[CHUNK_HOTTER] = m.chunks[POOL_FREE]
    m.chunks[POOL_FREE] = c


cdef void lru_compact(memmap *m, lru_list *list) noexcept nogil:
    """Close the holes of a list: pages move towards its cold end in order, chunks left over go back to the pool."""
    cdef uint32_t c = list.tail, to = list.tail, slot = 0, i, pfn, next
    cdef uint32_t *w
    while c:
        w = &m.chunks[c << 6]
        next = w[CHUNK_HOTTER]
        for i in range(w[CHUNK_FILL]):
            pfn = w[4 + i]
            if pfn == HOLE:
                continue
            if slot == CHUNK_SLOTS:         # `to` is never hotter than c: what is overwritten has been read
                m.chunks[(to << 6) + CHUNK_FILL] = CHUNK_SLOTS
                m.chunks[(to << 6) + CHUNK_LIVE] = CHUNK_SLOTS
                to = m.chunks[(to << 6) + CHUNK_HOTTER]
                slot = 0
            m.chunks[(to << 6) + 4 + slot] = pfn
            m.hot[pfn].lru = (to << 6) + 4 + slot
            slot += 1
        c = next
    w = &m.chunks[to << 6]
    w[CHUNK_FILL] = slot
    w[CHUNK_LIVE] = slot
    c = w[CHUNK_HOTTER]
    w[CHUNK_HOTTER] = 0
    list.head = to
    while c:
        w = &m.chunks[c << 6]
        next = w[CHUNK_HOTTER]
        w[CHUNK_HOTTER] = m.chunks[POOL_FREE]
        m.chunks[POOL_FREE] = c
        list.chunks -= 1
        c = next


cdef void lru_check_holes(memmap *m, lru_list *list) noexcept nogil:
    """Keep slots below twice the live pages, so that scans do not starve."""
    if list.chunks > 4 and list.chunks * CHUNK_SLOTS > 2 * list.live + 4 * CHUNK_SLOTS:
        lru_compact(m, list)


cdef void pool_refill(memmap *m) noexcept nogil:
    """Every chunk is in use, so at least half of all slots are holes: close them."""
    cdef uint32_t i
    cdef lru_list *list
    for i in range(m.nr_nodes * NR_LRU_LISTS):
        list = &m.lrus[i]
        if list.chunks * CHUNK_SLOTS >= list.live + 2 * CHUNK_SLOTS:
            lru_compact(m, list)


cdef inline uint32_t *head_chunk(memmap *m, lru_list *list) noexcept nogil:
    """The hottest chunk, one with room: a new one is put before a full one."""
    cdef uint32_t c = list.head
    cdef uint32_t new
    if c and m.chunks[(c << 6) + CHUNK_FILL] < CHUNK_SLOTS:
        return &m.chunks[c << 6]
    if m.chunks[POOL_FREE] == 0 and m.chunks[POOL_VIRGIN] >= m.chunks[POOL_LIMIT]:
        pool_refill(m)
        c = list.head
        if c and m.chunks[(c << 6) + CHUNK_FILL] < CHUNK_SLOTS:
            return &m.chunks[c << 6]
    new = chunk_alloc(m)
    m.chunks[(new << 6) + CHUNK_COLDER] = c
    if c:
        m.chunks[(c << 6) + CHUNK_HOTTER] = new
    else:
        list.tail = new
    list.head = new
    list.chunks += 1
    return &m.chunks[new << 6]


cdef inline void lru_push(memmap *m, lru_list *list, page *p, uint32_t pfn) noexcept nogil:
    cdef uint32_t *w = head_chunk(m, list)
    cdef uint32_t slot = 4 + w[CHUNK_FILL]
    w[slot] = pfn
    w[CHUNK_FILL] += 1
    w[CHUNK_LIVE] += 1
    list.live += 1
    p.lru = <uint32_t>(w - m.chunks) + slot


# ---------------------------------------------------------------- adding

cdef void lru_add_batch(memmap *m, uint32_t *pfns, uint32_t n) noexcept nogil:
    """lru_add(): put pages on the hot end of the list that their flags name, and mark them PG_lru."""
    cdef uint32_t which = PG_unevictable | PG_swapbacked | PG_active | <uint32_t>NODE_BITS
    cdef uint32_t i = 0, kind, node, key, first, slot, pos
    cdef lru_list *list
    cdef uint32_t *w
    cdef page *hot = m.hot
    cdef page *p
    while i < n:
        p = &hot[pfns[i]]
        key = p.flags & which
        kind = page_lru(key)
        node = key >> PG_NODE_SHIFT
        list = &m.lrus[node * NR_LRU_LISTS + kind]
        w = head_chunk(m, list)
        first = slot = w[CHUNK_FILL]
        pos = <uint32_t>(w - m.chunks) + 4
        while True:                             # this page, and all behind it that go into the same chunk
            VM_BUG_ON_PAGE(p.flags & (PG_isolated | PG_lru_batch), pfns[i])
            VM_BUG_ON_PAGE(p.flags & PG_lru and m.chunks[p.lru] == pfns[i], pfns[i])
            p.flags |= PG_lru
            p.lru = pos + slot
            w[4 + slot] = pfns[i]
            slot += 1
            i += 1
            if i == n or slot == CHUNK_SLOTS:
                break
            p = &hot[pfns[i]]
            if p.flags & which != key:
                break
        w[CHUNK_FILL] = slot
        w[CHUNK_LIVE] += slot - first
        list.live += slot - first
        m.node_stat[node * NR_NODE_STATS + kind] += slot - first


cdef void drain_lru_add(memmap *m, uint32_t cpu) noexcept nogil:
    """folio_batch_move_lru() of lru_add: empty the CPU's batch onto the lists; a page freed meanwhile is freed now.

    What can be reclaimed begins there as not referenced (CONFIG_LRU_GEN_ENABLED).
    """
    cdef folio_batch *b = &m.fbatches[cpu].lru_add
    cdef uint32_t keep[31]
    cdef uint32_t gone[31]
    cdef uint32_t i, pfn, n = 0, k = 0
    cdef page *p
    VM_BUG_ON(cpu >= m.h.nr_cpus or b.count > LRU_BATCH)
    for i in range(b.count):
        pfn = b.pfn[i]
        p = &m.hot[pfn]
        VM_BUG_ON_PAGE(not p.flags & PG_lru_batch or p.refcount <= 0, pfn)
        p.flags &= ~<uint32_t>(PG_lru_batch if p.flags & PG_unevictable else PG_lru_batch | PG_referenced)
        p.refcount -= 1
        if p.refcount:
            keep[n] = pfn
            n += 1
        else:
            page_free_prepare(m, pfn)
            gone[k] = pfn
            k += 1
    b.count = 0
    lru_add_batch(m, keep, n)
    free_pages_bulk(m, cpu, gone, k)


cdef void lru_cache_add(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil:
    """folio_add_lru() for n pages: through the CPU's batch, which goes to the lists each time it is full."""
    cdef folio_batch *b = &m.fbatches[cpu].lru_add
    cdef uint32_t i = 0, direct
    cdef page *p
    VM_BUG_ON(cpu >= m.h.nr_cpus)
    if b.count + n >= LRU_BATCH:
        direct = (b.count + n) - (b.count + n) % LRU_BATCH - b.count
        drain_lru_add(m, cpu)
        lru_add_batch(m, pfns, direct)
        i = direct
    while i < n:
        p = &m.hot[pfns[i]]
        VM_BUG_ON_PAGE(p.flags & (PG_lru | PG_isolated | PG_lru_batch), pfns[i])
        p.flags |= PG_lru_batch
        p.refcount += 1
        b.pfn[b.count] = pfns[i]
        b.count += 1
        i += 1


# ---------------------------------------------------------------- batches of pages that are on lists

cdef inline void lru_move_if_on(memmap *m, uint32_t pfn, page *p, uint32_t flags) noexcept nogil:
    """Give a page new flags and, if it stands on a list, the list that they name."""
    if p.flags & PG_lru:
        lru_del(m, p)
        p.flags = flags & ~<uint32_t>PG_lru
        lru_add_batch(m, &pfn, 1)
    else:
        p.flags = flags


cdef inline uint32_t folio_batch_add(memmap *m, folio_batch *b, uint32_t pfn) noexcept nogil:
    """One page more waits, with a reference; how many could come yet. 0 for part of a huge page, which never waits."""
    VM_BUG_ON(b.count >= LRU_BATCH)
    m.hot[pfn].refcount += 1
    b.pfn[b.count] = pfn
    b.count += 1
    return 0 if m.hot[pfn].flags & (PG_head | PG_tail) else LRU_BATCH - b.count


cdef void folios_put(memmap *m, uint32_t cpu, folio_batch *b) noexcept nogil:
    """folios_put(): what a batch held goes, and is freed if nobody else has it."""
    cdef uint32_t gone[31]
    cdef uint32_t i, k = 0
    cdef page *p
    for i in range(b.count):
        p = &m.hot[b.pfn[i]]
        VM_BUG_ON_PAGE(p.refcount <= 0, b.pfn[i])
        p.refcount -= 1
        if p.refcount == 0:
            page_free_prepare(m, b.pfn[i])
            gone[k] = b.pfn[i]
            k += 1
    b.count = 0
    free_pages_bulk(m, cpu, gone, k)


cdef void drain_lru_deactivate(memmap *m, uint32_t cpu) noexcept nogil:
    """folio_batch_move_lru() of lru_deactivate: pages are forgotten to be in use, and go to the inactive lists."""
    cdef folio_batch *b = &m.fbatches[cpu].lru_deactivate
    cdef uint32_t i
    cdef page *p
    for i in range(b.count):
        p = &m.hot[b.pfn[i]]
        if p.flags & (PG_lru | PG_unevictable) != PG_lru:
            continue
        p.flags &= ~<uint32_t>PG_referenced
        if p.flags & PG_active:
            lru_move_if_on(m, b.pfn[i], p, p.flags & ~<uint32_t>PG_active)
            m.event[PGDEACTIVATE] += 1
    folios_put(m, cpu, b)


cdef void folio_deactivate(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil:
    """folio_deactivate(), of any page that is on a list and can be reclaimed: as with CONFIG_LRU_GEN_ENABLED, for the
    generations of which numalab has the active and inactive lists.
    """
    if m.hot[pfn].flags & (PG_lru | PG_unevictable) == PG_lru \
            and folio_batch_add(m, &m.fbatches[cpu].lru_deactivate, pfn) == 0:
        drain_lru_deactivate(m, cpu)


# ---------------------------------------------------------------- pages that nobody wants

cdef inline bint may_be_lazyfree(const page *p) noexcept nogil:
    """An anonymous page on the LRU that swap does not have, and that is not lazyfree already."""
    return (p.flags & (PG_lru | PG_anon | PG_swapbacked | PG_swapcache | PG_unevictable)
            == (PG_lru | PG_anon | PG_swapbacked))


cdef void lru_lazyfree(memmap *m, const uint32_t *pfns, uint32_t n) noexcept nogil:
    """lru_lazyfree(): at most 512 pages lose the mark that swap stands behind them, and go to the inactive list of
    files. Those that have changed since they were named stay.
    """
    cdef uint32_t moved[512]
    cdef uint32_t i, k = 0
    cdef lru_leaving leaving
    cdef page *p
    lru_leaving_begin(&leaving)
    for i in range(n):
        p = &m.hot[pfns[i]]
        if may_be_lazyfree(p):
            lru_leave(m, &leaving, p)
            p.flags &= ~<uint32_t>(PG_lru | PG_active | PG_referenced | PG_swapbacked)
            moved[k] = pfns[i]
            k += 1
    lru_leaving_end(m, &leaving)
    lru_add_batch(m, moved, k)
    m.event[PGLAZYFREE] += k


cdef void drain_lru_lazyfree(memmap *m, uint32_t cpu) noexcept nogil:
    """folio_batch_move_lru() of lru_lazyfree."""
    cdef folio_batch *b = &m.fbatches[cpu].lru_lazyfree
    lru_lazyfree(m, b.pfn, b.count)
    folios_put(m, cpu, b)


cdef void folio_mark_lazyfree(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil:
    """folio_mark_lazyfree(): as soon as the CPU's batch is full, or drained."""
    if may_be_lazyfree(&m.hot[pfn]) and folio_batch_add(m, &m.fbatches[cpu].lru_lazyfree, pfn) == 0:
        drain_lru_lazyfree(m, cpu)


cdef void mark_huge_lazyfree(memmap *m, uint32_t cpu, uint32_t head) noexcept nogil:
    """The same for all of a huge page, which does not wait, and neither do those before it."""
    cdef uint32_t pfns[512]
    cdef uint32_t i
    for i in range(512):
        pfns[i] = head + i
    drain_lru_lazyfree(m, cpu)
    lru_lazyfree(m, pfns, HPAGE_PMD_NR)


cdef void lru_drain_cpu(memmap *m, uint32_t cpu) noexcept nogil:
    """lru_add_drain(): no page waits in this CPU's batches any more."""
    drain_lru_add(m, cpu)
    drain_lru_deactivate(m, cpu)
    drain_lru_lazyfree(m, cpu)
    drain_mlock(m, cpu)


# ---------------------------------------------------------------- isolating and putting back

cdef uint32_t isolate_batch(memmap *m, uint32_t *pfns, uint32_t n, uint32_t *failed) noexcept nogil:
    """folio_isolate_lru() for n pages: off the LRU, one more reference. Keeps those taken in front of pfns.

    Returns how many were taken; failed: how many were not on an LRU (or being freed).
    """
    cdef uint32_t i, k = 0, pos
    cdef lru_leaving leaving
    cdef stat_run isolated_anon
    cdef stat_run isolated_file
    cdef page *p
    lru_leaving_begin(&leaving)
    stat_begin(&isolated_anon, NR_ISOLATED_ANON)
    stat_begin(&isolated_file, NR_ISOLATED_FILE)
    for i in range(n):
        if i + 24 < n:
            nl_prefetchw(&m.hot[pfns[i + 24]])
        if i + 12 < n:
            pos = m.hot[pfns[i + 12]].lru
            nl_prefetchw(&m.chunks[pos])
            nl_prefetchw(&m.chunks[pos & ~<uint32_t>63])
        p = &m.hot[pfns[i]]
        if not p.flags & PG_lru or p.refcount <= 0:
            continue
        lru_leave(m, &leaving, p)
        p.flags = (p.flags & ~<uint32_t>PG_lru) | PG_isolated
        p.refcount += 1
        if p.flags & PG_swapbacked:
            stat_add(m, &isolated_anon, p.flags >> PG_NODE_SHIFT, 1)
        else:
            stat_add(m, &isolated_file, p.flags >> PG_NODE_SHIFT, 1)
        pfns[k] = pfns[i]
        k += 1
    lru_leaving_end(m, &leaving)
    stat_end(m, &isolated_anon)
    stat_end(m, &isolated_file)
    failed[0] = n - k
    m.h.now += n * m.h.cost.isolate_page
    return k


cdef void putback_batch(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil:
    """putback_movable_pages(): isolated pages back on their lists, their extra reference dropped.

    Straight onto the lists: the callers run between lru_cache_disable() and lru_cache_enable().
    """
    cdef uint32_t i, pfn, k = 0
    cdef page *p
    for i in range(n):
        if i + 16 < n:
            nl_prefetchw(&m.hot[pfns[i + 16]])
        pfn = pfns[i]
        p = &m.hot[pfn]
        VM_BUG_ON_PAGE(not p.flags & PG_isolated or p.refcount <= 0, pfn)
        count_isolated(m, p, -1)
        p.flags &= ~<uint32_t>PG_isolated
        p.refcount -= 1
        if p.refcount:
            pfns[k] = pfn
            k += 1
        else:
            page_free_prepare(m, pfn)
            free_pages_bulk(m, cpu, &pfn, 1)
    lru_add_batch(m, pfns, k)


# ---------------------------------------------------------------- mlock

cdef void mark_page_accessed(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_mark_accessed(): the second use makes an inactive page active, if it stands on a list already.

    As with CONFIG_LRU_GEN_ENABLED it stays referenced then, and what cannot be reclaimed is not marked.
    """
    cdef page *p = &m.hot[pfn]
    if p.flags & PG_unevictable and not p.flags & PG_lru_batch:
        return
    if not p.flags & PG_referenced:
        p.flags |= PG_referenced
    elif p.flags & PG_lru and not p.flags & PG_active:
        m.event[PGACTIVATE] += 1
        lru_move_if_on(m, pfn, p, p.flags | PG_active)


cdef void mlock_page(memmap *m, uint32_t pfn) noexcept nogil:
    """mlock_folio(): count one locked mapping more; the first makes the page unevictable."""
    cdef page *p = &m.hot[pfn]
    m.cold[pfn].mlock_count += 1
    if p.flags & PG_mlocked:
        return
    m.node_stat[(p.flags >> 26) * NR_NODE_STATS + NR_MLOCK] += 1
    m.event[UNEVICTABLE_PGMLOCKED] += 1
    m.event[UNEVICTABLE_PGCULLED] += 1
    lru_move_if_on(m, pfn, p, (p.flags | PG_mlocked | PG_unevictable) & ~<uint32_t>PG_active)


cdef void munlock_page(memmap *m, uint32_t pfn) noexcept nogil:
    """munlock_folio(): one locked mapping less; the last lets the page age again."""
    cdef page *p = &m.hot[pfn]
    if not p.flags & PG_mlocked:
        return
    if m.cold[pfn].mlock_count:
        m.cold[pfn].mlock_count -= 1
    if m.cold[pfn].mlock_count:
        return
    m.node_stat[(p.flags >> 26) * NR_NODE_STATS + NR_MLOCK] -= 1
    m.event[UNEVICTABLE_PGMUNLOCKED] += 1
    m.event[UNEVICTABLE_PGRESCUED] += 1
    lru_move_if_on(m, pfn, p, p.flags & ~<uint32_t>(PG_mlocked | PG_unevictable))


cdef void drain_mlock(memmap *m, uint32_t cpu) noexcept nogil:
    """mlock_folio_batch(): new pages go to their lists. All else was done when they were locked; Linux moves and counts
    only here, where nobody can tell the difference.
    """
    cdef cpu_fbatches *batches = &m.fbatches[cpu]
    cdef uint32_t i
    for i in range(batches.mlock.count):
        if batches.mlock_new >> i & 1:
            m.hot[batches.mlock.pfn[i]].flags &= ~<uint32_t>PG_lru_batch
            lru_add_batch(m, &batches.mlock.pfn[i], 1)
    batches.mlock_new = 0
    folios_put(m, cpu, &batches.mlock)


cdef void mlock_wait(memmap *m, uint32_t cpu, uint32_t pfn) noexcept nogil:
    """A page that was locked or unlocked waits in the CPU's batch, which is emptied each time it is full."""
    if folio_batch_add(m, &m.fbatches[cpu].mlock, pfn) == 0:
        drain_mlock(m, cpu)


cdef void mlock_new_folios(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil:
    """mlock_new_folio() for n pages that are on no list yet, and marked as locked by one mapping."""
    cdef cpu_fbatches *batches = &m.fbatches[cpu]
    cdef uint32_t i
    for i in range(n):
        m.node_stat[(m.hot[pfns[i]].flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_MLOCK] += 1
        m.hot[pfns[i]].flags |= PG_lru_batch
        batches.mlock_new |= <uint32_t>1 << batches.mlock.count
        mlock_wait(m, cpu, pfns[i])
    m.event[UNEVICTABLE_PGMLOCKED] += n
    m.event[UNEVICTABLE_PGCULLED] += n


cdef void mlock_ptes(memmap *m, uint64_t pgd, uint64_t start, uint64_t end, bint lock) noexcept nogil:
    """mlock_pte_range(). A page under migration counts as mapped: what it is goes along to where it will lie."""
    cdef uint64_t va = start, next, pte
    cdef uint64_t spread[512]
    cdef uint32_t pfn
    cdef uint64_t *table
    while va < end:
        table = pte_table(m.h, pgd, va, &next)
        if next > end:
            next = end
        if table == NULL:
            table = leaf_table(m.h, pgd, va, spread)
        if table != NULL:
            while va < next:
                pte = table[(va >> 12) & 511]
                va += 4096
                if is_migration_entry(pte):
                    pfn = mig_entry_pfn(pte)
                elif pte_mapped(pte) and not pte & PTE_SPECIAL:
                    pfn = <uint32_t>pte_pfn(pte)
                else:
                    continue
                if lock:
                    mlock_page(m, pfn)
                else:
                    munlock_page(m, pfn)
        va = next


# ---------------------------------------------------------------- Python face

def add(MemMap mem, uint32_t cpu, uint32_t[::1] pfns) -> None:
    """folio_add_lru() for each frame of ``pfns``, through the batch of ``cpu``."""
    if pfns.shape[0]:
        with nogil:
            lru_cache_add(&mem.m, cpu, &pfns[0], <uint32_t>pfns.shape[0])


def drain(MemMap mem, uint32_t cpu) -> None:
    """lru_add_drain() on one CPU."""
    lru_drain_cpu(&mem.m, cpu)


def drain_all(MemMap mem) -> None:
    """lru_add_drain_all(): every CPU."""
    cdef uint32_t cpu
    with nogil:
        for cpu in range(mem.m.h.nr_cpus):
            lru_drain_cpu(&mem.m, cpu)


def isolate_pfns(MemMap mem, uint32_t[::1] pfns) -> int:
    """Isolate the pages of ``pfns``; those taken come to stand in front, in order. Returns how many."""
    cdef uint32_t failed, taken
    if pfns.shape[0] == 0:
        return 0
    with nogil:
        taken = isolate_batch(&mem.m, &pfns[0], <uint32_t>pfns.shape[0], &failed)
    return taken


def putback(MemMap mem, uint32_t cpu, uint32_t[::1] pfns) -> None:
    """Put isolated pages back on the LRU."""
    if pfns.shape[0]:
        with nogil:
            putback_batch(&mem.m, cpu, &pfns[0], <uint32_t>pfns.shape[0])


def put_page(MemMap mem, uint32_t cpu, uint32_t pfn) -> None:
    """folio_put(): one reference less; the last one frees the page."""
    cdef page *p = &mem.m.hot[pfn]
    VM_BUG_ON_PAGE(p.refcount <= 0, pfn)
    p.refcount -= 1
    if p.refcount == 0:
        page_free_prepare(&mem.m, pfn)
        free_pages_bulk(&mem.m, cpu, &pfn, 1)


def compact(MemMap mem) -> None:
    """Rewrite every list that is mostly holes (done by the kernels that remove many pages)."""
    cdef uint32_t i
    with nogil:
        for i in range(mem.m.nr_nodes * NR_LRU_LISTS):
            lru_check_holes(&mem.m, &mem.m.lrus[i])


def mlock_range(MemMap mem, MmStruct mm, uint64_t start, uint64_t end) -> None:
    """mlock_pte_range(): the present pages of [start, end) are mapped by one VM_LOCKED VMA more."""
    with nogil:
        mlock_ptes(&mem.m, mm.c.pgd, start, end, True)


def munlock_range(MemMap mem, MmStruct mm, uint64_t start, uint64_t end) -> None:
    """The same for a VMA that is no longer VM_LOCKED."""
    with nogil:
        mlock_ptes(&mem.m, mm.c.pgd, start, end, False)
