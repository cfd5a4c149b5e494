"""Wait queues: where tasks sleep until something happens.

Mirrors include/linux/wait.h.  A queue only knows who waits and what for; putting to sleep and waking is
the scheduler's (`sched.py`).
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["WaitQueue"]

T = TypeVar("T")


class WaitQueue(Generic[T]):
    """Tasks that wait for one thing, first come first.

    what: the thing, in words that complete "waits for ..." in the report of a deadlock.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.tasks: list[T] = []

    def __repr__(self) -> str:
        return f"<WaitQueue {self.what}: {len(self.tasks)}>"
