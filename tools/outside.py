"""A process that is told from outside what to do, call by call: what a test has, or a notebook, in place of a program.

    process = Process(machine)
    addr = process.sys.mmap(4096)            # made by the process, on the machine
    process.memory.write(addr, b"x")
    process.libc.mbind(...)
    process.do(function)                     # function(sys), as a part of its program

Between two calls it sleeps, and time stands still; while it makes one, others run as well.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from numalab.arch.errno import KernelError
from numalab.kernel.sched import Deadlock
from numalab.kernel.signal import signal_name
from numalab.kernel.wait import WaitQueue
from numalab.syscalls.libc import Libc
from numalab.syscalls.sys import current
from numalab.syscalls.table import BY_NAME

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.kernel.task import Task
    from numalab.syscalls.memory import UserMemory
    from numalab.syscalls.sys import Sys

__all__ = ["Process", "ProcessEnded"]

T = TypeVar("T")

_GETPID = BY_NAME["getpid"].number


class ProcessEnded(RuntimeError):
    """The process that should do something has ended, or ended while it did."""


class Process:
    """One process. task: what the kernel keeps of it.

    sys, memory, libc: those of the process, for callers outside.
    """

    def __init__(self, machine: Machine, *, uid: int = 0, name: str = "test") -> None:
        """uid: the user that it belongs to. Raises KernelError (ENOMEM, EAGAIN) when there is no room for it."""
        self._machine = machine
        self._thread = threading.get_ident()
        self._inbox: deque[Callable[[Sys], None]] = deque()
        self._bell: WaitQueue[Task] = WaitQueue("what it is told to do")

        def program(sys: Sys) -> None:
            self._serve(sys)

        program.__name__ = name
        self.task = machine.spawn(program, uid=uid)
        self.memory = cast("UserMemory", _Inside(self.do, lambda sys: sys.memory))
        self.libc = Libc(self.do)
        self.sys = cast("Sys", _Inside(self.do, lambda sys: sys, memory=self.memory, libc=self.libc))

    def __repr__(self) -> str:
        return f"<Process {self.task.pid}>"

    @property
    def pid(self) -> int:
        return self.task.pid

    def do(self, work: Callable[[Sys], T]) -> T:
        """Call `work(sys)` as a part of the program; returns or raises what it does.

        Raises ProcessEnded if the process has ended or ends by this, Deadlock when it waits for what cannot happen.
        """
        __tracebackhide__ = True
        sys = current()
        if sys is not None and sys.task is self.task:
            return work(sys)
        if threading.get_ident() != self._thread:
            raise RuntimeError("a machine belongs to the thread that booted it: no other one can act on it")
        results: list[T] = []
        errors: list[Exception] = []

        def call(sys: Sys) -> None:
            try:
                results.append(work(sys))
            except Exception as error:  # noqa: BLE001 - handed to whoever asked
                errors.append(error)

        self._inbox.append(call)
        self._machine.sched.wake_up(self._bell)
        try:
            done = self._machine.run_until(lambda: bool(results or errors) or not self.task.alive)
        finally:
            if call in self._inbox:  # somebody else's failure came first
                self._inbox.remove(call)
        if errors:
            raise errors[0]
        if results:
            return results[0]
        raise (
            Deadlock(self._machine.who_waits())
            if not done
            else ProcessEnded(f"process {self.pid} {self._end()}")
        )

    def end(self) -> None:
        """Let it exit, unless it has."""
        if self.task.alive:
            try:
                self.do(lambda sys: sys.exit())
            except ProcessEnded:
                return

    def _end(self) -> str:
        status = self.task.exit_status
        if status < 0:
            return f"was killed by {signal_name(-status)}"
        return f"has ended with status {status}"

    def _serve(self, sys: Sys) -> None:
        """The program: one piece of work after the other. While it waits for one there is nothing for it to finish."""
        kernel = self._machine.kernel
        while True:
            kernel.nr_programs -= 1
            try:
                kernel.sched.wait_event(self._bell, lambda: bool(self._inbox))
                work = self._inbox.popleft()
            except KernelError:
                work = None
            finally:
                kernel.nr_programs += 1
            if work is not None:
                work(sys)
            else:  # a signal: it is acted on, and may be the end, when a process returns from any call
                sys.raw(_GETPID)


class _Inside:
    """Something of a process, whose attributes are looked up, and whose methods are called, as a part of its program.

    parts: attributes that are such things themselves.
    """

    def __init__(
        self, do: Callable[[Callable[[Sys], Any]], Any], find: Callable[[Sys], Any], **parts: object
    ) -> None:
        self._do = do
        self._find = find
        vars(self).update(parts)

    def __getattr__(self, name: str) -> Any:
        value = self._do(lambda sys: getattr(self._find(sys), name))
        if not callable(value):
            return value

        def method(*args: Any, **named: Any) -> Any:
            __tracebackhide__ = True
            return self._do(lambda sys: getattr(self._find(sys), name)(*args, **named))

        return method

    def __dir__(self) -> list[str]:
        return list(self._do(lambda sys: dir(self._find(sys))))
