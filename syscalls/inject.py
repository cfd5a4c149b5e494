"""System calls that fail on demand, so that callers can test what they do then.

This is what `strace -e inject=SET:error=ERRNO:when=WHEN` does to a program, with the same words: the call is not
carried out, and the caller gets the error. A container's seccomp filter does it as well (EPERM for the calls of memory
policy), and so does a kernel without CONFIG_NUMA (ENOSYS).

    when        1       only the first call of each task
                2+      the second, and all after it
                1+3     the first, the fourth, the seventh ...
                2..4    the second to the fourth; also 2..4+2
"""

from __future__ import annotations

import errno as host
import re
from collections import Counter
from types import TracebackType
from typing import Self

from numalab.arch.errno import errno_name
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.strace.trace_set import parse_trace_set

__all__ = ["Injection"]

_MAX_ERRNO = 4095
_WHEN = re.compile(r"(\d+)(?:\.\.(\d+))?(\+(\d*))?")
_NEVER_RETURN = frozenset({"exit", "exit_group"})


class Injection:
    """An error in place of some calls, from now on until `off()`, or until the end of a `with`.

    hits: how many calls have got it.
    """

    def __init__(self, k: Kernel, calls: str, error: str | int, when: str | int = "1+") -> None:
        """calls: a trace set, such as `mbind,move_pages` or `%memory`; error: `EPERM`, or its number.

        Raises ValueError, in one line, for what is none of these.
        """
        self.calls = parse_trace_set(calls) - _NEVER_RETURN
        self.error = _errno(error)
        self.hits = 0
        self._text = f"{calls}:error={errno_name(self.error)}:when={when}"
        self._first, self._last, self._step = _numbers(str(when))
        self._seen: Counter[Task] = Counter()
        self._k = k
        k.injections.append(self)

    def __repr__(self) -> str:
        return f"<Injection {self._text}, {self.hits} hits>"

    def of(self, task: Task, name: str) -> int:
        """The error that this call of a task gets, 0 = none."""
        if name not in self.calls:
            return 0
        self._seen[task] += 1
        n = self._seen[task]
        if not self._first <= n <= self._last or (n - self._first) % self._step:
            return 0
        self.hits += 1
        return self.error

    def off(self) -> None:
        """Calls are carried out again."""
        if self in self._k.injections:
            self._k.injections.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.off()


def _errno(error: str | int) -> int:
    number = getattr(host, error, 0) if isinstance(error, str) else error
    if not isinstance(number, int) or not 1 <= number <= _MAX_ERRNO:
        raise ValueError(f"{error!r} is no error: give a name such as EPERM, or its number")
    return number


def _numbers(when: str) -> tuple[int, int, int]:
    """(first, last, step) of the calls meant."""
    match = _WHEN.fullmatch(when)
    if match is not None:
        first, last, plus, step = match.groups()
        begin = int(first)
        end = int(last) if last else (1 << 63 if plus else begin)
        every = int(step) if step else 1
        if 1 <= begin <= end and every:
            return begin, end, every
    raise ValueError(f"when={when!r}: give 2, 2+, 2+3, 2..5 or 2..5+3, counted from 1")
