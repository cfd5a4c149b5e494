"""Plain-Python twin of _gup: pages that are made present on a program's behalf count as used (mm/gup.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import folio_mark_dirty
from numalab.mm._lru_reference import mark_page_accessed
from numalab.mm._memory_reference import fault_range
from numalab.mm._reference import View, huge_pmd, is_page, pte_tables, ptes
from numalab.mm.kernels import Why

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct


def step(m: View, ctx: AllocCtx, vma: VMA) -> int:
    """How many pages can be faulted in before any is marked: as many as surely leave no batch of this CPU full. Each
    puts two there at most, but a fault in a file maps others too.
    """
    room = c.LRU_BATCH - 1 - max(m.lru_add.count[ctx.cpu], m.mlock.count[ctx.cpu])
    return 1 if vma.file is not None else max(room // 2, 1)


def touch_range(mem: MemMap, mm: MmStruct, start: int, end: int, write: bool) -> None:
    """FOLL_TOUCH: the pages of [start, end) are used. write: they are dirty, by their PTE or themselves."""
    m = View(mem)
    for table, va, stop in pte_tables(m, mm.pgd, start, end):
        pmd = huge_pmd(m, mm.pgd, va)
        if pmd >= 0:  # touch_pmd()
            m.ram[pmd] |= pt.PTE_ACCESSED | (pt.PTE_DIRTY if write and m.ram[pmd] & pt.PTE_RW else 0)
        for _, at in ptes(table, va, stop) if table >= 0 else ():
            pte = m.ram[at]
            if is_page(pte):
                if write and pte & (pt.PTE_RW | pt.PTE_DIRTY) == pt.PTE_RW:
                    folio_mark_dirty(m, pt.pte_pfn(pte))
                mark_page_accessed(m, pt.pte_pfn(pte))


def faultin_range(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int, write: bool
) -> tuple[int, int, int]:
    """Fault in and touch [start, end) of one VMA. Returns (next, why, entry) as fault_range() does."""
    va, why, stopped = start, int(Why.DONE), 0
    while va < end and why == Why.DONE:
        done, stop = va, min(va + step(View(mem), ctx, vma) * pt.PAGE_SIZE, end)
        va, why, stopped = fault_range(mem, mm, vma, ctx, va, stop, write)
        touch_range(mem, mm, done, va, write)
    return va, why, stopped
