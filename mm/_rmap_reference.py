"""Plain-Python twin of _rmap: from a page to the PTEs that name it.

Mirrors mm/rmap.c (rmap_walk_anon, try_to_migrate) and remove_migration_ptes(). A page knows its anon_vma and its index
in it. Every VMA on that anon_vma which covers the index may map the page, at ``start + (index - pgoff)`` pages; whether
it does, its PTE tells. A batch is sorted by anon_vma and index, so that each VMA is met once.

While only one PTE names a page, struct page holds its address, and the kernels in ``_migrate`` need none of this.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_REMOVE_MIGRATION_PTE, EV_SET_MIGRATION_PTE
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import unmap_from_file
from numalab.mm._lru_reference import folio_set_swapbacked, is_lazyfree
from numalab.mm._migrate_entry_reference import mig_entry_make, mig_entry_pfn, mig_entry_restore
from numalab.mm._reference import View, huge_pmd, is_page, mapped_ptes
from numalab.mm._swap_reference import SWP_EXCLUSIVE, swap_dup
from numalab.mm.vm_flags import VM_LOCKED

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, MemMap, MmStruct


@dataclass(slots=True)
class MigItem:
    """One page on its way from src to dst (NO_PFN until there is a target).

    pte: physical address of its one PTE; 0 = several, or not known. anon, index: where in which anon_vma it is.
    """

    src: int
    dst: int = c.NO_PFN
    pte: int = 0
    anon: int = 0
    index: int = 0


# ---------------------------------------------------------------- one PTE


def trace_pte(m: View, event: int, at: int) -> None:
    """A migration entry has been made, or has become a PTE again. The table that it is in tells what it maps."""
    index = m.cold.index[at * 8 >> pt.PAGE_SHIFT]
    m.hw.trace(event, index << pt.PMD_SHIFT | (at & 511) << pt.PAGE_SHIFT, m.ram[at])


def trace_unmapped(m: View, items: Sequence[MigItem]) -> None:
    """trace_set_migration_pte() for the pages whose one PTE is known; those of others the walk finds."""
    for item in items:
        if item.pte:
            trace_pte(m, EV_SET_MIGRATION_PTE, item.pte // 8)


def unmap_pte(m: View, item: MigItem, at: int) -> None:
    """try_to_migrate_one(): one PTE becomes a migration entry. The page takes over its dirty bit."""
    pte = m.ram[at]
    if pte & pt.PTE_DIRTY:
        m.hot.flags[item.src] |= c.PG_dirty
    m.ram[at] = mig_entry_make(pte, item.src, m.hot.flags[item.src] & c.PG_anon_exclusive != 0)
    m.hot.mapcount[item.src] -= 1
    m.hot.refcount[item.src] -= 1


def remap_pte(m: View, pfn: int, at: int) -> None:
    """remove_migration_pte(): one migration entry becomes a PTE again, of page ``pfn``."""
    m.ram[at] = mig_entry_restore(m.ram[at], pfn)
    m.hot.mapcount[pfn] += 1
    m.hot.refcount[pfn] += 1
    m.hot.rmap[pfn] = at * 8 if m.hot.mapcount[pfn] == 1 else 0
    trace_pte(m, EV_REMOVE_MIGRATION_PTE, at)


def unmap_to_swap(m: View, pfn: int, at: int, mm: MmStruct) -> None:
    """try_to_unmap_one(): one PTE of a page in the swap cache becomes a swap entry. No TLB is flushed."""
    entry, flags = m.cold.private[pfn], m.hot.flags[pfn]
    if m.ram[at] & pt.PTE_DIRTY:
        flags |= c.PG_dirty
    m.hot.flags[pfn] = flags & ~c.PG_anon_exclusive
    m.ram[at] = entry | (SWP_EXCLUSIVE if flags & c.PG_anon_exclusive else 0)
    swap_dup(m, entry)
    m.hot.mapcount[pfn] -= 1
    m.hot.refcount[pfn] -= 1
    mm.rss_anon -= 1
    mm.rss_swap += 1


def unmap_lazyfree(m: View, pfn: int, at: int, mm: MmStruct) -> bool:
    """try_to_unmap_one() for an isolated lazyfree page: the PTE is empty, and nobody can bring back what was there.

    False: somebody has written to the page, or holds it; it is lazyfree no more. No TLB is flushed.
    """
    if m.ram[at] & pt.PTE_DIRTY:
        m.hot.flags[pfn] |= c.PG_dirty
    if m.hot.flags[pfn] & c.PG_dirty or m.hot.refcount[pfn] != 1 + m.hot.mapcount[pfn]:
        folio_set_swapbacked(m, pfn)
        return False
    m.ram[at] = 0
    m.hot.mapcount[pfn] -= 1
    m.hot.refcount[pfn] -= 1
    mm.rss_anon -= 1
    return True


def try_to_unmap_one(m: View, pfn: int, at: int, mm: MmStruct) -> bool:
    """One PTE less: of an anonymous page, which is in the swap cache, it becomes a swap entry; of a file's, or of a
    lazyfree page, empty. False: it stays, and so do those that the walk has yet to find.
    """
    if is_lazyfree(m, pfn):
        return unmap_lazyfree(m, pfn, at, mm)
    unmap = unmap_to_swap if m.hot.flags[pfn] & c.PG_anon else unmap_from_file
    unmap(m, pfn, at, mm)
    return True


# ---------------------------------------------------------------- walks


def pte_of(m: View, vma: VMA, index: int) -> int:
    """Where the PTE for page ``index`` of a VMA's mapping is, -1 if there is no table for it."""
    va = vma.start + (index - vma.pgoff << pt.PAGE_SHIFT)
    return pt.pte_index(m.ram, m.hw.levels, vma.mm.pgd, va)


def leaf_referenced(m: View, vma: VMA, item: MigItem) -> bool:
    """Has a 2 MiB leaf been used since it was last asked? It has one accessed bit for 512 pages, which are asked one
    after the other, in order: they hear the same, and the last clears it.
    """
    va = vma.start + (item.index - vma.pgoff << pt.PAGE_SHIFT)
    pmd = huge_pmd(m, vma.mm.pgd, va)
    if pmd < 0 or pt.pte_pfn(pt.leaf_pte(m.ram[pmd], va)) != item.src:
        return False
    used: bool = m.ram[pmd] & pt.PTE_ACCESSED != 0
    if item.src % c.HPAGE_PMD_NR == c.HPAGE_PMD_NR - 1:
        m.ram[pmd] &= ~pt.PTE_ACCESSED
    return used


def rmap_walk_anon(m: View, items: Sequence[MigItem]) -> Iterator[tuple[MigItem, int, VMA]]:
    """(page, PTE, VMA) for every PTE that may name a page of the batch: anon_vma by anon_vma, in each VMA by VMA."""
    ordered = sorted(items, key=lambda item: (item.anon, item.index))
    for anon, members in groupby(ordered, key=lambda item: item.anon):
        anon_vma = m.mem.rmap_root(anon)
        pages = list(members)
        for vma in anon_vma.vmas if anon_vma is not None else ():
            last = vma.pgoff + (vma.end - vma.start >> pt.PAGE_SHIFT)
            for item in pages[bisect_left(pages, vma.pgoff, key=lambda item: item.index) :]:
                if item.index >= last:
                    break
                at = pte_of(m, vma, item.index)
                if at >= 0:
                    yield item, at, vma


def mapped_item(m: View, pfn: int) -> int:
    """The counter of mapped pages that a page belongs to."""
    return c.NR_ANON_MAPPED if m.hot.flags[pfn] & c.PG_anon else c.NR_FILE_MAPPED


def count_mapped(m: View, pfns: Sequence[int], n: int) -> int:
    """Add ``n`` to the counter of mapped pages for each page that somebody maps; returns how many nobody maps."""
    mapped = [pfn for pfn in pfns if m.hot.mapcount[pfn]]
    for pfn in mapped:
        m.node_stat[m.node(pfn), mapped_item(m, pfn)] += n
    return len(pfns) - len(mapped)


def rmap_unmap(m: View, items: Sequence[MigItem], *, to_swap: bool = False) -> int:
    """try_to_migrate() for a batch: every PTE becomes a migration entry. Returns how many pages are left mapped.

    to_swap: try_to_unmap(), see try_to_unmap_one(), up to the first that must stay, as in a VM_LOCKED area: that one
    and those behind it do, and the page's dst is then its src.
    """
    pages = [item.src for item in items]
    count_mapped(m, pages, -1)
    for item, at, vma in rmap_walk_anon(m, items):
        if is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == item.src:
            if to_swap:
                if item.dst != item.src and (
                    vma.flags & VM_LOCKED or not try_to_unmap_one(m, item.src, at, vma.mm)
                ):
                    item.dst = item.src
            else:
                unmap_pte(m, item, at)
                trace_pte(m, EV_SET_MIGRATION_PTE, at)
    for pfn in pages:
        m.hot.rmap[pfn] = 0
    return len(pages) - count_mapped(m, pages, 1)


def rmap_referenced(m: View, item: MigItem) -> int:
    """folio_referenced(): how many PTEs of an anonymous page have been used since they were last asked."""
    young = 0
    for vma in root.vmas if (root := m.mem.rmap_root(item.anon)) is not None else ():
        if vma.pgoff <= item.index < vma.pgoff + (vma.end - vma.start >> pt.PAGE_SHIFT):
            young += leaf_referenced(m, vma, item)
    for _, at, _ in rmap_walk_anon(m, [item]):
        if is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == item.src and m.ram[at] & pt.PTE_ACCESSED:
            m.ram[at] &= ~pt.PTE_ACCESSED
            young += 1
    return young


def rmap_mkclean(m: View, item: MigItem) -> None:
    """folio_mkclean(): no PTE of a page is dirty or writable. No TLB is flushed."""
    for _, at, _ in rmap_walk_anon(m, [item]):
        if is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == item.src:
            m.ram[at] &= ~(pt.PTE_RW | pt.PTE_DIRTY)


def rmap_remap(m: View, items: Sequence[MigItem], to_dst: bool) -> int:
    """remove_migration_ptes() for a batch; returns how many pages nobody maps any more."""
    end: Callable[[MigItem], int] = (lambda item: item.dst) if to_dst else (lambda item: item.src)
    pages = [end(item) for item in items]
    count_mapped(m, pages, -1)
    for item, at, _ in rmap_walk_anon(m, items):
        if pt.is_migration_entry(m.ram[at]) and mig_entry_pfn(m.ram[at]) == item.src:
            remap_pte(m, end(item), at)
    return count_mapped(m, pages, 1)


def still_single(m: View, item: MigItem) -> bool:
    """Is the entry still where it was? Not if somebody forked, moved or unmapped it meanwhile."""
    if not item.pte or m.hot.flags[item.src] & c.PG_migration_shared:
        return False
    entry = m.ram[item.pte // 8]
    return pt.is_migration_entry(entry) and mig_entry_pfn(entry) == item.src


def remap(m: View, items: list[MigItem], to_dst: bool) -> int:
    """remove_migration_ptes() for a batch, to the new pages or back to the old; returns how many nobody maps."""
    several = []
    for item in items:
        if still_single(m, item):
            pfn = item.dst if to_dst else item.src
            remap_pte(m, pfn, item.pte // 8)
            m.node_stat[m.node(pfn), mapped_item(m, pfn)] += 1
        else:
            several.append(item)
    return rmap_remap(m, several, to_dst)


# ---------------------------------------------------------------- what drivers call


def rmap_walk(mem: MemMap, pfn: int) -> list[tuple[int, int]]:
    """Every mapping of a page: a list of (asid, virtual address), found through its anon_vma or its file."""
    m = View(mem)
    index = m.cold.index[pfn]
    anon_vma = mem.rmap_root(m.cold.mapping[pfn])
    found = []
    for vma in anon_vma.vmas if anon_vma is not None else ():
        if vma.pgoff <= index < vma.pgoff + (vma.end - vma.start >> pt.PAGE_SHIFT):
            va = vma.start + (index - vma.pgoff << pt.PAGE_SHIFT)
            for _, pte in mapped_ptes(m, vma.mm.pgd, va, va + pt.PAGE_SIZE):
                if is_page(pte) and pt.pte_pfn(pte) == pfn:
                    found.append((vma.mm.asid, va))
    return found
