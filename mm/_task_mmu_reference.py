"""Plain-Python twin of _task_mmu: looking at page tables, what /proc says of a program's pages.

Mirrors the walks of fs/proc/task_mmu.c: pagemap_read(), gather_pte_stats() and smaps_account().
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import View, huge_pmd, is_page, mapped_ptes
from numalab.mm._swap_reference import swap_cache_page

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


PSS_SHIFT = 12
_MEM_SIZE_STATS = (
    "resident", "shared_clean", "shared_dirty", "private_clean", "private_dirty", "referenced", "anonymous", "lazyfree",
    "anonymous_thp", "swap", "swap_pss", "pss", "pss_anon", "pss_file", "pss_shmem", "pss_dirty",
)  # fmt: skip


def smaps_account(m: View, mss: Counter[str], pfn: int, young: bool, dirty: bool, present: bool) -> None:
    """smaps_account(): one page. One that is under migration is taken for shared, nobody knows by how many."""
    flags, mapcount = m.hot.flags[pfn], m.hot.mapcount[pfn]
    private = present and mapcount < 2
    pss = (pt.PAGE_SIZE << PSS_SHIFT) // (mapcount if present and mapcount >= 2 else 1)
    kind = "anon" if flags & c.PG_anon else "shmem" if flags & c.PG_swapbacked else "file"
    if kind == "anon":
        mss["anonymous"] += pt.PAGE_SIZE
        if not flags & (c.PG_swapbacked | c.PG_dirty) and not dirty:
            mss["lazyfree"] += pt.PAGE_SIZE
    if young or flags & c.PG_referenced:
        mss["referenced"] += pt.PAGE_SIZE
    written = dirty or flags & c.PG_dirty != 0
    mss["resident"] += pt.PAGE_SIZE
    mss[f"{'private' if private else 'shared'}_{'dirty' if written else 'clean'}"] += pt.PAGE_SIZE
    mss["pss"] += pss
    mss[f"pss_{kind}"] += pss
    mss["pss_dirty"] += pss * written


def smaps_swap(m: View, mss: Counter[str], pte: int) -> None:
    """A page in swap, by how many have its slot; the swap cache is none of them."""
    entry = pt.swp_entry(pt.swp_type(pte), pt.swp_offset(pte))
    users = m.swap_map(pt.swp_type(pte))[pt.swp_offset(pte)] - (swap_cache_page(m, entry) != 0)
    mss["swap"] += pt.PAGE_SIZE
    mss["swap_pss"] += (pt.PAGE_SIZE << PSS_SHIFT) // max(users, 1)


def smaps_stats(mem: MemMap, mm: MmStruct, start: int, end: int) -> tuple[int, ...]:
    """smap_gather_stats() over [start, end): the first sixteen numbers of SmapsStats (mm/smaps.py)."""
    m = View(mem)
    mss: Counter[str] = Counter()
    for va, pte in mapped_ptes(m, mm.pgd, start, end):
        if is_page(pte):
            pfn = pt.pte_pfn(pte)
            smaps_account(m, mss, pfn, pte & pt.PTE_ACCESSED != 0, pte & pt.PTE_DIRTY != 0, True)
            if m.hot.flags[pfn] & c.PG_anon and huge_pmd(m, mm.pgd, va) >= 0:
                mss["anonymous_thp"] += pt.PAGE_SIZE
        elif pt.is_migration_entry(pte):
            smaps_account(m, mss, mig_entry_pfn(pte), False, False, False)
        elif pte and not pt.pte_mapped(pte):
            smaps_swap(m, mss, pte)
    return tuple(mss[name] for name in _MEM_SIZE_STATS)
