# One TLB flush for all pages that a batch unmaps: what migration and page-out share.
#
# Mirrors struct tlbflush_unmap_batch of include/linux/mm_types_task.h and try_to_unmap_flush() of mm/rmap.c.
# Deliberately different: it remembers address spaces, not CPUs; above 16 of them it flushes everything.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport hw
from numalab.arch._mmu cimport tlb_flush_mm
from numalab.mm._mm_types cimport memmap

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
    cdef uint64_t cost = h.cost.flush + h.nr_cpus * h.cost.flush_cpu
    cdef uint32_t i
    if b.all:
        for i in range(h.nr_cpus * 64):
            h.tlb[i].tag = 0
    else:
        for i in range(b.nr_asids):
            tlb_flush_mm(h, b.asid[i])
    h.now += cost
    return cost
