"""Reclaim: getting frames back from pages that nobody has used for a while.

Mirrors mm/vmscan.c. A node's pages age on its lists: from the cold end of an active list to the inactive one, and from
the cold end of that to swap (anonymous pages) or out of memory altogether (clean pages of files). A request that finds
no frame does this itself (try_to_free_pages); a node below its low watermark has it done by its kswapd (balance_pgdat)
until it is above its high one. Each round looks at a larger share of the lists: the priority falls from 12 to 0.

Deliberately different: no memory cgroups, no workingset shadow entries, no multi-generational lists (6.12 as Debian
boots it does not use those either), and the cost of anonymous and of file pages is not learnt: swappiness alone weighs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._hw import (
    EV_MM_VMSCAN_DIRECT_RECLAIM_BEGIN,
    EV_MM_VMSCAN_DIRECT_RECLAIM_END,
    EV_MM_VMSCAN_LRU_ISOLATE,
    EV_MM_VMSCAN_LRU_SHRINK_INACTIVE,
)
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._page_list import PageList
from numalab.mm.migrate.ledger import Reason, has_reason
from numalab.mm.nodemask import nodes_in
from numalab.mm.steps import pageout_batch
from numalab.mm.swap import lru_add_drain, nr_swap_pages
from numalab.mm.writeback import submit_writes, wakeup_flusher_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap

__all__ = [
    "balance_pgdat", "pgdat_balanced", "reclaim_pages", "reclaimable_pages", "shrink_folio_list", "try_to_free_pages",
]  # fmt: skip

SWAP_CLUSTER_MAX = 32
DEF_PRIORITY = 12
BATCH = 512
PAGEOUT_AGE = 1
ZONE_MOVABLE = 3
#: HZ / 10: how long VMSCAN_THROTTLE_WRITEBACK sleeps at most.
THROTTLE_NS = 100_000_000


@dataclass
class ScanControl:
    """struct scan_control: what one reclaim wants, and how far it has come.

    nr_writing: pages met that are being written, and for which it has not waited yet.
    """

    cpu: int
    nr_to_reclaim: int
    kswapd: bool
    priority: int = DEF_PRIORITY
    nr_reclaimed: int = 0
    nr_scanned: int = 0
    nr_writing: int = 0


def shrink_folio_list(
    mem: MemMap, cpu: int, pages: NDArray[np.uint32], flags: int, stats: MigrateStats
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Page out isolated pages, one try each; returns those that stay, isolated still, and why.

    flags: PAGEOUT_AGE or 0, which takes pages in use as well. Pages that belong on the active list are marked so, and
    with them those that are still mapped: written to, or held, since MADV_FREE.
    """
    left, why = np.empty(BATCH, np.uint32), np.empty(BATCH, np.uint8)
    staying, reasons = [], []
    at = 0
    while at < len(pages):
        at, n = pageout_batch(mem, cpu, pages, at, flags, stats, left, why)
        staying.append(left[:n].copy())
        reasons.append(why[:n].copy())
        writing = staying[-1][reasons[-1] == Reason.WRITING]
        if len(writing):
            submit_writes(mem, writing)
    if not staying:
        return pages[:0], why[:0]
    stay, because = np.concatenate(staying), np.concatenate(reasons)
    if (because == Reason.DIRTY).any():
        wakeup_flusher_threads(mem)
    active = stay[has_reason(because, (Reason.ACTIVE, Reason.MAPPED))]
    mem.hot["flags"][active] |= np.uint32(c.PG_active)
    mem.event[c.PGACTIVATE] += len(active)
    return stay, because


def reclaim_pages(mem: MemMap, cpu: int, pages: PageList) -> int:
    """reclaim_pages(): MADV_PAGEOUT's isolated pages go, those in use too; returns how many went."""
    stats = MigrateStats()
    left, _ = shrink_folio_list(mem, cpu, pages.take(), 0, stats)
    mem.k.lru.putback(mem, cpu, left)
    return stats.moved + stats.freed


def _shrink_inactive_list(mem: MemMap, nid: int, kind: int, nr: int, sc: ScanControl) -> None:
    lru_add_drain(mem, sc.cpu)
    out = np.empty(nr, np.uint32)
    taken, scanned = mem.k.vmscan.isolate_lru(mem, nid, kind, out)
    _trace_isolate(mem, kind, nr, scanned, taken)
    mem.event[c.PGSCAN_KSWAPD if sc.kswapd else c.PGSCAN_DIRECT] += scanned
    sc.nr_scanned += scanned
    stats = MigrateStats()
    left, why = shrink_folio_list(mem, sc.cpu, out[:taken], PAGEOUT_AGE, stats)
    mem.k.lru.putback(mem, sc.cpu, left)
    reclaimed = stats.moved + stats.freed
    mem.event[c.PGSTEAL_KSWAPD if sc.kswapd else c.PGSTEAL_DIRECT] += reclaimed
    sc.nr_reclaimed += reclaimed
    sc.nr_writing += int(has_reason(why, (Reason.WRITING, Reason.WRITEBACK, Reason.DIRTY)).sum())
    if mem.hw.trace_mask >> EV_MM_VMSCAN_LRU_SHRINK_INACTIVE & 1:
        _trace_shrink_inactive(mem, nid, kind, scanned, reclaimed, why, sc.priority)


def _trace_isolate(mem: MemMap, kind: int, nr: int, scanned: int, taken: int) -> None:
    mem.hw.trace(EV_MM_VMSCAN_LRU_ISOLATE, ZONE_MOVABLE, 0, nr, scanned, scanned - taken, taken, kind)


def _trace_shrink_inactive(
    mem: MemMap, nid: int, kind: int, scanned: int, reclaimed: int, why: NDArray[np.uint8], priority: int
) -> None:
    """trace_mm_vmscan_lru_shrink_inactive(): of the pages that stay, how many for which reason."""
    n = np.bincount(why, minlength=len(Reason)).tolist()
    active = [n[Reason.ACTIVE], 0] if kind == c.LRU_INACTIVE_ANON else [0, n[Reason.ACTIVE]]
    writeback = n[Reason.WRITEBACK] + n[Reason.WRITING]
    mem.hw.trace(
        EV_MM_VMSCAN_LRU_SHRINK_INACTIVE, nid | priority << 32, scanned | reclaimed << 32,
        n[Reason.DIRTY] | writeback << 32, 0, active[0] | active[1] << 32, n[Reason.ACCESSED] | n[Reason.MAPPED] << 32,
        int(kind != c.LRU_INACTIVE_ANON),
    )  # fmt: skip


def _shrink_active_list(mem: MemMap, nid: int, kind: int, nr: int, sc: ScanControl) -> None:
    lru_add_drain(mem, sc.cpu)
    out = np.empty(nr, np.uint32)
    taken, scanned = mem.k.vmscan.isolate_lru(mem, nid, kind, out)
    _trace_isolate(mem, kind, nr, scanned, taken)
    mem.event[c.PGREFILL] += scanned
    mem.k.vmscan.deactivate(mem, out[:taken])
    mem.k.lru.putback(mem, sc.cpu, out[:taken])


def _lru_size(mem: MemMap, nid: int, kind: int) -> int:
    return int(mem.node_stat[nid, kind])


def reclaimable_pages(mem: MemMap, nid: int) -> int:
    """zone_reclaimable_pages(), of a whole node: what could be had if everything went that may go."""
    anon = nr_swap_pages(mem) > 0
    return sum(
        _lru_size(mem, nid, kind) for kind in range(0 if anon else c.LRU_INACTIVE_FILE, c.LRU_UNEVICTABLE)
    )


def _inactive_is_low(mem: MemMap, nid: int, inactive: int) -> bool:
    """inactive_is_low(): the larger the lists, the smaller the share that must be inactive."""
    few, many = _lru_size(mem, nid, inactive), _lru_size(mem, nid, inactive + 1)
    gib = few + many >> 18
    return few * (int((10 * gib) ** 0.5) if gib else 1) < many


def _scan_counts(mem: MemMap, nid: int, sc: ScanControl) -> list[int]:
    """get_scan_count(): pages to look at on each of the four lists."""
    has_swap = nr_swap_pages(mem) > 0
    sizes = [_lru_size(mem, nid, kind) for kind in range(4)]
    anon_weight = mem.swappiness if has_swap else 0
    weights = (anon_weight, anon_weight, 200 - anon_weight, 200 - anon_weight)
    counts = []
    for size, weight in zip(sizes, weights, strict=True):
        scan = size >> sc.priority or (min(size, SWAP_CLUSTER_MAX) if sc.priority == 0 else 0)
        # With one kind of pages alone there is nothing to weigh.
        alone = has_swap and (sum(sizes[:2]) == 0 or sum(sizes[2:]) == 0)
        counts.append(scan if alone and weight else -(-scan * weight // 200))
    return counts


def shrink_node(mem: MemMap, nid: int, sc: ScanControl) -> None:
    """shrink_lruvec(): take turns between the lists until each has had its share, or enough was reclaimed."""
    counts = _scan_counts(mem, nid, sc)
    while counts[0] or counts[2] or counts[3]:
        for kind, count in enumerate(counts):
            nr = min(count, max(SWAP_CLUSTER_MAX, min(BATCH, sc.nr_to_reclaim)))
            counts[kind] -= nr
            if not nr:
                continue
            if kind & 1 == 0:
                _shrink_inactive_list(mem, nid, kind, nr, sc)
            elif _inactive_is_low(mem, nid, kind - 1):
                _shrink_active_list(mem, nid, kind, nr, sc)
        if sc.nr_reclaimed >= sc.nr_to_reclaim:
            break
    if _inactive_is_low(mem, nid, c.LRU_INACTIVE_ANON) and mem.swap["pages"].any():
        _shrink_active_list(mem, nid, c.LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


def try_to_free_pages(mem: MemMap, cpu: int, nodes: int) -> int:
    """Direct reclaim: free about 32 pages of the nodes of a mask; returns how many it were.

    0 means that nothing could be had this time, not that nothing ever will: pages in use have lost their mark only
    now, or what has been written meanwhile may go next time.
    """
    sc = ScanControl(cpu, SWAP_CLUSTER_MAX, kswapd=False)
    mem.hw.trace(EV_MM_VMSCAN_DIRECT_RECLAIM_BEGIN, 0, 0, c.GFP_USER_MOVABLE)
    for sc.priority in range(DEF_PRIORITY, -1, -1):
        for nid in nodes_in(nodes & mem.memory_nodes):
            shrink_node(mem, nid, sc)
        if sc.nr_reclaimed >= sc.nr_to_reclaim:
            break
        if sc.nr_writing and sc.priority < DEF_PRIORITY - 2:
            _reclaim_throttle(mem)
            sc.nr_writing = 0
    mem.hw.trace(EV_MM_VMSCAN_DIRECT_RECLAIM_END, sc.nr_reclaimed)
    return sc.nr_reclaimed


def _reclaim_throttle(mem: MemMap) -> None:
    """reclaim_throttle(): what is being written comes free soon; looking at ever more pages meanwhile is no use.

    Sleeps until some write has ended, but not for ever: the disk may be stuck.
    """

    def ended() -> int:
        """Writes begun, less those under way; what others begin meanwhile does not matter."""
        return int(mem.event[c.PSWPOUT] - mem.node_stat[:, c.NR_WRITEBACK].sum())

    before, deadline = ended(), mem.hw.now + THROTTLE_NS
    timer = mem.timers.add(deadline, lambda: None)
    mem.waits.wait("pages being written", lambda: ended() > before or mem.hw.now >= deadline)
    timer.cancel()


def pgdat_balanced(mem: MemMap, nid: int) -> bool:
    """Whether some zone of a node has its high watermark free."""
    zones = mem.zones[mem.zones["node"] == nid]
    return bool((zones["free"] >= zones["watermark"][:, 2]).any())


def balance_pgdat(mem: MemMap, nid: int, cpu: int) -> int:
    """kswapd's work: reclaim from a node until it is balanced, or until nothing more can be had; returns how much."""
    total = 0
    for priority in range(DEF_PRIORITY, -1, -1):
        if pgdat_balanced(mem, nid):
            break
        zones = mem.zones[mem.zones["node"] == nid]
        wanted = int(np.maximum(zones["watermark"][:, 2], SWAP_CLUSTER_MAX).sum())
        sc = ScanControl(cpu, wanted, kswapd=True, priority=priority)
        shrink_node(mem, nid, sc)
        total += sc.nr_reclaimed
    return total
