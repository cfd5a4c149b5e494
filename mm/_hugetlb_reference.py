"""Plain-Python twin of _hugetlb: pages of hugetlb, their frames, and the PMDs that map them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._huge_memory_reference import NR, free_huge_page
from numalab.mm._mempolicy_reference import alloc_huge_node
from numalab.mm._page_alloc_reference import pmd_alloc
from numalab.mm._reference import View, flush_mm, huge_pmd

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct


def alloc_fresh_hugetlb_folio(mem: MemMap, ctx: AllocCtx, nid: int, nodes: int, gfp: int) -> int:
    """A block of frames that nobody uses becomes a page of hugetlb: its first frame, or NO_PFN.

    nid: the node tried first; nodes: no others than these, 0 = any.
    """
    m = View(mem)
    head = alloc_huge_node(m, ctx, nid, nodes, gfp)
    if head == c.NO_PFN:
        return head
    for pfn in range(head, head + NR):
        m.hot.flags[pfn] |= c.PG_hugetlb | (c.PG_tail if pfn > head else c.PG_head)
        m.hot.refcount[pfn] = m.hot.mapcount[pfn] = m.hot.pincount[pfn] = m.hot.link[pfn] = m.hot.rmap[
            pfn
        ] = 0
    return head


def free_hugetlb_folio(mem: MemMap, head: int) -> None:
    """The frames of a page that nobody uses go back to the buddy allocator."""
    m = View(mem)
    for pfn in range(head, head + NR):
        m.hot.flags[pfn] &= ~c.PG_hugetlb
    free_huge_page(m, head)


def folio_zero_user(mem: MemMap, head: int) -> None:
    """Fill a page with zeros."""
    m = View(mem)
    for pfn in range(head, head + NR):
        m.fill_page(pfn, 0)
    m.charge(NR * m.cost["zero_page"])


def copy_user_large_folio(mem: MemMap, dst: int, src: int) -> None:
    """Copy the contents of a page."""
    m = View(mem)
    for i in range(NR):
        m.copy_page(dst + i, src + i)
    m.charge(NR * int(m.hw.copy_cost[m.node(src), m.node(dst)]))


def huge_ptep_get(mem: MemMap, mm: MmStruct, va: int) -> int:
    """The leaf that maps va, 0 = none."""
    m = View(mem)
    pmd = huge_pmd(m, mm.pgd, va)
    return m.ram[pmd] if pmd >= 0 else 0


def hugetlb_walk(mem: MemMap, mm: MmStruct, va: int) -> bool:
    """Is there a table that the leaf of va would stand in?"""
    m = View(mem)
    return pt.pmd_index(m.ram, m.hw.levels, mm.pgd, va) >= 0


def huge_pte_alloc(mem: MemMap, ctx: AllocCtx, mm: MmStruct, va: int) -> bool:
    """Make the tables above the leaf of va; False: there is no frame for one."""
    return pmd_alloc(View(mem), ctx, mm, va) >= 0


def set_huge_pte_at(mem: MemMap, mm: MmStruct, va: int, leaf: int) -> None:
    """Map va by this leaf, or by none (0); no TLB remembers what was there. The caller counts."""
    m = View(mem)
    pmd = pt.pmd_index(m.ram, m.hw.levels, mm.pgd, va)
    if m.ram[pmd]:
        flush_mm(m, mm.asid)
    m.ram[pmd] = leaf
