"""Plain-Python twin of _madvise: MADV_FREE. A program does not need what is in pages, and may write to them again.

Mirrors madvise_free_pte_range() of mm/madvise.c and madvise_free_huge_pmd() of mm/huge_memory.c. Each page forgets that
it was written to, in the page table and in struct page, and is marked lazyfree: reclaim discards it if it is still
clean then. What is in swap is given up at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._fault_reference import flush_range
from numalab.mm._huge_memory_reference import (
    SIZE,
    huge_page_pinned,
    is_huge,
    likely_mapped_shared,
    maps_whole,
    split_folio,
)
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._lru_reference import folio_mark_lazyfree, mark_huge_lazyfree
from numalab.mm._reference import View, huge_pmd, is_page, pte_table, pte_tables, ptes
from numalab.mm._swap_reference import entry_of, free_swap_and_cache, try_to_free_swap

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap, MmStruct

USED = pt.PTE_ACCESSED | pt.PTE_DIRTY


def free_folio(m: View, cpu: int, pfn: int) -> bool:
    """A small page. False: what it holds may be somebody else's too, and is nowhere else."""
    flags = m.hot.flags[pfn]
    if flags & (c.PG_swapcache | c.PG_dirty):
        if flags & c.PG_locked or m.hot.mapcount[pfn] != 1:
            return False
        if flags & c.PG_swapcache and not try_to_free_swap(m, pfn):
            return False
        m.hot.flags[pfn] &= ~c.PG_dirty
    folio_mark_lazyfree(m, cpu, pfn)
    return True


def free_whole(m: View, cpu: int, head: int) -> bool:
    """The same for a huge page, all of which is given up."""
    pages = range(head, head + c.HPAGE_PMD_NR)
    if any(m.hot.flags[pfn] & c.PG_dirty for pfn in pages) and (
        any(m.hot.flags[pfn] & c.PG_locked for pfn in pages)
        or sum(m.hot.mapcount[pfn] for pfn in pages) != c.HPAGE_PMD_NR
    ):
        return False
    for pfn in pages:
        m.hot.flags[pfn] &= ~c.PG_dirty
    mark_huge_lazyfree(m, cpu, head)
    return True


def free_huge_pmd(m: View, cpu: int, pmd: int, length: int) -> bool:
    """madvise_free_huge_pmd(): all that a leaf maps, or a part of it, which splits the page. Whether a TLB must hear of
    it.
    """
    head = pt.pte_pfn(m.ram[pmd])
    if likely_mapped_shared(m, head) or m.hot.flags[head] & c.PG_locked:
        return False
    if length < SIZE:
        if not huge_page_pinned(m, head):
            split_folio(m, head, zeros=True)
        return False
    if not free_whole(m, cpu, head) or not m.ram[pmd] & USED:
        return False
    m.ram[pmd] &= ~USED
    return True


def free_table_range(m: View, mm: MmStruct, cpu: int, table: int, start: int, end: int) -> bool:
    """madvise_free_pte_range() below one PTE table. Whether a TLB must hear of it."""
    changed = False
    m.charge((end - start >> pt.PAGE_SHIFT) * m.cost["scan_page"])
    for _, at in ptes(table, start, end):
        pte = m.ram[at]
        if pte and not pt.pte_mapped(pte) and not pt.is_migration_entry(pte):
            free_swap_and_cache(m, cpu, entry_of(pte))
            m.ram[at] = 0
            mm.rss_swap -= 1
        if not is_page(pte):
            continue
        pfn = pt.pte_pfn(pte)
        if is_huge(m, pfn):
            if at == table and end - start == SIZE and maps_whole(m, table, pfn):
                if not free_whole(m, cpu, pfn):
                    return False
                for one in range(table, table + c.HPAGE_PMD_NR):
                    m.ram[one] &= ~USED
                return True
            stuck = m.hot.flags[pfn] & c.PG_locked or huge_page_pinned(m, pfn)
            if stuck or likely_mapped_shared(m, pfn):
                continue
            split_folio(m, pfn, zeros=True)
            if not is_page(m.ram[at]):
                continue
        if free_folio(m, cpu, pfn) and pte & USED:
            m.ram[at] &= ~USED
            changed = True
    return changed


def free_range(mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int) -> None:
    """madvise_free_single_vma(): what is in [start, end), private anonymous memory, may be lost.

    Those whose page is in swap's cache for others too, or was written to and is shared, stay what they are.
    """
    m = View(mem)
    changed = False
    for _, first, stop in pte_tables(m, mm.pgd, start, end):
        pmd = huge_pmd(m, mm.pgd, first)
        if pmd >= 0:
            changed |= free_huge_pmd(m, cpu, pmd, stop - first)
        table, _ = pte_table(m, mm.pgd, first)
        if table >= 0:
            changed |= free_table_range(m, mm, cpu, table, first, stop)
    if changed:
        flush_range(m, mm, start, end)
    lru_check_holes(m)
