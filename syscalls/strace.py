"""strace: system calls in the form that strace(1) prints them.

    mbind(0x7f64b9912000, 8192, MPOL_BIND, [0x00000000000001], 64, MPOL_MF_MOVE) = 0
    move_pages(0, 2, [0x7f64b9912000, 0x7f64b9913000], NULL, [0, -ENOENT], 0) = 0

Flags are names, arrays are followed, the result stands in column 40 or later.  What a call fills in is printed when
it has ended and succeeded, everything else as it was when it began.  A pointer that cannot be read is printed as a
number.  The tracer looks at memory through the page tables without faulting, so a traced run is the same run.

How each kind of argument prints is in `strace_kinds.py`.
"""

from __future__ import annotations

from typing import TextIO

from numalab.arch.errno import errno_name, strerror
from numalab.kernel.signal import signal_name
from numalab.kernel.task import Task
from numalab.syscalls.entry import SyscallEvent
from numalab.syscalls.kinds import Kind
from numalab.syscalls.strace_kinds import View, show

__all__ = ["Strace", "format_call"]

_COLUMN = 40
_NO_RETURN = ("exit", "exit_group")
# Calls whose result is an address, or octal, ... rather than a decimal number.
_HEX_RESULT = ("mmap", "brk", "mremap")


class Strace:
    """Prints calls as they end, with the pid in front once there is more than one process."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._pids: set[int] = set()

    def on_syscall(self, event: SyscallEvent) -> None:
        """Called when a call begins and when it has ended."""
        if event.result is None:
            event.notes["args"] = _begin(event)
            if event.row is not None and event.row.name in _NO_RETURN:
                self._print(event.task, _line(event, _end(event), "?"))
            return
        self._print(event.task, format_call(event))

    def on_exit(self, task: Task) -> None:
        """Called when a task has ended."""
        signum = task.exit_code & 0x7F
        how = f"killed by {signal_name(signum)}" if signum else f"exited with {task.exit_code >> 8}"
        self._print(task, f"+++ {how} +++")

    def _print(self, task: Task, text: str) -> None:
        self._pids.add(task.pid)
        pid = f"[pid {task.pid:5}] " if len(self._pids) > 1 else ""
        self._out.write(f"{pid}{text}\n")


def format_call(event: SyscallEvent) -> str:
    """The line for a call that has ended; `event` must have been seen by `Strace` or `begin` when it began."""
    result = event.result
    assert result is not None
    if -4095 <= result < 0:
        text = f"-1 {errno_name(result)} ({strerror(result)})"
    elif event.row is not None and event.row.name in _HEX_RESULT:
        text = f"{result:#x}"
    else:
        text = str(result)
    return _line(event, _end(event), text)


def _begin(event: SyscallEvent) -> list[str | None]:
    """What each argument looks like before the call; None for those that are printed afterwards."""
    if event.row is None:
        return [f"{raw:#x}" for raw in event.raw]
    view = View(event.task, event.row, event.raw)
    return [None if _is_output(arg.kind) else show(view, i) for i, arg in enumerate(event.row.args)]


def _end(event: SyscallEvent) -> list[str]:
    args = event.notes.get("args")
    before: list[str | None] = args if isinstance(args, list) else _begin(event)
    if event.row is None:
        return [text or "" for text in before]
    view = View(event.task, event.row, event.raw, event.result)
    return [show(view, i) if text is None else text for i, text in enumerate(before)]


def _is_output(kind: Kind) -> bool:
    return kind.endswith("_out") or kind is Kind.PRCTL_ARG


def _line(event: SyscallEvent, args: list[str], result: str) -> str:
    name = event.row.name if event.row is not None else f"syscall_{event.number:#x}"
    call = f"{name}({', '.join(arg for arg in args if arg)})"
    return f"{call:<{_COLUMN - 1}} = {result}"
