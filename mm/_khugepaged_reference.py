"""Plain-Python twin of _khugepaged: making a huge page of the small ones that map 2 MiB.

Mirrors hpage_collapse_scan_pmd() and collapse_huge_page() of mm/khugepaged.c. The pages are copied, as when they
migrate; the old ones go, and the PTE table that mapped them lies in reserve from now on.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._huge_memory_reference import NR, SIZE, add_huge_to_lru, new_huge_page, set_huge_pmd
from numalab.mm._memory_reference import zap_table
from numalab.mm._mempolicy_reference import alloc_huge_node
from numalab.mm._reference import View, is_page
from numalab.mm.khugepaged import Scan
from numalab.mm.vm_flags import VM_LOCKED, VM_WRITE

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct


def scan_pmd(m: View, table: int) -> tuple[Scan, Counter[int]]:
    """hpage_collapse_scan_pmd() as MADV_COLLAPSE has it: empty PTEs and shared pages do not matter. And pages by
    node.
    """
    writable = swapped = False
    load: Counter[int] = Counter()
    for at in range(table, table + NR):
        pte = m.ram[at]
        if pt.is_migration_entry(pte):
            return Scan.PTE_NON_PRESENT, load
        if pt.pte_swaplike(pte):
            swapped = True
        if not is_page(pte):
            continue
        writable |= pte & pt.PTE_RW != 0
        pfn = pt.pte_pfn(pte)
        load[m.node(pfn)] += 1
        if not m.hot.flags[pfn] & c.PG_lru:
            return Scan.PAGE_LRU, load
        if m.hot.flags[pfn] & c.PG_locked:
            return Scan.PAGE_LOCK, load
        if m.hot.refcount[pfn] != m.hot.mapcount[pfn] + (m.hot.flags[pfn] & c.PG_swapcache != 0):
            return Scan.PAGE_COUNT, load
    if not writable:
        return Scan.PAGE_RO, load
    return (Scan.SWAP if swapped else Scan.SUCCEED), load


def alloc_where_most_are(m: View, ctx: AllocCtx, load: Counter[int]) -> int:
    """alloc_charge_folio(): a huge page on the node that has most of the small ones; policies are not asked."""
    best = [nid for nid in sorted(load) if load[nid] == max(load.values())]
    nodes = sum(1 << nid for nid in best)
    head = alloc_huge_node(m, ctx, best[0], nodes, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM)
    m.event[c.THP_COLLAPSE_ALLOC_FAILED if head == c.NO_PFN else c.THP_COLLAPSE_ALLOC] += 1
    return head


def collapse_huge_page(mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, va: int) -> Scan:
    """One huge page instead of the pages of the 2 MiB at va, an area with an anon_vma."""
    m = View(mem)
    pmd = pt.pmd_index(m.ram, m.hw.levels, mm.pgd, va)
    if pmd < 0 or not m.ram[pmd]:
        return Scan.PMD_NONE
    if pt.pmd_leaf(m.ram[pmd]):
        return Scan.PMD_MAPPED
    table = pt.table_at(m.ram[pmd])
    result, load = scan_pmd(m, table)
    if result != Scan.SUCCEED:
        return result
    head = alloc_where_most_are(m, ctx, load)
    if head == c.NO_PFN:
        return Scan.ALLOC_HUGE_PAGE_FAIL
    ns = 0
    for i in range(NR):
        pte = m.ram[table + i]
        if is_page(pte):
            m.copy_page(head + i, pt.pte_pfn(pte))
            ns += int(m.hw.copy_cost[m.node(pt.pte_pfn(pte)), m.node(head)])
        else:
            m.fill_page(head + i, 0)
            ns += m.cost["zero_page"]
    zap_table(m, mm, ctx.cpu, table, va, va + SIZE, bool(vma.flags & VM_LOCKED))
    new_huge_page(m, vma, va, head)
    rights = vma.prot | pt.PTE_DIRTY | (pt.PTE_RW if vma.flags & VM_WRITE else 0)
    set_huge_pmd(m, pmd, head << pt.PAGE_SHIFT | rights, table >> 9)
    add_huge_to_lru(m, ctx.cpu, head)
    m.charge(ns)
    return Scan.SUCCEED
