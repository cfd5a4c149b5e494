"""Programs on a machine that do one thing at a time, when the test says so.

A test cannot be inside of several programs at once, so each program sleeps in a loop and is handed functions to
call with its ``sys``; the machine runs until it sleeps again or has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numalab.arch.errno import KernelError
from numalab.kernel.machine import Machine
from numalab.kernel.signal import SIGCHLD, Disposition
from numalab.kernel.task import Task
from numalab.kernel.wait import WaitQueue
from numalab.mm._mm_types import MmStruct
from numalab.syscalls.sys import Sys

__all__ = ["Died", "Program"]

T = TypeVar("T")


class Died(Exception):
    """The program ended while it was at it. status: as machine.run() returns it, -signum for a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Program:
    """One process. Made by ``start()`` or by another one's ``fork()``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._bell: WaitQueue[Task] = WaitQueue("something to do")
        self._todo: list[Callable[[Sys], object]] = []
        self._done: list[object] = []
        self._failed: list[Exception] = []
        self.task: Task

    @classmethod
    def start(cls, machine: Machine) -> Program:
        """A new program. Raises KernelError (ENOMEM)."""
        program = cls(machine)
        program.task = machine.spawn(program._main)
        program.wake()
        return program

    def end(self) -> None:
        """Let it exit."""
        try:
            self.do(lambda sys: sys.exit(3))
        except Died as death:
            assert death.status == 3, death  # noqa: PT017

    @property
    def alive(self) -> bool:
        return self.task.alive

    @property
    def mm(self) -> MmStruct:
        assert self.task.mm is not None
        return self.task.mm

    def do(self, act: Callable[[Sys], T]) -> T:
        """Let the program call ``act(sys)``; what it returns or raises. Raises Died if it does not come back."""
        self._run(act)
        if not self._done:
            raise Died(self.task.exit_status)
        return self._done.pop()  # type: ignore[return-value]

    def _run(self, act: Callable[[Sys], object]) -> None:
        self._todo.append(act)
        sched = self._machine.sched
        sched.wake_up(self._bell)
        came_back = sched.run(lambda: not self.alive or (not self._todo and bool(self._bell.tasks)))
        assert came_back, "the program sleeps, and not because it is done"
        if self._failed:
            raise self._failed.pop()

    def fork(self, sys: Sys) -> Program:
        """A child with a copy of the memory, to be called inside of ``do()``; wake it afterwards. Raises OSError."""
        child = Program(self._machine)
        task = self._machine.kernel.pids.find(sys.fork(child._main))
        assert task is not None
        child.task = task
        return child

    def execute(self) -> None:
        """Replace its memory by a new one, as execve() does; the program goes on sleeping there. Raises Died."""
        self._run(lambda sys: sys.execve(self._main))
        if not self.alive:
            raise Died(self.task.exit_status)

    def wake(self) -> None:
        """Let it come up and go to sleep. Raises Died."""
        self.do(lambda sys: None)

    def _main(self, sys: Sys) -> None:
        sys.signal(SIGCHLD, Disposition.SIG_IGN)
        while True:
            try:
                self._machine.sched.wait_event(self._bell, lambda: bool(self._todo))
            except KernelError:
                sys.getpid()  # a signal came: it is acted on when a call returns
                continue
            act = self._todo.pop()
            try:
                self._done.append(act(sys))
            except Exception as error:  # noqa: BLE001 - handed to the test
                self._failed.append(error)
