"""A call as the decoders see it: registers, the memory they point into, and the result once there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numalab.kernel.task import Task
from numalab.syscalls.kinds import Arg, convert
from numalab.syscalls.peek import peek
from numalab.syscalls.table import Syscall

__all__ = ["Show", "View", "is_error"]


def is_error(result: int) -> bool:
    """IS_ERR_VALUE(): whether a result is -errno."""
    return -4095 <= result < 0


@dataclass
class View:
    """One call of a task. result: None while it has not ended."""

    task: Task
    row: Syscall
    raw: tuple[int, ...]
    result: int | None = None

    @property
    def failed(self) -> bool:
        return self.result is not None and is_error(self.result)

    def value(self, index: int) -> int:
        """An argument as its C type has it."""
        return convert(self.row.args[index].kind, self.raw[index])

    def named(self, name: str) -> int:
        """The argument of that name."""
        return next(self.value(i) for i, arg in enumerate(self.row.args) if arg.name == name)

    def count(self, arg: Arg) -> int:
        """The argument that counts what this one points to."""
        return self.value(arg.size_in)

    def peek(self, addr: int, n: int) -> bytes | None:
        """Bytes of the task's memory; None if they cannot be read."""
        return peek(self.task, addr, n)


Show = Callable[[View, Arg, int], str]
"""A decoder: the text of an argument, from the call, the argument's row, and its value."""
