"""Free page reporting: the host gets back the memory of large free blocks.

Mirrors mm/page_reporting.c, by which a guest tells its hypervisor what it does not need; here the hypervisor is this
process. When such a frame is taken again, the host has to find memory for it, which takes longer than all that is done
with a page here: so nothing is reported before much has been freed.

Deliberately different: Linux reports two seconds after a block became free, and notes with each block that it did. Here
the amount decides, and all free blocks are reported, each time: neighbours in one call, which takes no time where the
host has nothing to get back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.mm import _constants as c
from numalab.mm.page_alloc import drain_all_pages

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["PageReporting"]

#: page_reporting_order: blocks of this order never merge, so that only their heads have to be looked at.
PAGE_REPORTING_ORDER = c.MAX_ORDER
BLOCK = 1 << PAGE_REPORTING_ORDER
#: So many frames must have been freed since the last report: 1 GiB while programs run, 64 MiB when they rest.
MUCH, ENOUGH = 256 * BLOCK, 16 * BLOCK


class PageReporting:
    """What one machine tells its host: nothing if freed frames hold poison, which must stay in them (debug_vm)."""

    def __init__(self, mem: MemMap) -> None:
        self._mem = mem
        self._reported = 0  # frames freed before the last report

    def process(self, *, busy: bool) -> None:
        """page_reporting_process(): report all free blocks, if there may be enough new ones.

        Single frames that lie in the sets of CPUs come first, or they would keep the blocks around them from merging.
        O(used frames / BLOCK).
        """
        mem, freed = self._mem, int(self._mem.event[c.PGFREE])
        if freed - self._reported < (MUCH if busy else ENOUGH):
            return
        self._reported = freed
        drain_all_pages(mem)
        if not mem.debug:
            for start, end in mem.zones[["start", "virgin"]].tolist():
                self._process_zone(start + -start % BLOCK, end)

    def _process_zone(self, start: int, end: int) -> None:
        """page_reporting_process_zone(): report the free blocks in [start, end), of which ``start`` is aligned."""
        free = self._mem.order[start:end:BLOCK] == c.ORDER_FREE | PAGE_REPORTING_ORDER
        edges = start + BLOCK * np.flatnonzero(np.diff(free, prepend=False, append=False))
        for first, last in edges.reshape(-1, 2).tolist():
            self._mem.hw.discard(first, last)
