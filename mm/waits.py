"""How mm waits: for a page lock, for writeback, for the disk. mm defines the way, the kernel above implements it.

A wait is TASK_UNINTERRUPTIBLE: no signal ends it. Kernels never wait; they return WAIT_LOCK, WAIT_WRITEBACK or WAIT_IO,
and their driver comes here and calls them again (docs/internals.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from numalab.arch.timers import Timers

__all__ = ["ClockWaits", "Stuck", "Waits"]


class Stuck(RuntimeError):
    """Nothing will ever end this wait: no timer is left, and nobody else runs."""


class Waits(Protocol):
    """Who puts the current task to sleep."""

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Return once ``done()`` holds. what: completes "waits for ..." in the report of a deadlock."""
        ...

    def signal_pending(self) -> Callable[[], bool]:
        """What tells whether a signal is there for the current task: for loops that one may end."""
        ...


class ClockWaits:
    """Waiting where there are no tasks: time passes from timer to timer until it is so."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Raises Stuck if no timer makes ``done()`` true."""
        while not done():
            if not self._timers.skip():
                raise Stuck(f"nothing ends the wait for {what}")

    def signal_pending(self) -> Callable[[], bool]:
        return lambda: False
