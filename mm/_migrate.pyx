"""Moving pages: finding them in page tables, taking them off the LRU, unmap, copy, map again.

Mirrors mm/migrate.c and the page-table walk of mm/mempolicy.c (queue_folios_pte_range). The unit of
work is a batch of up to 512 pages, as in Linux: unmap all, one TLB flush, move all. A batch that goes
through without trouble is followed by the next one in the same crossing; a batch that leaves pages
behind returns to the driver (mm/migrate/batched.py), which knows about passes, waiting and errors.

Deliberately different: targets are allocated for the whole batch after the unmapping instead of one by one
before it; who runs out of target pages sees the same result, since what has none goes back to its old place.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from numalab.arch._copy cimport copy_fence, copy_page_nt
from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport (
    PMD_SHIFT, PTE_ADDR, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_SPECIAL, is_migration_entry, leaf_table, pmd_entry,
    pmd_leaf, pte_at, pte_mapped, pte_pfn, pte_table,
)
from numalab.mm._filemap cimport replace_in_page_cache
from numalab.mm._huge_memory cimport (
    free_huge_page, huge_head, is_huge, is_huge_list, likely_mapped_shared, remap_huge_page, try_split_folio,
)
from numalab.mm._lru cimport count_isolated, isolate_batch, lru_add_batch, lru_check_holes, page_free_prepare
from numalab.mm._migrate_entry cimport mig_entry_make, mig_entry_pfn, mig_entry_restore
from numalab.mm._migrate_trace cimport trace_mapped, trace_moved, trace_undone, trace_unmapped
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_DIRECT_RECLAIM, GFP_THISNODE, GFP_USER_MOVABLE, HPAGE_PMD_NR, HPAGE_PMD_ORDER, MPOL_INTERLEAVE,
    MPOL_WEIGHTED_INTERLEAVE, MemMap, MemPolicy, MmStruct, NO_PFN, NR_ANON_MAPPED, NR_ISOLATED_ANON, NR_LRU_LISTS,
    NR_MLOCK, NR_NODE_STATS, PG_NODE_SHIFT, PG_ZONE_SHIFT, PG_active, PG_anon, PG_anon_exclusive, PG_dirty, PG_head,
    PG_hugetlb, PG_isolated, PG_locked, PG_lru, PG_migration_shared, PG_mlocked, PG_referenced, PG_reserved,
    PG_swapbacked, PG_swapcache, PG_tail, PG_unevictable, PG_uptodate, PG_workingset, PG_writeback,
    THP_MIGRATION_SUCCESS, VM_IO, VM_MAYWRITE, VM_PFNMAP, VM_SHARED, WHY_DONE, WHY_STRICT, alloc_ctx, mapped_item,
    mapping_c, memmap, mm_c, mpol, page, page_mapping, pfn_zone, vma_c, zone,
)
from numalab.mm._page_alloc cimport (
    alloc_huge_mpol, alloc_huge_node, alloc_pages_bulk, alloc_pages_mpol, fetch_next_table, free_pages_bulk,
    nl_prefetch, nl_prefetchw,
)
from numalab.mm._page_list cimport (
    FATE_FREED, FATE_MOVED, FATE_PASSED, FATE_QUEUED, PageList, PageLog, log_of, note, page_log, passed_batch,
)
from numalab.mm._rmap cimport mig_item, rmap_remap, rmap_unmap
from numalab.mm._swap cimport replace_in_swap_cache
from numalab.mm._tlbbatch cimport set_tlb_ubc_flush_pending, tlb_batch_begin, try_to_unmap_flush

cdef enum:
    BATCH = 512                 # NR_MAX_BATCHED_MIGRATION
    NT_MIN = 2048               # stream the copies of a list this long past the cache; shorter ones are read soon
    MF_STRICT = 1               # MPOL_MF_*
    MF_MOVE = 2
    MF_MOVE_ALL = 4
    MF_V5_FILTER = 16           # of MPOL_MF_INTERNAL: what is shared is judged as in 2005
    EFAULT = 14
    ENOENT = 2
    EACCES = 13
    EBUSY = 16


cdef class Target:
    """Where pages are to go: struct migration_target_control, or wherever a policy puts them.

    nid: the node, and no other, or with ``nodes`` the nearest of these to it; or -1 with ``policy`` (None = default
    policy) and ``ilx``, added to each page's index for interleaving. movable: they may go to ZONE_MOVABLE.
    """

    def __init__(self, int nid=-1, MemPolicy policy=None, uint64_t ilx=0, uint64_t nodes=0, bint movable=True):
        self.nid = nid
        self.policy = policy
        self.ilx = ilx
        self.nodes = nodes
        self.gfp = GFP_DIRECT_RECLAIM | (GFP_USER_MOVABLE if movable else 0) | (
            GFP_THISNODE if nid >= 0 and not nodes else 0)


cdef class MigrateStats:
    """Counters of one migration, kept by the kernels; the ledger reads them. log: what became of each page, or None."""

    def __init__(self, PageLog log=None):
        self.log = log
        self.notes = log_of(log)

    @property
    def reasons(self) -> list[int]:
        """Pages by reason, at each attempt that failed."""
        return [self.reason[i] for i in range(NR_REASONS)]

    @property
    def phases(self) -> list[int]:
        """Virtual ns by phase."""
        return [self.phase[i] for i in range(NR_PHASES)]

    def charge(self, int phase, int64_t ns) -> None:
        self.phase[phase] += ns

    def count(self, int reason) -> None:
        """One more page that was left for this reason."""
        self.reason[reason] += 1


# ---------------------------------------------------------------- finding pages

cdef inline bint all_within(const uint64_t *ptes, uint64_t start, uint64_t length) noexcept nogil:
    """Do these 64 entries all name pages in [start, start + length)? Without a branch; those behind are fetched."""
    cdef uint64_t every = PTE_PRESENT, outside = 0, offset
    cdef uint32_t i
    for i in range(64, 128, 8):
        nl_prefetch(&ptes[i])
    for i in range(64):
        every &= ptes[i]
        offset = PTE_ADDR(ptes[i]) - start
        outside |= offset | (length - 1 - offset)       # the top bit: below, or above
    return every != 0 and not outside >> 63


cdef bint v5_takes(memmap *m, mm_c *mm, uint32_t pfn) noexcept nogil:
    """migrate_page_add() of 2005: all but a page of a file that another process maps too, and nobody for writing."""
    cdef mapping_c *mapping = page_mapping(m, pfn)
    cdef bint others = False
    cdef uint32_t i
    if mapping == NULL:
        return True
    for i in range(mapping.i_mmap.count):
        if mapping.i_mmap.vmas[i].flags & (VM_SHARED | VM_MAYWRITE) == (VM_SHARED | VM_MAYWRITE):
            return True
        others |= mapping.i_mmap.vmas[i].mm != mm
    return not others


cdef inline uint32_t whole(const page *p) noexcept nogil:
    """What is decided of a page of a huge page is decided of so many; 0 = it is a small one."""
    return HPAGE_PMD_NR if p.flags & (PG_head | PG_tail) else 0


cdef uint32_t queue_table(memmap *m, mm_c *mm, uint64_t *table, uint64_t *at, uint64_t end, uint64_t nodes, bint invert,
                          uint32_t flags, bint migratable, uint32_t *out, int64_t *failed, int64_t *shared,
                          uint32_t *large, bint *found, page_log *log) noexcept nogil:
    """queue_folios_pte_range() for one PTE table: candidates to `out`, not yet isolated. Stops early under STRICT
    alone, and behind a page of a huge page, which is to be queued as a whole: `found`. large: its head, or that of the
    one before, of which no more need be said.
    """
    cdef uint64_t *ptes = &table[(at[0] >> PAGE_SHIFT) & 511]
    cdef uint32_t most = <uint32_t>((end - at[0] + PAGE_SIZE - 1) >> PAGE_SHIFT), i = 0
    cdef uint64_t passed = 0, reach = 0         # pages in [passed, passed + reach) lie where none is wanted
    cdef uint64_t pte, first = (at[0] & ~<uint64_t>(PAGE_SIZE - 1)) - PAGE_SIZE     # + i pages: where entry i - 1 is
    cdef uint32_t n = 0, pfn
    cdef page *p
    cdef zone *z
    while i < most:
        # The usual pages of a walk that moves little: a compare for a whole zone, no struct page, 64 pages at a time.
        if not i & 63:
            while most - i >= 64 and all_within(&ptes[i], passed, reach):
                i += 64
            if i == most:
                break
        pte = ptes[i]
        i += 1
        if pte_mapped(pte) and PTE_ADDR(pte) - passed < reach:
            continue
        if not pte_mapped(pte):
            if is_migration_entry(pte):
                failed[0] += 1
                note(log, FATE_PASSED, mig_entry_pfn(pte), first + i * PAGE_SIZE, 0, REASON_MIGRATING)
            continue
        pfn = <uint32_t>pte_pfn(pte)
        if <bint>(nodes >> m.section_node[pfn >> 15] & 1) == invert:
            z = pfn_zone(m, pfn)
            passed = <uint64_t>z.start << PAGE_SHIFT
            reach = <uint64_t>(z.end - z.start) << PAGE_SHIFT
            continue
        if pte & PTE_SPECIAL:
            note(log, FATE_PASSED, pfn, first + i * PAGE_SIZE, 0, REASON_ZERO_PAGE)
            continue
        if i + 16 < most and pte_mapped(ptes[i + 16]):
            nl_prefetchw(&m.hot[pte_pfn(ptes[i + 16])])
        p = &m.hot[pfn]
        if p.flags & (PG_reserved | PG_head | PG_tail):
            if p.flags & PG_reserved or huge_head(pfn) == large[0]:
                continue
            large[0] = huge_head(pfn)
        if flags & (MF_MOVE | MF_MOVE_ALL) and migratable:
            if not flags & MF_MOVE_ALL and (
                    not v5_takes(m, mm, pfn) if flags & MF_V5_FILTER else likely_mapped_shared(m, pfn)):
                shared[0] += 1
                note(log, FATE_PASSED, pfn, first + i * PAGE_SIZE, whole(p), REASON_SHARED)
                continue
            if p.flags & (PG_head | PG_tail):
                found[0] = True
                break
            note(log, FATE_QUEUED, pfn, first + i * PAGE_SIZE, 0, REASON_NONE)
            out[n] = pfn
            n += 1
            continue
        failed[0] += 1
        note(log, FATE_PASSED, pfn, first + i * PAGE_SIZE, whole(p),
             REASON_MISPLACED if migratable else REASON_NOT_MIGRATABLE)
        if flags & (MF_STRICT | MF_MOVE | MF_MOVE_ALL) == MF_STRICT:
            break
    at[0] += <uint64_t>i * PAGE_SIZE
    return n


cdef bint isolate_huge(memmap *m, PageList pagelist, uint32_t pfn, uint64_t va, page_log *log) except -1 nogil:
    """Isolate what there is of the huge page of ``pfn`` (at ``va``), all of it or, where that cannot be, nothing."""
    cdef uint32_t head = huge_head(pfn), i, n = 0, missed
    if m.hot[head].flags & PG_hugetlb:          # it is on no LRU
        if m.hot[head].flags & PG_isolated:
            note(log, FATE_PASSED, pfn, va, 0, REASON_NOT_ON_LRU)
            return False
        for i in range(512):
            m.hot[head + i].flags |= PG_isolated
            m.hot[head + i].refcount += 1
            note(log, FATE_QUEUED, head + i, va + (<int64_t>(head + i) - pfn) * PAGE_SIZE, 0, REASON_NONE)
        with gil:
            pagelist.hugetlbs.append(head)
        return True
    pagelist.reserve(HPAGE_PMD_NR)
    for i in range(512):
        if is_huge(m, head + i):
            if not m.hot[head + i].flags & PG_lru:
                note(log, FATE_PASSED, pfn, va, HPAGE_PMD_NR, REASON_NOT_ON_LRU)
                return False
            pagelist.pfns[pagelist.n + n] = head + i
            n += 1
    for i in range(n):
        note(log, FATE_QUEUED, pagelist.pfns[pagelist.n + i],
             va + (<int64_t>pagelist.pfns[pagelist.n + i] - pfn) * PAGE_SIZE, 0, REASON_NONE)
    pagelist.n += isolate_batch(m, pagelist.pfns + pagelist.n, n, &missed)
    return True


def queue_range(MemMap mem, MmStruct mm, uint64_t start, uint64_t end, uint64_t nodes, bint invert, uint32_t flags,
                PageList pagelist, bint migratable=True):
    """Isolate the pages of [start, end) that lie on ``nodes`` (with ``invert``: that do not).

    flags: MPOL_MF_STRICT | MOVE | MOVE_ALL, MF_V5_FILTER. Without a MOVE flag nothing is isolated, and the first such
    page stops the walk (``Why.STRICT``). Appends to ``pagelist`` and its counters; returns (next, why, 0).
    """
    cdef uint64_t va = start, next, before
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef uint32_t n, missed, pfn
    cdef bint found
    cdef int64_t failed = 0, shared = 0, scanned = 0
    cdef int why = WHY_DONE
    cdef uint64_t mark = 0
    cdef page_log *log = log_of(pagelist.log)
    cdef memmap *m = &mem.m
    with nogil:
        while va < end:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if table == NULL:
                table = leaf_table(m.h, mm.c.pgd, va, spread)
            if table == NULL:
                va = next
                continue
            fetch_next_table(m.h, mm.c.pgd, next, end)
            pagelist.reserve(BATCH)
            before = va
            found = False
            mark = log.n if log != NULL else 0
            n = queue_table(m, &mm.c, table, &va, next, nodes, invert, flags, migratable, pagelist.pfns + pagelist.n,
                            &failed, &shared, &pagelist.large, &found, log)
            scanned += (va - before) >> PAGE_SHIFT
            if n:
                pagelist.n += isolate_batch(m, pagelist.pfns + pagelist.n, n, &missed)
                passed_batch(log, mark, pagelist.pfns + pagelist.n - (n - missed), n - missed, REASON_NOT_ON_LRU)
                failed += missed
            if found:
                before = va - PAGE_SIZE
                pfn = <uint32_t>pte_pfn(table[(before >> PAGE_SHIFT) & 511])
                failed += not isolate_huge(m, pagelist, pfn, before, log)
            elif va < next or (failed and flags & (MF_STRICT | MF_MOVE | MF_MOVE_ALL) == MF_STRICT):
                why = WHY_STRICT
                break
        m.h.now += scanned * m.h.cost.scan_page
    pagelist.scanned += scanned
    pagelist.nr_failed += failed
    pagelist.nr_shared += shared
    return va, why, 0


cdef inline vma_c *find_vma(mm_c *mm, uint64_t va, vma_c *hint) noexcept nogil:
    """vma_lookup(): the VMA that contains va, NULL = none. `hint`: the last one found."""
    cdef uint32_t lo = 0, hi = mm.nr_vmas, mid
    if hint != NULL and hint.start <= va < hint.end:
        return hint
    while lo < hi:
        mid = (lo + hi) // 2
        if mm.table[mid].end <= va:
            lo = mid + 1
        else:
            hi = mid
    if lo < mm.nr_vmas and mm.table[lo].start <= va:
        return mm.table[lo]
    return NULL


def pages_status(MemMap mem, MmStruct mm, uint64_t[::1] addresses, int32_t[::1] status) -> None:
    """do_pages_stat_array(): the node of each address, or -ENOENT (nothing there), -EFAULT (no VMA, or the zero
    page).
    """
    cdef uint64_t *empty = <uint64_t *>(mem.m.h.ram + (<uint64_t>mem.m.zero_pfn << PAGE_SHIFT))
    cdef uint64_t foreign = PTE_PRESENT | PTE_SPECIAL
    cdef uint64_t covered = <uint64_t>-1        # va >> 30 of the PMD table in hand: for most addresses two loads do
    cdef uint64_t *pmds = empty
    cdef uint64_t *ptes[64]
    cdef uint64_t leaf[64]
    cdef uint64_t va, pmd, pte, at = 0, n = <uint64_t>addresses.shape[0]
    cdef uint32_t k, i
    cdef vma_c *v = NULL
    cdef memmap *m = &mem.m
    cdef uint8_t *ram = m.h.ram
    cdef uint8_t *section_node = m.section_node
    mm.sync_table()
    with nogil:
        while at < n:
            k = 64 if n - at > 64 else <uint32_t>(n - at)
            for i in range(k):                  # in any order: find all PTEs first, so that misses overlap
                va = addresses[at + i]
                v = find_vma(&mm.c, va, v)
                if v == NULL:
                    ptes[i] = &foreign
                    continue
                if va >> (PMD_SHIFT + 9) != covered:
                    covered = va >> (PMD_SHIFT + 9)
                    pmds = pmd_entry(m.h, mm.c.pgd, va)
                    pmds = pmds - ((va >> PMD_SHIFT) & 511) if pmds != NULL else empty
                pmd = pmds[(va >> PMD_SHIFT) & 511]
                ptes[i] = empty
                if (pmd & (PTE_PRESENT | PTE_PSE)) == PTE_PRESENT:
                    ptes[i] = <uint64_t *>(ram + PTE_ADDR(pmd)) + ((va >> PAGE_SHIFT) & 511)
                    nl_prefetch(ptes[i])
                elif pmd_leaf(pmd):
                    leaf[i] = pmd & ~<uint64_t>PTE_PSE      # any of its pages will do: they lie on one node
                    ptes[i] = &leaf[i]
            for i in range(k):
                pte = ptes[i][0]
                if not pte_mapped(pte):
                    status[at + i] = -ENOENT
                elif pte & PTE_SPECIAL:
                    status[at + i] = -EFAULT
                else:
                    status[at + i] = section_node[pte_pfn(pte) >> 15]
            at += k
        m.h.now += n * m.h.cost.walk


def queue_addresses(MemMap mem, MmStruct mm, uint64_t[::1] addresses, int node, bint move_all, int32_t[::1] status,
                    PageList pagelist, bint waiting=False, uint64_t never=VM_IO | VM_PFNMAP):
    """add_folio_for_migration() for consecutive entries of one move_pages() request with the same target node.

    never: of areas with such VM_* flags no page is moved.

    Goes on while pages are queued, and also past pages that only get a status as long as nothing is queued yet; stops
    behind the first page that got a status while others wait (``waiting``: some do from before). Returns (entries
    done, entries queued, whether the last one done has such a status).
    """
    cdef uint64_t va, next, i = 0, n = <uint64_t>addresses.shape[0], queued = 0
    cdef uint64_t spread[512]
    cdef uint64_t *table
    cdef uint64_t pte
    cdef uint32_t pfn, missed
    cdef int err
    cdef bint stopped = False
    cdef vma_c *v = NULL
    cdef page *p
    cdef memmap *m = &mem.m
    cdef page_log *log = log_of(pagelist.log)
    cdef uint8_t reason
    cdef uint32_t nr
    mm.sync_table()
    with nogil:
        while i < n:
            va = addresses[i]
            err = -EFAULT
            pfn = nr = 0
            reason = REASON_NO_AREA
            v = find_vma(&mm.c, va, v)
            if v != NULL and not v.flags & never:
                table = pte_table(m.h, mm.c.pgd, va, &next)
                if table == NULL:
                    table = leaf_table(m.h, mm.c.pgd, va, spread)
                pte = table[(va >> PAGE_SHIFT) & 511] if table != NULL else 0
                reason = REASON_ZERO_PAGE
                if not pte_mapped(pte):
                    err = -ENOENT
                    reason = REASON_MIGRATING if is_migration_entry(pte) else REASON_ABSENT
                elif not pte & PTE_SPECIAL:
                    pfn = <uint32_t>pte_pfn(pte)
                    p = &m.hot[pfn]
                    nr = whole(p)
                    if <int>m.section_node[pfn >> 15] == node:
                        err = node
                        reason = REASON_THERE
                    elif not move_all and likely_mapped_shared(m, pfn):
                        err = -EACCES
                        reason = REASON_SHARED
                    elif p.flags & (PG_head | PG_tail):     # one address moves all of it
                        if isolate_huge(m, pagelist, pfn, va, log):
                            queued += 1
                            i += 1
                            continue
                        err = -EBUSY
                        reason = REASON_NONE                # noted already
                    else:
                        pagelist.reserve(1)
                        pagelist.pfns[pagelist.n] = pfn
                        if isolate_batch(m, pagelist.pfns + pagelist.n, 1, &missed):
                            note(log, FATE_QUEUED, pfn, va, 0, REASON_NONE)
                            pagelist.n += 1
                            queued += 1
                            i += 1
                            continue
                        err = -EBUSY
                        reason = REASON_NOT_ON_LRU
            if reason != REASON_NONE:
                note(log, FATE_PASSED, pfn, va, nr, reason)
            status[i] = err
            i += 1
            if queued or waiting:
                stopped = True
                break
        m.h.now += i * m.h.cost.walk
    return i, queued, stopped


# ---------------------------------------------------------------- one batch

cdef void free_isolated(memmap *m, uint32_t cpu, uint32_t pfn, MigrateStats stats) noexcept nogil:
    """Only the isolation still holds a page: its owner gave it up."""
    count_isolated(m, &m.hot[pfn], -1)
    page_free_prepare(m, pfn)
    free_pages_bulk(m, cpu, &pfn, 1)
    stats.freed += 1
    note(stats.notes, FATE_FREED, pfn, 0, 0, REASON_NONE)


cdef uint32_t unmap_batch(memmap *m, batch *b, uint32_t cpu, uint32_t *pfns, uint64_t left, MigrateStats stats
                          ) noexcept nogil:
    """migrate_folio_unmap() for a batch: lock each page and turn its PTEs into migration entries.

    left: pages there are. Returns how many the batch has: it ends where a huge page begins that is whole.
    """
    cdef uint32_t n = <uint32_t>left if left < BATCH else BATCH
    cdef uint32_t i, pfn, before = b.n
    cdef uint64_t *pte
    cdef mig_item *item
    cdef page *p
    for i in range(n):
        if i + 24 < n:
            nl_prefetchw(&m.hot[pfns[i + 24]])
            nl_prefetchw(&m.cold[pfns[i + 24]])
        if i + 12 < n and m.hot[pfns[i + 12]].rmap:
            nl_prefetchw(pte_at(m.h, m.hot[pfns[i + 12]].rmap))
        pfn = pfns[i]
        p = &m.hot[pfn]
        VM_BUG_ON_PAGE(not p.flags & PG_isolated or p.refcount <= 0, pfn)
        if p.flags & (PG_head | PG_tail) and p.refcount + p.mapcount > 1:
            if i and is_huge_list(m, pfns + i, left - i):
                n = i
                break
            if not try_split_folio(m, pfn):
                leave(b, pfn, REASON_PINNED)
                continue
        if p.mapcount == 0 and p.refcount == 1:
            free_isolated(m, cpu, pfn, stats)
            continue
        if p.flags & (PG_locked | PG_writeback):
            leave(b, pfn, REASON_LOCKED if p.flags & PG_locked else REASON_WRITEBACK)
            continue
        p.flags |= PG_locked
        item = &b.item[b.n]
        b.n += 1
        item.src = pfn
        item.dst = NO_PFN
        item.pte = 0
        item.mapcount = 1
        if p.mapcount == 1 and p.rmap:
            item.pte = p.rmap
            pte = pte_at(m.h, p.rmap)
            if pte[0] & PTE_DIRTY:
                p.flags |= PG_dirty
            pte[0] = mig_entry_make(pte[0], pfn, (p.flags & PG_anon_exclusive) != 0)
            p.mapcount = 0
            p.refcount -= 1
            p.rmap = 0
            m.node_stat[(p.flags >> 26) * NR_NODE_STATS + mapped_item(p)] -= 1
            set_tlb_ubc_flush_pending(&b.tlb, <uint32_t>m.cold[item.pte >> PAGE_SHIFT].mapping)
        elif p.mapcount:
            item.anon = <uint32_t>m.cold[pfn].mapping
            item.index = m.cold[pfn].index
            b.multi[b.nr_multi] = item
            b.nr_multi += 1
    trace_unmapped(m, b.item + before, b.n - before)
    if b.nr_multi:
        rmap_unmap(m, b.multi, b.nr_multi, False)
        b.tlb.all = True
    charge(m, stats, PHASE_UNMAP, n * m.h.cost.unmap_page)
    return n


cdef void flush_batch(memmap *m, batch *b, MigrateStats stats) noexcept nogil:
    """try_to_unmap_flush(): one shootdown for the batch."""
    if b.n:
        stats.phase[PHASE_FLUSH] += try_to_unmap_flush(m, &b.tlb)


cdef uint32_t target_pages(memmap *m, alloc_ctx *ctx, batch *b, uint32_t first, uint32_t n, Target target,
                           uint32_t *dst) noexcept nogil:
    """alloc_migration_target(): a frame for each of ``n`` items of the batch; returns how many there were."""
    cdef uint32_t i
    cdef mpol *pol
    cdef uint32_t gfp = target.gfp
    if target.nid >= 0:
        return alloc_pages_bulk(m, ctx, target.nid, target.nodes, gfp, n, dst)
    pol = &target.policy.p if target.policy is not None else NULL
    if pol != NULL and (pol.mode == MPOL_INTERLEAVE or pol.mode == MPOL_WEIGHTED_INTERLEAVE):
        for i in range(n):
            if alloc_pages_mpol(m, ctx, pol, True, target.ilx + m.cold[b.item[first + i].src].index, gfp, 1,
                                dst + i) == 0:
                return i
        return n
    return alloc_pages_mpol(m, ctx, pol, True, 0, gfp, n, dst)


cdef inline void remap_single(memmap *m, mig_item *item, uint32_t pfn) noexcept nogil:
    """remove_migration_pte() through the PTE address that struct page knew."""
    cdef uint64_t *pte = pte_at(m.h, item.pte)
    cdef page *p = &m.hot[pfn]
    pte[0] = mig_entry_restore(pte[0], pfn)
    p.mapcount = 1
    p.refcount += 1
    p.rmap = item.pte
    m.node_stat[(p.flags >> 26) * NR_NODE_STATS + mapped_item(p)] += 1


cdef inline bint still_single(memmap *m, mig_item *item) noexcept nogil:
    """Is the entry still where it was? Not if somebody forked, moved or unmapped it meanwhile."""
    cdef uint64_t entry
    if item.pte == 0 or m.hot[item.src].flags & PG_migration_shared:
        return False
    entry = pte_at(m.h, item.pte)[0]
    return is_migration_entry(entry) and mig_entry_pfn(entry) == item.src


cdef inline void queue_multi(memmap *m, batch *b, mig_item *item) noexcept nogil:
    item.anon = <uint32_t>m.cold[item.src].mapping
    item.index = m.cold[item.src].index
    b.multi[b.nr_multi] = item
    b.nr_multi += 1


cdef void undo_item(memmap *m, batch *b, mig_item *item, int reason) noexcept nogil:
    """migrate_folio_undo_src(): map the old page again; the caller walks b.multi afterwards."""
    if still_single(m, item):
        remap_single(m, item, item.src)
    else:
        queue_multi(m, b, item)
    m.hot[item.src].flags &= ~<uint32_t>(PG_locked | PG_migration_shared)
    leave(b, item.src, reason)


cdef inline void copy_page_state(memmap *m, uint32_t src, uint32_t dst) noexcept nogil:
    """folio_migrate_flags() and folio_migrate_mapping(): the new page takes over what the old one was."""
    cdef page *s = &m.hot[src]
    cdef page *d = &m.hot[dst]
    VM_BUG_ON_PAGE(s.flags & PG_lru or d.flags << (32 - PG_ZONE_SHIFT) or d.refcount or d.mapcount, src)
    d.flags |= s.flags & (PG_uptodate | PG_dirty | PG_active | PG_unevictable | PG_mlocked | PG_swapbacked | PG_anon
                          | PG_anon_exclusive | PG_workingset | (PG_referenced if s.flags & PG_unevictable else 0))
    d.refcount = 0
    d.mapcount = 0
    d.pincount = 0
    d.rmap = 0
    m.cold[dst] = m.cold[src]
    if s.flags & PG_swapcache:
        replace_in_swap_cache(m, src, dst)
    elif page_mapping(m, src) != NULL:
        replace_in_page_cache(m, src, dst)
    if s.flags & PG_mlocked:
        m.node_stat[(s.flags >> 26) * NR_NODE_STATS + NR_MLOCK] -= 1
        m.node_stat[(d.flags >> 26) * NR_NODE_STATS + NR_MLOCK] += 1
        s.flags &= ~<uint32_t>PG_mlocked
        m.cold[src].mlock_count = 0


cdef uint32_t sort_out(memmap *m, batch *b, uint32_t first, uint32_t n, uint32_t *dst, uint32_t nr_dst,
                       mig_item **moving, MigrateStats stats) noexcept nogil:
    """Give each of n items that may move its target, now first in ``dst``, and map the others again. How many move."""
    cdef uint32_t i, k = 0
    cdef int reason
    cdef mig_item *item
    b.nr_multi = 0
    for i in range(first, first + n):
        item = &b.item[i]
        reason = why_not(m, item.src)
        if reason != REASON_NONE:
            undo_item(m, b, item, reason)
        elif i - first >= nr_dst:
            undo_item(m, b, item, REASON_TARGET_FULL)
        else:
            item.dst = dst[i - first]
            dst[i - first] = dst[k]
            dst[k] = item.dst
            moving[k] = item
            k += 1
    trace_undone(m, b.item + first, n)
    if b.nr_multi:
        rmap_remap(m, b.multi, b.nr_multi, False)
    charge(m, stats, PHASE_REMAP, n * m.h.cost.remap_page)  # each is mapped again, here or there
    return k


cdef bint still_movable(memmap *m, batch *b, mig_item *item) noexcept nogil:
    """Has nobody taken a reference while the page was being copied? If somebody has, the old page is mapped again."""
    cdef int reason = why_not(m, item.src)
    b.nr_multi = 0
    if reason != REASON_NONE:
        undo_item(m, b, item, reason)
        trace_mapped(m, item, item.src)
        if b.nr_multi:
            rmap_remap(m, b.multi, b.nr_multi, False)
    return reason == REASON_NONE


cdef void copy_pages(memmap *m, mig_item **moving, uint32_t n, bint stream) noexcept nogil:
    """Nothing but copies, so that the next page is always on its way."""
    cdef hw *h = m.h
    cdef uint32_t i
    cdef uint8_t *here
    cdef uint8_t *there
    for i in range(n):
        here = h.ram + (<uint64_t>moving[i].src << PAGE_SHIFT)
        there = h.ram + (<uint64_t>moving[i].dst << PAGE_SHIFT)
        if stream:
            copy_page_nt(there, here, NULL if i + 1 == n else h.ram + (<uint64_t>moving[i + 1].src << PAGE_SHIFT))
        else:
            memcpy(there, here, PAGE_SIZE)
    if stream:
        copy_fence()


cdef void remap_pages(memmap *m, uint32_t cpu, batch *b, mig_item **moving, uint32_t n, MigrateStats stats
                      ) noexcept nogil:
    """The copies take over, are mapped and go to the LRU; the old pages are free."""
    cdef hw *h = m.h
    cdef uint32_t i, k = n, orphans, src
    cdef uint32_t done[512]
    cdef uint32_t gone[512]
    cdef uint64_t cost = 0
    cdef mig_item *item
    cdef page_log *log = stats.notes
    b.nr_multi = 0
    for i in range(n):
        item = moving[i]
        src = item.src
        if i + 16 < n:
            nl_prefetchw(&m.hot[moving[i + 16].src])
            nl_prefetchw(&m.cold[moving[i + 16].src])
            nl_prefetchw(&m.hot[moving[i + 16].dst])
            nl_prefetchw(&m.cold[moving[i + 16].dst])
        cost += h.copy_cost[(m.hot[src].flags >> 26) * 64 + (m.hot[item.dst].flags >> 26)]
        copy_page_state(m, src, item.dst)
        if still_single(m, item):
            remap_single(m, item, item.dst)
        else:
            queue_multi(m, b, item)
        count_isolated(m, &m.hot[src], -1)
        page_free_prepare(m, src)
        gone[i] = src
        done[i] = item.dst
        note(log, FATE_MOVED, src, 0, item.dst, REASON_NONE)
    charge(m, stats, PHASE_COPY, cost)
    trace_moved(m, moving, n)
    orphans = rmap_remap(m, b.multi, b.nr_multi, True) if b.nr_multi else 0
    free_pages_bulk(m, cpu, gone, n)
    stats.moved += n
    if orphans:                                 # unmapped by their owner while they moved
        k = keep_used(m, cpu, done, n)
    lru_add_batch(m, done, k)


cdef uint32_t keep_used(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil:
    """Free the pages of a list that nobody maps or caches; the rest stay, in order."""
    cdef uint32_t i, k = 0
    for i in range(n):
        if m.hot[pfns[i]].refcount:
            pfns[k] = pfns[i]
            k += 1
        else:
            page_free_prepare(m, pfns[i])
            free_pages_bulk(m, cpu, &pfns[i], 1)
    return k


cdef int huge_page_stays(memmap *m, uint32_t head) noexcept nogil:
    """Why an isolated huge page cannot move now (REASON_*)."""
    cdef uint32_t i
    cdef page *p
    for i in range(512):
        p = &m.hot[head + i]
        if p.flags & PG_locked:
            return REASON_LOCKED
        if p.flags & PG_writeback:
            return REASON_WRITEBACK
        if <uint32_t>p.refcount != p.mapcount + 1:
            return REASON_PINNED
    return REASON_NONE


cdef void migrate_huge(memmap *m, alloc_ctx *ctx, batch *b, uint32_t src, Target target, MigrateStats stats
                       ) noexcept nogil:
    """One huge page, all of it or nothing. It is mapped at both ends of the copy: nobody runs in between."""
    cdef uint32_t pfns[512]
    cdef int reason = huge_page_stays(m, src)
    cdef uint32_t dst, i, k = HPAGE_PMD_NR
    cdef int64_t mapped = 0
    cdef uint64_t cost
    cdef int64_t *stat
    if reason == REASON_NONE:
        if target.nid >= 0:
            dst = alloc_huge_node(m, ctx, target.nid, target.nodes, target.gfp)
        else:
            dst = alloc_huge_mpol(m, ctx, &target.policy.p if target.policy is not None else NULL,
                                  target.ilx + (m.cold[src].index >> HPAGE_PMD_ORDER), target.gfp)
        reason = REASON_TARGET_FULL if dst == NO_PFN else REASON_NONE
    if reason != REASON_NONE:
        for i in range(512):
            leave(b, src + i, reason)
        return
    b.tlb.all = True
    stats.phase[PHASE_FLUSH] += try_to_unmap_flush(m, &b.tlb)
    memcpy(m.h.ram + (<uint64_t>dst << PAGE_SHIFT), m.h.ram + (<uint64_t>src << PAGE_SHIFT), HPAGE_PMD_NR * PAGE_SIZE)
    for i in range(512):
        mapped += m.hot[src + i].mapcount != 0
        copy_page_state(m, src + i, dst + i)
        m.hot[dst + i].flags |= PG_tail if i else PG_head
        pfns[i] = dst + i
        note(stats.notes, FATE_MOVED, src + i, 0, dst + i, REASON_NONE)
    remap_huge_page(m, src, dst)
    stat = m.node_stat + (m.hot[src].flags >> PG_NODE_SHIFT) * NR_NODE_STATS
    stat[NR_ISOLATED_ANON] -= HPAGE_PMD_NR
    stat[NR_ANON_MAPPED] -= mapped
    m.node_stat[(m.hot[dst].flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_MAPPED] += mapped
    cost = HPAGE_PMD_NR * m.h.copy_cost[
        (m.hot[src].flags >> PG_NODE_SHIFT) * 64 + (m.hot[dst].flags >> PG_NODE_SHIFT)]
    free_huge_page(m, src)
    if mapped < HPAGE_PMD_NR:                   # unmapped by their owner since they were isolated
        k = keep_used(m, ctx.cpu, pfns, k)
    lru_add_batch(m, pfns, k)
    stats.moved += HPAGE_PMD_NR
    m.event[THP_MIGRATION_SUCCESS] += 1
    charge(m, stats, PHASE_UNMAP, m.h.cost.unmap_page)
    charge(m, stats, PHASE_COPY, cost)
    charge(m, stats, PHASE_REMAP, m.h.cost.remap_page)


def migrate_batch(MemMap mem, AllocCtx ctx, uint32_t[::1] pfns, uint64_t at, Target target, MigrateStats stats,
                  uint32_t[::1] left, uint8_t[::1] why_left):
    """Migrate isolated pages from ``pfns[at]`` on, batch after batch, until one leaves pages behind.

    left, why_left: room for 512 pages and their reasons (``REASON_*``). Returns (next, why, number left): why is
    NO_TARGET when the target filled up, with the pages that found no room among those left.
    """
    cdef uint64_t total = <uint64_t>pfns.shape[0]
    cdef uint32_t i, got, k
    cdef uint32_t dst[512]
    cdef mig_item *moving[512]
    cdef batch b
    cdef bint stream = total >= NT_MIN
    cdef memmap *m = &mem.m
    b.nr_left = 0
    with nogil:
        while at < total:
            b.n = 0
            b.nr_multi = 0
            tlb_batch_begin(&b.tlb)
            m.h.now += m.h.cost.migrate_call
            stats.batches += 1
            if is_huge_list(m, &pfns[at], total - at):
                migrate_huge(m, &ctx.c, &b, pfns[at], target, stats)
                at += HPAGE_PMD_NR
            else:
                at += unmap_batch(m, &b, ctx.c.cpu, &pfns[at], total - at, stats)
                flush_batch(m, &b, stats)
                got = target_pages(m, &ctx.c, &b, 0, b.n, target, dst) if b.n else 0
                k = sort_out(m, &b, 0, b.n, dst, got, moving, stats)
                if k < got:
                    free_pages_bulk(m, ctx.c.cpu, dst + k, got - k)
                copy_pages(m, moving, k, stream)
                remap_pages(m, ctx.c.cpu, &b, moving, k, stats)
            if b.nr_left:
                break
        for i in range(m.nr_nodes * NR_LRU_LISTS):
            lru_check_holes(m, &m.lrus[i])
    return at, report_left(&b, stats, &left[0], &why_left[0]), b.nr_left
