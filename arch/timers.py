"""What is to happen later, in virtual time: disk requests that complete, locks that are let go, sleeps that end.

Mirrors include/linux/hrtimer.h in what it is for. Nothing runs by itself: whoever holds the clock calls expire() when
it has moved it, or skip() when there is nothing to do but wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.arch._hw import Hardware

__all__ = ["Timer", "Timers"]


@dataclass(eq=False, slots=True)
class Timer:
    """One action that is to happen."""

    action: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        """It will not happen. Too late is no error."""
        self.cancelled = True


class Timers:
    """The timers of one machine."""

    def __init__(self, hw: Hardware) -> None:
        self._hw = hw
        # (time in ns, number, timer): those of the same time go in the order in which they were added.
        self._heap: list[tuple[int, int, Timer]] = []
        self._seq = 0

    def add(self, when: int, action: Callable[[], object]) -> Timer:
        """Let ``action()`` be called once the clock has reached ``when`` ns."""
        self._seq += 1
        timer = Timer(action)
        heapq.heappush(self._heap, (when, self._seq, timer))
        return timer

    def next_time(self) -> int | None:
        """When the next timer is due, None = there is none."""
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def expire(self) -> None:
        """Carry out everything that is due."""
        heap = self._heap
        while heap and (heap[0][0] <= self._hw.now or heap[0][2].cancelled):
            timer = heapq.heappop(heap)[2]
            if not timer.cancelled:
                timer.action()

    def skip(self) -> bool:
        """Let time jump to the next timer and carry it out; False if there is none."""
        when = self.next_time()
        if when is None:
            return False
        self._hw.now = max(self._hw.now, when)
        self.expire()
        return True

    def clear(self) -> None:
        """Forget all timers (the machine is switched off)."""
        self._heap.clear()
