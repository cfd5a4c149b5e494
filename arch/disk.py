"""A disk: what it holds, how long it takes, and what can go wrong with it.

Requests are served one after the other: each takes the latency once and the transfer for each page. A disk that takes
no time and has no fault is *synchronous*, as a RAM disk is: whoever uses it copies the bytes himself and goes on.
Time is virtual; figures of real disks stand in docs (a disk of 2005: 8 ms and 68 us a page; NVMe: 15 us and 1 us).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.sparse import sparse

if TYPE_CHECKING:
    import numpy.typing as npt

    from numalab.arch._hw import Hardware
    from numalab.arch.timers import Timers

__all__ = ["Disk"]

PAGE_SIZE = 4096


class Disk:
    """One block device of ``pages`` pages of 4096 bytes.

    store: its contents, uint8; in memory that costs nothing until it is written, or in a file of the host's that is
    filled beforehand.  latency: ns a request; page_ns: ns a page.  failing: every request ends in an error.
    reads, writes: pages so far.
    """

    def __init__(
        self,
        hw: Hardware,
        timers: Timers,
        name: str,
        pages: int,
        *,
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.pages = pages
        self.latency = 0
        self.page_ns = 0
        self.failing = False
        self.reads = 0
        self.writes = 0
        self._hw = hw
        self._timers = timers
        self._busy_until = 0
        self.store = (
            sparse(pages * PAGE_SIZE, np.uint8, huge=True) if file is None else _in_file(Path(file), pages)
        )

    @property
    def synchronous(self) -> bool:
        """Whether a request is over when it returns."""
        return not (self.latency or self.page_ns or self.failing)

    def submit(self, pages: int, write: bool, done: Callable[[bool], object]) -> None:
        """Read or write so many pages; ``done(ok)`` is called when that is over. Moves no bytes."""
        if write:
            self.writes += pages
        else:
            self.reads += pages
        start = max(self._hw.now, self._busy_until)
        self._busy_until = start + self.latency + pages * self.page_ns
        ok = not self.failing
        self._timers.add(self._busy_until, lambda: done(ok))


def _in_file(path: Path, pages: int) -> npt.NDArray[np.uint8]:
    """Space on the host's disk, taken now: a write that finds none later would be a signal."""
    with path.open("w+b") as file:
        os.posix_fallocate(file.fileno(), 0, pages * PAGE_SIZE)
        return np.frombuffer(mmap.mmap(file.fileno(), pages * PAGE_SIZE), np.uint8)
