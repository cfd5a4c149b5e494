"""Ctrl-C while a process of the machine runs Python code of a person: a line that was typed, or a .py file.

The process gets SIGINT, as from the terminal it was started at. The host's signal may come at any moment, also in the
middle of a system call, where an exception would tear the kernel's state apart: there it only becomes pending, and the
process acts on it when it next comes out of the kernel, as on any signal. While its own code runs it acts at once.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from numalab.kernel.exit import exit_to_user_mode
from numalab.kernel.report import is_ours
from numalab.kernel.signal import SI_KERNEL, SIGINT, SigInfo
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.tools.programs import LOADED

__all__ = ["TYPED", "ctrl_c", "keyboard_interrupt"]

TYPED = "<py>"
"""The file name of code that a person typed."""


def keyboard_interrupt(signo: int, info: SigInfo) -> NoReturn:
    """What Python does about SIGINT, as a handler of the process."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def ctrl_c(k: Kernel, task: Task | None = None) -> Iterator[None]:
    """Let Ctrl-C go to whichever process runs such code at the moment, else to `task` or nobody."""

    def arrived(signum: int, frame: FrameType | None) -> None:
        current = k.sched.current if _runs_a_program(frame) else None
        if target := current or task:
            target.signal.pending.setdefault(SIGINT, SigInfo(SIGINT, SI_KERNEL))
        if current is not None:
            exit_to_user_mode(k, current)

    before = signal.signal(signal.SIGINT, arrived)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _runs_a_program(frame: FrameType | None) -> bool:
    """Whether it is such code, or what that has called, and none of our code in between."""
    while frame is not None and not is_ours(frame.f_code.co_filename):
        if frame.f_code.co_filename == TYPED or frame.f_globals.get("__name__") == LOADED:
            return True
        frame = frame.f_back
    return False
