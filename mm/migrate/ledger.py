"""The ledger: what one migration did, pass by pass, page by page, and what it cost.

Linux keeps two counters (pgmigrate_success, pgmigrate_fail) and forgets the rest; here every decision
is counted with its reason when it is made, and ``explain`` prints these records.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from numalab.mm._page_list import PageLog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats
    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = [
    "Fate", "Ledger", "Pass", "Phase", "Reason", "by_reason", "has_reason", "new_ledger", "open_ledger", "publish",
]  # fmt: skip


class Reason(enum.IntEnum):
    """Why a page was not moved (the ``REASON_*`` of ``_migrate.pxd``)."""

    NONE = 0
    LOCKED = 1
    WRITEBACK = 2
    PINNED = 3
    MAPPED = 4
    SHARED = 5
    NOT_ON_LRU = 6
    TARGET_FULL = 7
    NOT_MIGRATABLE = 8
    NO_SWAP = 9
    WRITING = 10
    ACCESSED = 11
    ACTIVE = 12
    DIRTY = 13
    MLOCKED = 14
    MIGRATING = 15
    ZERO_PAGE = 16
    MISPLACED = 17
    NO_AREA = 18
    ABSENT = 19
    THERE = 20


def by_reason(reasons: NDArray[np.uint8]) -> dict[Reason, int]:
    """How many pages there are for each reason."""
    return {Reason(reason): pages for reason, pages in enumerate(np.bincount(reasons).tolist()) if pages}


def has_reason(reasons: NDArray[np.uint8], wanted: Collection[Reason]) -> NDArray[np.bool_]:
    """Which pages have one of these reasons: np.isin(), but made for a few."""
    is_wanted = np.zeros(len(Reason), bool)
    is_wanted[list(wanted)] = True
    found: NDArray[np.bool_] = is_wanted[reasons]
    return found


class Fate(enum.IntEnum):
    """What a kernel decided about a page (the ``FATE_*`` of ``_page_list.pxd``)."""

    QUEUED = 0
    PASSED = 1
    MOVED = 2
    EVICTED = 3
    FREED = 4
    LEFT = 5


class Phase(enum.IntEnum):
    """Where the virtual time of a migration goes."""

    WALK = 0
    ISOLATE = 1
    UNMAP = 2
    FLUSH = 3
    COPY = 4
    REMAP = 5


@dataclass
class Pass:
    """One pass over a list of pages: which, how many tried, moved and left, and why those were left.

    began: virtual time at its start; waited: ns slept in it for page locks and writeback.
    """

    name: str
    tried: int
    moved: int
    left: dict[Reason, int]
    began: int = 0
    waited: int = 0


@dataclass
class Ledger:
    """What one call did to one address space.

    engine: ``batched``...; call: the migrate_reason as Linux names it; scanned: PTEs looked at; isolated: pages taken
    off the LRU; shared: pages passed over since others map them too; failed: pages that stay, by final reason; cost:
    virtual ns by phase.  pid: whose pages, if the call does not say, else 0; before: what the same call did to the
    address space before this one.  log: what became of each page, None if nobody wants to know; areas: those passed
    over as a whole, (start, end, why).
    """

    engine: str
    call: str
    scanned: int = 0
    isolated: int = 0
    shared: int = 0
    moved: int = 0
    retried: int = 0
    failed: dict[Reason, int] = field(default_factory=dict)
    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    cost: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    log: PageLog | None = None
    areas: list[tuple[int, int, Reason]] = field(default_factory=list)
    pid: int = 0
    before: Ledger | None = None

    def begin(self, stage: int) -> None:
        """A walk or a pass begins; this is its number among those of its kind."""
        if self.log is not None:
            self.log.stage = stage

    def charge(self, phase: Phase, ns: int) -> None:
        """Add virtual time to one phase."""
        self.cost[phase] += ns

    def walked(self, ns: int, scanned: int, isolating: int, shared: int = 0, missed: int = 0) -> None:
        """A search for pages is over. ns: how long it took, ``isolating`` of them for taking pages off the LRU.

        scanned: PTEs looked at; shared: pages passed over; missed: pages that could not be isolated.
        """
        self.charge(Phase.ISOLATE, min(ns, isolating))
        self.charge(Phase.WALK, ns - min(ns, isolating))
        self.scanned += scanned
        self.shared += shared
        self.fail(Reason.NOT_ON_LRU, missed)

    def fail(self, reason: Reason, pages: int) -> None:
        """Note pages that stay for good."""
        if pages:
            self.failed[reason] = self.failed.get(reason, 0) + pages

    def take(self, stats: MigrateStats) -> None:
        """Take over what the kernels counted."""
        self.moved += stats.moved + stats.freed
        for phase, ns in enumerate(stats.phases):
            self.cost[Phase(phase)] += ns


def new_ledger(mem: MemMap, ctx: AllocCtx, engine: str, call: str) -> Ledger:
    """The ledger of a migration that a task begins: ``ctx.ledger`` until its next one."""
    ledger = ctx.ledger = Ledger(engine, call, log=PageLog() if mem.explain else None)
    return ledger


def publish(mem: MemMap, ledger: Ledger) -> Ledger:
    """A migration has pages to move: it is ``mem.ledger`` until the next, and one of the last in ``mem.ledgers``."""
    mem.ledger = ledger
    mem.ledgers.append(ledger)
    return ledger


def open_ledger(mem: MemMap, ctx: AllocCtx, engine: str, call: str) -> Ledger:
    """new_ledger(), published at once."""
    return publish(mem, new_ledger(mem, ctx, engine, call))
