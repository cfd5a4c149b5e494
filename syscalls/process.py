"""Processes: ids, exit, wait, kill, resource limits and usage.

Mirrors the SYSCALL_DEFINEs of kernel/exit.c, kernel/sys.c and kernel/signal.c.  fork and exec have no raw form
here, since a Python frame can be neither copied nor loaded from a file; programs use `sys.fork(child)` and
`sys.execve(program)`.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from numalab.arch.errno import EINVAL, EPERM, ESRCH, KernelError
from numalab.kernel import exit as kernel_exit
from numalab.kernel import kill as kernel_kill
from numalab.kernel.cred import Cap
from numalab.kernel.state import Kernel
from numalab.kernel.task import RLIM_NLIMITS, Task, capable
from numalab.syscalls.abi import RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD
from numalab.syscalls.uaccess import copy_to_user, get_user, put_user

__all__ = [
    "exit_", "exit_group", "getpid", "getppid", "getrlimit", "getrusage", "gettid", "kill", "prlimit64", "setrlimit",
    "wait4",
]  # fmt: skip


def getpid(k: Kernel, task: Task) -> int:
    """getpid(2): the thread group id."""
    return task.tgid


def gettid(k: Kernel, task: Task) -> int:
    """gettid(2): the calling thread's own id."""
    return task.pid


def getppid(k: Kernel, task: Task) -> int:
    """getppid(2): the parent process; 1 when the real one has ended, or there never was one."""
    return task.ppid


def exit_(k: Kernel, task: Task, status: int) -> NoReturn:
    """_exit(2) of the calling thread."""
    kernel_exit.do_exit(k, task, (status & 0xFF) << 8)


def exit_group(k: Kernel, task: Task, status: int) -> NoReturn:
    """exit_group(2): every thread of the process."""
    kernel_exit.do_group_exit(k, task, (status & 0xFF) << 8)


def kill(k: Kernel, task: Task, pid: int, sig: int) -> int:
    """kill(2). Errors: ESRCH, EINVAL, EPERM."""
    return kernel_kill.kill(k, task, pid, sig)


def wait4(k: Kernel, task: Task, pid: int, status: int, options: int, rusage: int) -> int:
    """wait4(2). Errors: EINVAL, ESRCH, ECHILD, EINTR, EFAULT (the child is gone by then)."""
    waited = kernel_exit.kernel_wait4(k, task, pid, options)
    if waited.pid:
        if status:
            put_user(task, status, "i", waited.status)
        if rusage:
            copy_to_user(task, rusage, _rusage(waited.min_flt, waited.maj_flt))
    return waited.pid


def _rusage(min_flt: int, maj_flt: int) -> bytes:
    """struct rusage: two timeval and 14 counters, of which only the fault counts are kept."""
    words = [0] * 18
    words[8], words[9] = min_flt, maj_flt
    return struct.pack("<18q", *words)


def getrusage(k: Kernel, task: Task, who: int, usage: int) -> int:
    """getrusage(2): page faults of the process, its thread, or the children waited for. Errors: EINVAL, EFAULT."""
    group = task.signal
    if who == RUSAGE_SELF:
        faults = (sum(t.ctx.min_flt for t in group.threads), sum(t.ctx.maj_flt for t in group.threads))
    elif who == RUSAGE_CHILDREN:
        faults = (group.child_min_flt, group.child_maj_flt)
    elif who == RUSAGE_THREAD:
        faults = (task.ctx.min_flt, task.ctx.maj_flt)
    else:
        raise KernelError(EINVAL)
    copy_to_user(task, usage, _rusage(*faults))
    return 0


def getrlimit(k: Kernel, task: Task, resource: int, rlim: int) -> int:
    """getrlimit(2). Errors: EINVAL, EFAULT."""
    soft, hard = _limits(task, resource)
    put_user(task, rlim, "QQ", soft, hard)
    return 0


def setrlimit(k: Kernel, task: Task, resource: int, rlim: int) -> int:
    """setrlimit(2). Errors: EFAULT, EINVAL, EPERM."""
    soft, hard = get_user(task, rlim, "QQ")
    _set_limits(task, task, resource, soft, hard)
    return 0


def prlimit64(k: Kernel, task: Task, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit(2), get and set in one. Errors in order: EFAULT, ESRCH, EPERM (not one's own kind), EINVAL, EPERM."""
    wanted = get_user(task, new, "QQ") if new else None
    target = k.pids.find(pid) if pid else task
    if target is None:
        raise KernelError(ESRCH)
    theirs, mine = target.cred, task.cred
    same = {theirs.uid, theirs.euid, theirs.suid} == {mine.uid} and {
        theirs.gid,
        theirs.egid,
        theirs.sgid,
    } == {mine.gid}
    if target is not task and not same and not capable(task, Cap.CAP_SYS_RESOURCE):
        raise KernelError(EPERM)
    before = _limits(target, resource)
    if wanted is not None:
        _set_limits(task, target, resource, *wanted)
    if old:
        put_user(task, old, "QQ", *before)
    return 0


def _limits(task: Task, resource: int) -> tuple[int, int]:
    if resource >= RLIM_NLIMITS:
        raise KernelError(EINVAL)
    return task.signal.rlimits_of(resource)


def _set_limits(caller: Task, task: Task, resource: int, soft: int, hard: int) -> None:
    """do_prlimit(). Errors: EINVAL (no such resource, soft above hard), EPERM (raising hard needs CAP_SYS_RESOURCE)."""
    if resource >= RLIM_NLIMITS or soft > hard:
        raise KernelError(EINVAL)
    if hard > _limits(task, resource)[1] and not capable(caller, Cap.CAP_SYS_RESOURCE):
        raise KernelError(EPERM)
    task.signal.rlimits[resource] = (soft, hard)
