"""Where the kernel may be interrupted in favour of another task: the preemption points of an explored machine.

Linux can be preempted nearly anywhere. Here kernels run a whole batch in one go, and tasks change only where a driver
sleeps. A machine with ``mem.preempt`` set works on one page at a time, and offers to change tasks at each of the
points below: to the explorer of interleavings (tests/interleave/), or to a person who goes through it
(tools/stepper.py). A point may stand only where the driver might sleep as well: nothing found out before it still
holds behind it, unless a page lock, a reference or mmap_lock keeps it so.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["Point", "flush_tlb_batched_pending", "piece_end", "preempt"]


class Point(enum.StrEnum):
    """What the task that is interrupted will do next."""

    #: Migration: search the next page table of an area; unmap a page; flush the TLBs for all that have been unmapped;
    #: copy a page; let the copy take over.
    QUEUE = enum.auto()
    UNMAP = enum.auto()
    FLUSH = enum.auto()
    COPY = enum.auto()
    REMAP = enum.auto()
    #: Reclaim, which has isolated pages: UNMAP and FLUSH, too; write a page, or free it if it is clean; free one that
    #: has been written.
    WRITE = enum.auto()
    FREE = enum.auto()
    #: A fault: map the next page, which may have been read from a disk by now.
    FAULT = enum.auto()
    #: fork: copy the next page table.
    FORK = enum.auto()


def preempt(mem: MemMap, point: Point, at: int) -> None:
    """Let the explorer, if there is one, run somebody else first. at: the frame that is next, 0 = all of them."""
    if mem.preempt is not None:
        mem.preempt(point, at)


def flush_tlb_batched_pending(mem: MemMap) -> None:
    """Whoever drops PTEs flushes for those who have replaced some and were interrupted before they could flush.

    They are migration or swap entries now, for which nothing would be flushed, and their pages may be accessed still.
    """
    for flush in mem.unflushed:
        flush()


def piece_end(mem: MemMap, start: int, end: int, size: int, point: Point) -> int:
    """How much of [start, end) a kernel gets now: all of it, or under the explorer up to the next multiple of size."""
    if mem.preempt is None:
        return end
    mem.preempt(point, start)
    return min((start & -size) + size, end)
