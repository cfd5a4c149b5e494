"""Sleeping and asking for the time, both in virtual time.

Mirrors kernel/time/hrtimer.c and posix-timers.c as far as programs without timers need them.
"""

from __future__ import annotations

from numalab.arch.errno import EINTR, EINVAL, KernelError
from numalab.kernel.sched import KTIME_MAX
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.kernel.wait import WaitQueue
from numalab.syscalls.abi import CLOCK_MONOTONIC, CLOCK_REALTIME
from numalab.syscalls.uaccess import get_user, put_user

__all__ = ["clock_gettime", "nanosleep"]

_NSEC = 1_000_000_000


def nanosleep(k: Kernel, task: Task, request: int, remain: int) -> int:
    """nanosleep(2). Errors: EFAULT, EINVAL, EINTR (a signal came; the time left is stored)."""
    seconds, nanoseconds = get_user(task, request, "qq")
    if seconds < 0 or not 0 <= nanoseconds < _NSEC:
        raise KernelError(EINVAL)
    deadline = min(k.hw.now + seconds * _NSEC + nanoseconds, KTIME_MAX)
    try:
        k.sched.wait_event(WaitQueue("time to pass"), lambda: False, deadline=deadline)
    except KernelError as error:
        if error.errno == EINTR and remain:
            put_user(task, remain, "qq", *divmod(max(0, deadline - k.hw.now), _NSEC))
        raise
    return 0


def clock_gettime(k: Kernel, task: Task, clock: int, tp: int) -> int:
    """clock_gettime(2): all clocks tell the virtual time since boot. Errors: EINVAL, EFAULT."""
    if clock not in (CLOCK_REALTIME, CLOCK_MONOTONIC):
        raise KernelError(EINVAL)
    put_user(task, tp, "qq", *divmod(k.hw.now, _NSEC))
    return 0
