"""Files by name and by descriptor.

Mirrors the SYSCALL_DEFINEs of fs/open.c, fs/read_write.c and fs/namei.c.  What a path names is `kernel.fs`.
"""

from __future__ import annotations

from numalab.arch.errno import EBADF, EINVAL, ENOTDIR, KernelError
from numalab.kernel.fs import namei
from numalab.kernel.fs.file import MAX_RW_COUNT, File, FilesStruct
from numalab.kernel.fs.inode import Directory
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.uaccess import copy_from_user, copy_to_user, getname

__all__ = [
    "close", "lseek", "mkdir", "open_", "openat", "pread64", "pwrite64", "read", "rmdir", "write",
]  # fmt: skip

AT_FDCWD = -100
_CHUNK = 64 << 10  # bytes that are on their way between a file and a program at a time


def _files(task: Task) -> FilesStruct:
    assert task.files is not None  # only living tasks make system calls
    return task.files


def open_(k: Kernel, task: Task, path: int, flags: int, mode: int) -> int:
    """open(2). Errors: those of openat()."""
    return openat(k, task, AT_FDCWD, path, flags, mode)


def openat(k: Kernel, task: Task, dirfd: int, path: int, flags: int, mode: int) -> int:
    """openat(2), for absolute paths or relative to a descriptor's directory (AT_FDCWD: the root directory).

    Errors: EFAULT, ENAMETOOLONG, EBADF and ENOTDIR (the descriptor), EMFILE, and those of namei.open_path().
    """
    name = getname(task, path, namei.PATH_MAX)
    root = k.root
    if not name.startswith("/") and dirfd != AT_FDCWD:
        start = _files(task).get(dirfd).inode
        if not isinstance(start, Directory):
            raise KernelError(ENOTDIR)
        root = start
    return _files(task).install(namei.open_path(root, name, flags, task.cred))


def close(k: Kernel, task: Task, fd: int) -> int:
    """close(2). Errors: EBADF."""
    _files(task).close(fd)
    return 0


def read(k: Kernel, task: Task, fd: int, buf: int, count: int) -> int:
    """read(2). Errors: EBADF, EISDIR, EINVAL, EFAULT (if nothing could be stored), and the file's own."""
    file = _files(task).get(fd)
    done = _read(task, file, buf, count, file.pos)
    file.pos += done
    return done


def pread64(k: Kernel, task: Task, fd: int, buf: int, count: int, pos: int) -> int:
    """pread(2). Errors: EINVAL (negative position) first, then those of read()."""
    if pos < 0:
        raise KernelError(EINVAL)
    return _read(task, _files(task).get(fd), buf, count, pos)


def _read(task: Task, file: File, buf: int, count: int, pos: int) -> int:
    """Piece by piece, so that a large count costs no more than what is there."""
    count = min(count, MAX_RW_COUNT)
    done = 0
    while True:
        want = min(count - done, _CHUNK)
        try:
            data = file.read(want, pos + done)
            copy_to_user(task, buf + done, data)
        except KernelError:
            # What has been read before the error is a success.
            if not done:
                raise
            return done
        done += len(data)
        if len(data) < want or done == count or not file.inode.seekable:
            return done


def write(k: Kernel, task: Task, fd: int, buf: int, count: int) -> int:
    """write(2): a made-up file takes a page at most, and takes it whole. Errors: EBADF, EFAULT, and the file's own."""
    file = _files(task).get(fd)
    done = _write(task, file, buf, count, file.pos)
    file.pos += done
    return done


def pwrite64(k: Kernel, task: Task, fd: int, buf: int, count: int, pos: int) -> int:
    """pwrite(2). Errors: EINVAL (negative position) first, then those of write()."""
    if pos < 0:
        raise KernelError(EINVAL)
    return _write(task, _files(task).get(fd), buf, count, pos)


def _write(task: Task, file: File, buf: int, count: int, pos: int) -> int:
    # Before the buffer is looked at, as vfs_write() does.
    if not file.writable:
        raise KernelError(EBADF)
    return file.write(copy_from_user(task, buf, min(count, PAGE_SIZE)), pos)


def lseek(k: Kernel, task: Task, fd: int, offset: int, whence: int) -> int:
    """lseek(2). Errors: EBADF, EINVAL."""
    return _files(task).get(fd).llseek(offset, whence)


def mkdir(k: Kernel, task: Task, path: int, mode: int) -> int:
    """mkdir(2). Errors: EFAULT, ENAMETOOLONG, and those of namei.mkdir()."""
    namei.mkdir(k.root, getname(task, path, namei.PATH_MAX), mode, task.cred)
    return 0


def rmdir(k: Kernel, task: Task, path: int) -> int:
    """rmdir(2). Errors: EFAULT, ENAMETOOLONG, and those of namei.rmdir()."""
    namei.rmdir(k.root, getname(task, path, namei.PATH_MAX), task.cred)
    return 0
