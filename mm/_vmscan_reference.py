"""Plain-Python twin of _vmscan: isolation from the cold end of a list, is a page in use, page-out.

Mirrors isolate_lru_folios(), folio_check_references() and shrink_folio_list() of mm/vmscan.c. A page leaves memory in
four steps, for up to 512 at once, which stand below in this order:

1. unmap    the page lock; an anonymous page gets a slot and a place in the swap cache, and its PTEs become swap
            entries; those of a page of shared memory become empty, for the file knows it
2. flush    one TLB shootdown for all
3. write    what is dirty goes to its slot (shared memory gets one now): at once, or as a request to a disk, during
            which the page stays
4. free     what is clean and held by nobody but a cache

Each may end with a reason to stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import free_pages_bulk
from numalab.mm._filemap_reference import delete_from_page_cache, page_mapping
from numalab.mm._huge_memory_reference import SIZE as HPAGE_PMD_SIZE
from numalab.mm._huge_memory_reference import (
    discard_huge_page,
    free_huge_page,
    huge_page_pinned,
    is_huge,
    is_huge_list,
    likely_mapped_shared,
    maps_whole,
    partially_mapped,
    split_folio,
)
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._lru_reference import (
    count_isolated,
    folio_deactivate,
    folio_set_swapbacked,
    free_page,
    is_lazyfree,
    isolate_batch,
    lru_add_batch,
    lru_del,
    page_free_prepare,
)
from numalab.mm._reference import (
    View,
    charge,
    flush_mm,
    huge_pmd,
    is_page,
    note,
    pte_table,
    pte_tables,
    ptes,
    try_to_unmap_flush,
)
from numalab.mm._rmap_reference import MigItem, mapped_item, rmap_referenced, rmap_unmap, try_to_unmap_one
from numalab.mm._shmem_reference import shmem_writepage
from numalab.mm._swap_reference import add_to_swap_cache, delete_from_swap_cache, slot_alloc
from numalab.mm._writeback_reference import write_page
from numalab.mm.migrate.ledger import Fate, Phase, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats
    from numalab.mm._mm_types import MemMap, MmStruct
    from numalab.mm._page_list import PageList

BATCH = 512
PAGEOUT_AGE, PAGEOUT_YOUNG_STAYS, PAGEOUT_V5, PAGEOUT_KEEP = 1, 2, 4, 8


# ---------------------------------------------------------------- isolation from the cold end


def cold_pages(m: View, lst: int, want: int) -> list[int]:
    """The ``want`` coldest pages of a list, coldest first."""
    pfns: list[int] = []
    chunk = m.lrus.tail[lst]
    while chunk and len(pfns) < want:
        slots = range(chunk * 64 + 4, chunk * 64 + 4 + m.chunks[chunk * 64 + c.CHUNK_FILL])
        pfns += [m.chunks[slot] for slot in slots if m.chunks[slot] != c.HOLE]
        chunk = m.chunks[chunk * 64 + c.CHUNK_HOTTER]
    return pfns[:want]


def isolate_lru(
    mem: MemMap, node: int, kind: int, out: NDArray[np.uint32], highest: int = 3
) -> tuple[int, int]:
    """Look at as many pages as ``out`` has room for, from the cold end of one list (``LRU_*``) of a node.

    highest: zone type above which pages are passed over. Returns (taken, scanned); the taken ones stand in front.
    """
    m = View(mem)
    pages = cold_pages(m, node * c.NR_LRU_LISTS + kind, len(out))
    taken, passed = 0, []
    for pfn in pages:
        lru_del(m, pfn)
        if m.hot.refcount[pfn] > 0 and m.hot.flags[pfn] >> c.PG_ZONE_SHIFT & 3 <= highest:
            m.hot.flags[pfn] |= c.PG_isolated
            m.hot.refcount[pfn] += 1
            count_isolated(m, pfn, 1)
            out[taken] = pfn
            taken += 1
        else:
            passed.append(pfn)
    lru_add_batch(m, passed)
    lru_check_holes(m)
    m.charge(len(pages) * m.cost["isolate_page"])
    return taken, len(pages)


# ---------------------------------------------------------------- in use or not


def referenced(m: View, pfn: int) -> int:
    """folio_referenced(): count the PTEs of a page that have been used since they were last asked; clear their bits."""
    if not m.hot.mapcount[pfn]:
        return 0
    if m.hot.mapcount[pfn] == 1 and m.hot.rmap[pfn]:
        at = m.hot.rmap[pfn] // 8
        young = m.ram[at] & pt.PTE_ACCESSED != 0
        m.ram[at] &= ~pt.PTE_ACCESSED
        return int(young)
    return rmap_referenced(m, MigItem(pfn, anon=m.cold.mapping[pfn], index=m.cold.index[pfn]))


def check_references(m: View, pfn: int) -> Reason | None:
    """folio_check_references(): None = reclaim it. Used once: another round; more often: it is active."""
    young = referenced(m, pfn)
    before = m.hot.flags[pfn] & c.PG_referenced != 0
    m.hot.flags[pfn] &= ~c.PG_referenced
    if not young:
        return None
    m.hot.flags[pfn] |= c.PG_referenced
    return Reason.ACTIVE if before or young > 1 else Reason.ACCESSED


def deactivate(mem: MemMap, pfns: NDArray[np.uint32]) -> None:
    """shrink_active_list() for isolated pages: their use so far is forgotten, and they go to the inactive list."""
    m = View(mem)
    for pfn in pfns.tolist():
        referenced(m, pfn)
        if m.hot.flags[pfn] & c.PG_active:
            m.hot.flags[pfn] = m.hot.flags[pfn] & ~c.PG_active | c.PG_workingset
            m.event[c.PGDEACTIVATE] += 1


def cold_range(
    mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, pagelist: PageList, pageout: bool
) -> None:
    """madvise_cold_or_pageout_pte_range(): the pages of [start, end) that only this mapping has count as unused.

    pageout: isolate them, into ``pagelist``; else they go to the cold lists.
    """
    m = View(mem)
    for _, first, stop in pte_tables(m, mm.pgd, start, end):
        pmd = huge_pmd(m, mm.pgd, first)
        if pmd >= 0 and stop - first == HPAGE_PMD_SIZE:
            if mapped_once(m, pt.pte_pfn(m.ram[pmd])):
                for pfn in leaf_pages(m, pmd):
                    make_cold(m, cpu, pmd, pfn, pagelist, pageout)
            continue
        if pmd >= 0 and not split_for_part(m, pt.pte_pfn(m.ram[pmd])):
            continue
        table, _ = pte_table(m, mm.pgd, first)
        whole = table >= 0 and stop - first == HPAGE_PMD_SIZE and maps_huge(m, table)
        if whole and not mapped_once(m, pt.pte_pfn(m.ram[table])):
            continue
        for _, at in ptes(table, first, stop) if table >= 0 else ():
            if (
                is_page(m.ram[at])
                and (whole or split_for_part(m, pt.pte_pfn(m.ram[at])))
                and is_page(m.ram[at])
            ):
                make_cold(m, cpu, at, pt.pte_pfn(m.ram[at]), pagelist, pageout)
    flush_mm(m, mm.asid)


def maps_huge(m: View, table: int) -> bool:
    """Whether all that a PTE table maps is a huge page."""
    pte = m.ram[table]
    return is_page(pte) and is_huge(m, pt.pte_pfn(pte)) and maps_whole(m, table, pt.pte_pfn(pte))


def split_for_part(m: View, pfn: int) -> bool:
    """Of a huge page that only a part is to be cold: it is split if nobody else has it. Whether the page is a small
    one now.
    """
    if not is_huge(m, pfn):
        return True
    if likely_mapped_shared(m, pfn) or huge_page_pinned(m, pfn):
        return False
    split_folio(m, pfn, zeros=True)
    return True


def mapped_once(m: View, head: int) -> bool:
    """Whether nobody else maps any part of a huge page."""
    return all(m.hot.mapcount[pfn] == 1 for pfn in range(head, head + c.HPAGE_PMD_NR))


def leaf_pages(m: View, pmd: int) -> range:
    """The pages that a 2 MiB leaf maps."""
    head = pt.pte_pfn(m.ram[pmd])
    return range(head, head + c.HPAGE_PMD_NR)


def make_cold(m: View, cpu: int, at: int, pfn: int, pagelist: PageList, pageout: bool) -> None:
    """One page of cold_range(), and the entry that maps it."""
    if m.hot.mapcount[pfn] != 1 or not m.hot.flags[pfn] & c.PG_lru:
        return
    if not pageout:  # which asks nobody whether a page is in use
        m.ram[at] &= ~pt.PTE_ACCESSED
    m.hot.flags[pfn] &= ~c.PG_referenced
    if m.hot.flags[pfn] & c.PG_unevictable:
        return
    if pageout:
        pagelist.extend(np.array(isolate_batch(m, [pfn]), np.uint32))
    else:
        folio_deactivate(m, cpu, pfn)


# ---------------------------------------------------------------- page-out


@dataclass
class Outgoing:
    """Pages on their way out. asids: whose TLB entries become stale; left: pages that stay, each with its reason."""

    pfns: list[int] = field(default_factory=list)
    asids: set[int] = field(default_factory=set)
    flush_all: bool = False
    left: list[tuple[int, Reason]] = field(default_factory=list)


def may_go(m: View, pfn: int, flags: int) -> Reason | None:
    """None if a page can be unmapped now, an anonymous one with a slot and in the swap cache, or lazyfree; else why
    not.
    """
    if m.hot.flags[pfn] & c.PG_locked:
        return Reason.LOCKED
    if m.hot.flags[pfn] & c.PG_mlocked and not flags & PAGEOUT_V5:  # folio_evictable()
        return Reason.MLOCKED
    if m.hot.flags[pfn] & c.PG_writeback:
        return Reason.WRITEBACK
    reason = check_references(m, pfn) if flags & PAGEOUT_AGE else None
    if reason is not None:
        return reason
    if m.hot.pincount[pfn] and not is_lazyfree(
        m, pfn
    ):  # held, it becomes an ordinary page (unmap_lazyfree())
        return Reason.PINNED
    if is_huge(m, pfn):
        if huge_page_pinned(m, pfn):
            return Reason.PINNED
        # Else Linux has it swapped out in one piece.
        split_folio(m, pfn, zeros=partially_mapped(m, pfn))
    if is_lazyfree(m, pfn) and flags & PAGEOUT_V5:  # in 2005 there were none
        folio_set_swapbacked(m, pfn)
    cached = m.hot.flags[pfn] & c.PG_swapcache or page_mapping(m, pfn) is not None
    if not cached and not is_lazyfree(m, pfn):
        entry = slot_alloc(m)
        if not entry:
            return Reason.NO_SWAP
        add_to_swap_cache(m, pfn, entry)
        m.hot.flags[pfn] |= c.PG_dirty
    return Reason.ACCESSED if flags & PAGEOUT_YOUNG_STAYS and referenced(m, pfn) else None


def heads_lazyfree(m: View, pfn: int, flags: int) -> bool:
    """Does a huge page begin here that MADV_PAGEOUT may discard as a whole?"""
    head = m.hot.flags[pfn] & c.PG_head != 0
    return head and is_lazyfree(m, pfn) and not flags & (PAGEOUT_AGE | PAGEOUT_V5)


def discard_whole(m: View, b: Outgoing, head: int, stats: MigrateStats) -> None:
    """shrink_folio_list() for a huge page that is lazyfree: all of it goes, or nothing."""
    pages = range(head, head + c.HPAGE_PMD_NR)
    reason = Reason.MAPPED
    if any(m.hot.flags[pfn] & c.PG_locked for pfn in pages):
        reason = Reason.LOCKED
    elif any(m.hot.flags[pfn] & c.PG_mlocked for pfn in pages):
        reason = Reason.MLOCKED
    charge(m, stats, Phase.UNMAP, m.cost["unmap_page"])
    if reason == Reason.MAPPED and discard_huge_page(m, head):
        stats.charge(Phase.FLUSH, try_to_unmap_flush(m, set(), True))
        for pfn in pages:
            count_isolated(m, pfn, -1)
            note(stats.log, Fate.FREED, pfn)
        free_huge_page(m, head)
        m.event[c.PGLAZYFREED] += c.HPAGE_PMD_NR
        stats.freed += c.HPAGE_PMD_NR
        m.charge(m.cost["free_page"])
    else:
        b.left += [(pfn, reason) for pfn in pages]


def unmap_outgoing(m: View, b: Outgoing, cpu: int, pfns: list[int], flags: int, stats: MigrateStats) -> int:
    """Lock what may go, and unmap it.

    Returns how many of the pages have had their turn: those in front of a huge page that may be discarded.
    """
    several: list[MigItem] = []
    heads = (i for i, pfn in enumerate(pfns) if i and heads_lazyfree(m, pfn, flags))
    pfns = pfns[: next(heads, len(pfns))]
    for pfn in pfns:
        if not m.hot.mapcount[pfn] and m.hot.refcount[pfn] == 1 and not flags & PAGEOUT_KEEP:
            # Only the isolation still holds it: its owner gave it up.
            count_isolated(m, pfn, -1)
            free_page(m, cpu, pfn)
            stats.freed += 1
            note(stats.log, Fate.FREED, pfn)
            continue
        reason = may_go(m, pfn, flags)
        if reason is not None:
            b.left.append((pfn, reason))
            continue
        m.hot.flags[pfn] |= c.PG_locked
        b.pfns.append(pfn)
        locked = m.hot.flags[pfn] & c.PG_mlocked
        if m.hot.mapcount[pfn] == 1 and m.hot.rmap[pfn] and not locked:
            at = m.hot.rmap[pfn] // 8
            asid = m.cold.mapping[m.hot.rmap[pfn] >> pt.PAGE_SHIFT]
            if try_to_unmap_one(m, pfn, at, m.mem.mm_of(asid)):
                m.hot.rmap[pfn] = 0
                m.node_stat[m.node(pfn), mapped_item(m, pfn)] -= 1
                b.asids.add(asid)
        elif m.hot.mapcount[pfn]:
            several.append(MigItem(pfn, anon=m.cold.mapping[pfn], index=m.cold.index[pfn]))
    if several:
        rmap_unmap(m, several, to_swap=True)
        b.flush_all = True
    charge(m, stats, Phase.UNMAP, len(pfns) * m.cost["unmap_page"])
    return len(pfns)


def pageout(m: View, pfn: int, flags: int, stats: MigrateStats) -> Reason | None:
    """pageout(): what is dirty goes to the disk, or to its slot; None: that is over, and the page may go at once."""
    mapping = page_mapping(m, pfn)
    if mapping is not None and mapping.bdi:
        if not flags & PAGEOUT_V5 or not write_page(m, pfn):
            return Reason.DIRTY
        charge(m, stats, Phase.COPY, m.cost["swap_page"])
        return Reason.WRITING
    if mapping is not None and not shmem_writepage(m, pfn):
        return Reason.NO_SWAP
    return None if swap_writepage(m, pfn, flags, stats) else Reason.WRITING


def swap_writepage(m: View, pfn: int, flags: int, stats: MigrateStats) -> bool:
    """The page's bytes go to its slot; whether that is over, and the page may go at once."""
    entry = m.cold.private[pfn]
    m.hot.flags[pfn] &= ~c.PG_dirty
    if not m.write_slot(pfn, entry, zeros=not flags & PAGEOUT_V5):
        return True
    charge(m, stats, Phase.COPY, m.cost["swap_page"])
    if m.swap.flags[pt.swp_type(entry)] & c.SWP_SYNCHRONOUS_IO:
        return not flags & PAGEOUT_V5
    m.hot.flags[pfn] |= c.PG_writeback | c.PG_reclaim
    m.node_stat[m.node(pfn), c.NR_WRITEBACK] += 1
    return False


def write_outgoing(
    m: View, b: Outgoing, pfns: list[int], cpu: int, flags: int, stats: MigrateStats, *, pause: bool = False
) -> bool:
    """pageout() and __remove_mapping(): write what is dirty; what is clean, and held by nobody else, is freed.

    pause: stop behind a page that has just been written, and may go. Returns whether it did.
    """
    gone, lazyfree = [], 0
    for pfn in pfns:
        m.hot.flags[pfn] &= ~c.PG_locked
        if m.hot.mapcount[pfn]:
            b.left.append((pfn, Reason.MLOCKED if m.hot.flags[pfn] & c.PG_mlocked else Reason.MAPPED))
        elif m.hot.refcount[pfn] != 2 - is_lazyfree(m, pfn):  # the isolation and the cache
            b.left.append((pfn, Reason.PINNED))
        elif (dirty := m.hot.flags[pfn] & c.PG_dirty) and (
            reason := pageout(m, pfn, flags, stats)
        ) is not None:
            b.left.append((pfn, reason))
        elif dirty and pause:
            return True
        else:
            swapped = m.hot.flags[pfn] & c.PG_swapcache
            fate = Fate.FREED if is_lazyfree(m, pfn) else Fate.EVICTED
            note(stats.log, fate, pfn, m.cold.private[pfn] if swapped else 0)
            if is_lazyfree(m, pfn):
                lazyfree += 1
            elif swapped:
                delete_from_swap_cache(m, pfn)
            else:  # the disk has it too; shared memory: still zeros, as it began
                delete_from_page_cache(m, pfn)
            if flags & PAGEOUT_KEEP:
                b.left.append((pfn, Reason.NONE))
                continue
            count_isolated(m, pfn, -1)
            page_free_prepare(m, pfn)
            gone.append(pfn)
    free_pages_bulk(m, cpu, gone)
    stats.moved += len(gone) - lazyfree
    stats.freed += lazyfree
    m.event[c.PGLAZYFREED] += lazyfree
    m.charge(len(gone) * m.cost["free_page"])
    return False


def pageout_batch(
    mem: MemMap,
    cpu: int,
    pfns: NDArray[np.uint32],
    at: int,
    flags: int,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why_left: NDArray[np.uint8],
) -> tuple[int, int]:
    """Page out isolated pages from ``pfns[at]`` on, batch after batch, until one leaves pages behind.

    flags: PAGEOUT_*. left, why_left: room for 512 pages and their reasons (``REASON_*``);
    those WRITING are under writeback, and the driver hands them to the disk. Returns (next, number left).
    """
    m = View(mem)
    b = Outgoing()
    while at < len(pfns) and not b.left:
        b = Outgoing()
        pages = pfns[at : at + BATCH].tolist()
        stats.batches += 1
        if heads_lazyfree(m, pages[0], flags) and is_huge_list(m, pfns[at : at + c.HPAGE_PMD_NR].tolist()):
            discard_whole(m, b, pages[0], stats)
            at += c.HPAGE_PMD_NR
            continue
        taken = unmap_outgoing(m, b, cpu, pages, flags, stats)
        if b.pfns:  # before anything is written or freed
            stats.charge(Phase.FLUSH, try_to_unmap_flush(m, b.asids, b.flush_all))
        write_outgoing(m, b, b.pfns, cpu, flags, stats)
        at += taken
    report_staying(b, stats, left, why_left)
    return at, len(b.left)


def report_staying(
    b: Outgoing, stats: MigrateStats, left: NDArray[np.uint32], why_left: NDArray[np.uint8]
) -> None:
    """Tell the driver which pages stay, and why."""
    for i, (pfn, reason) in enumerate(b.left):
        left[i], why_left[i] = pfn, reason
        stats.count(reason)
        if reason != Reason.NONE:
            note(stats.log, Fate.LEFT, pfn, why=reason)


def end_writeback(mem: MemMap, pfns: NDArray[np.uint32], ok: bool) -> None:
    """folio_end_writeback(), end_swap_bio_write(): a write is over; if it failed, the page is dirty again."""
    m = View(mem)
    for pfn in pfns.tolist():
        m.hot.flags[pfn] &= ~(c.PG_writeback | c.PG_reclaim)
        if not ok:
            m.hot.flags[pfn] |= c.PG_dirty
        m.node_stat[m.node(pfn), c.NR_WRITEBACK] -= 1
