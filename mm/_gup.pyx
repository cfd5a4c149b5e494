"""Making pages present on a program's behalf: they count as used, and as written to if he who asks wants to write.

Mirrors the loop of __get_user_pages() with FOLL_TOUCH (follow_page_pte(), touch_pmd()) of mm/gup.c, as mlock(),
MAP_POPULATE and MADV_POPULATE_* run it.
"""

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_DIRTY, PTE_RW, PTE_SPECIAL, huge_pmd, pte_mapped, pte_pfn, pte_table,
)
from numalab.mm._filemap cimport folio_mark_dirty
from numalab.mm._lru cimport mark_page_accessed
from numalab.mm._memory cimport fault_pages
from numalab.mm._mm_types cimport (
    AllocCtx, LRU_BATCH, MemMap, MmStruct, VMA, WHY_DONE, alloc_ctx, cpu_fbatches, memmap, mm_c, vma_c,
)


cdef inline uint64_t step(memmap *m, alloc_ctx *ctx, vma_c *v) noexcept nogil:
    """How many pages can be faulted in before any is marked, with what comes of one after the other: as many as surely
    leave no batch of this CPU full, as its pages are on the LRU from then on. Each puts two there at most, but a fault
    in a file maps others too.
    """
    cdef cpu_fbatches *batches = &m.fbatches[ctx.cpu]
    cdef uint32_t waiting = batches.lru_add.count
    if batches.mlock.count > waiting:
        waiting = batches.mlock.count
    if v.mapping != NULL or waiting + 2 >= LRU_BATCH:
        return 1
    return (LRU_BATCH - 1 - waiting) // 2


cdef void touch(memmap *m, mm_c *mm, uint64_t start, uint64_t end, bint write) noexcept nogil:
    """FOLL_TOUCH: the pages of [start, end) are used. write: they are dirty, by their PTE or themselves."""
    cdef uint64_t va = start, next, pte
    cdef uint64_t *table
    cdef uint64_t *pmd
    cdef uint32_t pfn
    while va < end:
        table = pte_table(m.h, mm.pgd, va, &next)
        if next > end or next <= va:
            next = end
        pmd = huge_pmd(m.h, mm.pgd, va) if table == NULL else NULL
        if pmd != NULL:                             # touch_pmd()
            pmd[0] |= PTE_ACCESSED | (PTE_DIRTY if write and pmd[0] & PTE_RW else 0)
        while table != NULL and va < next:
            pte = table[(va >> PAGE_SHIFT) & 511]
            va += PAGE_SIZE
            if not pte_mapped(pte) or pte & PTE_SPECIAL:
                continue
            pfn = <uint32_t>pte_pfn(pte)
            if write and pte & (PTE_RW | PTE_DIRTY) == PTE_RW:
                folio_mark_dirty(m, &m.hot[pfn])
            mark_page_accessed(m, pfn)
        va = next


def touch_range(MemMap mem, MmStruct mm, uint64_t start, uint64_t end, bint write) -> None:
    """FOLL_TOUCH alone, for what is present."""
    with nogil:
        touch(&mem.m, &mm.c, start, end, write)


def faultin_range(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t start, uint64_t end, bint write):
    """Fault in and touch [start, end) of one VMA. Returns (next, why, entry) as fault_range() does."""
    cdef uint64_t va = start, done, stop, stopped = 0
    cdef int why = WHY_DONE
    with nogil:
        while va < end and why == WHY_DONE:
            done = va
            stop = va + step(&mem.m, &ctx.c, &vma.v) * PAGE_SIZE
            why = fault_pages(&mem.m, &ctx.c, &vma.v, &va, stop if stop < end else end, write, &stopped)
            touch(&mem.m, &mm.c, done, va, write)
    return va, why, stopped
