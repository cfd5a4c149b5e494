"""The run queue: all tasks that can run.

Mirrors struct rq of kernel/sched/sched.h in what it is for.  Deliberately different: one for all CPUs, and in no
order, for the scheduler draws whom it likes.  Entering, leaving and being drawn take the same time however many there
are: each task's place in a list is known, and the last one takes the place of whoever leaves. How many there are on
each CPU is counted as they come and go (rq->nr_running).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.kernel.task import Task

__all__ = ["RunQueue"]


class RunQueue:
    """Tasks, each once. The current task is among them; those that sleep or have ended are not.

    nr_running: how many are on a CPU. ``migrate()`` moves a task from one to another, whether it is there or not.
    """

    def __init__(self) -> None:
        self.nr_running: Counter[int] = Counter()
        self._tasks: list[Task] = []
        self._place: dict[Task, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def enqueue(self, task: Task) -> None:
        """Let a task in. One that is there already stays where it is."""
        if task not in self._place:
            self._place[task] = len(self._tasks)
            self._tasks.append(task)
            self.nr_running[task.cpu] += 1

    def dequeue(self, task: Task) -> None:
        """Take a task out, if it is there."""
        place = self._place.pop(task, None)
        if place is not None:
            self.nr_running[task.cpu] -= 1
            last = self._tasks.pop()
            if last is not task:
                self._tasks[place] = last
                self._place[last] = place

    def migrate(self, task: Task, cpu: int) -> None:
        """__set_task_cpu(): from now on the task is on that CPU."""
        here = task in self._place
        self.nr_running[task.cpu] -= here
        task.ctx.cpu = cpu
        self.nr_running[cpu] += here

    def draw(self, rng: random.Random, previous: Task | None) -> Task:
        """One of the tasks, but not `previous` if there is another. Where there is no choice, nothing is drawn."""
        others = len(self._tasks)
        skip = self._place.get(previous) if previous is not None and others > 1 else None
        if skip is not None:
            others -= 1
        at = rng.randrange(others) if others > 1 else 0
        return self._tasks[at + (skip is not None and at >= skip)]

    def clear(self) -> None:
        """Forget every task."""
        self._tasks.clear()
        self.nr_running.clear()
        self._place.clear()
