"""The pages of one migration: the list of those on their way, and the log of what became of each.

The log is what ``explain`` prints. Linux forgets all this; here the kernels write it down when they decide, 24 bytes a
decision, in the order of time. ``migrate/story.py`` reads it.
"""

import numpy as np

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from numalab.mm._mm_types cimport HPAGE_PMD_NR

NOTE = np.dtype([("at", "<u8"), ("pfn", "<u4"), ("to", "<u4"), ("stage", "<u4"), ("fate", "u1"), ("why", "u1")],
                align=True)

cdef enum:
    FIRST = 1024
    MOST = 1 << 22              # notes in one log: 96 MiB


cdef class PageList:
    """Isolated pages in the order in which they were found (the list_head that Linux threads through struct page)."""

    def __cinit__(self):
        self.hugetlbs = []

    def __dealloc__(self):
        free(self.pfns)

    cdef int reserve(self, uint32_t more) except -1 nogil:
        """Room for `more` pages; amortised O(1) a page."""
        cdef uint32_t size = self.size
        cdef uint32_t *pfns
        if self.n + more <= size:
            return 0
        while size < self.n + more:
            size = 2 * size + 512
        pfns = <uint32_t *>realloc(self.pfns, size * sizeof(uint32_t))
        if pfns == NULL:
            with gil:
                raise MemoryError
        self.pfns = pfns
        self.size = size
        return 0

    def __len__(self) -> int:
        return self.n + len(self.hugetlbs)

    def take(self):
        """All small pages as a uint32 array; the list is empty afterwards."""
        self.taken = self.listed()
        self.n = 0
        return self.taken

    def frames(self):
        """What is in the list, and before it what was taken out last: some of that has found another place by now."""
        huge = [np.arange(head, head + HPAGE_PMD_NR, dtype=np.uint32) for head in self.hugetlbs]
        return np.concatenate([*huge, *(() if self.taken is None else (self.taken,)), self.listed()])

    cdef object listed(self):
        out = np.empty(self.n, np.uint32)
        cdef uint32_t[::1] view = out
        if self.n:
            memcpy(&view[0], self.pfns, self.n * sizeof(uint32_t))
        return out

    def extend(self, uint32_t[::1] pfns) -> None:
        """Append pages that are isolated already."""
        cdef uint32_t n = <uint32_t>pfns.shape[0]
        if n:
            self.reserve(n)
            memcpy(self.pfns + self.n, &pfns[0], n * sizeof(uint32_t))
            self.n += n


cdef bint grow(page_log *log) noexcept nogil:
    """Room for more notes; False: there is none, and one more is lost."""
    cdef uint64_t size = 2 * log.size if log.size else FIRST
    cdef page_note *notes = NULL
    if size <= MOST:
        notes = <page_note *>realloc(log.notes, size * sizeof(page_note))
    if notes == NULL:
        log.lost += 1
        return False
    log.notes = notes
    log.size = size
    return True


cdef void passed_batch(page_log *log, uint64_t mark, const uint32_t *taken, uint32_t n, uint8_t why) noexcept nogil:
    """Of the pages noted as QUEUED from ``mark`` on only these were taken, in order: the others were passed over."""
    cdef uint64_t i
    cdef uint32_t k = 0
    if log == NULL:
        return
    for i in range(mark, log.n):
        if log.notes[i].fate != FATE_QUEUED:
            continue
        if k < n and log.notes[i].pfn == taken[k]:
            k += 1
        else:
            log.notes[i].fate = FATE_PASSED
            log.notes[i].why = why


cdef class PageLog:
    """The notes of one migration. ``stage``: the walk, or the pass, that is under way."""

    def __dealloc__(self):
        free(self.c.notes)

    def __len__(self) -> int:
        return self.c.n

    @property
    def lost(self) -> int:
        """Decisions for which there was no room."""
        return self.c.lost

    @property
    def stage(self) -> int:
        return self.c.stage

    @stage.setter
    def stage(self, uint32_t stage) -> None:
        self.c.stage = stage

    def note(self, uint8_t fate, uint32_t pfn, uint64_t at=0, uint32_t to=0, uint8_t why=0) -> None:
        """Write one decision down."""
        note(&self.c, fate, pfn, at, to, why)

    def notes(self):
        """All notes as a structured array, a copy."""
        out = np.zeros(self.c.n, NOTE)
        cdef unsigned char[::1] view = out.view(np.uint8)
        if self.c.n:
            memcpy(&view[0], self.c.notes, self.c.n * sizeof(page_note))
        return out
