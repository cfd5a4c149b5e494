"""What the kernel's Machine needs to know of this floor: how a program gets its `sys`, and how it is traced.

A module serves as the `Abi` object of `kernel.machine`, as both are just functions.
"""

from __future__ import annotations

from typing import TextIO

from numalab.syscalls.strace import Strace
from numalab.syscalls.sys import program_of

__all__ = ["program_of", "tracer"]


def tracer(out: TextIO) -> Strace:
    """A tracer that prints to `out`."""
    return Strace(out)
