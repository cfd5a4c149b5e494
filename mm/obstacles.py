"""Obstacles on demand: what keeps a page from moving, put in its way by a test or from outside.

On a real machine they are somebody's I/O, a driver, a debugger; they come and go as they like, which is why Linux tries
in several passes. Here each begins when it is asked for, and ends at a time of the virtual clock or when told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.cmdline import shown
from numalab.arch.shape import is_number
from numalab.mm import _constants as c
from numalab.mm.gup_longterm import check_and_migrate_movable_pages
from numalab.mm.swap import folio_get, folio_put
from numalab.mm.task_mmu import pagemap
from numalab.mm.vma_tree import find_vma_intersection

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap, MmStruct

__all__ = ["KINDS", "Obstacles", "obstruct"]

KINDS = ("lock", "writeback", "pin", "hold")

_PAGE_SIZE = 4096
_PIECE = 1 << 16  # pages looked up at a time
_PFN = (1 << 55) - 1

#: A hundred years and more: with the time that it is already, it does not leave the clock.
MOST_NS = 1 << 62


class Obstacles:
    """The obstacles of one machine. Each method puts one there and returns what removes it.

    pfn: the frame.  ns: remove it after so much virtual time; None = only when told. All raise TypeError or ValueError
    for what is no frame, and no time.
    """

    def __init__(self, mem: MemMap) -> None:
        self._mem = mem

    def lock_page(self, pfn: int, ns: int | None = None, owner: str = "somebody") -> Callable[[], None]:
        """Hold a page's lock. Raises ValueError if it is held already."""
        mem = self._mem
        self._check(pfn, ns)
        if int(mem.hot["flags"][pfn]) & c.PG_locked:
            raise ValueError(f"page {pfn:#x} is locked by {mem.lock_owners.get(pfn, 'somebody')}")
        mem.lock_owners[pfn] = owner
        self._flags(pfn, c.PG_locked, 0)

        def unlock() -> None:
            del mem.lock_owners[pfn]
            self._flags(pfn, 0, c.PG_locked)

        return self._held(pfn, ns, unlock)

    def writeback(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """Keep a page under writeback. Raises ValueError if it is."""
        mem = self._mem
        self._check(pfn, ns)
        if int(mem.hot["flags"][pfn]) & c.PG_writeback:
            raise ValueError(f"page {pfn:#x} is being written")
        node = mem.node_of(pfn)
        self._flags(pfn, c.PG_writeback, 0)
        mem.node_stat[node, c.NR_WRITEBACK] += 1

        def end() -> None:
            self._flags(pfn, 0, c.PG_writeback)
            mem.node_stat[node, c.NR_WRITEBACK] -= 1

        return self._held(pfn, ns, end)

    def pin(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """A long-term pin (FOLL_PIN | FOLL_LONGTERM), as a device has one: a reference that says what it is for.

        A page in ZONE_MOVABLE is moved out of it before. Raises ValueError if it cannot be.
        """
        hot = self._mem.hot
        self._check(pfn, ns)
        there = check_and_migrate_movable_pages(self._mem, pfn)
        if there is None:
            raise ValueError(f"page {pfn:#x} cannot leave ZONE_MOVABLE")
        pfn = there
        hot["refcount"][pfn] += 1
        hot["pincount"][pfn] += 1

        def unpin() -> None:
            hot["pincount"][pfn] -= 1
            self._mem.k.lru.put_page(self._mem, 0, pfn)

        return self._until(ns, unpin)

    def hold(self, pfn: int, ns: int | None = None) -> Callable[[], None]:
        """A reference that nothing explains, as get_user_pages() of 2005 took it."""
        self._check(pfn, ns)
        return self._held(pfn, ns, lambda: None)

    def _check(self, pfn: object, ns: object) -> None:
        """Before anything is done. A frame that is free, or of no node, has no page to stand in the way of."""
        if not is_number(pfn):
            raise TypeError(f"a frame is a whole number, not {shown(pfn)}")
        if ns is not None and not is_number(ns):
            raise TypeError(f"ns is a whole number, or None, not {shown(ns)}")
        hot = self._mem.hot
        if not 0 <= pfn < len(hot) or not (hot["refcount"][pfn] or int(hot["flags"][pfn]) & c.PG_tail):
            raise ValueError(f"frame {shown(pfn)} holds no page")
        if ns is not None and not 0 <= ns <= MOST_NS:
            raise ValueError(f"ns is 0 to {MOST_NS}, not {shown(ns)}")

    def _held(self, pfn: int, ns: int | None, end: Callable[[], None]) -> Callable[[], None]:
        """Whoever stands in a page's way keeps it: it is not freed before he has gone."""
        folio_get(self._mem, pfn)

        def release() -> None:
            end()
            folio_put(self._mem, 0, pfn)

        return self._until(ns, release)

    def _flags(self, pfn: int, put: int, clear: int) -> None:
        flags = self._mem.hot["flags"]
        flags[pfn] = int(flags[pfn]) & ~clear | put

    def _until(self, ns: int | None, end: Callable[[], None]) -> Callable[[], None]:
        """``end``, to be called once: after ``ns``, or by whoever is told first."""
        there = True

        def once() -> None:
            nonlocal there
            if there:
                there = False
                end()

        if ns is not None:
            self._mem.timers.add(self._mem.hw.now + ns, once)
        return once


def obstruct(
    mm: MmStruct, kind: str, addr: int, pages: int, ns: int | None = None
) -> list[Callable[[], None]]:
    """Put an obstacle, one of KINDS, in the way of those pages of a range that are in memory: what ends each of them.

    A page that has this obstacle already does not get a second one.
    """
    obstacles = Obstacles(mm.mem)
    begin = obstacles.lock_page if kind == "lock" else getattr(obstacles, kind)
    ends = []
    for pfn in _present(mm, addr, pages):
        with contextlib.suppress(ValueError):
            ends.append(begin(pfn, ns))
    return ends


def _present(mm: MmStruct, addr: int, pages: int) -> Iterator[int]:
    """The frames of a range, without the page of zeros; between areas there is nothing to look for."""
    at, end = addr, addr + pages * _PAGE_SIZE
    while (vma := find_vma_intersection(mm, at, end)) is not None:
        at = max(at, vma.start)
        n = min(_PIECE, -(-(min(end, vma.end) - at) // _PAGE_SIZE))
        words = pagemap(mm, at, n)
        for pfn in (words[words >> np.uint64(63) != 0] & np.uint64(_PFN)).tolist():
            if pfn != mm.mem.zero_pfn:
                yield pfn
        at += n * _PAGE_SIZE
