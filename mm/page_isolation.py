"""Taking a range of frames out of circulation while what is in it moves away.

Mirrors mm/page_isolation.c. Linux marks the page blocks MIGRATE_ISOLATE, and what is free in them goes to free lists of
that type. Here there is a zone for it that no zonelist names (``isolate_zone``): the sections of the range become its
sections, so that whatever is freed there goes to its lists. The pages in the range still belong to their own zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import EBUSY, KernelError
from numalab.mm import _constants as c
from numalab.mm.page_alloc import drain_all_pages
from numalab.mm.zones import isolate_zone, shrink_zone_span, use_virgin, zone_of

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["IsolatedRange", "start_isolate_page_range"]


class IsolatedRange:
    """Frames [start, end) of a zone, which nobody is given any more."""

    def __init__(self, mem: MemMap, zone: int, start: int, end: int) -> None:
        self.mem = mem
        self.zone = zone
        self.start = start
        self.end = end
        #: Up to where its frames have ever been used.
        self.used = min(max(int(mem.zones["virgin"][zone]), start), end)

    def isolate(self) -> None:
        """set_migratetype_isolate() for all of it."""
        mem, zone = self.mem, self.mem.zones[self.zone]
        drain_all_pages(mem)
        number = isolate_zone(mem)
        row = mem.zones[number]
        row["start"], row["virgin"], row["end"] = self.start, self.used, self.end
        row["place"] = zone["place"]
        self._sections(number)
        mem.isolating = self.zone
        mem.k.page_alloc.move_freepages(mem, self.zone, number, self.start, self.used)
        row["free"] += self.end - self.used
        zone["free"] -= self.end - self.used
        if self.end == zone["end"]:
            zone["end"] = self.start
            zone["virgin"] = min(zone["virgin"], self.start)
        elif self.used < self.end:
            use_virgin(mem, self.zone, self.start)
            zone["virgin"] = self.end
        mem.trail_top[[self.zone, number]] = 0

    def undo(self) -> None:
        """undo_isolate_page_range(): everything is as if nothing had been."""
        mem, zone, row = self.mem, self.mem.zones[self.zone], self.mem.zones[self.mem.isolate_zone]
        drain_all_pages(mem)
        self._sections(self.zone)
        never_used = self.end - self.used
        row["free"] -= never_used
        if zone["end"] == self.start:
            zone["end"] = self.end
            zone["free"] += never_used
            if zone["virgin"] == self.start:
                zone["virgin"] = self.used
        else:
            mem.k.page_alloc.free_range(mem, self.zone, self.used, self.end)
        mem.k.page_alloc.move_freepages(mem, mem.isolate_zone, self.zone, self.start, self.used)
        self._clear(row)

    def is_free(self) -> bool:
        """test_pages_isolated(): has everybody given up what he had of it?"""
        drain_all_pages(self.mem)
        return int(self.mem.zones["free"][self.mem.isolate_zone]) == self.end - self.start

    def remove(self) -> None:
        """__offline_isolated_pages(): all of it is free, and now nobody's. The host gets the memory back.

        Should it come again, it is as if it had never been used.
        """
        mem, zone = self.mem, self.mem.zones[self.zone]
        used = slice(self.start, self.used)
        for array in (mem.hot, mem.cold, mem.order):
            array[used] = np.zeros((), array.dtype)
        mem.hw.discard(self.start, self.end)
        zone["managed"] -= self.end - self.start
        self._clear(mem.zones[mem.isolate_zone])
        shrink_zone_span(mem, self.zone)

    def _sections(self, zone: int) -> None:
        first, last = self.start >> c.SECTION_SHIFT, self.end - 1 >> c.SECTION_SHIFT
        self.mem.section_zone[first : last + 1] = zone

    def _clear(self, row: np.void) -> None:
        self.mem.isolating = -1
        row["start"] = row["virgin"] = row["end"] = row["free"] = row["nonempty"] = 0
        row["head"], row["nr_free"] = c.NO_PFN, 0


def start_isolate_page_range(mem: MemMap, start: int, end: int, *, hugetlb_moves: bool) -> IsolatedRange:
    """Isolate a range of one zone, if what is in it can go; hugetlb_moves: pages of hugetlb can.

    Raises KernelError(EBUSY): there is a page that never will; nothing has happened then.
    """
    if mem.k.memory_hotplug.has_unmovable_pages(mem, start, end, hugetlb_moves) != c.NO_PFN:
        raise KernelError(EBUSY, "there is a page that can never move")
    isolated = IsolatedRange(mem, zone_of(mem, start), start, end)
    isolated.isolate()
    return isolated
