"""What the kernel's Machine needs to know of this floor: how a program gets its `sys`, and how it is traced.

A module serves as the `Abi` object of `kernel.machine`, as both are just functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from numalab.kernel.state import Kernel
from numalab.syscalls.explain import Explainer, Explanation
from numalab.syscalls.inject import Injection
from numalab.syscalls.strace.tracer import Options, Strace
from numalab.syscalls.sys import program_of
from numalab.syscalls.table import BY_NUMBER

__all__ = ["explainer", "injection", "program_of", "syscall_name", "tracer"]


def tracer(out: TextIO, **options: Any) -> Strace:
    """A tracer that prints to `out`. Raises ValueError for a trace set that is none."""
    return Strace(out, Options(**options))


def syscall_name(number: int) -> str:
    """What a system call is called, or its number."""
    row = BY_NUMBER.get(number)
    return f"syscall {number}" if row is None else row.name


def explainer(k: Kernel, tell: Callable[[Explanation], object] | None) -> Explainer:
    """What keeps the last calls and their pages."""
    return Explainer(k, tell)


def injection(k: Kernel, calls: str, error: str | int, when: str | int) -> Injection:
    """An error in place of some calls. Raises ValueError for calls, errors or counts that are none."""
    return Injection(k, calls, error, when)
