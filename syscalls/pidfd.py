"""pidfd_open(2): a descriptor that stands for a process.

Mirrors the SYSCALL_DEFINE of kernel/pid.c and pidfd_get_task(). Deliberately different: the descriptor can be handed to
calls that take one, but not waited for.
"""

from __future__ import annotations

import stat

from numalab.arch.errno import EBADF, EINVAL, EOPNOTSUPP, ESRCH, KernelError
from numalab.kernel.fs.file import O_RDWR, File
from numalab.kernel.fs.inode import Inode
from numalab.kernel.fs.path import Path
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm._mm_types import AllocCtx
from numalab.syscalls.abi import PIDFD_NONBLOCK, PIDFD_THREAD
from numalab.syscalls.file import files_of

__all__ = ["pidfd_get_task", "pidfd_open"]


class _PidFd(Inode):
    """What the descriptor leads to: a task, or of a process the leader."""

    seekable = False

    def __init__(self, task: Task) -> None:
        super().__init__(stat.S_IFREG | 0o700)
        self.task = task

    def truncate(self, ctx: AllocCtx, size: int) -> None:
        """pidfs_setattr(). Errors: EOPNOTSUPP."""
        raise KernelError(EOPNOTSUPP)


def pidfd_open(k: Kernel, task: Task, pid: int, flags: int) -> int:
    """pidfd_open(2). Errors: EINVAL (flags, pid, a thread), ESRCH, EMFILE."""
    if flags & ~(PIDFD_NONBLOCK | PIDFD_THREAD) or pid <= 0:
        raise KernelError(EINVAL)
    target = k.pids.find(pid)
    if target is None:
        raise KernelError(ESRCH)
    if target.group_leader is not target and not flags & PIDFD_THREAD:
        raise KernelError(EINVAL)
    file = File(Path(_PidFd(target), "anon_inode:[pidfd]"), O_RDWR | flags, task.cred)
    return files_of(task).install(file, cloexec=True)


def pidfd_get_task(k: Kernel, task: Task, fd: int) -> Task:
    """The task that a descriptor stands for. Errors: EBADF (another kind of descriptor too), ESRCH (it is gone)."""
    inode = files_of(task).get(fd).inode
    if not isinstance(inode, _PidFd):
        raise KernelError(EBADF)
    if k.pids.find(inode.task.pid) is not inode.task:
        raise KernelError(ESRCH)
    return inode.task
