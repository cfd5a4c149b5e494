"""A disk: what it holds, how long it takes, and what can go wrong with it.

Requests are served one after the other: each takes the latency once and the transfer for each page. A disk that takes
no time and has no fault is *synchronous*, as a RAM disk is: whoever uses it copies the bytes himself and goes on.
A write that fails is torn: of each page the first half has arrived, so that nobody may rely on what is there.
Time is virtual; figures of real disks stand in docs (a disk of 2005: 8 ms and 68 us a page; NVMe: 15 us and 1 us).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._hw import EV_BLOCK_RQ_COMPLETE, EV_BLOCK_RQ_ISSUE
from numalab.arch.errno import EIO
from numalab.arch.sparse import sparse

if TYPE_CHECKING:
    from numalab.arch._hw import Hardware
    from numalab.arch.timers import Timers

__all__ = ["FINE", "Disk", "Trouble"]

PAGE_SIZE = 4096
SECTORS = PAGE_SIZE // 512


@dataclass(frozen=True)
class Trouble:
    """What is wrong with one request. error: it fails; ns: it takes so much longer, and those behind it wait."""

    error: bool = False
    ns: int = 0


FINE = Trouble()


class Disk:
    """One block device of ``pages`` pages of 4096 bytes.

    store: its contents, uint8, in memory that costs nothing until it is written.  latency: ns a request; page_ns: ns a
    page.  failing: every request ends in an error.  trouble: asked about each request, and whether it is a write, if
    only some of them are to go wrong.  reads, writes: pages so far.  dev: its number, as trace events have it.
    """

    def __init__(
        self, hw: Hardware, timers: Timers, name: str, pages: int, dev: tuple[int, int] = (0, 0)
    ) -> None:
        self.name = name
        self.dev = dev[0] << 20 | dev[1]
        self.pages = pages
        self.latency = 0
        self.page_ns = 0
        self.failing = False
        self.trouble: Callable[[bool], Trouble] | None = None
        self.reads = 0
        self.writes = 0
        self._hw = hw
        self._timers = timers
        self._busy_until = 0
        self.store = sparse(pages * PAGE_SIZE, np.uint8, huge=True)

    @property
    def synchronous(self) -> bool:
        """Whether a request is over when it returns."""
        return not (self.latency or self.page_ns or self.failing or self.trouble is not None)

    def read(self, pages: int, done: Callable[[bool], object]) -> None:
        """Read so many pages; ``done(ok)`` is called when that is over. Moves no bytes."""
        self.reads += pages
        self._submit(pages, False, self._trouble(False), done)

    def write(self, pages: int, blocks: Callable[[], Iterable[int]], done: Callable[[bool], object]) -> None:
        """Write so many pages, whose bytes are in the store already; ``done(ok)`` is called when that is over.

        blocks: tells where they are, if it must be known: after a write that fails.
        """
        self.writes += pages
        trouble = self._trouble(True)
        if trouble.error:
            torn = list(blocks())
            self.store.reshape(-1, PAGE_SIZE)[torn, PAGE_SIZE // 2 :] ^= 0xFF
        self._submit(pages, True, trouble, done)

    def _trouble(self, write: bool) -> Trouble:
        return Trouble(self.failing) if self.trouble is None else self.trouble(write)

    def _submit(self, pages: int, write: bool, trouble: Trouble, done: Callable[[bool], object]) -> None:
        sectors = pages * SECTORS

        def complete() -> None:
            self._hw.trace(EV_BLOCK_RQ_COMPLETE, self.dev, write, sectors, 0, -EIO if trouble.error else 0)
            done(not trouble.error)

        self._hw.trace(EV_BLOCK_RQ_ISSUE, self.dev, write, sectors, 0, self._hw.comm)
        start = max(self._hw.now, self._busy_until)
        self._busy_until = start + self.latency + pages * self.page_ns + trouble.ns
        self._timers.add(self._busy_until, complete)
