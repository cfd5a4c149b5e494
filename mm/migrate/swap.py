"""The engine of October 2005: pages are forced out to swap, and come back where they are used.

Mirrors migrate_pages(list, NULL) of "Swap Migration V5" (Christoph Lameter, 31 Oct 2005) as merged before 2.6.16. Easy
pages first: passes 0 to 2 pass over locked pages, later ones wait for the lock; pass 0 passes over pages under
writeback. A dirty page takes two passes, one to write it and one to find it clean. There are up to eleven passes, as
the test at the end of the loop had it, though its comment said ten. A page that somebody has locked in memory is met by
try_to_unmap() only, which then goes no further: it stays, though who came before in the walk has lost it meanwhile.

V5's own mistakes are not made here unless ``v5_quirks`` asks for them: a page in use survives a pass; evicted pages
stay on the list, so that they are counted as left behind, and get a new slot and are written again in the next pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._page_list import PageList
from numalab.mm.migrate.ledger import Reason, by_reason
from numalab.mm.migrate.passes import one_pass
from numalab.mm.steps import pageout_batch
from numalab.mm.writeback import submit_writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._migrate import Target
    from numalab.mm._mm_types import AllocCtx, MemMap
    from numalab.mm.migrate.ledger import Ledger

__all__ = ["migrate_pages"]

LAST_PASS = 10
BATCH = 512
PAGEOUT_YOUNG_STAYS, PAGEOUT_V5, PAGEOUT_KEEP = 2, 4, 8


def migrate_pages(mem: MemMap, ctx: AllocCtx, pages: PageList, target: Target, ledger: Ledger) -> int:
    """Evict the isolated pages of a list, wherever ``target`` points; returns how many stay, which are in ``pages``."""
    stats = MigrateStats(ledger.log)
    todo = pages.take()
    ledger.isolated += len(todo)
    flags = PAGEOUT_V5 | (PAGEOUT_YOUNG_STAYS | PAGEOUT_KEEP if mem.v5_quirks else 0)
    failed: list[NDArray[np.uint32]] = []
    evicted = todo[:0]
    for number in range(LAST_PASS + 1):
        waits = {Reason.WRITEBACK} if number > 0 else set()
        if number > 2:
            waits.add(Reason.LOCKED)
        left, why = one_pass(
            mem,
            np.concatenate([todo, evicted]),
            lambda some: _try(mem, ctx.cpu, some, flags, stats),
            frozenset(waits),
            ledger,
            f"pass {number}",
        )
        permanent = why == Reason.NO_SWAP  # left for good at the first try; all else may go in a later pass
        if permanent.any():
            failed.append(left[permanent])
            ledger.fail(Reason.NO_SWAP, int(permanent.sum()))
        evicted = left[why == Reason.NONE]
        again = ~permanent & (why != Reason.NONE)
        todo, why = left[again], why[again]
        if not len(todo):
            break
        ledger.retried += len(todo)
    for reason, count in by_reason(why[: len(todo)]).items():
        ledger.fail(reason, count)
    ledger.take(stats)
    ledger.moved += len(evicted)
    for some in (*failed, todo, evicted):
        pages.extend(some)
    return len(pages)


def _try(
    mem: MemMap, cpu: int, pages: NDArray[np.uint32], flags: int, stats: MigrateStats
) -> tuple[int, NDArray[np.uint32], NDArray[np.uint8]]:
    left, why = np.empty(BATCH, np.uint32), np.empty(BATCH, np.uint8)
    tried, n = pageout_batch(mem, cpu, pages, 0, flags, stats, left, why)
    left, why = left[:n], why[:n]
    writing = (why == Reason.WRITING) & (mem.hot["flags"][left] & np.uint32(c.PG_writeback) != 0)
    if writing.any():
        submit_writes(mem, left[writing])
    return tried, left, why
