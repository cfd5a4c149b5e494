"""What a file is: stat(2) and its relatives.

Mirrors the SYSCALL_DEFINEs of fs/stat.c and struct stat of x86-64.  Of the times one is kept, that of the last change;
for what is made up it is 0.
"""

from __future__ import annotations

import struct

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Inode
from numalab.kernel.fs.namei import PATH_MAX, resolve
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.file import AT_FDCWD, files_of, lookup_start
from numalab.syscalls.uaccess import copy_to_user, getname

__all__ = ["STAT", "fstat", "lstat", "newfstatat", "stat"]

STAT = struct.Struct("<3Q3I4xQ3q6Q24x")
"""dev, ino, nlink; mode, uid, gid; rdev; size, blksize, blocks; three times, each as seconds and nanoseconds."""

AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, AT_STATX_SYNC_TYPE = 0x100, 0x800, 0x1000, 0x6000
_BLOCKS_PER_PAGE = 8


def stat(k: Kernel, task: Task, path: int, statbuf: int) -> int:
    """stat(2). Errors: EFAULT, ENAMETOOLONG, those of a path."""
    return newfstatat(k, task, AT_FDCWD, path, statbuf, 0)


def lstat(k: Kernel, task: Task, path: int, statbuf: int) -> int:
    """lstat(2): of a symbolic link itself. Errors: those of stat()."""
    return newfstatat(k, task, AT_FDCWD, path, statbuf, AT_SYMLINK_NOFOLLOW)


def fstat(k: Kernel, task: Task, fd: int, statbuf: int) -> int:
    """fstat(2). Errors: EBADF, EFAULT."""
    return _put_stat(task, statbuf, files_of(task).get(fd).inode)


def newfstatat(k: Kernel, task: Task, dirfd: int, path: int, statbuf: int, flags: int) -> int:
    """newfstatat(2), fstatat() in C; with AT_EMPTY_PATH no path is the descriptor itself.

    Errors: EINVAL (flags), EFAULT, ENAMETOOLONG, EBADF, those of a path.
    """
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE):
        raise KernelError(EINVAL)
    name = "" if flags & AT_EMPTY_PATH and not path else getname(task, path, PATH_MAX)
    if not name and flags & AT_EMPTY_PATH:
        inode = k.root if dirfd == AT_FDCWD else files_of(task).get(dirfd).inode
    else:
        start = lookup_start(k, task, dirfd, name)
        inode = resolve(start, name, task.cred, follow=not flags & AT_SYMLINK_NOFOLLOW).inode
    return _put_stat(task, statbuf, inode)


def _put_stat(task: Task, statbuf: int, inode: Inode) -> int:
    pages = 0 if inode.mapping is None else inode.mapping.nrpages + inode.mapping.nr_swapped
    copy_to_user(
        task,
        statbuf,
        STAT.pack(
            inode.sb.dev, inode.ino, inode.nlink, inode.mode, inode.uid, inode.gid, 0,
            inode.size, inode.sb.blocksize, pages * _BLOCKS_PER_PAGE, *divmod(inode.mtime, 10**9) * 3,
        ),
    )  # fmt: skip
    return 0
