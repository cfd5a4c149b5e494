# Trace events of batches of pages: switched off, each costs a branch a batch that is never taken.
#
# Mirrors include/trace/events/kmem.h and arch/x86/include/asm/trace/exceptions.h.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport (
    EV_MM_PAGE_ALLOC, EV_MM_PAGE_FREE, EV_PAGE_FAULT_USER, PAGE_SIZE, trace, trace_enabled,
)
from numalab.mm._mm_types cimport memmap

cdef enum:
    X86_PF_PROT = 1             # the page was there, but may not be used so
    X86_PF_WRITE = 2
    X86_PF_USER = 4


cdef inline void trace_page_alloc(memmap *m, const uint32_t *pfns, uint32_t n, uint32_t gfp) noexcept nogil:
    """Single frames have been taken."""
    cdef uint32_t i
    if trace_enabled(m.h, EV_MM_PAGE_ALLOC):
        for i in range(n):
            trace(m.h, EV_MM_PAGE_ALLOC, pfns[i], 0, gfp)


cdef inline void trace_page_free(memmap *m, const uint32_t *pfns, uint32_t n) noexcept nogil:
    """Single frames are about to be given back."""
    cdef uint32_t i
    if trace_enabled(m.h, EV_MM_PAGE_FREE):
        for i in range(n):
            trace(m.h, EV_MM_PAGE_FREE, pfns[i], 0, 0)


cdef inline void trace_page_fault(memmap *m, uint64_t va, uint64_t n, bint write, bint present) noexcept nogil:
    """A program has faulted at n pages in a row."""
    cdef uint64_t code = X86_PF_USER | (X86_PF_WRITE if write else 0) | (X86_PF_PROT if present else 0)
    if trace_enabled(m.h, EV_PAGE_FAULT_USER):
        while n:
            trace(m.h, EV_PAGE_FAULT_USER, va, 0, code)
            va += PAGE_SIZE
            n -= 1
