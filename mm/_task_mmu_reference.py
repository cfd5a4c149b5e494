"""Plain-Python twin of _task_mmu: looking at page tables, what /proc says of a program's pages.

Mirrors the walks of fs/proc/task_mmu.c: pagemap_read() and gather_pte_stats().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import View, huge_pmd, is_page, mapped_ptes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap, MmStruct


def pagemap_word(m: View, pte: int) -> int:
    """What /proc/PID/pagemap says of one PTE: bit 63 present, 62 swapped or migrating, 61 file, 56 mapped once."""
    if is_page(pte):
        pfn = pt.pte_pfn(pte)
        file = not m.hot.flags[pfn] & c.PG_anon
        alone = m.hot.mapcount[pfn] == 1
        return 1 << 63 | file << 61 | alone << 56 | pfn
    if pt.pte_mapped(pte):
        return 1 << 63 | pt.pte_pfn(pte)
    if not pte:
        return 0
    offset = mig_entry_pfn(pte) if pt.is_migration_entry(pte) else pt.swp_offset(pte)
    return 1 << 62 | offset << 5 & (1 << 55) - 1 | pt.swp_type(pte)


def pagemap_range(mem: MemMap, mm: MmStruct, start: int, out: NDArray[np.uint64]) -> None:
    """/proc/PID/pagemap: one word a page from ``start`` on."""
    m = View(mem)
    out[:] = 0
    for va, pte in mapped_ptes(m, mm.pgd, start, start + len(out) * pt.PAGE_SIZE):
        out[va - start >> pt.PAGE_SHIFT] = pagemap_word(m, pte)


def numa_stats(
    mem: MemMap, mm: MmStruct, start: int, end: int
) -> tuple[int, int, int, int, int, int, int, NDArray[np.int64]]:
    """gather_pte_stats() over [start, end): (anon, dirty, pages, mapcount_max, swapcache, active, writeback, per_node).

    Counts of pages; ``per_node`` is an array indexed by node id. Only present pages count, the zero page does not. For
    how often what a leaf maps is mapped its first page stands.
    """
    m = View(mem)
    per_node = np.zeros(len(mem.node_stat), np.int64)
    found: list[tuple[int, int, bool]] = []  # flags, mapcount, dirty by PTE
    for va, pte in mapped_ptes(m, mm.pgd, start, end):
        if is_page(pte):
            pfn = pt.pte_pfn(pte)
            behind = pfn % c.HPAGE_PMD_NR and huge_pmd(m, mm.pgd, va) >= 0
            found.append((m.hot.flags[pfn], 0 if behind else m.hot.mapcount[pfn], pte & pt.PTE_DIRTY != 0))
            per_node[m.node(pfn)] += 1

    def having(bits: int) -> int:
        return sum(flags & bits != 0 for flags, _, _ in found)

    return (
        having(c.PG_anon),
        sum(dirty or flags & c.PG_dirty != 0 for flags, _, dirty in found),
        len(found),
        max((mapcount for _, mapcount, _ in found), default=0),
        having(c.PG_swapcache),
        having(c.PG_active | c.PG_unevictable),
        having(c.PG_writeback),
        per_node,
    )
