# One TLB flush for all pages that a batch unmaps: what migration and page-out share.
#
# Mirrors struct tlbflush_unmap_batch of include/linux/mm_types_task.h and try_to_unmap_flush() of mm/rmap.c.
# Deliberately different: it remembers address spaces, not CPUs; above 16 of them it flushes everything.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport EV_TLB_FLUSH, PAGE_SHIFT, PAGE_SIZE, hw, trace
from numalab.arch._mmu cimport TLB_REMOTE_SEND_IPI, tlb_flush_mm, tlb_flush_page
from numalab.mm._mm_types cimport memmap, mm_c

cdef enum:
    FLUSH_CEILING = 33          # tlb_single_page_flush_ceiling: above it, flush the whole address space


cdef inline uint64_t shootdown(hw *h, uint64_t pages) noexcept nogil:
    """What one costs, which has passed: the sender's share and that of every CPU that must answer."""
    cdef uint64_t cost = h.cost.flush + h.nr_cpus * h.cost.flush_cpu
    h.now += cost
    trace(h, EV_TLB_FLUSH, pages, TLB_REMOTE_SEND_IPI, 0)
    return cost


cdef inline void flush_mm(memmap *m, mm_c *mm) noexcept nogil:
    """flush_tlb_mm(): everything that TLBs know of an address space."""
    tlb_flush_mm(m.h, mm.asid)
    shootdown(m.h, <uint64_t>-1)


cdef inline void flush_range(memmap *m, mm_c *mm, uint64_t start, uint64_t end) noexcept nogil:
    """flush_tlb_mm_range(): page by page for a short range, everything for a long one; one shootdown either way."""
    if end - start > FLUSH_CEILING * PAGE_SIZE:
        flush_mm(m, mm)
        return
    shootdown(m.h, (end - start) >> PAGE_SHIFT)
    while start < end:
        tlb_flush_page(m.h, mm.asid, start)
        start += PAGE_SIZE


cdef struct tlbflush_unmap_batch:
    uint32_t nr_asids
    bint all
    uint32_t asid[16]


cdef inline void tlb_batch_begin(tlbflush_unmap_batch *b) noexcept nogil:
    b.nr_asids = 0
    b.all = False


cdef inline void set_tlb_ubc_flush_pending(tlbflush_unmap_batch *b, uint32_t asid) noexcept nogil:
    """Remember whose TLB entries this batch makes stale; most often it is the one noted last."""
    cdef uint32_t i = b.nr_asids
    while i:
        i -= 1
        if b.asid[i] == asid:
            return
    if b.nr_asids == 16:
        b.all = True
        return
    b.asid[b.nr_asids] = asid
    b.nr_asids += 1


cdef inline uint64_t try_to_unmap_flush(memmap *m, tlbflush_unmap_batch *b) noexcept nogil:
    """One shootdown for the batch; returns the ns that it takes, which have passed."""
    cdef hw *h = m.h
    cdef uint32_t i
    if b.all:
        for i in range(h.nr_cpus * 64):
            h.tlb[i].tag = 0
    else:
        for i in range(b.nr_asids):
            tlb_flush_mm(h, b.asid[i])
    return shootdown(h, <uint64_t>-1)
