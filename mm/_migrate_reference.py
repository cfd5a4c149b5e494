"""Plain-Python twin of _migrate: finding pages in page tables, taking them off the LRU, moving them.

Mirrors mm/migrate.c and the page-table walk of mm/mempolicy.c (queue_folios_pte_range). A batch of up to 512 pages
moves in five steps, which stand below in this order:

1. unmap    lock each page; its PTEs become migration entries, so nobody can touch it
2. flush    one TLB shootdown for the whole batch
3. target   a frame for each page
4. move     who is mapped no more and held by the isolation alone is copied; the others go back, each with a reason
5. remap    the migration entries become PTEs of the new page; the new page goes to the LRU, the old frame is freed

A batch that leaves pages behind returns to the driver (mm/migrate/batched.py), which knows about passes and waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.arch.errno import EACCES, EBUSY, EFAULT, ENOENT
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import free_pages_bulk
from numalab.mm._filemap_reference import page_mapping, replace_in_page_cache
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._lru_reference import (
    count_isolated,
    free_page,
    isolate_batch,
    lru_add_batch,
    page_free_prepare,
)
from numalab.mm._mempolicy_reference import alloc_pages_bulk, alloc_pages_mpol
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import View, is_page, pte_tables, ptes, try_to_unmap_flush
from numalab.mm._rmap_reference import MigItem, mapped_item, remap_pte, rmap_remap, rmap_unmap, unmap_pte
from numalab.mm._swap_reference import replace_in_swap_cache
from numalab.mm.kernels import Why
from numalab.mm.migrate.ledger import Phase, Reason
from numalab.mm.mpol import MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE
from numalab.mm.vm_flags import VM_IO, VM_MAYWRITE, VM_PFNMAP, VM_SHARED
from numalab.mm.vma_tree import vma_lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats, PageList, Target
    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct

BATCH = 512
MF_STRICT, MF_MOVE, MF_MOVE_ALL, MF_V5_FILTER = 1, 2, 4, 16
KEPT_FLAGS = (
    c.PG_referenced | c.PG_uptodate | c.PG_dirty | c.PG_active | c.PG_unevictable | c.PG_mlocked
    | c.PG_swapbacked | c.PG_workingset | c.PG_anon | c.PG_anon_exclusive
)  # fmt: skip


# ---------------------------------------------------------------- finding pages


def isolate_into(m: View, pagelist: PageList, pfns: list[int]) -> int:
    """Take pages off the LRU and append them to the list; returns how many could not be isolated."""
    taken = isolate_batch(m, pfns)
    pagelist.extend(np.array(taken, np.uint32))
    return len(pfns) - len(taken)


def is_wanted(m: View, pte: int, nodes: int, invert: bool) -> bool:
    """queue_folio_required(): a page, not the zero page, on one of the nodes (with ``invert``: on none of them)."""
    if not is_page(pte):
        return False
    pfn = pt.pte_pfn(pte)
    on_them = nodes >> m.pfn_to_nid(pfn) & 1 != 0
    return on_them != invert and not m.hot.flags[pfn] & c.PG_reserved


def queue_range(
    mem: MemMap,
    mm: MmStruct,
    start: int,
    end: int,
    nodes: int,
    invert: bool,
    flags: int,
    pagelist: PageList,
    migratable: bool = True,
) -> tuple[int, int, int]:
    """Isolate the pages of [start, end) that lie on ``nodes`` (with ``invert``: that do not).

    flags: MPOL_MF_STRICT | MOVE | MOVE_ALL, MF_V5_FILTER. Without a MOVE flag nothing is isolated, and the first such
    page stops the walk (``Why.STRICT``). Appends to ``pagelist`` and its counters; returns (next, why, 0).
    """
    m = View(mem)
    moving = flags & (MF_MOVE | MF_MOVE_ALL) != 0 and migratable
    strict = flags & (MF_STRICT | MF_MOVE | MF_MOVE_ALL) == MF_STRICT  # strictly_unmovable()
    failed_before = pagelist.nr_failed
    for table, va, stop in pte_tables(m, mm.pgd, start, end):
        candidates: list[int] = []
        for page_va, at in ptes(table, va, stop) if table >= 0 else ():
            pte = m.ram[at]
            pagelist.scanned += 1
            m.charge(m.cost["scan_page"])
            if pt.is_migration_entry(pte):
                pagelist.nr_failed += 1
            elif not is_wanted(m, pte, nodes, invert):
                continue
            elif not moving:
                pagelist.nr_failed += 1
                if strict:
                    return page_va + pt.PAGE_SIZE, Why.STRICT, 0
            elif not flags & MF_MOVE_ALL and is_shared(m, mm, pt.pte_pfn(pte), flags):
                pagelist.nr_shared += 1
            else:
                candidates.append(pt.pte_pfn(pte))
        pagelist.nr_failed += isolate_into(m, pagelist, candidates)
        if strict and pagelist.nr_failed > failed_before:
            return stop, Why.STRICT, 0
    return max(start, end), Why.DONE, 0


def is_shared(m: View, mm: MmStruct, pfn: int, flags: int) -> bool:
    """migrate_folio_add(): several map the page. In 2005: another process maps its file too, and nobody for writing."""
    if not flags & MF_V5_FILTER:
        mapcount: int = m.hot.mapcount[pfn]
        return mapcount > 1
    mapping = page_mapping(m, pfn)
    if mapping is None:
        return False
    writable = any(vma.flags & VM_SHARED and vma.flags & VM_MAYWRITE for vma in mapping.vmas)
    return not writable and any(vma.mm is not mm for vma in mapping.vmas)


def pte_at(m: View, mm: MmStruct, va: int) -> int:
    """The PTE of one address, 0 if there is no table for it."""
    at = pt.pte_index(m.ram, m.hw.levels, mm.pgd, va)
    pte: int = m.ram[at] if at >= 0 else 0
    return pte


def page_status(m: View, mm: MmStruct, va: int) -> int:
    """The node of the page at ``va``, or -ENOENT (nothing there), -EFAULT (no VMA, or the zero page)."""
    if vma_lookup(mm, va) is None:
        return -EFAULT
    pte = pte_at(m, mm, va)
    if not pt.pte_mapped(pte):
        return -ENOENT
    return m.pfn_to_nid(pt.pte_pfn(pte)) if is_page(pte) else -EFAULT


def pages_status(mem: MemMap, mm: MmStruct, addresses: NDArray[np.uint64], status: NDArray[np.int32]) -> None:
    """do_pages_stat_array(): the status of each address."""
    m = View(mem)
    for i, va in enumerate(addresses.tolist()):
        status[i] = page_status(m, mm, va)
    m.charge(len(addresses) * m.cost["walk"])


def queue_address(
    m: View, mm: MmStruct, va: int, node: int, move_all: bool, pagelist: PageList
) -> int | None:
    """add_folio_for_migration(): queue the page at ``va``, or say why not: its status. None = queued."""
    vma = vma_lookup(mm, va)
    if vma is None or vma.flags & (VM_IO | VM_PFNMAP):
        return -EFAULT
    status = page_status(m, mm, va)
    if status < 0 or status == node:
        return status
    pfn = pt.pte_pfn(pte_at(m, mm, va))
    if m.hot.mapcount[pfn] > 1 and not move_all:
        return -EACCES
    return -EBUSY if isolate_into(m, pagelist, [pfn]) else None


def queue_addresses(
    mem: MemMap,
    mm: MmStruct,
    addresses: NDArray[np.uint64],
    node: int,
    move_all: bool,
    status: NDArray[np.int32],
    pagelist: PageList,
    waiting: bool = False,
) -> tuple[int, int, bool]:
    """add_folio_for_migration() for consecutive entries of one move_pages() request with the same target node.

    Goes on while pages are queued, and also past pages that only get a status as long as nothing is queued yet; stops
    behind the first page that got a status while others wait (``waiting``: some do from before). Returns (entries done,
    entries queued, whether the last one done has such a status).
    """
    m = View(mem)
    done = queued = 0
    stopped = False
    while done < len(addresses) and not stopped:
        answer = queue_address(m, mm, int(addresses[done]), node, move_all, pagelist)
        if answer is None:
            queued += 1
        else:
            status[done] = answer
            stopped = waiting or queued > 0
        done += 1
    m.charge(done * m.cost["walk"])
    return done, queued, stopped


# ---------------------------------------------------------------- unmap


@dataclass
class Batch:
    """One batch on its way. asids: whose TLB entries it makes stale. left: pages that stay, each with its reason."""

    items: list[MigItem] = field(default_factory=list)
    asids: set[int] = field(default_factory=set)
    flush_all: bool = False
    left: list[tuple[int, Reason]] = field(default_factory=list)


def unmap_batch(m: View, b: Batch, cpu: int, pfns: list[int], stats: MigrateStats) -> None:
    """migrate_folio_unmap() for a batch: lock each page and turn its PTEs into migration entries."""
    several: list[MigItem] = []
    for pfn in pfns:
        flags = m.hot.flags[pfn]
        if m.hot.mapcount[pfn] == 0 and m.hot.refcount[pfn] == 1:
            # Only the isolation still holds it: its owner gave it up.
            count_isolated(m, pfn, -1)
            free_page(m, cpu, pfn)
            stats.freed += 1
        elif flags & (c.PG_locked | c.PG_writeback):
            b.left.append((pfn, Reason.LOCKED if flags & c.PG_locked else Reason.WRITEBACK))
        else:
            m.hot.flags[pfn] |= c.PG_locked
            item = MigItem(pfn, anon=m.cold.mapping[pfn], index=m.cold.index[pfn])
            b.items.append(item)
            if m.hot.mapcount[pfn] == 1 and m.hot.rmap[pfn]:
                unmap_single(m, b, item)
            elif m.hot.mapcount[pfn]:
                several.append(item)
    if several:
        rmap_unmap(m, several)
        b.flush_all = True
    charge(m, stats, Phase.UNMAP, len(pfns) * m.cost["unmap_page"])


def unmap_single(m: View, b: Batch, item: MigItem) -> None:
    """A page whose one PTE is known: no search. The table that the PTE is in tells whose it is."""
    pfn = item.src
    item.pte = m.hot.rmap[pfn]
    unmap_pte(m, item, item.pte // 8)
    m.hot.rmap[pfn] = 0
    m.node_stat[m.node(pfn), mapped_item(m, pfn)] -= 1
    b.asids.add(m.cold.mapping[item.pte >> pt.PAGE_SHIFT])


def charge(m: View, stats: MigrateStats, phase: Phase, ns: int) -> None:
    """Time passes, and the ledger hears where it went."""
    stats.charge(phase, ns)
    m.charge(ns)


# ---------------------------------------------------------------- flush, target


def flush_batch(m: View, b: Batch, stats: MigrateStats) -> None:
    """try_to_unmap_flush(): one shootdown for the batch."""
    if b.items:
        stats.charge(Phase.FLUSH, try_to_unmap_flush(m, b.asids, b.flush_all))


def target_pages(m: View, ctx: AllocCtx, b: Batch, target: Target) -> list[int]:
    """alloc_migration_target(): a frame for each item of the batch, or fewer."""
    gfp = c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM
    policy = target.policy
    if target.nid >= 0:
        return alloc_pages_bulk(m, ctx, target.nid, 0, gfp | c.GFP_THISNODE, len(b.items))
    if policy is None or policy.mode not in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        return alloc_pages_mpol(m, ctx, policy, 0, gfp, len(b.items))
    got: list[int] = []
    for item in b.items:
        page = alloc_pages_mpol(m, ctx, policy, target.ilx + item.index, gfp, 1)
        if not page:
            break
        got += page
    return got


# ---------------------------------------------------------------- move, remap


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


def why_not(m: View, pfn: int) -> Reason | None:
    """What keeps an unmapped page from moving; None = nothing does."""
    if m.hot.mapcount[pfn]:
        return Reason.MAPPED
    # The isolation's, and the swap cache's or the page cache's.
    expected = 1 + (m.hot.flags[pfn] & c.PG_swapcache != 0) + (page_mapping(m, pfn) is not None)
    return Reason.PINNED if m.hot.refcount[pfn] != expected else None


def sort_out(m: View, b: Batch, dst: list[int]) -> list[MigItem]:
    """Give each page that may move its target, in order; the others are mapped again. Returns those that move."""
    moving: list[MigItem] = []
    staying: list[MigItem] = []
    for item in b.items:
        reason = why_not(m, item.src)
        if reason is None and len(moving) == len(dst):
            reason = Reason.TARGET_FULL
        if reason is None:
            item.dst = dst[len(moving)]
            moving.append(item)
        else:
            staying.append(item)
            b.left.append((item.src, reason))
    remap(m, staying, to_dst=False)
    for item in staying:
        m.hot.flags[item.src] &= ~(c.PG_locked | c.PG_migration_shared)
    return moving


def copy_page_state(m: View, src: int, dst: int) -> None:
    """folio_migrate_flags() and folio_migrate_mapping(): the new page takes over what the old one was."""
    m.hot.flags[dst] |= m.hot.flags[src] & KEPT_FLAGS
    m.hot.refcount[dst] = m.hot.mapcount[dst] = m.hot.pincount[dst] = m.hot.rmap[dst] = 0
    m.cold.mapping[dst] = m.cold.mapping[src]
    m.cold.index[dst] = m.cold.index[src]
    m.cold.private[dst] = m.cold.private[src]
    m.cold.mlock_count[dst] = m.cold.mlock_count[src]
    if m.hot.flags[src] & c.PG_swapcache:
        replace_in_swap_cache(m, src, dst)
    elif (mapping := page_mapping(m, src)) is not None:
        replace_in_page_cache(m, mapping, src, dst)
    if m.hot.flags[src] & c.PG_mlocked:
        m.node_stat[m.node(src), c.NR_MLOCK] -= 1
        m.node_stat[m.node(dst), c.NR_MLOCK] += 1
        m.hot.flags[src] &= ~c.PG_mlocked
        m.cold.mlock_count[src] = 0


def move_batch(m: View, ctx: AllocCtx, b: Batch, dst: list[int], stats: MigrateStats) -> None:
    """migrate_folio_move() for a batch: check references, copy, map the new pages, free the old ones."""
    moving = sort_out(m, b, dst)
    if len(moving) < len(dst):
        free_pages_bulk(m, ctx.cpu, dst[len(moving) :])
    for item in moving:
        m.copy_page(item.dst, item.src)
        ns = int(m.hw.copy_cost[m.node(item.src), m.node(item.dst)])
        charge(m, stats, Phase.COPY, ns)
        copy_page_state(m, item.src, item.dst)
    remap(m, moving, to_dst=True)
    for item in moving:
        count_isolated(m, item.src, -1)
        page_free_prepare(m, item.src)
    free_pages_bulk(m, ctx.cpu, [item.src for item in moving])
    for item in moving:
        if not m.hot.refcount[item.dst]:  # unmapped by its owner while it moved
            free_page(m, ctx.cpu, item.dst)
    lru_add_batch(m, [item.dst for item in moving if m.hot.refcount[item.dst]])
    stats.moved += len(moving)
    charge(m, stats, Phase.REMAP, len(b.items) * m.cost["remap_page"])


def migrate_batch(
    mem: MemMap,
    ctx: AllocCtx,
    pfns: NDArray[np.uint32],
    at: int,
    target: Target,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why_left: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Migrate isolated pages from ``pfns[at]`` on, batch after batch, until one leaves pages behind.

    left, why_left: room for 512 pages and their reasons (``REASON_*``). Returns (next, why, number left): why is
    NO_TARGET when the target filled up, with the pages that found no room among those left.
    """
    m = View(mem)
    b = Batch()
    while at < len(pfns) and not b.left:
        b = Batch()
        pages = pfns[at : at + BATCH].tolist()
        m.charge(m.cost["migrate_call"])
        stats.batches += 1
        unmap_batch(m, b, ctx.cpu, pages, stats)
        flush_batch(m, b, stats)
        dst = target_pages(m, ctx, b, target) if b.items else []
        move_batch(m, ctx, b, dst, stats)
        at += len(pages)
    lru_check_holes(m)
    for i, (pfn, reason) in enumerate(b.left):
        left[i], why_left[i] = pfn, reason
        stats.count(reason)
    full = any(reason == Reason.TARGET_FULL for _, reason in b.left)
    return at, Why.NO_TARGET if full else Why.DONE, len(b.left)
