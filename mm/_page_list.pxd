# The page list's and its log's C face: see _page_list.pyx.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

# What a kernel decided about a page (mm.migrate.ledger.Fate).
cdef enum:
    FATE_QUEUED = 0             # found by the walk and isolated
    FATE_PASSED = 1             # found by the walk, and not taken
    FATE_MOVED = 2
    FATE_EVICTED = 3            # in swap or in its file, and its frame is free
    FATE_FREED = 4              # given up by its owner before its turn came
    FATE_LEFT = 5               # tried by a pass, and left

# One decision.
cdef struct page_note:
    uint64_t at                 # QUEUED, PASSED: virtual address; EVICTED: swap entry, 0 = the file has it
    uint32_t pfn                # 0 = there is no page
    uint32_t to                 # MOVED: the new frame; PASSED: pages of the huge page that stays with it, 0 = none
    uint32_t stage              # which walk, or which pass, of its ledger
    uint8_t fate
    uint8_t why                 # PASSED, LEFT: REASON_*

cdef struct page_log:
    page_note *notes
    uint64_t n
    uint64_t size
    uint64_t lost               # decisions for which there was no room
    uint32_t stage

cdef bint grow(page_log *log) noexcept nogil
cdef void passed_batch(page_log *log, uint64_t mark, const uint32_t *taken, uint32_t n, uint8_t why) noexcept nogil


cdef inline void note(page_log *log, uint8_t fate, uint32_t pfn, uint64_t at, uint32_t to, uint8_t why
                      ) noexcept nogil:
    """Write a decision down; NULL: nobody wants to know."""
    cdef page_note *entry
    if log == NULL or (log.n == log.size and not grow(log)):
        return
    entry = &log.notes[log.n]
    log.n += 1
    entry.at = at
    entry.pfn = pfn
    entry.to = to
    entry.stage = log.stage
    entry.fate = fate
    entry.why = why


cdef class PageLog:
    cdef page_log c


cdef inline page_log *log_of(PageLog log) noexcept:
    return &log.c if log is not None else NULL


# A growable array of pages taken off the LRU, and what was seen while it was filled.
cdef class PageList:
    cdef uint32_t *pfns
    cdef readonly uint32_t n
    cdef uint32_t size
    cdef readonly list hugetlbs     # heads of hugetlb pages, each one page of the list
    cdef object taken               # what take() gave out last
    cdef public PageLog log         # where it is noted what is queued and what is not, None = nowhere
    cdef public int64_t scanned     # PTEs looked at
    cdef public int64_t nr_failed   # pages that should go but could not be isolated
    cdef public int64_t nr_shared   # pages passed over since others map them too
    cdef public uint32_t large      # head of the huge page seen last, of which no more need be said; 0 = none
    cdef int reserve(self, uint32_t more) except -1 nogil
    cdef object listed(self)
