"""Time measured fairly: contenders take turns inside one run, and the shortest time of each counts."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from time import thread_time_ns

__all__ = ["Contender", "Stopwatch", "now", "pin", "shortest"]

#: Prepares itself, does the work once, and returns how many ns the work took.
Contender = Callable[[], int]

#: CPU time of this thread: whatever else runs on the machine takes turns with us, but is not counted.
now = thread_time_ns


class Stopwatch:
    """Takes the time of what is done in ``with watch:``; the shortest counts. Python collects no garbage meanwhile."""

    def __init__(self) -> None:
        self._times: list[int] = []

    def __enter__(self) -> None:
        gc.disable()
        self._begin = now()

    def __exit__(self, *exc: object) -> None:
        self._times.append(now() - self._begin)
        gc.enable()

    @property
    def shortest(self) -> int:
        """In ns."""
        return min(self._times)


def pin() -> None:
    """Stay on one CPU, the last one allowed: interrupts prefer the first."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def shortest(contenders: dict[str, Contender], repeats: int = 9) -> dict[str, int]:
    """Shortest time of each contender in ns, out of ``repeats`` rounds in which all take turns.

    A round before the first is thrown away: it brings host memory and caches into the state that all later ones meet.
    """
    times: dict[str, list[int]] = {name: [] for name in contenders}
    for _ in range(repeats + 1):
        for name, run in contenders.items():
            times[name].append(run())
    return {name: min(taken[1:]) for name, taken in times.items()}
