"""Names of files: made, taken away, and who may do what with what they mean.

Mirrors the SYSCALL_DEFINEs of fs/namei.c and of fs/open.c (chmod).  The work is done in `kernel.fs.namei`.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs import namei
from numalab.kernel.fs.path import Path
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.file import AT_FDCWD, files_of, lookup_start
from numalab.syscalls.uaccess import getname

__all__ = ["chmod", "fchmod", "mkdir", "rmdir", "umask", "unlink", "unlinkat"]

AT_REMOVEDIR = 0x200


def mkdir(k: Kernel, task: Task, path: int, mode: int) -> int:
    """mkdir(2). Errors: EFAULT, ENAMETOOLONG, and those of namei.mkdir()."""
    namei.mkdir(Path(k.root), getname(task, path, namei.PATH_MAX), mode, task)
    return 0


def rmdir(k: Kernel, task: Task, path: int) -> int:
    """rmdir(2). Errors: EFAULT, ENAMETOOLONG, and those of namei.rmdir()."""
    return unlinkat(k, task, AT_FDCWD, path, AT_REMOVEDIR)


def unlink(k: Kernel, task: Task, path: int) -> int:
    """unlink(2). Errors: EFAULT, ENAMETOOLONG, and those of namei.unlink()."""
    return unlinkat(k, task, AT_FDCWD, path, 0)


def unlinkat(k: Kernel, task: Task, dirfd: int, path: int, flags: int) -> int:
    """unlinkat(2), for directories too. Errors: EINVAL (flags), EBADF, ENOTDIR, and those of unlink() and rmdir()."""
    if flags & ~AT_REMOVEDIR:
        raise KernelError(EINVAL)
    name = getname(task, path, namei.PATH_MAX)
    remove = namei.rmdir if flags & AT_REMOVEDIR else namei.unlink
    remove(lookup_start(k, task, dirfd, name), name, task)
    return 0


def chmod(k: Kernel, task: Task, path: int, mode: int) -> int:
    """chmod(2). Errors: EFAULT, ENAMETOOLONG, those of a path, EPERM."""
    inode = namei.resolve(Path(k.root), getname(task, path, namei.PATH_MAX), task.cred).inode
    namei.chmod(inode, mode, task.cred)
    return 0


def fchmod(k: Kernel, task: Task, fd: int, mode: int) -> int:
    """fchmod(2). Errors: EBADF, EPERM."""
    namei.chmod(files_of(task).get(fd).inode, mode, task.cred)
    return 0


def umask(k: Kernel, task: Task, mask: int) -> int:
    """umask(2): what new files do not get; returns what it was."""
    before, task.fs.umask = task.fs.umask, mask & 0o777
    return before
