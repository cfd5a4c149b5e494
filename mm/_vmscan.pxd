# Page-out's C face: see _vmscan.pyx.

from libc.stdint cimport uint8_t, uint32_t

from numalab.mm._migrate cimport MigrateStats, REASON_NONE
from numalab.mm._mm_types cimport memmap
from numalab.mm._page_list cimport FATE_LEFT, note
from numalab.mm._rmap cimport mig_item
from numalab.mm._tlbbatch cimport tlbflush_unmap_batch

# Pages on their way out.
cdef struct outgoing:
    uint32_t n                  # pages that may go
    uint32_t nr_multi
    uint32_t nr_left
    tlbflush_unmap_batch tlb
    mig_item item[512]
    mig_item *multi[512]
    uint32_t left[512]
    uint8_t why[512]

cdef uint32_t unmap_outgoing(memmap *m, outgoing *b, uint32_t cpu, uint32_t *pfns, uint32_t n, uint32_t flags,
                             MigrateStats stats) noexcept nogil
cdef uint32_t write_outgoing(memmap *m, outgoing *b, uint32_t first, uint32_t last, uint32_t cpu, uint32_t flags,
                             bint stream, bint pause, MigrateStats stats) noexcept nogil


cdef inline void stay(outgoing *b, uint32_t pfn, int reason) noexcept nogil:
    b.left[b.nr_left] = pfn
    b.why[b.nr_left] = <uint8_t>reason
    b.nr_left += 1


cdef inline void report_staying(const outgoing *b, MigrateStats stats, uint32_t *left, uint8_t *why_left
                                ) noexcept nogil:
    """Tell the driver which pages stay, and why."""
    cdef uint32_t i
    for i in range(b.nr_left):
        left[i] = b.left[i]
        why_left[i] = b.why[i]
        if why_left[i] != REASON_NONE:
            note(stats.notes, FATE_LEFT, left[i], 0, 0, why_left[i])
        stats.reason[b.why[i]] += 1
