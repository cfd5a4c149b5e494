# Trace events of migration entries, for pages of which struct page knows the one PTE: see _migrate.pyx.
#
# Mirrors set_migration_pte and remove_migration_pte of include/trace/events/migrate.h. Pages with several PTEs have
# theirs traced by the walks of _rmap.pyx. Switched off, each costs a branch a batch that is never taken.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport EV_REMOVE_MIGRATION_PTE, EV_SET_MIGRATION_PTE, PAGE_SHIFT, trace, trace_enabled
from numalab.arch._pagetable cimport PMD_SHIFT, pte_at, pte_mapped, pte_pfn
from numalab.mm._mm_types cimport NO_PFN, memmap
from numalab.mm._rmap cimport mig_item


cdef inline void trace_pte(memmap *m, uint32_t event, uint64_t at) noexcept nogil:
    """at: physical address of the PTE. What it maps, the table that it is in tells."""
    cdef uint64_t va = m.cold[at >> PAGE_SHIFT].index << PMD_SHIFT | (at >> 3 & 511) << PAGE_SHIFT
    trace(m.h, event, va, pte_at(m.h, at)[0], 0)


cdef inline void trace_unmapped(memmap *m, const mig_item *items, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if trace_enabled(m.h, EV_SET_MIGRATION_PTE):
        for i in range(n):
            if items[i].pte:
                trace_pte(m, EV_SET_MIGRATION_PTE, items[i].pte)


cdef inline void trace_mapped(memmap *m, const mig_item *item, uint32_t pfn) noexcept nogil:
    """The one PTE of a page, if it is mapped again: others are for the walk."""
    cdef uint64_t pte = pte_at(m.h, item.pte)[0] if item.pte else 0
    if pte_mapped(pte) and pte_pfn(pte) == pfn:
        trace_pte(m, EV_REMOVE_MIGRATION_PTE, item.pte)


cdef inline void trace_undone(memmap *m, const mig_item *items, uint32_t n) noexcept nogil:
    """Those without a target have got their old page back."""
    cdef uint32_t i
    if trace_enabled(m.h, EV_REMOVE_MIGRATION_PTE):
        for i in range(n):
            if items[i].dst == NO_PFN:
                trace_mapped(m, &items[i], items[i].src)


cdef inline void trace_moved(memmap *m, mig_item **moving, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if trace_enabled(m.h, EV_REMOVE_MIGRATION_PTE):
        for i in range(n):
            trace_mapped(m, moving[i], moving[i].dst)
