"""Taking pages off the LRU from its cold end, and getting rid of them: the hot loops of reclaim and of swap migration.

Mirrors isolate_lru_folios(), shrink_folio_list() and folio_check_references() of mm/vmscan.c, and the page walk of
MADV_COLD and MADV_PAGEOUT. `isolate_lru` is the isolation loop: chunk by chunk, each struct page fetched a chunk ahead.
`pageout_batch` does to up to 512 isolated pages what shrink_folio_list() does to each: slot, unmap, one flush for all,
write, free. What stays comes back with its reason, and the driver (mm/vmscan.py, mm/migrate/swap.py) decides about
waiting and about another try.

Deliberately different: the flush is one for the batch also where Linux flushes before each write, which nobody can see.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._copy cimport copy_fence, copy_page_nt, zero_filled
from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_SPECIAL, huge_pmd, pte_at, pte_mapped, pte_pfn, pte_table, spread_leaf, table_at,
)
from numalab.mm._filemap cimport delete_from_page_cache
from numalab.mm._huge_memory cimport (
    HPAGE_PMD_SIZE, discard_huge_page, free_huge_page, huge_page_pinned, is_huge, is_huge_list, likely_mapped_shared,
    maps_whole, partially_mapped, split_folio,
)
from numalab.mm._lru cimport (
    count_isolated, folio_deactivate, folio_set_swapbacked, is_lazyfree, isolate_batch, lru_add_batch, lru_check_holes,
    lru_unlink_chunk, page_free_prepare,
)
from numalab.mm._migrate cimport (
    MigrateStats, PHASE_COPY, PHASE_FLUSH, PHASE_UNMAP, REASON_ACCESSED, REASON_ACTIVE, REASON_DIRTY,
    REASON_LOCKED, REASON_MAPPED, REASON_MLOCKED, REASON_NONE, REASON_NO_SWAP, REASON_PINNED, REASON_WRITEBACK,
    REASON_WRITING,
)
from numalab.mm._mm_types cimport (
    CHUNK_FILL, CHUNK_HOTTER, CHUNK_LIVE, HOLE, HPAGE_PMD_NR, LRU_ACTIVE_ANON, MemMap, MmStruct, NO_PFN,
    NR_ISOLATED_ANON, NR_ISOLATED_FILE, NR_LRU_LISTS, NR_NODE_STATS, NR_WRITEBACK, PGDEACTIVATE, PGLAZYFREED,
    PG_NODE_SHIFT, PG_ZONE_SHIFT, PG_active, PG_dirty, PG_head, PG_isolated, PG_locked, PG_lru, PG_mlocked,
    PG_reclaim, PG_referenced, PG_swapcache, PG_unevictable, PG_workingset, PG_writeback, PSWPOUT,
    SWP_SYNCHRONOUS_IO, lru_list, mapped_item, mapping_c, memmap, page, page_mapping,
)
from numalab.mm._page_alloc cimport free_pages_bulk, nl_prefetchw
from numalab.mm._page_list cimport FATE_EVICTED, FATE_FREED, PageList, note
from numalab.mm._rmap cimport mig_item, rmap_referenced, rmap_unmap, try_to_unmap_one
from numalab.mm._shmem cimport shmem_writepage
from numalab.mm._swap cimport add_to_swap_cache, area_of, delete_from_swap_cache, slot_alloc, slot_bytes, slot_zero
from numalab.mm._writeback cimport write_page
from numalab.mm._tlbbatch cimport flush_mm, set_tlb_ubc_flush_pending, tlb_batch_begin, try_to_unmap_flush

cdef enum:
    BATCH = 512
    NT_MIN = 2048               # stream the writes of a list this long past the cache
    PAGEOUT_AGE = 1             # a page in use is kept, or activated (folio_check_references)
    # As in 2005 (mm/migrate/swap.py): dirty pages of files are written here, a page that was written stays for this
    # time even if that is over, and a locked area is met in the middle of unmapping, not foreseen.
    PAGEOUT_V5 = 4
    PAGEOUT_YOUNG_STAYS = 2     # and its quirks: an accessed bit is cleared and the page stays for this time,
    PAGEOUT_KEEP = 8            # a page that is out stays isolated


# ---------------------------------------------------------------- isolation from the cold end

cdef inline bint take(page *p, uint32_t highest) noexcept nogil:
    """Isolate a page if it is not being freed and not in too high a zone."""
    if p.refcount <= 0 or (p.flags >> PG_ZONE_SHIFT & 3) > highest:
        return False
    p.flags = (p.flags & ~<uint32_t>PG_lru) | PG_isolated
    p.refcount += 1
    p.lru = 0
    return True


cdef uint32_t isolate_cold(memmap *m, uint32_t node, uint32_t kind, uint32_t want, uint32_t highest, uint32_t *out,
                           uint32_t *scanned) noexcept nogil:
    """isolate_lru_folios(): look at `want` pages from the cold end; those taken go to `out`, in order.

    Pages passed over go to the hot end, in order. Returns how many were taken; scanned: how many were looked at.
    """
    cdef lru_list *list = &m.lrus[node * NR_LRU_LISTS + kind]
    cdef uint32_t taken = 0, seen = 0, passed = 0, slot, end, next, pfn, i
    cdef uint32_t *w
    cdef uint32_t *ahead
    cdef page *hot = m.hot
    if <int64_t>want > list.live:
        want = <uint32_t>list.live
    while seen < want:
        w = &m.chunks[list.tail << 6]
        next = w[CHUNK_HOTTER]
        ahead = &m.chunks[next << 6]            # of the last chunk that is the pool's own, which does no harm
        for i in range(0, 64, 16):
            nl_prefetchw(&m.chunks[(ahead[CHUNK_HOTTER] << 6) + i])
        end = 4 + w[CHUNK_FILL]
        if w[CHUNK_LIVE] == w[CHUNK_FILL] and w[CHUNK_LIVE] <= want - seen:
            for slot in range(4, end):          # no holes, and all of it: the usual chunk
                nl_prefetchw(&hot[ahead[slot]])
                pfn = w[slot]
                if take(&hot[pfn], highest):
                    out[taken] = pfn
                    taken += 1
                else:                           # from behind: taken and passed together are no more than wanted
                    passed += 1
                    out[want - passed] = pfn
            memset(&w[4], 0xff, (end - 4) * sizeof(uint32_t))
            seen += w[CHUNK_LIVE]
            w[CHUNK_LIVE] = 0
        else:
            slot = 4
            while slot < end and seen < want:
                pfn = w[slot]
                nl_prefetchw(&hot[ahead[slot]])
                slot += 1
                if pfn == <uint32_t>HOLE:
                    continue
                w[slot - 1] = HOLE
                w[CHUNK_LIVE] -= 1
                seen += 1
                if take(&hot[pfn], highest):
                    out[taken] = pfn
                    taken += 1
                else:
                    passed += 1
                    out[want - passed] = pfn
        if w[CHUNK_LIVE] == 0:
            lru_unlink_chunk(m, list, list.tail)
    list.live -= seen
    m.node_stat[node * NR_NODE_STATS + kind] -= seen
    m.node_stat[node * NR_NODE_STATS + (NR_ISOLATED_ANON if kind <= LRU_ACTIVE_ANON else NR_ISOLATED_FILE)] += taken
    put_passed(m, out + want - passed, passed)
    scanned[0] = seen
    return taken


cdef void put_passed(memmap *m, uint32_t *pfns, uint32_t n) noexcept nogil:
    """Pages that were passed over, the first one last, go to the hot end in order."""
    cdef uint32_t i, t
    for i in range(n // 2):
        t = pfns[i]
        pfns[i] = pfns[n - 1 - i]
        pfns[n - 1 - i] = t
    lru_add_batch(m, pfns, n)


def isolate_lru(MemMap mem, uint32_t node, uint32_t kind, uint32_t[::1] out, uint32_t highest=3) -> tuple:
    """Look at as many pages as ``out`` has room for, from the cold end of one list (``LRU_*``) of a node.

    highest: zone type above which pages are passed over. Returns (taken, scanned); the taken ones stand in front.
    """
    cdef uint32_t taken = 0, scanned = 0, want = <uint32_t>out.shape[0]
    if want:
        with nogil:
            taken = isolate_cold(&mem.m, node, kind, want, highest, &out[0], &scanned)
            lru_check_holes(&mem.m, &mem.m.lrus[node * NR_LRU_LISTS + kind])
            mem.m.h.now += scanned * mem.m.h.cost.isolate_page
    return taken, scanned


# ---------------------------------------------------------------- in use or not

cdef uint32_t referenced(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_referenced(): count the PTEs of a page that have been used since they were last asked; clear their bits."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t *pte
    cdef uint32_t used
    cdef mig_item item
    if p.mapcount == 0:
        return 0
    if p.mapcount == 1 and p.rmap:
        pte = pte_at(m.h, p.rmap)
        used = (pte[0] & PTE_ACCESSED) != 0
        pte[0] &= ~<uint64_t>PTE_ACCESSED      # without a branch: nobody can foretell which page was used
        return used
    item.src = pfn
    item.anon = <uint32_t>m.cold[pfn].mapping
    item.index = m.cold[pfn].index
    return rmap_referenced(m, &item)


cdef int check_references(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_check_references(): 0 = reclaim it, else why not. Used once: another round; more often: it is active."""
    cdef page *p = &m.hot[pfn]
    cdef uint32_t ptes = referenced(m, pfn)
    cdef bint before = (p.flags & PG_referenced) != 0
    p.flags &= ~<uint32_t>PG_referenced
    if ptes == 0:
        return 0
    p.flags |= PG_referenced
    return REASON_ACTIVE if before or ptes > 1 else REASON_ACCESSED


def deactivate(MemMap mem, uint32_t[::1] pfns) -> None:
    """shrink_active_list() for isolated pages: their use so far is forgotten, and they go to the inactive list."""
    cdef uint32_t i, n = <uint32_t>pfns.shape[0]
    cdef page *p
    cdef memmap *m = &mem.m
    with nogil:
        for i in range(n):
            if i + 32 < n:
                nl_prefetchw(&m.hot[pfns[i + 32]])
            if i + 16 < n and m.hot[pfns[i + 16]].rmap:
                nl_prefetchw(pte_at(m.h, m.hot[pfns[i + 16]].rmap))
            p = &m.hot[pfns[i]]
            referenced(m, pfns[i])
            if p.flags & PG_active:
                p.flags = (p.flags & ~<uint32_t>PG_active) | PG_workingset
                m.event[PGDEACTIVATE] += 1


cdef bint may_split(memmap *m, uint32_t pfn) noexcept nogil:
    """Of a huge page that only a part is to be cold: it is split if nobody else has it."""
    return not likely_mapped_shared(m, pfn) and not huge_page_pinned(m, pfn)


cdef bint mapped_once(memmap *m, uint32_t head) noexcept nogil:
    """Does nobody else map any part of a huge page?"""
    cdef uint32_t i
    for i in range(512):
        if m.hot[head + i].mapcount != 1:
            return False
    return True


def cold_range(MemMap mem, MmStruct mm, uint32_t cpu, uint64_t start, uint64_t end, PageList pagelist,
               bint pageout) -> None:
    """madvise_cold_or_pageout_pte_range(): the pages of [start, end) that only this mapping has count as unused.

    pageout: isolate them, into ``pagelist``; else they go to the cold lists.
    """
    cdef uint64_t va = start, next, pte
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef uint64_t *pmd
    cdef uint32_t pfn, missed
    cdef bint whole             # a huge page, all of it
    cdef page *p
    cdef memmap *m = &mem.m
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            pmd = NULL
            if table == NULL:
                pmd = huge_pmd(m.h, mm.c.pgd, va)
                if pmd != NULL and next - va < HPAGE_PMD_SIZE:
                    if may_split(m, <uint32_t>pte_pfn(pmd[0])):
                        split_folio(m, <uint32_t>pte_pfn(pmd[0]), True)
                        table = table_at(m.h, pmd[0])
                    pmd = NULL
                elif pmd != NULL:
                    spread_leaf(pmd[0], spread)
                    table = spread
            if table == NULL:
                va = next
                continue
            pte = table[(va >> PAGE_SHIFT) & 511]
            pfn = <uint32_t>pte_pfn(pte) if pte_mapped(pte) and not pte & PTE_SPECIAL else 0
            whole = pmd != NULL or (next - va == HPAGE_PMD_SIZE and pfn and is_huge(m, pfn) and maps_whole(table, pfn))
            if whole and not mapped_once(m, pfn):
                va = next
                continue
            pagelist.reserve(BATCH)
            while va < next:
                pte = table[(va >> PAGE_SHIFT) & 511]
                if pte_mapped(pte) and not pte & PTE_SPECIAL:
                    pfn = <uint32_t>pte_pfn(pte)
                    p = &m.hot[pfn]
                    if is_huge(m, pfn) and not whole:
                        if not may_split(m, pfn):
                            va += PAGE_SIZE
                            continue
                        split_folio(m, pfn, True)
                        if table[(va >> PAGE_SHIFT) & 511] & PTE_SPECIAL:
                            va += PAGE_SIZE
                            continue
                    if p.mapcount == 1 and p.flags & PG_lru:
                        if not pageout:         # which asks nobody whether a page is in use
                            table[(va >> PAGE_SHIFT) & 511] = pte & ~<uint64_t>PTE_ACCESSED
                            if pmd != NULL:
                                pmd[0] &= ~<uint64_t>PTE_ACCESSED
                        p.flags &= ~<uint32_t>PG_referenced
                        if p.flags & PG_unevictable:
                            pass
                        elif pageout:
                            pagelist.pfns[pagelist.n] = pfn
                            pagelist.n += isolate_batch(m, pagelist.pfns + pagelist.n, 1, &missed)
                        else:
                            folio_deactivate(m, cpu, pfn)
                va += PAGE_SIZE
        flush_mm(m, &mm.c)


# ---------------------------------------------------------------- page-out

cdef int may_go(memmap *m, uint32_t pfn, uint32_t flags) noexcept nogil:
    """0 if a page can be unmapped now, an anonymous one with a slot and in the swap cache, or lazyfree; or why not."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t entry
    cdef int reason
    if p.flags & PG_locked:
        return REASON_LOCKED
    if p.flags & PG_mlocked and not flags & PAGEOUT_V5:     # folio_evictable()
        return REASON_MLOCKED
    if p.flags & PG_writeback:
        return REASON_WRITEBACK
    if flags & PAGEOUT_AGE:
        reason = check_references(m, pfn)
        if reason:
            return reason
    if p.pincount and not is_lazyfree(p):       # which is an ordinary page then (unmap_lazyfree())
        return REASON_PINNED
    if is_huge(m, pfn):
        if huge_page_pinned(m, pfn):
            return REASON_PINNED
        split_folio(m, pfn, partially_mapped(m, pfn))      # else Linux has it swapped out in one piece
    if is_lazyfree(p) and flags & PAGEOUT_V5:   # in 2005 there were none
        folio_set_swapbacked(m, p)
    if not is_lazyfree(p) and not p.flags & PG_swapcache and page_mapping(m, pfn) == NULL:
        entry = slot_alloc(m)
        if entry == 0:
            return REASON_NO_SWAP
        add_to_swap_cache(m, pfn, entry)
        p.flags |= PG_dirty
    if flags & PAGEOUT_YOUNG_STAYS and referenced(m, pfn):
        return REASON_ACCESSED
    return 0


cdef inline bint heads_lazyfree(const page *p, uint32_t flags) noexcept nogil:
    """Does a huge page begin here that MADV_PAGEOUT may discard as a whole?"""
    return is_lazyfree(p) and p.flags & PG_head and not flags & (PAGEOUT_AGE | PAGEOUT_V5)


cdef void discard_whole(memmap *m, outgoing *b, uint32_t head, MigrateStats stats) noexcept nogil:
    """shrink_folio_list() for a huge page that is lazyfree: all of it goes, or nothing."""
    cdef uint32_t flags = 0, i
    cdef int reason = REASON_MAPPED
    for i in range(512):
        flags |= m.hot[head + i].flags
    if flags & PG_locked:
        reason = REASON_LOCKED
    elif flags & PG_mlocked:
        reason = REASON_MLOCKED
    stats.phase[PHASE_UNMAP] += m.h.cost.unmap_page
    m.h.now += m.h.cost.unmap_page
    if reason == REASON_MAPPED and discard_huge_page(m, head):
        b.tlb.all = True
        stats.phase[PHASE_FLUSH] += try_to_unmap_flush(m, &b.tlb)
        for i in range(512):
            count_isolated(m, &m.hot[head + i], -1)
            note(stats.notes, FATE_FREED, head + i, 0, 0, REASON_NONE)
        free_huge_page(m, head)
        m.event[PGLAZYFREED] += HPAGE_PMD_NR
        stats.freed += HPAGE_PMD_NR
        m.h.now += m.h.cost.free_page
        return
    for i in range(512):
        stay(b, head + i, reason)


cdef uint32_t unmap_outgoing(memmap *m, outgoing *b, uint32_t cpu, uint32_t *pfns, uint32_t n, uint32_t flags,
                             MigrateStats stats) noexcept nogil:
    """Lock what may go, and unmap it. Returns how many of the n pages have had their turn: those in front of a huge
    page that may be discarded.
    """
    cdef uint32_t i, pfn, asid
    cdef int reason
    cdef mig_item *item
    cdef page *p
    for i in range(n):
        if i + 12 < n:
            nl_prefetchw(&m.hot[pfns[i + 12]])
            nl_prefetchw(&m.cold[pfns[i + 12]])
        if i + 6 < n and m.hot[pfns[i + 6]].rmap:
            nl_prefetchw(pte_at(m.h, m.hot[pfns[i + 6]].rmap))
        pfn = pfns[i]
        p = &m.hot[pfn]
        if i and heads_lazyfree(p, flags):
            n = i
            break
        # Only the isolation still holds it: its owner gave it up.
        if p.mapcount == 0 and p.refcount == 1 and not flags & PAGEOUT_KEEP:
            count_isolated(m, p, -1)
            page_free_prepare(m, pfn)
            free_pages_bulk(m, cpu, &pfn, 1)
            stats.freed += 1
            note(stats.notes, FATE_FREED, pfn, 0, 0, REASON_NONE)
            continue
        reason = may_go(m, pfn, flags)
        if reason:
            stay(b, pfn, reason)
            continue
        p.flags |= PG_locked
        item = &b.item[b.n]
        b.n += 1
        item.src = pfn
        item.dst = NO_PFN
        if p.mapcount == 1 and p.rmap and not p.flags & PG_mlocked:
            asid = <uint32_t>m.cold[p.rmap >> PAGE_SHIFT].mapping
            if try_to_unmap_one(m, pfn, pte_at(m.h, p.rmap), m.mms[asid]):
                p.rmap = 0
                m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + mapped_item(p)] -= 1
                set_tlb_ubc_flush_pending(&b.tlb, asid)
        elif p.mapcount:
            item.anon = <uint32_t>m.cold[pfn].mapping
            item.index = m.cold[pfn].index
            b.multi[b.nr_multi] = item
            b.nr_multi += 1
    if b.nr_multi:
        rmap_unmap(m, b.multi, b.nr_multi, True)
        b.tlb.all = True
    stats.phase[PHASE_UNMAP] += n * m.h.cost.unmap_page
    m.h.now += n * m.h.cost.unmap_page
    return n


cdef uint32_t write_outgoing(memmap *m, outgoing *b, uint32_t first, uint32_t last, uint32_t cpu, uint32_t flags,
                             bint stream, bint pause, MigrateStats stats) noexcept nogil:
    """pageout() and __remove_mapping(): write what is dirty; what is clean, and held by nobody else, is freed.

    [first, last): which items. Returns the next; with ``pause`` that is one that has just been written, and may go.
    """
    cdef hw *h = m.h
    cdef uint32_t i, k = 0, lazyfree = 0, pfn
    cdef uint32_t gone[512]
    cdef uint64_t cost = 0
    cdef uint8_t *here
    cdef uint8_t *next
    cdef page *p
    cdef mapping_c *mapping
    for i in range(first, last):
        pfn = b.item[i].src
        p = &m.hot[pfn]
        p.flags &= ~<uint32_t>PG_locked
        if p.mapcount:
            stay(b, pfn, REASON_MLOCKED if p.flags & PG_mlocked else REASON_MAPPED)
            continue
        if p.refcount != 2 - is_lazyfree(p):    # the isolation and the cache
            stay(b, pfn, REASON_PINNED)
            continue
        if p.flags & PG_dirty:
            mapping = page_mapping(m, pfn)
            if mapping != NULL and mapping.bdi:
                if flags & PAGEOUT_V5 and write_page(m, pfn):
                    cost += h.cost.swap_page
                    stay(b, pfn, REASON_WRITING)
                else:
                    stay(b, pfn, REASON_DIRTY)
                continue
            if mapping != NULL and not shmem_writepage(m, pfn):
                stay(b, pfn, REASON_NO_SWAP)
                continue
            p.flags &= ~<uint32_t>PG_dirty
            here = h.ram + (<uint64_t>pfn << PAGE_SHIFT)
            slot_zero(m, m.cold[pfn].private)[0] = not flags & PAGEOUT_V5 and zero_filled(here)
            if not slot_zero(m, m.cold[pfn].private)[0]:
                if stream:
                    next = h.ram + (<uint64_t>b.item[i + 1 if i + 1 < last else i].src << PAGE_SHIFT)
                    copy_page_nt(slot_bytes(m, m.cold[pfn].private), here, next)
                else:
                    memcpy(slot_bytes(m, m.cold[pfn].private), here, PAGE_SIZE)
                cost += h.cost.swap_page
                m.event[PSWPOUT] += 1
                if not area_of(m, m.cold[pfn].private).flags & SWP_SYNCHRONOUS_IO:
                    p.flags |= PG_writeback | PG_reclaim
                    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_WRITEBACK] += 1
            if p.flags & PG_writeback or flags & PAGEOUT_V5:
                stay(b, pfn, REASON_WRITING)
                continue
            if pause:
                last = i
                break
        note(stats.notes, FATE_FREED if is_lazyfree(p) else FATE_EVICTED, pfn,
             m.cold[pfn].private if p.flags & PG_swapcache else 0, 0, REASON_NONE)
        if is_lazyfree(p):
            lazyfree += 1
        elif p.flags & PG_swapcache:
            delete_from_swap_cache(m, pfn)
        else:                                   # the disk has it too; shared memory: still zeros, as it began
            delete_from_page_cache(m, pfn)
        if flags & PAGEOUT_KEEP:
            stay(b, pfn, REASON_NONE)
            continue
        count_isolated(m, p, -1)
        page_free_prepare(m, pfn)
        gone[k] = pfn
        k += 1
    if stream:
        copy_fence()
    stats.phase[PHASE_COPY] += cost
    h.now += cost
    free_pages_bulk(m, cpu, gone, k)
    stats.moved += k - lazyfree
    stats.freed += lazyfree
    m.event[PGLAZYFREED] += lazyfree
    h.now += k * h.cost.free_page
    return last


def pageout_batch(MemMap mem, uint32_t cpu, uint32_t[::1] pfns, uint64_t at, uint32_t flags, MigrateStats stats,
                  uint32_t[::1] left, uint8_t[::1] why_left) -> tuple:
    """Page out isolated pages from ``pfns[at]`` on, batch after batch, until one leaves pages behind.

    flags: PAGEOUT_*. left, why_left: room for 512 pages and their reasons (``REASON_*``);
    those WRITING are under writeback, and the driver hands them to the disk. Returns (next, number left).
    """
    cdef uint64_t total = <uint64_t>pfns.shape[0]
    cdef uint32_t n
    cdef outgoing b
    cdef bint stream = total >= NT_MIN
    cdef memmap *m = &mem.m
    b.nr_left = 0
    with nogil:
        while at < total and b.nr_left == 0:
            n = <uint32_t>(total - at) if total - at < BATCH else BATCH
            b.n = 0
            b.nr_multi = 0
            tlb_batch_begin(&b.tlb)
            stats.batches += 1
            if heads_lazyfree(&m.hot[pfns[at]], flags) and is_huge_list(m, &pfns[at], total - at):
                discard_whole(m, &b, pfns[at], stats)
                at += HPAGE_PMD_NR
                continue
            n = unmap_outgoing(m, &b, cpu, &pfns[at], n, flags, stats)
            if b.n:                             # before anything is written or freed
                stats.phase[PHASE_FLUSH] += try_to_unmap_flush(m, &b.tlb)
            write_outgoing(m, &b, 0, b.n, cpu, flags, stream, False, stats)
            at += n
    report_staying(&b, stats, &left[0], &why_left[0])
    return at, b.nr_left


def end_writeback(MemMap mem, uint32_t[::1] pfns, bint ok) -> None:
    """folio_end_writeback(), end_swap_bio_write(): a write is over; if it failed, the page is dirty again."""
    cdef uint32_t i
    cdef page *p
    for i in range(<uint32_t>pfns.shape[0]):
        p = &mem.m.hot[pfns[i]]
        p.flags &= ~<uint32_t>(PG_writeback | PG_reclaim)
        if not ok:
            p.flags |= PG_dirty
        mem.m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_WRITEBACK] -= 1
