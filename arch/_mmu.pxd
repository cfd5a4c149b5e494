# The CPU's view of memory: TLB, walk, accessed and dirty bits. See _mmu.pyx.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport TLB_ENTRIES, hw, tlb_entry
from numalab.arch._mmdebug cimport VM_BUG_ON

# Of the reasons of tlb_flush (include/trace/events/tlb.h) the only one that we have.
cdef enum:
    TLB_REMOTE_SEND_IPI = 4


cdef inline uint64_t tlb_tag(uint64_t va, uint32_t asid) noexcept nogil:
    return (va >> 12) << 17 | <uint64_t>asid << 1 | 1


cdef inline void tlb_flush_page(hw *h, uint32_t asid, uint64_t va) noexcept nogil:
    """Drop one translation on every CPU."""
    cdef uint64_t tag = tlb_tag(va, asid)
    cdef uint32_t i
    cdef tlb_entry *e
    for i in range(h.nr_cpus):
        e = &h.tlb[i * TLB_ENTRIES + (<uint32_t>(va >> 12) & (TLB_ENTRIES - 1))]
        if e.tag == tag:
            e.tag = 0


cdef inline void tlb_flush_range(hw *h, uint32_t asid, uint64_t start, uint64_t end) noexcept nogil:
    """Drop the translations of all pages that [start, end) touches, on every CPU. O(CPUs), whatever the length."""
    cdef uint64_t first = start >> 12, last = (end - 1) >> 12
    cdef uint64_t i
    cdef tlb_entry *e
    if end <= start:
        return
    for i in range(<uint64_t>h.nr_cpus * TLB_ENTRIES):
        e = &h.tlb[i]
        if (e.tag >> 1 & 0xffff) == asid and e.tag >> 17 >= first and e.tag >> 17 <= last:
            e.tag = 0


cdef inline void tlb_flush_mm(hw *h, uint32_t asid) noexcept nogil:
    """Drop every translation of one address space on every CPU."""
    cdef uint32_t i
    for i in range(h.nr_cpus * TLB_ENTRIES):
        if (h.tlb[i].tag >> 1 & 0xffff) == asid:
            h.tlb[i].tag = 0


cdef inline void tlb_insert(hw *h, uint32_t cpu, uint32_t asid, uint64_t va, uint64_t pte) noexcept nogil:
    cdef tlb_entry *e = &h.tlb[cpu * TLB_ENTRIES + (<uint32_t>(va >> 12) & (TLB_ENTRIES - 1))]
    VM_BUG_ON(cpu >= h.nr_cpus or asid > 0xffff)
    e.tag = tlb_tag(va, asid)
    e.pte = pte
