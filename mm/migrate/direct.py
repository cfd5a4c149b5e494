"""The engine of 2.6.18: pages are copied straight from node to node, behind migration entries.

Mirrors migrate_pages() of mm/migrate.c at 2.6.18: up to ten passes; the first three pass over pages that are locked or
being written, later ones wait for them; a full target ends the run. Deliberately different: pages are unmapped and
copied in batches, one TLB flush each, where 2.6.18 did them one by one; costs apart, nobody can see that.
It knew no huge pages: they are split before anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import ENOMEM
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._page_list import PageList
from numalab.mm.migrate.ledger import Reason, by_reason
from numalab.mm.migrate.passes import one_pass
from numalab.mm.steps import migrate_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import Target
    from numalab.mm._mm_types import AllocCtx, MemMap
    from numalab.mm.migrate.ledger import Ledger

__all__ = ["migrate_pages"]

PASSES = 10
FORCE_FROM = 3
BATCH = 512


def migrate_pages(mem: MemMap, ctx: AllocCtx, pages: PageList, target: Target, ledger: Ledger) -> int:
    """Move the isolated pages of a list; returns how many stay, or -ENOMEM. Those that stay are in ``pages``."""
    stats = MigrateStats(ledger.log)
    todo = pages.take()
    mem.k.huge_memory.split_pages(mem, todo)
    ledger.isolated += len(todo)
    left, why = np.empty(BATCH, np.uint32), np.empty(BATCH, np.uint8)
    reasons = why[:0]

    def attempt(some: NDArray[np.uint32]) -> tuple[int, NDArray[np.uint32], NDArray[np.uint8]]:
        tried, _, n = migrate_batch(mem, ctx, some, 0, target, stats, left, why)
        return tried, left[:n].copy(), why[:n].copy()

    for number in range(PASSES):
        force = frozenset((Reason.LOCKED, Reason.WRITEBACK)) if number >= FORCE_FROM else frozenset()
        todo, reasons = one_pass(mem, todo, attempt, force, ledger, f"pass {number}", stop=Reason.TARGET_FULL)
        if not len(todo) or (reasons == Reason.TARGET_FULL).any():
            break
        ledger.retried += len(todo)
    for reason, count in by_reason(reasons).items():
        ledger.fail(reason, count)
    ledger.take(stats)
    mem.event[c.PGMIGRATE_SUCCESS] += stats.moved + stats.freed
    mem.event[c.PGMIGRATE_FAIL] += len(todo)
    pages.extend(todo)
    return -ENOMEM if (reasons == Reason.TARGET_FULL).any() else len(todo)
