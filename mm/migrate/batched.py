"""The engine of Linux 6.12: batches of 512 pages, first without waiting, then page by page.

Mirrors migrate_pages(), migrate_pages_sync() and migrate_pages_batch() of mm/migrate.c. Each batch is tried
up to 3 times asynchronously (unmap all, one TLB flush, move all); what it leaves behind is tried up to 7
times more, one page at a time, sleeping until nobody locks or writes it. A full target ends the whole call.

A huge page moves as one, and counts as one where pages that failed are counted. Where the target has no block for it,
it has failed, and is split; its pages are tried once more at the end, and if they all move, nothing has failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._hw import EV_MIGRATE_PASS, EV_MM_MIGRATE_PAGES, EV_MM_MIGRATE_PAGES_START
from numalab.arch.errno import ENOMEM
from numalab.arch.events import MODES, REASONS
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats, Target
from numalab.mm._page_list import PageList
from numalab.mm.kernels import Why
from numalab.mm.migrate.hugetlb import migrate_hugetlbs, putback_hugetlbs
from numalab.mm.migrate.ledger import Ledger, Pass, Reason, by_reason, has_reason
from numalab.mm.migrate.passes import wait_for_pages
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.steps import migrate_batch
from numalab.mm.swap import lru_add_drain_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = [
    "PageList",
    "Target",
    "lru_cache_disable",
    "migrate_pages",
    "movable_pages",
    "putback_movable_pages",
]

#: NR_MAX_MIGRATE_ASYNC_RETRY and NR_MAX_MIGRATE_SYNC_RETRY.
ASYNC_PASSES = 3
SYNC_PASSES = 7
BATCH = 512
#: What a synchronous pass sleeps out: folio_lock() and folio_wait_writeback() of migrate_folio_unmap().
_THP_EVENTS = [c.THP_MIGRATION_SUCCESS, c.THP_MIGRATION_FAIL, c.THP_MIGRATION_SPLIT]
WAITED_FOR = (Reason.LOCKED, Reason.WRITEBACK)


def lru_cache_disable(mem: MemMap) -> None:
    """lru_cache_disable(): no page may hide in a per-CPU batch while others are being isolated.

    The batches are emptied; what the migration itself adds goes straight to the lists, and nobody else runs during the
    walk that comes next.
    """
    lru_add_drain_all(mem)


def putback_movable_pages(mem: MemMap, ctx: AllocCtx, pages: PageList) -> None:
    """Give the pages of a list back to the LRU; the list is empty afterwards.

    What can be reclaimed comes to its list as not referenced, as from a batch.
    """
    putback_hugetlbs(mem, pages)
    left, flags = pages.take(), mem.hot["flags"]
    flags[left[flags[left] & c.PG_unevictable == 0]] &= ~np.uint32(c.PG_referenced)
    mem.k.lru.putback(mem, ctx.cpu, left)


@contextmanager
def movable_pages(mem: MemMap, ctx: AllocCtx, ledger: Ledger) -> Iterator[PageList]:
    """A list for the pages of one migration; those in it at the end go back to the LRU.

    Until then it is one of ``mem.page_lists``: whoever sleeps has isolated pages, and they are not lost.
    """
    pages = PageList()
    pages.log = ledger.log
    mem.page_lists.append(pages)
    try:
        yield pages
    finally:
        putback_movable_pages(mem, ctx, pages)
        mem.page_lists.remove(pages)


def _nodes_of(mem: MemMap, target: Target) -> int:
    """Where room for a target can be made: reclaim anywhere else would be of no use."""
    if target.nid >= 0:
        return target.nodes or 1 << target.nid
    policy = target.policy
    return policy.nodes if policy is not None and policy.mode == MPOL_BIND else mem.memory_nodes


def _is_huge(mem: MemMap, pages: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which of these are pages of a huge page."""
    found: NDArray[np.bool_] = mem.hot["flags"][pages] & np.uint32(c.PG_head | c.PG_tail) != 0
    return found


class _Run:
    """One call of migrate_pages(): the state that its passes share."""

    def __init__(self, mem: MemMap, ctx: AllocCtx, target: Target, ledger: Ledger) -> None:
        self.mem = mem
        self.ctx = ctx
        self.target = target
        self.ledger = ledger
        self.stats = MigrateStats(ledger.log)
        self.left = np.empty(BATCH, np.uint32)
        self.why = np.empty(BATCH, np.uint8)
        self.slow = Slowpath(mem, ctx, _nodes_of(mem, target))
        #: Pages that stay, to be put back; how many failed, huge ones counting once, and in small pages.
        self.failed: list[NDArray[np.uint32]] = []
        self.nr_failed = 0
        self.nr_failed_pages = 0
        #: What huge pages were split into; full: the target has no frame left.
        self.split: list[NDArray[np.uint32]] = []
        self.full = False

    def one_pass(
        self, pages: NDArray[np.uint32], at: int, name: str, *, sync: bool = False
    ) -> tuple[int, NDArray[np.uint32], NDArray[np.uint8]]:
        """Try pages from ``at`` on until a batch leaves some behind: (next, those left, their reasons).

        sync: they are one folio, and this is MIGRATE_SYNC, which waits for it.
        """
        self.ledger.begin(len(self.ledger.passes))
        moved, began, waited = self.stats.moved + self.stats.freed, self.mem.hw.now, 0
        reached, why, left, reasons = self._try(pages, at)
        while sync and has_reason(reasons, WAITED_FOR).any():
            waited += wait_for_pages(self.mem, left)
            _, why, left, reasons = self._try(left, 0)
        moved = self.stats.moved + self.stats.freed - moved
        if moved:
            self.slow.progress()
        self.ledger.passes.append(Pass(name, reached - at, moved, by_reason(reasons), began, waited))
        self.mem.hw.trace(EV_MIGRATE_PASS, name, reached - at, moved, began)
        self.full = why == Why.NO_TARGET
        if self.full:
            left, reasons = self._split_huge(left, reasons)
        return reached, left, reasons

    def _try(
        self, pages: NDArray[np.uint32], at: int
    ) -> tuple[int, int, NDArray[np.uint32], NDArray[np.uint8]]:
        """One crossing: (next, why it stopped, pages left, their reasons)."""
        reached, why, n = migrate_batch(
            self.mem, self.ctx, pages, at, self.target, self.stats, self.left, self.why
        )
        return reached, why, self.left[:n].copy(), self.why[:n].copy()

    def _split_huge(
        self, left: NDArray[np.uint32], reasons: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Huge pages for which there was no room go on as small ones: try_split_folio(). Returns what else is left."""
        mem = self.mem
        huge = (reasons == Reason.TARGET_FULL) & _is_huge(mem, left)
        if huge.any():
            n = mem.k.huge_memory.split_pages(mem, left[huge])
            mem.event[c.THP_MIGRATION_SPLIT] += n
            mem.event[c.THP_MIGRATION_FAIL] += n
            self.nr_failed += n
            self.split.append(left[huge])
            left, reasons = left[~huge], reasons[~huge]
            self.full = bool((reasons == Reason.TARGET_FULL).any())
        return left, reasons

    def try_split(self) -> None:
        """The pages of split huge pages get one try, and whether they fail is not counted: it has been already."""
        pages = np.concatenate(self.split)
        at = 0
        while at < len(pages):
            at, left, _ = self.one_pass(pages, at, "split")
            self.failed.append(left)
            if self.full:
                self.failed.append(pages[at:])
                break
        self.full = False

    def batch(self, pages: NDArray[np.uint32], at: int) -> int:
        """One or more whole batches from ``at`` on, with all passes that the last one needs; returns where to go on."""
        reached, left, reasons = self.one_pass(pages, at, "async 1")
        for n in range(2, ASYNC_PASSES + 1):
            left, reasons = self._refill(left, reasons)
            if self.full or not len(left):
                break
            self.ledger.retried += len(left)
            _, left, reasons = self.one_pass(left, 0, f"async {n}")
        left, reasons = self._refill(left, reasons)
        if self.full:
            self._give_up(left, reasons)
            return reached
        at = 0
        while at < len(left):
            size = self._folio_size(left[at:])
            at += size
            if not self._one_folio(left[at - size : at]):
                self.failed.append(left[at:])  # untried: neither moved nor failed
                break
        return reached

    def _refill(
        self, left: NDArray[np.uint32], reasons: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """The target was full: free what can be freed and try those pages again, as the allocation itself would."""
        while self.full:
            try:
                self.slow.reclaim()
            except OutOfMemory:
                break
            waiting = reasons == Reason.TARGET_FULL
            others, their = left[~waiting], reasons[~waiting]
            _, left, reasons = self.one_pass(left[waiting], 0, "after reclaim")
            left, reasons = np.concatenate([others, left]), np.concatenate([their, reasons])
        return left, reasons

    def _folio_size(self, pages: NDArray[np.uint32]) -> int:
        """How many of these, from the first on, are pages of one folio."""
        if not _is_huge(self.mem, pages[:1]).any():
            return 1
        others = np.flatnonzero(pages[: c.HPAGE_PMD_NR] // c.HPAGE_PMD_NR != pages[0] // c.HPAGE_PMD_NR)
        return int(others[0]) if len(others) else min(len(pages), c.HPAGE_PMD_NR)

    def _one_folio(self, page: NDArray[np.uint32]) -> bool:
        """The synchronous passes for one page, or a huge one; False: the target is full, which ends the call."""
        reasons = self.why[:0]
        for n in range(1, SYNC_PASSES + 1):
            self.ledger.retried += 1
            _, page, reasons = self.one_pass(page, 0, f"sync {n}", sync=True)
            page, reasons = self._refill(page, reasons)
            if self.full or not len(page):
                break
        self._give_up(page, reasons)
        return not self.full

    def _give_up(self, left: NDArray[np.uint32], reasons: NDArray[np.uint8]) -> None:
        """Pages that no pass could move. Of those without a target the first has failed, the rest were not tried."""
        if not len(left):
            return
        self.failed.append(left)
        in_huge = left[_is_huge(self.mem, left)]
        huge = len(np.unique(in_huge // c.HPAGE_PMD_NR))
        self.mem.event[c.THP_MIGRATION_FAIL] += huge
        self.nr_failed -= len(in_huge) - huge
        self.nr_failed_pages += huge * c.HPAGE_PMD_NR - len(in_huge)  # also those that nobody maps any more
        for reason, count in by_reason(reasons).items():
            self.ledger.fail(reason, count)
            failed = 1 if reason == Reason.TARGET_FULL else count
            self.nr_failed += failed
            self.nr_failed_pages += failed


def migrate_pages(mem: MemMap, ctx: AllocCtx, pages: PageList, target: Target, ledger: Ledger) -> int:
    """Move the isolated pages of a list to ``target``.

    Returns 0 or the number of pages not moved (a huge page is one), or -ENOMEM when the target filled up (pages behind
    were not tried).
    Those that stay are in ``pages`` afterwards; the caller puts them back.
    """
    nr_huge_failed = _migrate_hugetlbs(mem, ctx, pages, target, ledger)
    if nr_huge_failed < 0:
        return nr_huge_failed
    todo = pages.take()
    ledger.isolated += len(todo)
    mode, reason = MODES.index("MIGRATE_SYNC"), REASONS.index(ledger.call)
    mem.hw.trace(EV_MM_MIGRATE_PAGES_START, mode, reason)
    thp_before = mem.event[_THP_EVENTS] if mem.hw.trace_mask else None
    run = _Run(mem, ctx, target, ledger)
    at = 0
    while at < len(todo) and not run.full:
        at = run.batch(todo, at)
    if run.split and not run.full:
        run.try_split()
    elif run.split:
        run.failed += run.split
    ledger.take(run.stats)
    if at < len(todo):
        run.failed.append(todo[at:])
    for left in run.failed:
        pages.extend(left)
    succeeded = run.stats.moved + run.stats.freed
    mem.event[c.PGMIGRATE_SUCCESS] += succeeded
    mem.event[c.PGMIGRATE_FAIL] += run.nr_failed_pages
    if thp_before is not None:
        thp = (mem.event[_THP_EVENTS] - thp_before).tolist()
        mem.hw.trace(EV_MM_MIGRATE_PAGES, succeeded, run.nr_failed_pages, *thp, mode, reason)
    if run.full:
        return -ENOMEM
    return nr_huge_failed + (run.nr_failed if pages.n else 0)


def _migrate_hugetlbs(mem: MemMap, ctx: AllocCtx, pages: PageList, target: Target, ledger: Ledger) -> int:
    """Pages of hugetlb go before all others: returns how many did not move, or -ENOMEM."""
    isolated = len(pages.hugetlbs)
    if not isolated:
        return 0
    moved, failed = migrate_hugetlbs(mem, ctx, pages, target, ledger)
    ledger.isolated += isolated * c.HPAGE_PMD_NR
    ledger.moved += moved * c.HPAGE_PMD_NR
    mem.event[c.PGMIGRATE_SUCCESS] += moved * c.HPAGE_PMD_NR
    mem.event[c.PGMIGRATE_FAIL] += (1 if failed < 0 else failed) * c.HPAGE_PMD_NR
    return failed
