"""The scheduler: which task runs next, on which CPU, and how tasks sleep and wake.

Mirrors kernel/sched/core.c in its outer shape (schedule, try_to_wake_up, set_cpus_allowed_ptr) and
include/linux/wait.h.  Deliberately different in nearly everything else:

* tasks are greenlets, and all tasks of one machine run in one host thread, one at a time.  `run()` is the hub:
  it switches to a task, the task switches back when it blocks, yields or has used up its time slice;
* there is one clock, so CPUs do not run side by side; a task's CPU says where its memory comes from and whose
  TLB it uses, no more;
* time slices are virtual time, looked at when a task returns from a system call or a memory access;
* which runnable task goes next is drawn from the seed, or asked of `choose`, so that every interleaving can
  be repeated.

    new --wake_up_new_task--> runnable <--wake_up_process-- sleeping (on a WaitQueue, perhaps with a timer)
                              |      ^                         ^
                   hub picks  v      | slice used up, yield    | wait_event
                              current -------------------------+--exit--> gone from here

A switch happens only in `_switch_out()`, called from plain Python: never inside a compiled kernel.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import greenlet

from numalab.arch._hw import (
    EV_SCHED_SWITCH,
    EV_SCHED_WAKEUP,
    EV_SCHED_WAKEUP_NEW,
    EV_TASK_SLEEP,
)
from numalab.arch.errno import EINTR, EINVAL, KernelError
from numalab.kernel.rq import RunQueue
from numalab.kernel.task import State, Task, has_signal
from numalab.kernel.wait import WaitQueue
from numalab.mm.waits import ClockWaits

if TYPE_CHECKING:
    from numalab.arch._hw import Hardware
    from numalab.arch.timers import Timers
    from numalab.mm.page_reporting import PageReporting

__all__ = ["DEFAULT_PRIO", "KTIME_MAX", "Deadlock", "Scheduler"]

KTIME_MAX = (1 << 63) - 1
"""The end of time in ns: longer sleeps end here, as ktime_add_safe() has it."""

BASE_SLICE_NS = 750_000

#: As ps and ftrace show it: every task has the same priority.
DEFAULT_PRIO = 120


#: How arch.events numbers the states of a task that stops running.
_STATES = {
    State.RUNNING: 1, State.INTERRUPTIBLE: 2, State.UNINTERRUPTIBLE: 3, State.DEAD: 4, State.ZOMBIE: 5,
}  # fmt: skip


def _idle(cpu: int) -> tuple[str, int, int, int]:
    """The idle task of a CPU: name, pid, priority, state."""
    return f"swapper/{cpu}", 0, DEFAULT_PRIO, 0


class Deadlock(RuntimeError):
    """Nothing can run any more, and tasks are still waiting. The message says who waits for what."""


class Scheduler:
    """The run queue, the timers and the hub of one machine.

    current: the task whose system call or program is being carried out, None in the hub.
    choose: who goes next, given all runnable tasks in the order of their pids; replaces the seed's draw.
    switch_watchers: called with every task that is about to run.
    """

    def __init__(self, hw: Hardware, seed: int, timers: Timers, page_reporting: PageReporting) -> None:
        self.hw = hw
        self.timers = timers
        self._page_reporting = page_reporting
        self.current: Task | None = None
        self.choose: Callable[[Sequence[Task]], Task] | None = None
        self._random = random.Random(seed)
        self._rq = RunQueue()
        # Tasks that no signal wakes, and what each waits for.
        self._uninterruptible: dict[Task, Callable[[], bool]] = {}
        self._hub: greenlet.greenlet | None = None  # whoever called run(); None = nothing is being run
        self._previous: Task | None = None  # who ran last, and is alive
        self.switch_watchers: list[Callable[[Task], object]] = []
        self._on_cpu: tuple[Task | None, int] = None, 0  # who ran last by what has been traced, and where
        # sysctl_sched_base_slice: 0.75 ms times 1 + log2 of the CPUs, of which at most 8 count.
        self.slice_ns = BASE_SLICE_NS * (min(hw.nr_cpus, 8)).bit_length()

    # CPUs

    def select_cpu(self, task: Task) -> int:
        """Where a task shall run: where it is if it may, else the least loaded allowed CPU, the lowest of equals."""
        allowed = task.cpus_allowed
        if allowed >> task.cpu & 1:
            return task.cpu
        return min(
            (cpu for cpu in range(self.hw.nr_cpus) if allowed >> cpu & 1), key=self._rq.nr_running.__getitem__
        )

    def sched_setaffinity(self, task: Task, mask: int) -> None:
        """Bind a task to the CPUs in `mask`, which the cpuset limits. Errors: EINVAL when no CPU is left.

        The wish is kept for the day the cpuset changes.
        """
        allowed = mask & task.cpuset.effective_cpus
        if not allowed:
            raise KernelError(EINVAL, "no CPU that exists and is allowed")
        task.user_cpus = mask
        self.set_cpus_allowed_ptr(task, allowed)

    def set_cpus_allowed_ptr(self, task: Task, mask: int) -> None:
        """Let a task run on these CPUs; of the CPUs it asked for itself, only on them if any is among these.

        It moves at once if it may not stay.
        """
        task.cpus_allowed = mask & task.user_cpus or mask
        self.set_task_cpu(task, self.select_cpu(task))

    def set_task_cpu(self, task: Task, cpu: int) -> None:
        """Move a task to a CPU, and with it the node its memory comes from."""
        self._rq.migrate(task, cpu)
        task.ctx.nid = self.hw.topology.node_of_cpu(cpu)
        if task is self.current:
            self._trace_switch(task)

    # Waking and sleeping

    def wake_up_new_task(self, task: Task) -> None:
        """Put a task that never ran on the run queue; `task.program` is what it will do."""
        assert task.program is not None
        task.greenlet = greenlet.greenlet(task.program)
        task.start_time = self.hw.now
        task.state = State.RUNNING
        self._trace_wakeup(EV_SCHED_WAKEUP if task.kthread else EV_SCHED_WAKEUP_NEW, task)
        self._rq.enqueue(task)

    def wake_up_process(self, task: Task) -> None:
        """try_to_wake_up(): make a sleeping task runnable; it looks at its condition itself. Others are left alone."""
        if task.state is State.INTERRUPTIBLE:
            task.state = State.RUNNING
            self._trace_wakeup(EV_SCHED_WAKEUP, task)
            self._rq.enqueue(task)

    def signal_wake_up(self, task: Task) -> None:
        """A signal has become pending for the task: let it come round and take it."""
        self.wake_up_process(task)

    def wake_up(self, queue: WaitQueue[Task]) -> None:
        """Wake every task that waits on a queue."""
        for task in list(queue.tasks):
            self.wake_up_process(task)

    def wait_event(
        self, queue: WaitQueue[Task], condition: Callable[[], bool], *, deadline: int | None = None
    ) -> bool:
        """Let the current task sleep until `condition()` holds; False if the deadline (virtual ns) came first.

        The condition is looked at first, and again at every wake-up.
        Errors: EINTR when a signal is pending for the task.
        """
        task = self._me()
        while not condition():
            if has_signal(task):
                raise KernelError(EINTR)
            if deadline is not None and self.hw.now >= deadline:
                return False
            self._block(task, queue, deadline)
        return True

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """mm's Waits: let the current task sleep, deaf to signals (state D), until `done()` holds.

        The hub asks it whenever somebody has run and whenever time has passed. With no task running, time passes.
        """
        if self.current is None:
            ClockWaits(self.timers).wait(what, done)
            return
        task = self._me()
        while not done():
            task.state = State.UNINTERRUPTIBLE
            task.waiting_on = what
            task.nvcsw += 1
            self.hw.trace(EV_TASK_SLEEP, _STATES[task.state], what)
            self._rq.dequeue(task)
            self._uninterruptible[task] = done
            try:
                self._switch_out(task)
            finally:
                self._uninterruptible.pop(task, None)
                task.waiting_on = ""

    def signal_pending(self) -> Callable[[], bool]:
        """mm's Waits: what tells whether the task that runs now has a signal to take."""
        task = self.current
        return lambda: task is not None and has_signal(task)

    def _wake_uninterruptible(self) -> None:
        if not self._uninterruptible:
            return
        for task, done in list(self._uninterruptible.items()):
            if done():
                del self._uninterruptible[task]
                task.state = State.RUNNING
                self._trace_wakeup(EV_SCHED_WAKEUP, task)
                self._rq.enqueue(task)

    def yield_(self) -> None:
        """sched_yield(): let another runnable task go first, if there is one."""
        task = self._me()
        if len(self._rq) > 1:
            task.nivcsw += 1
            self._switch_out(task)

    def slice_used_up(self, task: Task) -> bool:
        """Whether it is time for others to run: asked on the way back to the program."""
        return self.hw.now - task.slice_start >= self.slice_ns

    def resched(self) -> None:
        """The current task has used up its time slice: let the hub see who is there by now, perhaps nobody else."""
        self.timers.expire()
        task = self._me()
        task.nivcsw += len(self._rq) > 1
        self._switch_out(task)

    def exit_current(self) -> None:
        """The current task has ended: take it off the run queue. Its greenlet still has to unwind."""
        self._rq.dequeue(self._me())

    def _me(self) -> Task:
        if self.current is None:
            raise RuntimeError("no task is running: this can be called by a program only")
        return self.current

    def _block(self, task: Task, queue: WaitQueue[Task], deadline: int | None) -> None:
        timer = None if deadline is None else self.timers.add(deadline, lambda: self.wake_up_process(task))
        task.state = State.INTERRUPTIBLE
        task.waiting_on = queue.what
        task.nvcsw += 1
        self.hw.trace(EV_TASK_SLEEP, _STATES[task.state], queue.what)
        self._rq.dequeue(task)
        queue.tasks.append(task)
        # `finally`, as the switch does not come back when the machine is closed meanwhile.
        try:
            self._switch_out(task)
        finally:
            queue.tasks.remove(task)
            task.waiting_on = ""
            if timer is not None:
                timer.cancel()

    def _switch_out(self, task: Task) -> None:
        """Back to the hub; returns when the task is chosen again."""
        assert self._hub is not None
        self._previous = task
        self._hub.switch()

    # The hub

    @property
    def running(self) -> bool:
        """Whether the hub is at work, that is: whether somebody's program is being run."""
        return self._hub is not None

    def run(self, done: Callable[[], bool]) -> bool:
        """Run tasks until `done()` holds (asked between switches); False if nothing can run any more before that.

        Raises RuntimeError when called by a program of this very machine.
        """
        if self._hub is not None:
            raise RuntimeError("the machine is running: a program cannot run it")
        self._hub = greenlet.getcurrent()
        try:
            while not done():
                self.timers.expire()
                self._wake_uninterruptible()
                self._page_reporting.process(busy=True)
                if self._rq:
                    self._switch_to(self._pick_next())
                    continue
                self._trace_switch(None)
                if not self.timers.skip():  # with nobody to run, time passes until somebody's sleep is over
                    return False
            return True
        finally:
            self._hub = None
            self._trace_switch(None)
            self._page_reporting.process(busy=False)

    def _pick_next(self) -> Task:
        """Whose turn it is: `choose` decides, or else the seed among those that were not the last to run."""
        if self.choose is not None:
            return self.choose(sorted(self._rq, key=lambda task: task.pid))
        return self._rq.draw(self._random, self._previous)

    def _switch_to(self, task: Task) -> None:
        """context_switch(): run a task until it comes back or ends."""
        assert task.greenlet is not None
        self._trace_switch(task)
        self.current = task
        for watcher in self.switch_watchers:
            watcher(task)
        task.slice_start = self.hw.now
        # When the program ends, its greenlet returns to its parent: to the hub, which may be another one each time.
        task.greenlet.parent = greenlet.getcurrent()
        try:
            task.greenlet.switch()
        finally:
            self.current = None
            self.hw.run_task(0, task.cpu, f"swapper/{task.cpu}")
            task.sum_exec_runtime += self.hw.now - task.slice_start
            if not task.alive and self._previous is task:
                self._previous = None
            if task.greenlet.dead:
                task.greenlet = None
                task.program = None

    # What is traced of it

    def _trace_switch(self, task: Task | None) -> None:
        """trace_sched_switch(): from whoever ran last to this task, None = to the idle one.

        The CPU that is left is idle from now on, even with tasks that could run: they take turns, wherever they are.
        """
        last, old = self._on_cpu
        cpu = old if task is None else task.cpu
        if self.hw.trace_mask >> EV_SCHED_SWITCH & 1 and (last is not task or old != cpu):
            self._trace_leaving(last, old, task, cpu)
        self._on_cpu = task, cpu
        if task is None:
            self.hw.run_task(0, cpu, _idle(cpu)[0])
        else:
            self.hw.run_task(task.pid, cpu, task.comm)

    def _trace_leaving(self, last: Task | None, old: int, task: Task | None, cpu: int) -> None:
        hw, left = self.hw, _idle(old)
        if last is not None:
            left = last.comm, last.pid, DEFAULT_PRIO, _STATES[last.state]
        hw.run_task(left[1], old, left[0])
        if last is not None and (task is None or old != cpu):
            hw.trace(EV_SCHED_SWITCH, *left, *_idle(old)[:3])
        if old != cpu:
            left = _idle(cpu)
            hw.run_task(0, cpu, left[0])
        if task is not None:
            hw.trace(EV_SCHED_SWITCH, *left, task.comm, task.pid, DEFAULT_PRIO)

    def _trace_wakeup(self, event: int, task: Task) -> None:
        self.hw.trace(event, task.comm, task.pid, DEFAULT_PRIO, task.cpu)

    def discard(self, tasks: Sequence[Task]) -> None:
        """Unwind the programs of tasks that will never run again (the machine is being closed)."""
        self._rq.clear()
        self._uninterruptible.clear()
        self.timers.clear()
        for task in tasks:
            unfinished, task.greenlet, task.program = task.greenlet, None, None
            # A greenlet is true while it has frames: one that never started has nothing to unwind.
            if unfinished is not None and unfinished:
                unfinished.parent = greenlet.getcurrent()
                unfinished.throw(greenlet.GreenletExit)
