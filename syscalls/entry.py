"""The one way into the kernel: from a number and six registers to a result.

Mirrors do_syscall_64() and arch/x86/entry/common.c.  Decode, call the handler, and in one epilogue turn an error
into `-errno`, feed the tracers and the event ring, charge virtual time, and act on signals and time slices.

    sys.NAME, sys.syscall, sys.fork ...
      do_syscall      is the caller alive and running?  64 bits each, six of them
        _traced       event sys_enter, time, tracers
          _call       C types -> handler -> KernelError becomes -errno
        _traced       event sys_exit, tracers
      exit_to_user_mode    signals, end of the time slice

What a program can get is a number, or its own end.  An exception that the kernel did not mean to raise is a bug of
the kernel's: the program does not see it, its task ends, and whoever runs the machine is told (KernelBug).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from numalab.arch._hw import EV_SYS_ENTER, EV_SYS_EXIT
from numalab.arch.errno import ENOMEM, ENOSYS, KernelError
from numalab.kernel.exit import exit_to_user_mode, oops
from numalab.kernel.oom import pagefault_out_of_memory
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, TaskExit
from numalab.mm.memory import OutOfMemory
from numalab.syscalls.kinds import convert
from numalab.syscalls.table import BY_NUMBER, Syscall

__all__ = ["SyscallEvent", "check_alive", "do_syscall", "on_behalf"]

_MASK = (1 << 64) - 1
_MAX_ARGS = 6

T = TypeVar("T")


@dataclass
class SyscallEvent:
    """One system call as tracers see it: once when it begins, with no result yet, and again when it has ended.

    row: None for a number that is no call.  raw: the six registers.  now: when that was, in virtual ns.  A call that
    never comes back (exit) is seen once.  why: the clause that an error hurt, if the kernel said.  injected: somebody
    wanted the error, and the call was not carried out.
    """

    task: Task
    number: int
    row: Syscall | None
    raw: tuple[int, ...]
    now: int
    result: int | None = None
    why: str = ""
    injected: bool = False


def check_alive(k: Kernel, task: Task) -> None:
    """Whether the task may do anything at all.

    Raises TaskExit if it has ended, RuntimeError when it is not the one that runs: a `sys` belongs to one program.
    """
    if k.closed or not task.alive:
        raise TaskExit
    if k.sched.current is not task:
        raise RuntimeError(f"{task!r} is not running: only its own program can act for it")


def do_syscall(
    k: Kernel, task: Task, number: int, args: tuple[int, ...], handler: Callable[..., int] | None = None
) -> int:
    """One system call of the current task. Returns the result, or -errno; does not return if the task ends.

    handler: takes the place of the table's, for calls that need more than numbers (fork with a Python function).
    """
    check_alive(k, task)
    raw = tuple(arg & _MASK for arg in args[:_MAX_ARGS]) + (0,) * (_MAX_ARGS - len(args))
    try:
        # eax: the rest of the register is not looked at
        result = _traced(k, task, number & 0xFFFFFFFF, raw, handler)
    except Exception as bug:  # noqa: BLE001
        oops(k, task, bug)
    exit_to_user_mode(k, task)
    return result


def _traced(
    k: Kernel, task: Task, number: int, raw: tuple[int, ...], handler: Callable[..., int] | None
) -> int:
    hw = k.hw
    hw.trace(EV_SYS_ENTER, number, *raw)
    row = BY_NUMBER.get(number)
    event = SyscallEvent(task, number, row, raw, hw.now) if k.tracers else None
    _tell(k, event)
    hw.advance(k.syscall_cost)
    if handler is None and row is not None:
        handler = row.handler
    error = _injected(k, task, row) if k.injections else 0
    if error:
        result = -error
    else:
        result = -ENOSYS if handler is None or row is None else _call(k, task, handler, row, raw, event)
    hw.trace(EV_SYS_EXIT, number, result)
    if event is not None:
        event.result, event.now = result, hw.now
        if error:
            event.injected, event.why = True, "the error was injected: the call has not been carried out"
        _tell(k, event)
    return result


def _injected(k: Kernel, task: Task, row: Syscall | None) -> int:
    """The error that somebody wants the call to get, 0 = none; each of them counts the call."""
    errors = [injection.of(task, row.name) for injection in k.injections] if row is not None else []
    return next(filter(None, errors), 0)


def _tell(k: Kernel, event: SyscallEvent | None) -> None:
    if event is not None:
        for tracer in list(k.tracers):
            tracer(event)


def _call(
    k: Kernel,
    task: Task,
    handler: Callable[..., int],
    row: Syscall,
    raw: tuple[int, ...],
    event: SyscallEvent | None,
) -> int:
    """Run the handler and turn what it raises into a number."""
    values = [convert(arg.kind, raw[i]) for i, arg in enumerate(row.args)]
    try:
        return handler(k, task, *values)
    except KernelError as error:
        if event is not None:
            event.why = error.why
        return -error.errno
    except OutOfMemory:
        # No frame for a page that the call had to touch: the task dies on its way back and never sees the result.
        pagefault_out_of_memory(k, task)
        return -ENOMEM


def on_behalf(k: Kernel, task: Task, work: Callable[[], T]) -> T:
    """Something that the kernel does for the current task without having been called; what it returns.

    As in a system call, no memory or a bug of the kernel is the end of the task. Errors: those that the work raises.
    """
    try:
        return work()
    except KernelError:
        raise
    except OutOfMemory:
        pagefault_out_of_memory(k, task)
        exit_to_user_mode(k, task)
        raise AssertionError("a task went on that was killed") from None
    except Exception as bug:  # noqa: BLE001
        oops(k, task, bug)
