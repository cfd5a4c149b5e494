"""The page allocator: buddy lists, per-CPU page sets, zonelists, policies.

Mirrors mm/page_alloc.c and the allocation half of mm/mempolicy.c. Everything works on ranges: a
request for n frames fills an array, whole buddy blocks first, so that a big touch costs a few
nanoseconds a page; one page is the same call with n = 1. Nothing here waits or reclaims: the caller
gets fewer frames than it asked for and decides (mm/page_alloc.py).

Deliberately different: between free and reuse, frames of a CPU lie in an *array* and not in a list
(a list of scattered frames is a pointer chase, docs/adr), and frames never used stand in no list at
all: each zone hands them out from its ``virgin`` frontier. Single frames on a free list leave a trail:
an array of their numbers in the order in which they were freed, which tells what to fetch before the
list gets there. The list alone decides; the trail may be wrong or incomplete, and then costs time only.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memmove, memset

from numalab.arch._hw cimport EV_MM_PAGE_ALLOC, EV_MM_PAGE_FREE, PAGE_SHIFT, PAGE_SIZE, hw, trace
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._pagetable cimport PMD_SHIFT, PTE_PRESENT, PTE_RW, PTE_USER, table_at
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_DIRECT_RECLAIM, GFP_HARDWALL, GFP_HIGH, GFP_MEMALLOC, GFP_THISNODE, GFP_USER_MOVABLE, HPAGE_PMD_NR,
    HPAGE_PMD_ORDER, MAX_NUMNODES, MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE, MemMap, MemPolicy, MmStruct, NO_PFN, NR_NODE_STATS, NR_PAGETABLE, NUMA_FOREIGN, NUMA_HIT,
    NUMA_INTERLEAVE_HIT, NUMA_LOCAL, NUMA_MISS, NUMA_OTHER, ORDER_FREE, PCP_MAX, PGALLOC, PGFREE,
    PG_table, SECTION_SHIFT, alloc_ctx, memmap, mm_c, mpol, page, page_cold, pcp, pfn_zone, zone,
)
from numalab.mm._page_poison cimport page_is_bad, poison_pages, unpoison_page
from numalab.mm._trace cimport trace_page_alloc, trace_page_free

cdef enum:
    MAX_ORDER = 10
    RUN_MIN = 8                 # a run of frames at least this long is freed as blocks, past the per-CPU set
    TRAIL_AHEAD = 16            # how far in front of the list the trail is followed
    TRAIL_SEARCH = 64           # steps back on it that are tried to find the list's head


# ---------------------------------------------------------------- free lists

cdef inline void list_push(memmap *m, zone *z, int order, uint32_t pfn) noexcept nogil:
    cdef page *p = &m.hot[pfn]
    cdef uint32_t head = z.head[order]
    VM_BUG_ON_PAGE(order > MAX_ORDER or pfn & ((<uint32_t>1 << order) - 1), pfn)
    VM_BUG_ON_PAGE(pfn < z.start or z.end - pfn < <uint32_t>1 << order or m.order[pfn], pfn)
    p.lru = head
    p.link = NO_PFN
    if head != NO_PFN:
        m.hot[head].link = pfn
    z.head[order] = pfn
    z.nr_free[order] += 1
    z.nonempty |= <uint32_t>1 << order
    m.order[pfn] = <uint8_t>(ORDER_FREE | order)


cdef inline void list_remove(memmap *m, zone *z, int order, uint32_t pfn) noexcept nogil:
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(m.order[pfn] != (ORDER_FREE | order), pfn)
    if p.link == NO_PFN:
        z.head[order] = p.lru
    else:
        m.hot[p.link].lru = p.lru
    if p.lru != NO_PFN:
        m.hot[p.lru].link = p.link
    p.lru = 0
    p.link = 0
    m.order[pfn] = 0
    z.nr_free[order] -= 1
    if z.nr_free[order] == 0:
        z.nonempty &= ~(<uint32_t>1 << order)


cdef inline int virgin_block(zone *z) noexcept nogil:
    """Order of the next never-used block: as large as alignment and the zone's end allow."""
    cdef int order = MAX_ORDER
    cdef uint32_t left = z.end - z.virgin
    if z.virgin & ((<uint32_t>1 << MAX_ORDER) - 1):
        order = nl_ctz(z.virgin)
    if left < <uint32_t>1 << order:
        order = nl_log2(left)
    return order


cdef inline uint32_t list_pop(memmap *m, zone *z, int order) noexcept nogil:
    """list_remove() of the first block of a list that has one."""
    cdef uint32_t pfn = z.head[order]
    cdef page *p = &m.hot[pfn]
    cdef uint32_t next = p.lru
    VM_BUG_ON_PAGE(m.order[pfn] != (ORDER_FREE | order) or p.link != NO_PFN, pfn)
    z.head[order] = next
    z.nr_free[order] -= 1
    if next == NO_PFN:
        z.nonempty &= ~(<uint32_t>1 << order)
    else:
        m.hot[next].link = NO_PFN
    p.lru = 0
    p.link = 0
    m.order[pfn] = 0
    return pfn


cdef inline void list_begin(memmap *m, zone *z, int order, uint32_t pfn) noexcept nogil:
    """list_push() to an empty list."""
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(z.nr_free[order] or m.order[pfn], pfn)
    p.lru = NO_PFN
    p.link = NO_PFN
    z.head[order] = pfn
    z.nr_free[order] = 1
    m.order[pfn] = <uint8_t>(ORDER_FREE | order)


cdef inline uint32_t buddy_take(memmap *m, zone *z, int order) noexcept nogil:
    """__rmqueue(): the smallest block that is big enough, upper halves back to the lists. NO_PFN = none."""
    cdef uint32_t fits = z.nonempty >> order, pfn
    cdef int o
    if fits:
        o = order + nl_ctz(fits)
        pfn = list_pop(m, z, o)
    else:
        while True:
            if z.virgin >= z.end:
                return NO_PFN
            o = virgin_block(z)
            pfn = z.virgin
            z.virgin += <uint32_t>1 << o
            if o >= order:
                break
            list_push(m, z, o, pfn)     # a small block at an unaligned edge of the zone
    z.free -= <int64_t>1 << order
    # The lists between were empty, or the block would have come from there.
    z.nonempty |= (<uint32_t>1 << o) - (<uint32_t>1 << order)
    while o > order:
        o -= 1
        list_begin(m, z, o, pfn + (<uint32_t>1 << o))
    return pfn


cdef inline void buddy_free(memmap *m, zone *z, uint32_t pfn, int order) noexcept nogil:
    """__free_one_page(): merge with the buddy while it is free, of the same order and in the same zone."""
    cdef uint32_t buddy
    z.free += <int64_t>1 << order
    while order < MAX_ORDER:
        buddy = pfn ^ (<uint32_t>1 << order)
        if buddy < z.start or buddy >= z.end or m.order[buddy] != (ORDER_FREE | order):
            break
        list_remove(m, z, order, buddy)
        pfn &= buddy
        order += 1
    list_push(m, z, order, pfn)


cdef inline void free_single(memmap *m, zone *z, uint32_t pfn) noexcept nogil:
    """buddy_free() of one frame, noted on the trail if it stays single."""
    cdef uint32_t *top = &m.trail_top[z - m.zones]
    buddy_free(m, z, pfn, 0)
    if m.order[pfn] == ORDER_FREE:
        if top[0] >= z.end - z.start:
            top[0] = 0                          # full of frames that have merged since: begin anew
        m.trail[z.start + top[0]] = pfn
        top[0] += 1


cdef uint32_t take_singles(memmap *m, zone *z, uint32_t want, uint32_t *out) noexcept nogil:
    """Up to `want` frames from the list of order 0. Each step needs a struct page, which the trail had fetched
    before.
    """
    cdef uint32_t *trail = m.trail + z.start
    cdef uint32_t *top = &m.trail_top[z - m.zones]
    cdef uint32_t got = 0, pfn, at, floor
    cdef bint lost = False
    while got < want and z.nonempty & 1:
        pfn = z.head[0]
        if not lost:
            at = top[0]
            floor = at - TRAIL_SEARCH if at > TRAIL_SEARCH else 0
            while at > floor and trail[at - 1] != pfn:
                at -= 1
            lost = at == floor
            if not lost:
                top[0] = at - 1
                if at > TRAIL_AHEAD:
                    nl_prefetchw(&m.hot[trail[at - 1 - TRAIL_AHEAD]])
                    nl_prefetchw(&m.order[trail[at - 1 - TRAIL_AHEAD]])
        out[got] = list_pop(m, z, 0)
        got += 1
    z.free -= got
    return got


cdef void free_run(memmap *m, zone *z, uint32_t pfn, uint32_t n) noexcept nogil:
    """Free [pfn, pfn + n) as the largest aligned blocks it is made of."""
    cdef int order
    while n:
        order = MAX_ORDER
        if pfn & ((<uint32_t>1 << MAX_ORDER) - 1):
            order = nl_ctz(pfn)
        if n < <uint32_t>1 << order:
            order = nl_log2(n)
        buddy_free(m, z, pfn, order)
        pfn += <uint32_t>1 << order
        n -= <uint32_t>1 << order


cdef uint32_t rmqueue_bulk(memmap *m, zone *z, uint32_t want, uint32_t *out) noexcept nogil:
    """Fill out with up to `want` frames, in blocks as large as the request and the lists allow."""
    cdef uint32_t got = 0, pfn, j
    cdef uint32_t *at
    cdef int order
    while got < want:
        order = nl_log2(want - got)
        if order > MAX_ORDER:
            order = MAX_ORDER
        if not z.nonempty >> order and z.virgin >= z.end:
            if not z.nonempty:
                break
            order = nl_log2(z.nonempty)
        if order == 0 and z.nonempty & 1:
            got += take_singles(m, z, want - got, out + got) if z.nonempty == 1 else take_singles(m, z, 1, out + got)
            continue
        pfn = buddy_take(m, z, order)
        if pfn == NO_PFN:
            # only small virgin edges were left: they are in the lists now
            if not z.nonempty:
                break
            order = nl_log2(z.nonempty)
            pfn = buddy_take(m, z, order)
        at = out + got
        for j in range(<uint32_t>1 << order):
            at[j] = pfn + j
        got += <uint32_t>1 << order
    return got


# ---------------------------------------------------------------- per-CPU page sets

cdef inline pcp *pcp_of(memmap *m, zone *z, uint32_t cpu) noexcept nogil:
    VM_BUG_ON(cpu >= m.h.nr_cpus)
    return &m.pcps[<uint32_t>(z - m.zones) * m.h.nr_cpus + cpu]


cdef uint32_t zone_alloc_bulk(memmap *m, zone *z, uint32_t cpu, uint32_t want, uint32_t *out) noexcept nogil:
    """rmqueue(): frames of one zone, the CPU's own first; a small request refills it by its batch."""
    cdef pcp *p = pcp_of(m, z, cpu)
    cdef uint32_t got = 0, i, n, t
    while True:
        while got < want and p.count:
            p.count -= 1
            out[got] = p.pfn[p.count]
            got += 1
        if got == want:
            return got
        if want - got >= z.pcp_batch:
            return got + rmqueue_bulk(m, z, want - got, out + got)
        n = rmqueue_bulk(m, z, z.pcp_batch, p.pfn)
        if n == 0:
            return got
        for i in range(n // 2):             # the set gives out its last entry first: lowest frame last
            t = p.pfn[i]
            p.pfn[i] = p.pfn[n - 1 - i]
            p.pfn[n - 1 - i] = t
        p.count = n


cdef inline void pcp_free(memmap *m, zone *z, uint32_t cpu, uint32_t pfn) noexcept nogil:
    """free_unref_page(): onto the CPU's set; a full one gives its oldest batch back to the buddy."""
    cdef pcp *p = pcp_of(m, z, cpu)
    cdef uint32_t i, n
    VM_BUG_ON_PAGE(pfn < z.start or pfn >= z.end or m.order[pfn], pfn)
    if p.count >= z.pcp_high:
        n = z.pcp_batch
        if n > p.count:
            n = p.count
        for i in range(n):
            nl_prefetchw(&m.hot[p.pfn[i]])
            nl_prefetchw(&m.order[p.pfn[i]])
        for i in range(n):
            free_single(m, z, p.pfn[i])
        p.count -= n
        memmove(p.pfn, p.pfn + n, p.count * sizeof(uint32_t))
    VM_BUG_ON(p.count >= PCP_MAX)
    p.pfn[p.count] = pfn
    p.count += 1


cdef inline uint32_t run_length(const uint32_t *pfns, uint32_t n) noexcept nogil:
    """How many of the frames follow each other from the first on: 64 at a time without a branch, then one by one."""
    cdef uint32_t first = pfns[0], j = 0, i, other = 0
    while n - j >= 64 and pfns[j + 63] == first + j + 63:
        for i in range(64):
            other |= pfns[j + i] ^ (first + j + i)
        if other:
            break
        j += 64
    while j < n and pfns[j] == first + j:
        j += 1
    return j


cdef uint32_t within_zone(memmap *m, zone *z, uint32_t pfn, uint32_t n) noexcept nogil:
    """How many of n frames lie in the zone of the first one: its span may have sections of another zone inside."""
    cdef uint32_t next = ((pfn >> SECTION_SHIFT) + 1) << SECTION_SHIFT
    while next < pfn + n and pfn_zone(m, next) == z:
        next += <uint32_t>1 << SECTION_SHIFT
    return n if next >= pfn + n else next - pfn


cdef void free_pages_bulk(memmap *m, uint32_t cpu, uint32_t *pfns, uint32_t n) noexcept nogil:
    """Free n order-0 frames whose struct pages are already clean; ascending neighbours go as blocks."""
    cdef uint32_t i = 0, j, length
    cdef uint32_t *run
    cdef zone *z
    m.event[PGFREE] += n
    trace_page_free(m, pfns, n)
    if m.debug:
        for i in range(n):
            VM_BUG_ON_PAGE(page_is_bad(m, pfns[i]), pfns[i])
            poison_pages(m, pfns[i], 0)
        i = 0
    while i < n:
        run = pfns + i
        z = pfn_zone(m, run[0])
        length = run_length(run, n - i if n - i < z.end - run[0] else z.end - run[0])
        if (run[0] + length - 1) >> SECTION_SHIFT != run[0] >> SECTION_SHIFT:
            length = within_zone(m, z, run[0], length)
        i += length
        if length >= RUN_MIN:
            free_run(m, z, run[0], length)
        else:
            for j in range(length):
                pcp_free(m, z, cpu, run[j])


# ---------------------------------------------------------------- zonelists

cdef inline void zone_statistics(memmap *m, alloc_ctx *ctx, uint32_t preferred, uint32_t node, int64_t n
                                 ) noexcept nogil:
    """zone_statistics(): hit or miss against the wanted node, local or other against the CPU's."""
    cdef int64_t *stat = m.node_stat + node * NR_NODE_STATS
    stat[NUMA_LOCAL if <int>node == ctx.nid else NUMA_OTHER] += n
    if node == preferred:
        stat[NUMA_HIT] += n
    else:
        stat[NUMA_MISS] += n
        m.node_stat[preferred * NR_NODE_STATS + NUMA_FOREIGN] += n


cdef inline void set_place(memmap *m, uint32_t *pfns, uint32_t n, uint32_t place) noexcept nogil:
    """set_page_links(): what is left in the flags of a free page, and what a page that was never used has not yet."""
    cdef page *hot = m.hot
    cdef uint32_t i
    if m.debug:
        for i in range(n):
            unpoison_page(m, pfns[i])
    for i in range(n):
        if i + 40 < n:
            nl_prefetchw_near(&hot[pfns[i + 40]])
        hot[pfns[i]].flags = place


cdef void set_block_place(memmap *m, uint32_t pfn, int order, uint32_t place) noexcept nogil:
    """set_place() for a block."""
    cdef uint32_t i
    for i in range(<uint32_t>1 << order):
        if m.debug:
            unpoison_page(m, pfn + i)
        m.hot[pfn + i].flags = place


cdef inline int64_t zone_room(zone *z, uint32_t gfp, int level, int highest) noexcept nogil:
    """How many frames a request may take before the zone falls to its low watermark (level 0), or to min (1)."""
    cdef int64_t mark = z.watermark[1 - level], room
    if level:
        if gfp & GFP_HIGH:
            mark -= mark // 2
        if gfp & GFP_MEMALLOC:
            mark = 0
    room = z.free - mark - z.lowmem_reserve[highest]
    # Whoever is about to give memory back may take the last frame, even of a reserve.
    return z.free if room <= 0 and level and gfp & GFP_MEMALLOC else room


cdef uint32_t alloc_pages_bulk(memmap *m, alloc_ctx *ctx, int nid, uint64_t nodes, uint32_t gfp,
                               uint32_t want, uint32_t *out) noexcept nogil:
    """__alloc_pages() for `want` single frames: the zonelist of `nid` down to the low watermarks, then to min.

    nodes: allowed nodes, 0 = all. Returns how many were found; fewer than `want` means: reclaim and call again.
    The kernel itself (page tables) leaves the cpuset rather than go below the low watermarks (cpuset_node_allowed()).
    """
    cdef int32_t *list = m.zonelist + <int64_t>nid * (m.nr_zones + 1)
    cdef uint64_t unwalled = nodes
    cdef uint32_t got = 0, n
    cdef int level, preferred = -1
    cdef int highest = 3 if gfp & GFP_USER_MOVABLE else 2
    cdef int64_t room
    cdef int32_t *at
    cdef zone *z
    VM_BUG_ON(<uint32_t>nid >= m.nr_nodes)
    gfp |= ctx.gfp
    if gfp & GFP_HARDWALL:
        if nodes and not nodes & ctx.mems_allowed:
            return 0
        nodes = nodes & ctx.mems_allowed if nodes else ctx.mems_allowed
    for level in range(2):
        if level and not gfp & GFP_USER_MOVABLE:
            nodes = unwalled
        at = list
        while at[0] >= 0:
            z = &m.zones[at[0]]
            at += 1
            if <int>z.type > highest or (nodes and not nodes >> z.node & 1):
                continue
            if gfp & GFP_THISNODE and <int>z.node != nid:
                break
            if preferred < 0:
                preferred = z.node
            room = zone_room(z, gfp, level, highest)
            if room <= 0:
                continue
            n = want - got
            if <int64_t>n > room:
                n = <uint32_t>room
            n = zone_alloc_bulk(m, z, ctx.cpu, n, out + got)
            set_place(m, out + got, n, z.place)
            zone_statistics(m, ctx, preferred, z.node, n)
            got += n
            if got == want:
                m.event[PGALLOC] += got
                # Of gfp what is at hand anyway: keeping all of it for this would cost every call.
                trace_page_alloc(m, out, got, highest - 2 | gfp & GFP_THISNODE)
                return got
    m.event[PGALLOC] += got
    trace_page_alloc(m, out, got, highest - 2 | gfp & GFP_THISNODE)
    return got


cdef uint32_t alloc_huge_node(memmap *m, alloc_ctx *ctx, int nid, uint64_t nodes, uint32_t gfp) noexcept nogil:
    """__alloc_pages() for one huge page: its first frame, or NO_PFN. Without compaction: only a free block will do."""
    cdef int32_t *at
    cdef uint32_t pfn
    cdef int level, preferred = -1
    cdef int highest = 3 if gfp & GFP_USER_MOVABLE else 2
    cdef zone *z
    VM_BUG_ON(<uint32_t>nid >= m.nr_nodes)
    gfp |= ctx.gfp
    if gfp & GFP_HARDWALL:
        if nodes and not nodes & ctx.mems_allowed:
            return <uint32_t>NO_PFN
        nodes = nodes & ctx.mems_allowed if nodes else ctx.mems_allowed
    for level in range(2):
        at = m.zonelist + <int64_t>nid * (m.nr_zones + 1)
        while at[0] >= 0:
            z = &m.zones[at[0]]
            at += 1
            if <int>z.type > highest or (nodes and not nodes >> z.node & 1):
                continue
            if gfp & GFP_THISNODE and <int>z.node != nid:
                break
            if preferred < 0:
                preferred = z.node
            if zone_room(z, gfp, level, highest) < HPAGE_PMD_NR:
                continue
            pfn = buddy_take(m, z, HPAGE_PMD_ORDER)
            if pfn == NO_PFN:
                continue
            set_block_place(m, pfn, HPAGE_PMD_ORDER, z.place)
            zone_statistics(m, ctx, preferred, z.node, 1)
            m.event[PGALLOC] += HPAGE_PMD_NR
            trace(m.h, EV_MM_PAGE_ALLOC, pfn, HPAGE_PMD_ORDER, gfp)
            return pfn
    return <uint32_t>NO_PFN


# ---------------------------------------------------------------- policies

cdef inline int nth_node(uint64_t nodes, uint64_t n) noexcept nogil:
    cdef int nid
    for nid in range(MAX_NUMNODES):
        if nodes >> nid & 1:
            if n == 0:
                return nid
            n -= 1
    return -1


cdef inline int next_node_in(int nid, uint64_t nodes) noexcept nogil:
    """The next node of the mask after nid, going round."""
    cdef int i
    for i in range(1, MAX_NUMNODES + 1):
        if nodes >> ((nid + i) & (MAX_NUMNODES - 1)) & 1:
            return (nid + i) & (MAX_NUMNODES - 1)
    return -1


cdef inline uint64_t weight_of_mask(uint64_t nodes) noexcept nogil:
    cdef uint64_t n = 0
    while nodes:
        nodes &= nodes - 1
        n += 1
    return n


cdef int interleave_nid(memmap *m, alloc_ctx *ctx, mpol *pol, uint64_t ilx) noexcept nogil:
    """interleave_nid() and weighted_interleave_nid(): the node for page number ilx of a mapping."""
    cdef uint64_t total = 0, target
    cdef int nid
    if pol.nodes == 0:
        return ctx.nid
    if pol.mode == MPOL_INTERLEAVE:
        return nth_node(pol.nodes, ilx % weight_of_mask(pol.nodes))
    for nid in range(MAX_NUMNODES):
        if pol.nodes >> nid & 1:
            total += m.weight[nid]
    VM_BUG_ON(total == 0)
    target = ilx % total
    for nid in range(MAX_NUMNODES):
        if pol.nodes >> nid & 1:
            if target < m.weight[nid]:
                return nid
            target -= m.weight[nid]
    return ctx.nid


cdef int interleave_nodes(memmap *m, alloc_ctx *ctx, mpol *pol) noexcept nogil:
    """interleave_nodes() and weighted_interleave_nodes(): the task's own round, for allocations without a VMA."""
    cdef int nid
    if pol.nodes == 0:
        return ctx.nid
    if pol.mode == MPOL_INTERLEAVE:
        nid = next_node_in(ctx.il_prev, pol.nodes)
        ctx.il_prev = nid
        return nid
    nid = ctx.il_prev
    if not ctx.il_weight or not pol.nodes >> nid & 1:
        nid = next_node_in(nid, pol.nodes)
        ctx.il_prev = nid
        ctx.il_weight = m.weight[nid]
    ctx.il_weight -= 1
    return nid


cdef uint32_t alloc_pages_mpol(memmap *m, alloc_ctx *ctx, mpol *pol, bint has_ilx, uint64_t ilx, uint32_t gfp,
                               uint32_t want, uint32_t *out) noexcept nogil:
    """alloc_pages_mpol() for `want` single frames of consecutive interleave index.

    pol: NULL = default. has_ilx: False for allocations without a VMA (page tables).
    """
    cdef int nid = ctx.nid
    cdef uint64_t nodes = 0
    cdef uint32_t got, n
    if pol == NULL:
        return alloc_pages_bulk(m, ctx, nid, 0, gfp, want, out)
    if pol.mode == MPOL_INTERLEAVE or pol.mode == MPOL_WEIGHTED_INTERLEAVE:
        for got in range(want):
            nid = interleave_nid(m, ctx, pol, ilx + got) if has_ilx else interleave_nodes(m, ctx, pol)
            if alloc_pages_bulk(m, ctx, nid, 0, gfp, 1, out + got) == 0:
                return got
            if <int>(m.hot[out[got]].flags >> 26) == nid and pol.mode == MPOL_INTERLEAVE:
                m.node_stat[nid * NR_NODE_STATS + NUMA_INTERLEAVE_HIT] += 1
        return want
    if pol.mode == MPOL_PREFERRED:
        nid = next_node_in(MAX_NUMNODES - 1, pol.nodes)
    elif pol.mode == MPOL_BIND:
        nodes = pol.nodes
        if ctx.gfp & GFP_HARDWALL and not nodes & ctx.mems_allowed:
            nodes = 0           # cpuset_nodemask_valid_mems_allowed(): the cpuset moved away; it wins
        if not gfp & GFP_USER_MOVABLE and not nodes & m.normal_nodes:
            nodes = 0           # apply_policy_zone(): bound to nodes where the kernel itself can have nothing
        if pol.home_node >= 0:
            nid = pol.home_node
    elif pol.mode == MPOL_PREFERRED_MANY:
        if pol.home_node >= 0:
            nid = pol.home_node
        got = alloc_pages_bulk(m, ctx, nid, pol.nodes, gfp & ~<uint32_t>GFP_DIRECT_RECLAIM, want, out)
        if got < want:
            n = alloc_pages_bulk(m, ctx, nid, 0, gfp, want - got, out + got)
            got += n
        return got
    return alloc_pages_bulk(m, ctx, nid, nodes, gfp, want, out)


cdef uint32_t alloc_huge_mpol(memmap *m, alloc_ctx *ctx, mpol *pol, uint64_t ilx, uint32_t gfp) noexcept nogil:
    """alloc_pages_mpol() for one huge page: on the wanted node, which counts for more than its size; else on another
    one if the caller would reclaim for it (GFP_DIRECT_RECLAIM). Interleaving goes by huge pages.
    """
    cdef int nid = ctx.nid
    cdef uint64_t nodes = 0
    cdef uint32_t pfn
    if pol != NULL and (pol.mode == MPOL_INTERLEAVE or pol.mode == MPOL_WEIGHTED_INTERLEAVE):
        nid = interleave_nid(m, ctx, pol, ilx)
        pfn = alloc_huge_node(m, ctx, nid, 0, gfp)
        if pfn != NO_PFN and <int>(m.hot[pfn].flags >> 26) == nid and pol.mode == MPOL_INTERLEAVE:
            m.node_stat[nid * NR_NODE_STATS + NUMA_INTERLEAVE_HIT] += 1
        return pfn
    if pol != NULL and pol.mode == MPOL_PREFERRED:
        nid = next_node_in(MAX_NUMNODES - 1, pol.nodes)
    elif pol != NULL and (pol.mode == MPOL_BIND or pol.mode == MPOL_PREFERRED_MANY):
        nodes = pol.nodes
        if pol.mode == MPOL_BIND and ctx.gfp & GFP_HARDWALL and not nodes & ctx.mems_allowed:
            nodes = 0
        if pol.home_node >= 0:
            nid = pol.home_node
    if pol != NULL and pol.mode == MPOL_PREFERRED_MANY:
        pfn = alloc_huge_node(m, ctx, nid, nodes, gfp & ~<uint32_t>GFP_DIRECT_RECLAIM)
        return pfn if pfn != NO_PFN else alloc_huge_node(m, ctx, nid, 0, gfp)
    if nodes == 0 or nodes >> nid & 1:
        pfn = alloc_huge_node(m, ctx, nid, 0, gfp | GFP_THISNODE)
        if pfn != NO_PFN or not gfp & GFP_DIRECT_RECLAIM:
            return pfn
    return alloc_huge_node(m, ctx, nid, nodes, gfp)


# ---------------------------------------------------------------- page tables

cdef uint64_t alloc_table(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va, int level) noexcept nogil:
    """A zeroed page-table page: physical address, or 0. cold.index tells what it maps, cold.private its level."""
    cdef uint32_t pfn
    cdef page *p
    cdef page_cold *c
    if alloc_pages_mpol(m, ctx, ctx.policy, False, 0, GFP_DIRECT_RECLAIM, 1, &pfn) == 0:
        return 0
    memset(m.h.ram + (<uint64_t>pfn << PAGE_SHIFT), 0, PAGE_SIZE)
    m.h.now += m.h.cost.zero_page
    p = &m.hot[pfn]
    p.flags |= PG_table
    p.refcount = 1
    p.mapcount = 0
    p.pincount = 0
    p.rmap = 0
    c = &m.cold[pfn]
    c.mapping = mm.asid
    c.index = va >> (PAGE_SHIFT + 9 * (level + 1))
    c.private = level
    m.node_stat[(p.flags >> 26) * NR_NODE_STATS + NR_PAGETABLE] += 1
    mm.nr_tables += 1
    return <uint64_t>pfn << PAGE_SHIFT


cdef void free_table(memmap *m, uint32_t cpu, mm_c *mm, uint64_t address) noexcept nogil:
    cdef uint32_t pfn = <uint32_t>(address >> PAGE_SHIFT)
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(not p.flags & PG_table or p.refcount != 1, pfn)
    m.node_stat[(p.flags >> 26) * NR_NODE_STATS + NR_PAGETABLE] -= 1
    mm.nr_tables -= 1
    p.flags &= ~<uint32_t>PG_table
    p.refcount = 0
    free_pages_bulk(m, cpu, &pfn, 1)


cdef inline uint64_t *table_alloc(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va, int last) noexcept nogil:
    """The table of level `last` that covers va, made with all the levels above it; NULL = no frame for one."""
    cdef hw *h = m.h
    cdef int level = <int>h.levels - 1
    cdef uint64_t *table = table_at(h, mm.pgd)
    cdef uint64_t *entry
    cdef uint64_t made
    while level > last:
        entry = &table[(va >> (PAGE_SHIFT + 9 * level)) & 511]
        if not entry[0] & PTE_PRESENT:
            made = alloc_table(m, ctx, mm, va, level - 1)
            if made == 0:
                return NULL
            entry[0] = made | PTE_PRESENT | PTE_RW | PTE_USER
        table = table_at(h, entry[0])
        level -= 1
    return table


cdef uint64_t *pte_alloc(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va, uint64_t *next) noexcept nogil:
    """pte_alloc(): the PTE table that covers va, where there is no 2 MiB leaf. next: the end of what it covers."""
    next[0] = ((va >> PMD_SHIFT) + 1) << PMD_SHIFT
    return table_alloc(m, ctx, mm, va, 0)


cdef uint64_t *pmd_alloc(memmap *m, alloc_ctx *ctx, mm_c *mm, uint64_t va) noexcept nogil:
    """pmd_alloc(): the PMD entry of va, made with all the levels above it; NULL = no frame for one."""
    cdef uint64_t *table = table_alloc(m, ctx, mm, va, 1)
    return &table[(va >> PMD_SHIFT) & 511] if table != NULL else NULL


# ---------------------------------------------------------------- Python face

def alloc_pages_node(MemMap mem, uint32_t cpu, int nid, uint32_t gfp=GFP_USER_MOVABLE, int order=0) -> int:
    """One block of 2^order frames, nearest to nid; NO_PFN when no zone has one. Ignores policies."""
    cdef alloc_ctx ctx
    cdef uint32_t pfn = NO_PFN
    cdef int32_t *at = mem.m.zonelist + <int64_t>nid * (mem.m.nr_zones + 1)
    cdef zone *z
    VM_BUG_ON(<uint32_t>order > MAX_ORDER)
    memset(&ctx, 0, sizeof(ctx))
    ctx.cpu = cpu
    ctx.nid = nid
    if order == 0:
        alloc_pages_bulk(&mem.m, &ctx, nid, 0, gfp, 1, &pfn)
        return pfn
    while at[0] >= 0:
        z = &mem.m.zones[at[0]]
        at += 1
        if gfp & GFP_THISNODE and <int>z.node != nid:
            break
        if z.free - (<int64_t>1 << order) < z.watermark[0]:
            continue
        pfn = buddy_take(&mem.m, z, order)
        if pfn != NO_PFN:
            set_block_place(&mem.m, pfn, order, z.place)
            mem.m.event[PGALLOC] += <int64_t>1 << order
            trace(mem.m.h, EV_MM_PAGE_ALLOC, pfn, order, gfp)
            return pfn
    return <uint32_t>NO_PFN


def alloc_bulk(MemMap mem, AllocCtx ctx, MemPolicy policy, uint64_t ilx, uint32_t gfp, uint32_t[::1] out) -> int:
    """Fill ``out`` (uint32 array) with single frames for ``policy`` (None = default); returns how many were found."""
    cdef mpol *pol = NULL if policy is None else &policy.p
    cdef uint32_t got, want = <uint32_t>out.shape[0]
    if want == 0:
        return 0
    with nogil:
        got = alloc_pages_mpol(&mem.m, &ctx.c, pol, True, ilx, gfp, want, &out[0])
    return got


def free_bulk(MemMap mem, uint32_t cpu, uint32_t[::1] pfns) -> None:
    """Free single frames; neighbours in ascending order are freed as blocks."""
    cdef uint32_t n = <uint32_t>pfns.shape[0]
    if n:
        with nogil:
            free_pages_bulk(&mem.m, cpu, &pfns[0], n)


cdef void free_pages_block(memmap *m, uint32_t pfn, int order) noexcept nogil:
    """Free one block of 2^order frames whose struct pages are clean already, straight to the buddy lists."""
    m.event[PGFREE] += <int64_t>1 << order
    trace(m.h, EV_MM_PAGE_FREE, pfn, order, 0)
    if m.debug:
        poison_pages(m, pfn, order)
    buddy_free(m, pfn_zone(m, pfn), pfn, order)


def free_block(MemMap mem, uint32_t pfn, int order) -> None:
    """Free one block of 2^order frames straight to the buddy lists."""
    free_pages_block(&mem.m, pfn, order)


def free_range(MemMap mem, uint32_t dest, uint32_t start, uint32_t end) -> None:
    """Put the frames [start, end), which no list has, on the free lists of a zone."""
    with nogil:
        free_run(&mem.m, &mem.m.zones[dest], start, end - start)


def move_freepages(MemMap mem, uint32_t source, uint32_t dest, uint32_t start, uint32_t end) -> None:
    """move_freepages_block(): free blocks in [start, end) go from the lists of one zone to those of another."""
    cdef memmap *m = &mem.m
    cdef zone *old = &m.zones[source]
    cdef uint32_t pfn = start
    cdef int order
    with nogil:
        while pfn < end:
            if not m.order[pfn] & ORDER_FREE:
                pfn += 1
                continue
            order = m.order[pfn] & ~ORDER_FREE
            list_remove(m, old, order, pfn)
            old.free -= <int64_t>1 << order
            buddy_free(m, &m.zones[dest], pfn, order)
            pfn += <uint32_t>1 << order


def drain_pages(MemMap mem, uint32_t cpu) -> int:
    """drain_pages(): give everything in the sets of one CPU back to the buddy; returns how many frames."""
    cdef uint32_t i, k
    cdef int64_t n = 0
    cdef zone *z
    cdef pcp *p
    for i in range(mem.m.nr_zones):
        z = &mem.m.zones[i]
        p = pcp_of(&mem.m, z, cpu)
        for k in range(p.count):
            free_single(&mem.m, z, p.pfn[k])
        n += p.count
        p.count = 0
    return n


def alloc_pgd(MemMap mem, AllocCtx ctx, uint32_t asid) -> int:
    """The root table of a new address space: its physical address, 0 = no frame. The caller makes the MmStruct."""
    cdef mm_c mm
    memset(&mm, 0, sizeof(mm))
    mm.asid = asid
    return alloc_table(&mem.m, &ctx.c, &mm, 0, <int>mem.m.h.levels - 1)


def free_pgd(MemMap mem, uint32_t cpu, MmStruct mm) -> None:
    """Give the root table back."""
    free_table(&mem.m, cpu, &mm.c, mm.c.pgd)
    mm.c.pgd = 0


def interleave_node(MemMap mem, AllocCtx ctx, MemPolicy policy, uint64_t ilx) -> int:
    """The node that page ``ilx`` of a mapping gets under an interleaving policy."""
    return interleave_nid(&mem.m, &ctx.c, &policy.p, ilx)
