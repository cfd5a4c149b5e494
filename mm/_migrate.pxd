# Migration's C face: see _migrate.pyx.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from numalab.arch._mmdebug cimport VM_BUG_ON_PAGE
from numalab.mm._mm_types cimport (
    MemPolicy, PG_swapcache, WHY_DONE, WHY_NO_TARGET, alloc_ctx, memmap, page, page_mapping,
)
from numalab.mm._page_list cimport FATE_LEFT, PageList, PageLog, note, page_log
from numalab.mm._rmap cimport mig_item
from numalab.mm._tlbbatch cimport tlbflush_unmap_batch

# Why a page was not moved (mm.migrate.ledger.Reason).
cdef enum:
    REASON_NONE = 0
    REASON_LOCKED = 1           # somebody else holds the page lock
    REASON_WRITEBACK = 2
    REASON_PINNED = 3           # a reference that no mapping explains
    REASON_MAPPED = 4           # a mapping that the reverse walk did not find
    REASON_SHARED = 5           # mapped by several, and no MOVE_ALL: not even tried
    REASON_NOT_ON_LRU = 6       # could not be isolated
    REASON_TARGET_FULL = 7
    REASON_NOT_MIGRATABLE = 8   # its VMA may not be migrated
    REASON_NO_SWAP = 9          # no free slot in any swap area
    REASON_WRITING = 10         # its write to disk has begun
    REASON_ACCESSED = 11        # used since it was last looked at
    REASON_ACTIVE = 12          # used so much that it belongs on the active list
    REASON_DIRTY = 13           # of a file, and the disk does not have it yet
    REASON_MLOCKED = 14         # somebody has locked it in memory
    REASON_MIGRATING = 15       # another migration has it
    REASON_ZERO_PAGE = 16       # the page of zeros that all share
    REASON_MISPLACED = 17       # asked only whether such pages are there
    REASON_NO_AREA = 18         # no area at that address, or one of a device
    REASON_ABSENT = 19          # no page at that address
    REASON_THERE = 20           # on the wanted node already
    NR_REASONS = 24

# Where the virtual time of a migration goes (mm.migrate.ledger.Phase).
cdef enum:
    PHASE_WALK = 0
    PHASE_ISOLATE = 1
    PHASE_UNMAP = 2
    PHASE_FLUSH = 3
    PHASE_COPY = 4
    PHASE_REMAP = 5
    NR_PHASES = 6


cdef class Target:
    cdef readonly int nid           # this node; -1 = as policy says
    cdef readonly MemPolicy policy
    cdef readonly uint64_t ilx
    cdef readonly uint64_t nodes    # with nid: else one of these, the nearest first; 0 = no other
    cdef readonly uint32_t gfp


cdef class MigrateStats:
    cdef readonly PageLog log
    cdef page_log *notes            # those of log, which keeps them alive
    cdef int64_t reason[24]
    cdef int64_t phase[6]
    cdef public int64_t moved
    cdef public int64_t freed       # given up by their owner meanwhile: counts as moved
    cdef public int64_t batches


# One batch on its way.
cdef struct batch:
    uint32_t n                  # items
    uint32_t nr_multi           # unmapped through the anon_vma
    uint32_t nr_left
    tlbflush_unmap_batch tlb
    mig_item item[512]
    mig_item *multi[512]
    uint32_t left[512]          # pages that stay, and why
    uint8_t why[512]

cdef uint32_t unmap_batch(memmap *m, batch *b, uint32_t cpu, uint32_t *pfns, uint64_t left, MigrateStats stats
                          ) noexcept nogil
cdef void flush_batch(memmap *m, batch *b, MigrateStats stats) noexcept nogil
cdef uint32_t target_pages(memmap *m, alloc_ctx *ctx, batch *b, uint32_t first, uint32_t n, Target target,
                           uint32_t *dst) noexcept nogil
cdef uint32_t sort_out(memmap *m, batch *b, uint32_t first, uint32_t n, uint32_t *dst, uint32_t nr_dst,
                       mig_item **moving, MigrateStats stats) noexcept nogil
cdef void copy_pages(memmap *m, mig_item **moving, uint32_t n, bint stream) noexcept nogil
cdef void remap_pages(memmap *m, uint32_t cpu, batch *b, mig_item **moving, uint32_t n, MigrateStats stats
                      ) noexcept nogil
cdef bint isolate_huge(memmap *m, PageList pagelist, uint32_t pfn, uint64_t va, page_log *log) except -1 nogil
cdef bint still_movable(memmap *m, batch *b, mig_item *item) noexcept nogil


cdef inline void charge(memmap *m, MigrateStats stats, int phase, uint64_t ns) noexcept nogil:
    """Time passes, and the ledger hears where it went."""
    stats.phase[phase] += ns
    m.h.now += ns


cdef inline void leave(batch *b, uint32_t pfn, int reason) noexcept nogil:
    VM_BUG_ON_PAGE(b.nr_left >= 512, pfn)
    b.left[b.nr_left] = pfn
    b.why[b.nr_left] = <uint8_t>reason
    b.nr_left += 1


cdef inline int why_not(memmap *m, uint32_t src) noexcept nogil:
    """What keeps an unmapped page from moving (REASON_*): it must be held by the isolation, and a cache, alone."""
    cdef page *p = &m.hot[src]
    if p.mapcount:
        return REASON_MAPPED
    if p.refcount != 1 + ((p.flags & PG_swapcache) != 0) + (page_mapping(m, src) != NULL):
        return REASON_PINNED
    return REASON_NONE


cdef inline int report_left(const batch *b, MigrateStats stats, uint32_t *left, uint8_t *why_left) noexcept nogil:
    """Tell the driver which pages stay, and why; NO_TARGET if some found no room."""
    cdef uint32_t i
    cdef int why = WHY_DONE
    for i in range(b.nr_left):
        left[i] = b.left[i]
        why_left[i] = b.why[i]
        note(stats.notes, FATE_LEFT, left[i], 0, 0, why_left[i])
        if b.why[i] == REASON_TARGET_FULL:
            why = WHY_NO_TARGET
        stats.reason[b.why[i]] += 1
    return why
