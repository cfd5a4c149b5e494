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
from numalab.mm._huge_memory_reference import (
    free_huge_page,
    huge_head,
    is_huge,
    is_huge_list,
    likely_mapped_shared,
    parts,
    remap_huge_page,
    try_split_folio,
)
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._lru_reference import (
    count_isolated,
    free_page,
    isolate_batch,
    lru_add_batch,
    page_free_prepare,
)
from numalab.mm._mempolicy_reference import (
    alloc_huge_mpol,
    alloc_huge_node,
    alloc_pages_bulk,
    alloc_pages_mpol,
)
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import View, charge, is_page, mapped_ptes, note, pte_tables, try_to_unmap_flush
from numalab.mm._rmap_reference import MigItem, mapped_item, remap, rmap_unmap, trace_unmapped, unmap_pte
from numalab.mm._swap_reference import replace_in_swap_cache
from numalab.mm.kernels import Why
from numalab.mm.migrate.ledger import Fate, Phase, Reason
from numalab.mm.mpol import MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE
from numalab.mm.vm_flags import VM_IO, VM_MAYWRITE, VM_PFNMAP, VM_SHARED
from numalab.mm.vma_tree import vma_lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats, Target
    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct
    from numalab.mm._page_list import PageList

BATCH = 512
MF_STRICT, MF_MOVE, MF_MOVE_ALL, MF_V5_FILTER = 1, 2, 4, 16
KEPT_FLAGS = (
    c.PG_uptodate | c.PG_dirty | c.PG_active | c.PG_unevictable | c.PG_mlocked | c.PG_swapbacked
    | c.PG_workingset | c.PG_anon | c.PG_anon_exclusive
)  # fmt: skip


# ---------------------------------------------------------------- finding pages


def isolate_into(m: View, pagelist: PageList, pages: list[tuple[int, int]]) -> int:
    """Take pages, (pfn, va), off the LRU and append them to the list; returns how many could not be isolated."""
    taken = isolate_batch(m, [pfn for pfn, _ in pages])
    pagelist.extend(np.array(taken, np.uint32))
    missed = 0
    for pfn, va in pages:
        if taken[:1] == [pfn]:
            taken = taken[1:]
            note(pagelist.log, Fate.QUEUED, pfn, va)
        else:
            missed += 1
            note(pagelist.log, Fate.PASSED, pfn, va, why=Reason.NOT_ON_LRU)
    return missed


def isolate_hugetlb(m: View, pagelist: PageList, pfn: int, va: int) -> bool:
    """isolate_hugetlb(): a page that somebody uses joins the list, unless it has been isolated."""
    if m.hot.flags[pfn] & c.PG_isolated:
        note(pagelist.log, Fate.PASSED, pfn, va, why=Reason.NOT_ON_LRU)
        return False
    head = huge_head(pfn)
    for part in range(head, head + c.HPAGE_PMD_NR):
        m.hot.flags[part] |= c.PG_isolated
        m.hot.refcount[part] += 1
        note(pagelist.log, Fate.QUEUED, part, va + (part - pfn) * pt.PAGE_SIZE)
    pagelist.hugetlbs.append(head)
    return True


def isolate_huge(m: View, pagelist: PageList, pfn: int, va: int) -> bool:
    """Isolate what there is of the huge page of ``pfn`` (at ``va``), all of it or, where that cannot be, nothing."""
    if m.hot.flags[pfn] & c.PG_hugetlb:
        return isolate_hugetlb(m, pagelist, pfn, va)
    pages = parts(m, pfn)
    if not all(m.hot.flags[part] & c.PG_lru for part in pages):
        note(pagelist.log, Fate.PASSED, pfn, va, whole(m, pfn), Reason.NOT_ON_LRU)
        return False
    return not isolate_into(m, pagelist, [(part, va + (part - pfn) * pt.PAGE_SIZE) for part in pages])


def is_wanted(m: View, pte: int, nodes: int, invert: bool) -> bool:
    """queue_folio_required(): a page, not the zero page, on one of the nodes (with ``invert``: on none of them)."""
    if not is_page(pte):
        return False
    pfn = pt.pte_pfn(pte)
    on_them = nodes >> m.pfn_to_nid(pfn) & 1 != 0
    return on_them != invert and not m.hot.flags[pfn] & c.PG_reserved


def whole(m: View, pfn: int) -> int:
    """What is decided of a page of a huge page is decided of so many; 0 = it is a small one."""
    return c.HPAGE_PMD_NR if is_huge(m, pfn) else 0


def is_zero_page(m: View, pte: int, nodes: int, invert: bool) -> bool:
    """Whether an entry names the page of zeros, which would be wanted if it were a page."""
    if not pt.pte_mapped(pte) or not pte & pt.PTE_SPECIAL:
        return False
    return (nodes >> m.pfn_to_nid(pt.pte_pfn(pte)) & 1 != 0) != invert


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
    for _, va, stop in pte_tables(m, mm.pgd, start, end):
        candidates: list[tuple[int, int]] = []
        for page_va, pte in mapped_ptes(m, mm.pgd, va, stop):
            pagelist.scanned += 1
            m.charge(m.cost["scan_page"])
            if pt.is_migration_entry(pte):
                pagelist.nr_failed += 1
                why = Reason.MIGRATING
                note(pagelist.log, Fate.PASSED, mig_entry_pfn(pte), page_va, why=why)
                continue
            if is_zero_page(m, pte, nodes, invert):
                note(pagelist.log, Fate.PASSED, pt.pte_pfn(pte), page_va, why=Reason.ZERO_PAGE)
            if not is_wanted(m, pte, nodes, invert):
                continue
            pfn = pt.pte_pfn(pte)
            if is_huge(m, pfn):
                # It is queued, or not, as a whole, whatever areas it lies in.
                if huge_head(pfn) == pagelist.large:
                    continue
                pagelist.large = huge_head(pfn)
            if not moving:
                pagelist.nr_failed += 1
                why = Reason.MISPLACED if migratable else Reason.NOT_MIGRATABLE
                note(pagelist.log, Fate.PASSED, pfn, page_va, whole(m, pfn), why)
                if strict:
                    return page_va + pt.PAGE_SIZE, Why.STRICT, 0
            elif not flags & MF_MOVE_ALL and is_shared(m, mm, pfn, flags):
                pagelist.nr_shared += 1
                note(pagelist.log, Fate.PASSED, pfn, page_va, whole(m, pfn), Reason.SHARED)
            elif is_huge(m, pfn):
                pagelist.nr_failed += isolate_into(m, pagelist, candidates)
                candidates = []
                pagelist.nr_failed += not isolate_huge(m, pagelist, pfn, page_va)
            else:
                candidates.append((pfn, page_va))
        pagelist.nr_failed += isolate_into(m, pagelist, candidates)
        if strict and pagelist.nr_failed > failed_before:
            return stop, Why.STRICT, 0
    return max(start, end), Why.DONE, 0


def is_shared(m: View, mm: MmStruct, pfn: int, flags: int) -> bool:
    """migrate_folio_add(): several map the page. In 2005: another process maps its file too, and nobody for writing."""
    if not flags & MF_V5_FILTER:
        return likely_mapped_shared(m, pfn)
    mapping = page_mapping(m, pfn)
    if mapping is None:
        return False
    writable = any(vma.flags & VM_SHARED and vma.flags & VM_MAYWRITE for vma in mapping.vmas)
    return not writable and any(vma.mm is not mm for vma in mapping.vmas)


def pte_at(m: View, mm: MmStruct, va: int) -> int:
    """The PTE of one address, 0 if there is no table for it."""
    va &= -pt.PAGE_SIZE
    return next((pte for _, pte in mapped_ptes(m, mm.pgd, va, va + pt.PAGE_SIZE)), 0)


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
    m: View, mm: MmStruct, va: int, node: int, move_all: bool, pagelist: PageList, never: int
) -> int | None:
    """add_folio_for_migration(): queue the page at ``va``, or say why not: its status. None = queued."""
    log = pagelist.log
    vma = vma_lookup(mm, va)
    if vma is None or vma.flags & never:
        note(log, Fate.PASSED, 0, va, why=Reason.NO_AREA)
        return -EFAULT
    status, pte = page_status(m, mm, va), pte_at(m, mm, va)
    if status < 0:
        absent = Reason.MIGRATING if pt.is_migration_entry(pte) else Reason.ABSENT
        note(log, Fate.PASSED, 0, va, why=absent if status == -ENOENT else Reason.ZERO_PAGE)
        return status
    pfn = pt.pte_pfn(pte)
    if status == node:
        note(log, Fate.PASSED, pfn, va, whole(m, pfn), Reason.THERE)
        return status
    if not move_all and likely_mapped_shared(m, pfn):
        note(log, Fate.PASSED, pfn, va, whole(m, pfn), Reason.SHARED)
        return -EACCES
    if is_huge(m, pfn):  # one address moves all of it
        return None if isolate_huge(m, pagelist, pfn, va) else -EBUSY
    return -EBUSY if isolate_into(m, pagelist, [(pfn, va)]) else None


def queue_addresses(
    mem: MemMap,
    mm: MmStruct,
    addresses: NDArray[np.uint64],
    node: int,
    move_all: bool,
    status: NDArray[np.int32],
    pagelist: PageList,
    waiting: bool = False,
    never: int = VM_IO | VM_PFNMAP,
) -> tuple[int, int, bool]:
    """add_folio_for_migration() for consecutive entries of one move_pages() request with the same target node.

    never: of areas with such VM_* flags no page is moved.

    Goes on while pages are queued, and also past pages that only get a status as long as nothing is queued yet; stops
    behind the first page that got a status while others wait (``waiting``: some do from before). Returns (entries done,
    entries queued, whether the last one done has such a status).
    """
    m = View(mem)
    done = queued = 0
    stopped = False
    while done < len(addresses) and not stopped:
        answer = queue_address(m, mm, int(addresses[done]), node, move_all, pagelist, never)
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


def only_isolated(m: View, pfn: int) -> bool:
    """Whether nothing but the isolation holds a page."""
    return not m.hot.mapcount[pfn] and m.hot.refcount[pfn] == 1


def free_isolated(m: View, cpu: int, pfn: int, stats: MigrateStats) -> None:
    """Only the isolation still holds a page: its owner gave it up."""
    count_isolated(m, pfn, -1)
    free_page(m, cpu, pfn)
    stats.freed += 1
    note(stats.log, Fate.FREED, pfn)


def unmap_batch(m: View, b: Batch, cpu: int, pfns: list[int], stats: MigrateStats) -> int:
    """migrate_folio_unmap() for a batch: lock each page and turn its PTEs into migration entries.

    Returns how many pages the batch has: it ends where a huge page begins that is whole.
    """
    several: list[MigItem] = []
    n, before = min(len(pfns), BATCH), len(b.items)
    for i, pfn in enumerate(pfns[:BATCH]):
        flags = m.hot.flags[pfn]
        if is_huge(m, pfn) and not only_isolated(m, pfn):
            if i and is_huge_list(m, pfns[i:]):
                n = i
                break
            if not try_split_folio(m, pfn):
                b.left.append((pfn, Reason.PINNED))
                continue
        if only_isolated(m, pfn):
            free_isolated(m, cpu, pfn, stats)
            continue
        if flags & (c.PG_locked | c.PG_writeback):
            b.left.append((pfn, Reason.LOCKED if flags & c.PG_locked else Reason.WRITEBACK))
        else:
            m.hot.flags[pfn] |= c.PG_locked
            item = MigItem(pfn, anon=m.cold.mapping[pfn], index=m.cold.index[pfn])
            b.items.append(item)
            if m.hot.mapcount[pfn] == 1 and m.hot.rmap[pfn]:
                unmap_single(m, b, item)
            elif m.hot.mapcount[pfn]:
                several.append(item)
    trace_unmapped(m, b.items[before:])
    if several:
        rmap_unmap(m, several)
        b.flush_all = True
    charge(m, stats, Phase.UNMAP, n * m.cost["unmap_page"])
    return n


def unmap_single(m: View, b: Batch, item: MigItem) -> None:
    """A page whose one PTE is known: no search. The table that the PTE is in tells whose it is."""
    pfn = item.src
    item.pte = m.hot.rmap[pfn]
    unmap_pte(m, item, item.pte // 8)
    m.hot.rmap[pfn] = 0
    m.node_stat[m.node(pfn), mapped_item(m, pfn)] -= 1
    b.asids.add(m.cold.mapping[item.pte >> pt.PAGE_SHIFT])


# ---------------------------------------------------------------- flush, target


def flush_batch(m: View, b: Batch, stats: MigrateStats) -> None:
    """try_to_unmap_flush(): one shootdown for the batch."""
    if b.items:
        stats.charge(Phase.FLUSH, try_to_unmap_flush(m, b.asids, b.flush_all))


def target_pages(m: View, ctx: AllocCtx, items: list[MigItem], target: Target) -> list[int]:
    """alloc_migration_target(): a frame for each of these items, or fewer."""
    gfp, policy = target.gfp, target.policy
    if target.nid >= 0:
        return alloc_pages_bulk(m, ctx, target.nid, target.nodes, gfp, len(items))
    if policy is None or policy.mode not in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        return alloc_pages_mpol(m, ctx, policy, 0, gfp, len(items))
    got: list[int] = []
    for item in items:
        page = alloc_pages_mpol(m, ctx, policy, target.ilx + item.index, gfp, 1)
        if not page:
            break
        got += page
    return got


# ---------------------------------------------------------------- move, remap


def why_not(m: View, pfn: int) -> Reason | None:
    """What keeps an unmapped page from moving; None = nothing does."""
    if m.hot.mapcount[pfn]:
        return Reason.MAPPED
    # The isolation's, and the swap cache's or the page cache's.
    expected = 1 + (m.hot.flags[pfn] & c.PG_swapcache != 0) + (page_mapping(m, pfn) is not None)
    return Reason.PINNED if m.hot.refcount[pfn] != expected else None


def sort_out(m: View, b: Batch, items: list[MigItem], dst: list[int], stats: MigrateStats) -> list[MigItem]:
    """Give each page that may move its target, now first in ``dst``; map the others again. Returns those that move."""
    moving: list[MigItem] = []
    staying: list[tuple[MigItem, Reason]] = []
    for i, item in enumerate(items):
        reason = why_not(m, item.src)
        if reason is None and i >= len(dst):
            reason = Reason.TARGET_FULL
        if reason is None:
            item.dst = dst[i]
            dst[i], dst[len(moving)] = dst[len(moving)], item.dst
            moving.append(item)
        else:
            staying.append((item, reason))
    undo(m, b, staying)
    charge(m, stats, Phase.REMAP, len(items) * m.cost["remap_page"])  # each is mapped again, here or there
    return moving


def undo(m: View, b: Batch, staying: list[tuple[MigItem, Reason]]) -> None:
    """migrate_folio_undo_src(): the old pages are mapped again, and stay."""
    remap(m, [item for item, _ in staying], to_dst=False)
    for item, reason in staying:
        m.hot.flags[item.src] &= ~(c.PG_locked | c.PG_migration_shared)
        b.left.append((item.src, reason))


def still_movable(m: View, b: Batch, item: MigItem) -> bool:
    """Has nobody taken a reference while the page was being copied? If somebody has, the old page is mapped again."""
    reason = why_not(m, item.src)
    if reason is not None:
        undo(m, b, [(item, reason)])
    return reason is None


def copy_page_state(m: View, src: int, dst: int) -> None:
    """folio_migrate_flags() and folio_migrate_mapping(): the new page takes over what the old one was."""
    unevictable = m.hot.flags[src] & c.PG_unevictable
    m.hot.flags[dst] |= m.hot.flags[src] & (KEPT_FLAGS | (c.PG_referenced if unevictable else 0))
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


def copy_pages(m: View, moving: list[MigItem]) -> None:
    """Nothing but copies."""
    for item in moving:
        m.copy_page(item.dst, item.src)


def remap_pages(m: View, cpu: int, moving: list[MigItem], stats: MigrateStats) -> None:
    """The copies take over, are mapped and go to the LRU; the old pages are free."""
    for item in moving:
        charge(m, stats, Phase.COPY, int(m.hw.copy_cost[m.node(item.src), m.node(item.dst)]))
        copy_page_state(m, item.src, item.dst)
    remap(m, moving, to_dst=True)
    for item in moving:
        count_isolated(m, item.src, -1)
        page_free_prepare(m, item.src)
        note(stats.log, Fate.MOVED, item.src, to=item.dst)
    free_pages_bulk(m, cpu, [item.src for item in moving])
    for item in moving:
        if not m.hot.refcount[item.dst]:  # unmapped by its owner while it moved
            free_page(m, cpu, item.dst)
    lru_add_batch(m, [item.dst for item in moving if m.hot.refcount[item.dst]])
    stats.moved += len(moving)


def huge_page_stays(m: View, head: int) -> Reason | None:
    """Why an isolated huge page cannot move now; None = nothing keeps it."""
    for pfn in range(head, head + c.HPAGE_PMD_NR):
        if m.hot.flags[pfn] & c.PG_locked:
            return Reason.LOCKED
        if m.hot.flags[pfn] & c.PG_writeback:
            return Reason.WRITEBACK
        if m.hot.refcount[pfn] != m.hot.mapcount[pfn] + 1:
            return Reason.PINNED
    return None


def migrate_huge(m: View, ctx: AllocCtx, b: Batch, src: int, target: Target, stats: MigrateStats) -> None:
    """One huge page, all of it or nothing. It is mapped at both ends of the copy: nobody runs in between."""
    nr = c.HPAGE_PMD_NR
    reason, dst = huge_page_stays(m, src), c.NO_PFN
    if reason is None:
        if target.nid >= 0:
            dst = alloc_huge_node(m, ctx, target.nid, target.nodes, target.gfp)
        else:
            ilx = target.ilx + (m.cold.index[src] >> c.HPAGE_PMD_ORDER)
            dst = alloc_huge_mpol(m, ctx, target.policy, ilx, target.gfp)
        reason = Reason.TARGET_FULL if dst == c.NO_PFN else None
    if reason is not None:
        b.left += [(pfn, reason) for pfn in range(src, src + nr)]
        return
    stats.charge(Phase.FLUSH, try_to_unmap_flush(m, set(), everything=True))
    mapped = sum(m.hot.mapcount[pfn] != 0 for pfn in range(src, src + nr))
    for i in range(nr):
        m.copy_page(dst + i, src + i)
        copy_page_state(m, src + i, dst + i)
        m.hot.flags[dst + i] |= c.PG_tail if i else c.PG_head
        note(stats.log, Fate.MOVED, src + i, to=dst + i)
    remap_huge_page(m, src, dst)
    m.node_stat[m.node(src), c.NR_ISOLATED_ANON] -= nr
    m.node_stat[m.node(src), c.NR_ANON_MAPPED] -= mapped
    m.node_stat[m.node(dst), c.NR_ANON_MAPPED] += mapped
    ns = nr * int(m.hw.copy_cost[m.node(src), m.node(dst)])
    free_huge_page(m, src)
    pages = list(range(dst, dst + nr))
    for pfn in pages:
        if not m.hot.refcount[pfn]:  # unmapped by its owner since it was isolated
            free_page(m, ctx.cpu, pfn)
    lru_add_batch(m, [pfn for pfn in pages if m.hot.refcount[pfn]])
    stats.moved += nr
    m.event[c.THP_MIGRATION_SUCCESS] += 1
    charge(m, stats, Phase.UNMAP, m.cost["unmap_page"])
    charge(m, stats, Phase.COPY, ns)
    charge(m, stats, Phase.REMAP, m.cost["remap_page"])


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
        pages = pfns[at : at + 2 * BATCH].tolist()
        m.charge(m.cost["migrate_call"])
        stats.batches += 1
        if is_huge_list(m, pages):
            migrate_huge(m, ctx, b, pages[0], target, stats)
            at += c.HPAGE_PMD_NR
        else:
            at += unmap_batch(m, b, ctx.cpu, pages, stats)
            flush_batch(m, b, stats)
            dst = target_pages(m, ctx, b.items, target) if b.items else []
            moving = sort_out(m, b, b.items, dst, stats)
            if len(moving) < len(dst):
                free_pages_bulk(m, ctx.cpu, dst[len(moving) :])
            copy_pages(m, moving)
            remap_pages(m, ctx.cpu, moving, stats)
    lru_check_holes(m)
    return at, report_left(b, stats, left, why_left), len(b.left)


def report_left(b: Batch, stats: MigrateStats, left: NDArray[np.uint32], why_left: NDArray[np.uint8]) -> Why:
    """Tell the driver which pages stay, and why; NO_TARGET if some found no room."""
    for i, (pfn, reason) in enumerate(b.left):
        left[i], why_left[i] = pfn, reason
        stats.count(reason)
        note(stats.log, Fate.LEFT, pfn, why=reason)
    full = any(reason == Reason.TARGET_FULL for _, reason in b.left)
    return Why.NO_TARGET if full else Why.DONE
