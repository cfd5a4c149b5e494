"""Plain-Python twin of _page_alloc: frames for programs and for page tables.

Mirrors mm/page_alloc.c and the allocation half of mm/mempolicy.c. Read from below: ``_buddy_reference`` takes frames
from free lists and gives them back, ``_mempolicy_reference`` decides which node they come from; here are page tables,
and what drivers call.

Where the kernel fills an array, a twin returns a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_MM_PAGE_ALLOC
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import (
    buddy_free,
    buddy_take,
    free_pages_block,
    free_pages_bulk,
    free_run,
    list_remove,
)
from numalab.mm._mempolicy_reference import (
    WMARK_MIN,
    alloc_pages_bulk,
    alloc_pages_mpol,
    interleave_nid,
    set_place,
    zones_for,
)
from numalab.mm._mm_types import AllocCtx
from numalab.mm._reference import View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap, MemPolicy, MmStruct


# ---------------------------------------------------------------- page tables


def alloc_table(m: View, ctx: AllocCtx, asid: int, va: int, level: int) -> int:
    """A zeroed page-table page: its physical address, or 0. cold.index tells what it maps, cold.private its level.

    The caller counts it in its address space.
    """
    got = alloc_pages_mpol(m, ctx, ctx.policy, None, c.GFP_DIRECT_RECLAIM, 1)
    if not got:
        return 0
    [pfn] = got
    m.fill_page(pfn, 0)
    m.charge(m.cost["zero_page"])
    m.hot.flags[pfn] |= c.PG_table
    m.hot.refcount[pfn] = 1
    m.hot.mapcount[pfn] = m.hot.pincount[pfn] = m.hot.rmap[pfn] = 0
    m.cold.mapping[pfn] = asid
    m.cold.index[pfn] = va >> (pt.PAGE_SHIFT + 9 * (level + 1))
    m.cold.private[pfn] = level
    m.node_stat[m.node(pfn), c.NR_PAGETABLE] += 1
    return pfn << pt.PAGE_SHIFT


def free_table(m: View, cpu: int, mm: MmStruct, address: int) -> None:
    """Give a page-table page back. Nothing may lead to it any more."""
    pfn = address >> pt.PAGE_SHIFT
    m.node_stat[m.node(pfn), c.NR_PAGETABLE] -= 1
    mm.nr_tables -= 1
    m.hot.flags[pfn] &= ~c.PG_table
    m.hot.refcount[pfn] = 0
    free_pages_bulk(m, cpu, [pfn])


def table_alloc(m: View, ctx: AllocCtx, mm: MmStruct, va: int, last: int) -> int:
    """The table of level ``last`` that covers ``va``, made with all the levels above it; -1 = no frame for one."""
    table = pt.table_at(mm.pgd)
    for level in range(m.hw.levels - 1, last, -1):
        at = table + (va >> pt.PAGE_SHIFT + 9 * level & 511)
        if not m.ram[at] & pt.PTE_PRESENT:
            made = alloc_table(m, ctx, mm.asid, va, level - 1)
            if not made:
                return -1
            mm.nr_tables += 1
            m.ram[at] = made | pt.PTE_PRESENT | pt.PTE_RW | pt.PTE_USER
        table = pt.table_at(m.ram[at])
    return table


def pte_alloc(m: View, ctx: AllocCtx, mm: MmStruct, va: int) -> int:
    """pte_alloc(): the PTE table that covers ``va``, where there is no 2 MiB leaf."""
    return table_alloc(m, ctx, mm, va, 0)


def pmd_alloc(m: View, ctx: AllocCtx, mm: MmStruct, va: int) -> int:
    """pmd_alloc(): where the PMD entry of ``va`` is, made with all the levels above it; -1 = no frame for one."""
    table = table_alloc(m, ctx, mm, va, 1)
    return table + (va >> pt.PMD_SHIFT & 511) if table >= 0 else -1


# ---------------------------------------------------------------- what drivers call


def alloc_pages_node(mem: MemMap, cpu: int, nid: int, gfp: int = c.GFP_USER_MOVABLE, order: int = 0) -> int:
    """One block of 2^order frames, nearest to nid; c.NO_PFN when no zone has one. Ignores policies."""
    m = View(mem)
    if order == 0:
        got = alloc_pages_bulk(m, AllocCtx(cpu, nid, 0), nid, 0, gfp, 1)
        return got[0] if got else c.NO_PFN
    for z in zones_for(m, nid, 0, gfp | c.GFP_USER_MOVABLE):
        if m.zones.free[z] - (1 << order) < m.zones.watermark[z, WMARK_MIN]:
            continue
        pfn = buddy_take(m, z, order)
        if pfn != c.NO_PFN:
            set_place(m, range(pfn, pfn + (1 << order)), z)
            m.event[c.PGALLOC] += 1 << order
            m.hw.trace(EV_MM_PAGE_ALLOC, pfn, order, gfp)
            return pfn
    return c.NO_PFN


def alloc_bulk(
    mem: MemMap, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, gfp: int, out: NDArray[np.uint32]
) -> int:
    """Fill ``out`` with single frames for ``policy`` (None = default); returns how many were found."""
    got = alloc_pages_mpol(View(mem), ctx, policy, ilx, gfp, len(out)) if len(out) else []
    out[: len(got)] = got
    return len(got)


def free_bulk(mem: MemMap, cpu: int, pfns: NDArray[np.uint32]) -> None:
    """Free single frames; neighbours in ascending order are freed as blocks."""
    free_pages_bulk(View(mem), cpu, pfns.tolist())


def free_block(mem: MemMap, pfn: int, order: int) -> None:
    """Free one block of 2^order frames straight to the buddy lists."""
    free_pages_block(View(mem), pfn, order)


def free_range(mem: MemMap, dest: int, start: int, end: int) -> None:
    """Put the frames [start, end), which no list has, on the free lists of a zone."""
    free_run(View(mem), dest, start, end - start)


def move_freepages(mem: MemMap, source: int, dest: int, start: int, end: int) -> None:
    """move_freepages_block(): free blocks in [start, end) go from the lists of one zone to those of another."""
    m = View(mem)
    pfn = start
    while pfn < end:
        if not m.order[pfn] & c.ORDER_FREE:
            pfn += 1
            continue
        order = m.order[pfn] & ~c.ORDER_FREE
        list_remove(m, source, order, pfn)
        m.zones.free[source] -= 1 << order
        buddy_free(m, dest, pfn, order)
        pfn += 1 << order


def drain_pages(mem: MemMap, cpu: int) -> int:
    """drain_pages(): give everything in the sets of one CPU back to the buddy lists; returns how many frames."""
    m = View(mem)
    n = 0
    for z in range(len(mem.zones)):
        s = z * m.nr_cpus + cpu
        for i in range(m.pcps.count[s]):
            buddy_free(m, z, m.pcps.pfn[s, i], 0)
        n += m.pcps.count[s]
        m.pcps.count[s] = 0
    return n


def alloc_pgd(mem: MemMap, ctx: AllocCtx, asid: int) -> int:
    """The root table of a new address space: its physical address, 0 = no frame. The caller makes the MmStruct."""
    return alloc_table(View(mem), ctx, asid, 0, mem.hw.levels - 1)


def free_pgd(mem: MemMap, cpu: int, mm: MmStruct) -> None:
    """Give the root table back."""
    free_table(View(mem), cpu, mm, mm.pgd)
    mm.pgd = 0


def interleave_node(mem: MemMap, ctx: AllocCtx, policy: MemPolicy, ilx: int) -> int:
    """The node that page ``ilx`` of a mapping gets under an interleaving policy."""
    return interleave_nid(View(mem), ctx, policy, ilx)
