# Migration's C face: see _migrate.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from numalab.mm._mm_types cimport MemPolicy

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
    NR_REASONS = 16

# Where the virtual time of a migration goes (mm.migrate.ledger.Phase).
cdef enum:
    PHASE_WALK = 0
    PHASE_ISOLATE = 1
    PHASE_UNMAP = 2
    PHASE_FLUSH = 3
    PHASE_COPY = 4
    PHASE_REMAP = 5
    NR_PHASES = 6


# A growable array of pages taken off the LRU, and what was seen while it was filled.
cdef class PageList:
    cdef uint32_t *pfns
    cdef readonly uint32_t n
    cdef uint32_t size
    cdef object taken               # what take() gave out last
    cdef public int64_t scanned     # PTEs looked at
    cdef public int64_t nr_failed   # pages that should go but could not be isolated
    cdef public int64_t nr_shared   # pages passed over since others map them too
    cdef int reserve(self, uint32_t more) except -1 nogil
    cdef object listed(self)


cdef class Target:
    cdef readonly int nid           # this node and no other; -1 = as policy says
    cdef readonly MemPolicy policy
    cdef readonly uint64_t ilx


cdef class MigrateStats:
    cdef int64_t reason[16]
    cdef int64_t phase[6]
    cdef public int64_t moved
    cdef public int64_t freed       # given up by their owner meanwhile: counts as moved
    cdef public int64_t batches
