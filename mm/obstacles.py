"""Obstacles on demand: what keeps a page from moving, put in its way by a test or from outside.

On a real machine they are somebody's I/O, a driver, a debugger; they come and go as they like, which is why Linux tries
in several passes. Here each begins when it is asked for, and ends at a time of the virtual clock or when told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from numalab.mm import _constants as c
from numalab.mm.mmzone import NODE_STATS

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["Obstacles"]

_WRITEBACK = NODE_STATS.index("nr_writeback")


class Obstacles:
    """The obstacles of one machine. Each method puts one there and returns what removes it.

    pfn: the frame.  ns: remove it after so much virtual time; None = only when told.
    """

    def __init__(self, mem: MemMap) -> None:
        self._mem = mem

    def lock_page(self, pfn: int, ns: int | None = None, owner: str = "somebody") -> Callable[[], None]:
        """Hold a page's lock. Raises ValueError if it is held already."""
        if int(self._mem.hot["flags"][pfn]) & c.PG_locked:
            raise ValueError(f"page {pfn:#x} is locked by {self._mem.lock_owners.get(pfn, 'somebody')}")
        self._mem.lock_owners[pfn] = owner

        def unlock() -> None:
            if self._mem.lock_owners.pop(pfn, None) is not None:
                self._flags(pfn, 0, c.PG_locked)

        return self._until(ns, lambda: self._flags(pfn, c.PG_locked, 0), unlock)

    def writeback(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """Keep a page under writeback. Raises ValueError if it is."""
        if int(self._mem.hot["flags"][pfn]) & c.PG_writeback:
            raise ValueError(f"page {pfn:#x} is being written")
        node = int(self._mem.hot["flags"][pfn]) >> c.PG_NODE_SHIFT

        def begin() -> None:
            self._flags(pfn, c.PG_writeback, 0)
            self._mem.node_stat[node, _WRITEBACK] += 1

        def end() -> None:
            if int(self._mem.hot["flags"][pfn]) & c.PG_writeback:
                self._flags(pfn, 0, c.PG_writeback)
                self._mem.node_stat[node, _WRITEBACK] -= 1

        return self._until(ns, begin, end)

    def pin(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """A long-term pin (FOLL_PIN), as direct I/O or a device has one: a reference that says what it is for."""
        return self._refs(pfn, ns, pins=1)

    def hold(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """A reference that nothing explains, as get_user_pages() of 2005 took it."""
        return self._refs(pfn, ns, pins=0)

    def _refs(self, pfn: int, ns: int | None, pins: int) -> Callable[[], None]:
        mem, hot = self._mem, self._mem.hot
        held = True

        def take() -> None:
            hot["refcount"][pfn] += 1
            hot["pincount"][pfn] += pins
            mem.held[pfn] += not pins

        def release() -> None:
            nonlocal held
            if held:
                held = False
                hot["pincount"][pfn] -= pins
                mem.held.subtract([pfn] * (not pins))
                mem.k.lru.put_page(mem, 0, pfn)

        return self._until(ns, take, release)

    def _flags(self, pfn: int, put: int, clear: int) -> None:
        flags = self._mem.hot["flags"]
        flags[pfn] = int(flags[pfn]) & ~clear | put

    def _until(
        self, ns: int | None, begin: Callable[[], None], end: Callable[[], None]
    ) -> Callable[[], None]:
        begin()
        if ns is not None:
            self._mem.timers.add(self._mem.hw.now + ns, end)
        return end
