# Migration's C face: see _migrate.pyx.

from libc.stdint cimport int64_t, uint64_t

from numalab.mm._mm_types cimport MemPolicy
from numalab.mm._page_list cimport PageLog, page_log

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
    cdef readonly int nid           # this node and no other; -1 = as policy says
    cdef readonly MemPolicy policy
    cdef readonly uint64_t ilx


cdef class MigrateStats:
    cdef readonly PageLog log
    cdef page_log *notes            # those of log, which keeps them alive
    cdef int64_t reason[24]
    cdef int64_t phase[6]
    cdef public int64_t moved
    cdef public int64_t freed       # given up by their owner meanwhile: counts as moved
    cdef public int64_t batches
