"""What engines have in common: pages that are waited for; and those of 2005 and 2006, passes over a list.

A pass tries every page of the list once, in order. Kernels do not wait: a page that is locked or being written comes
back, and where the pass may wait, this is where it sleeps, and then tries that page again in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._hw import EV_MIGRATE_PASS
from numalab.mm import _constants as c
from numalab.mm.migrate.ledger import Ledger, Pass, Reason, by_reason, has_reason
from numalab.mm.swap_state import wait_on_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap

__all__ = ["one_pass", "wait_for_pages"]

Try = Callable[["NDArray[np.uint32]"], "tuple[int, NDArray[np.uint32], NDArray[np.uint8]]"]


def one_pass(
    mem: MemMap,
    pages: NDArray[np.uint32],
    attempt: Try,
    waits_for: frozenset[Reason],
    ledger: Ledger,
    name: str,
    stop: Reason | None = None,
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Try all pages once; returns those left and why, in order, and writes the pass into the ledger.

    attempt: takes pages, tries those in front and returns (how many it tried, those left, their reasons).  waits_for:
    reasons that are slept out, after which the page is tried again.  stop: a reason that ends the pass; what was not
    tried is left with it.
    """
    left: list[NDArray[np.uint32]] = []
    why: list[NDArray[np.uint8]] = []
    tried = waited = 0
    mem.timers.expire()
    ledger.begin(len(ledger.passes))
    began = mem.hw.now
    queue = pages
    while len(queue):
        n, stay, reasons = attempt(queue)
        tried, queue = tried + n, queue[n:]
        patient = has_reason(reasons, waits_for)
        left.append(stay[~patient])
        why.append(reasons[~patient])
        if stop is not None and (reasons == stop).any():
            left.append(queue)
            why.append(np.full(len(queue), stop, np.uint8))
            break
        if patient.any():
            # Those that were waited for come next, all others behind them as before.
            waited += wait_for_pages(mem, stay[patient])
            tried -= int(patient.sum())
            queue = np.concatenate([stay[patient], queue])
    rest, because = (
        (np.concatenate(left), np.concatenate(why)) if left else (pages[:0], np.empty(0, np.uint8))
    )
    counts = by_reason(because)
    gone = tried - len(rest) + counts.pop(Reason.NONE, 0)
    ledger.passes.append(Pass(name, tried, gone, counts, began, waited))
    mem.hw.trace(EV_MIGRATE_PASS, name, tried, gone, began)
    return rest, because


def wait_for_pages(mem: MemMap, pages: NDArray[np.uint32]) -> int:
    """Wait until none of these pages is locked or being written; returns how many ns that took."""
    begin = mem.hw.now
    flags, busy = mem.hot["flags"], np.uint32(c.PG_locked | c.PG_writeback)
    while len(held := np.flatnonzero(flags[pages] & busy)):
        pages = pages[held[0] :]
        wait_on_page(mem, int(pages[0]))
    return mem.hw.now - begin
