"""The children of a thread, in the order in which they came.

Mirrors task_struct.children in what it is for. Deliberately different: Linux goes through the list when somebody waits
for any child; here those that can be waited for are known, so that the living cost nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.kernel.task import Task

__all__ = ["Children"]


class Children:
    """Tasks, each once.

    zombies: those that have ended and are not waited for yet, the eldest first; ``ended()`` makes one of a child.
    """

    def __init__(self) -> None:
        self._born = 0
        self._age: dict[Task, int] = {}
        self._zombies: list[Task] = []

    def __iter__(self) -> Iterator[Task]:
        return iter(self._age)

    def add(self, task: Task) -> None:
        self._age[task] = self._born
        self._born += 1

    def ended(self, task: Task) -> None:
        """A child has ended; its parent is to be told."""
        insort(self._zombies, task, key=self._age.__getitem__)

    def remove(self, task: Task) -> None:
        """Forget a child, if it is one."""
        if task in self._age:
            at = bisect_left(self._zombies, self._age[task], key=self._age.__getitem__)
            if self._zombies[at : at + 1] == [task]:
                del self._zombies[at]
            del self._age[task]

    def zombies(self) -> Iterator[Task]:
        return iter(self._zombies)

    def clear(self) -> None:
        self._age.clear()
        self._zombies.clear()
