"""Open files: open and close, read and write, and what else is done to a descriptor.

Mirrors the SYSCALL_DEFINEs of fs/open.c, fs/read_write.c, fs/file.c and fs/sync.c.  What a path names is `kernel.fs`.
"""

from __future__ import annotations

import stat

from numalab.arch.errno import (
    EBADF,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    ENODEV,
    ENOTDIR,
    EOPNOTSUPP,
    ESPIPE,
    KernelError,
)
from numalab.kernel.fs import namei
from numalab.kernel.fs.file import (
    MAX_RW_COUNT,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_TRUNC,
    O_WRONLY,
    File,
    FilesStruct,
)
from numalab.kernel.fs.inode import Directory
from numalab.kernel.fs.path import Path
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.filemap import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MAX_LFS_FILESIZE
from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.uaccess import (
    access_ok,
    copy_from_user,
    copy_from_user_upto,
    copy_to_user_upto,
    getname,
)

__all__ = [
    "AT_FDCWD", "close", "creat", "dup", "dup2", "dup3", "fallocate", "fdatasync", "files_of", "fsync", "ftruncate",
    "lookup_start", "lseek", "open_", "openat", "pread64", "pwrite64", "read", "sync", "syncfs", "truncate", "write",
]  # fmt: skip

AT_FDCWD = -100
_CHUNK = 1 << 20  # bytes that are on their way between a file and a program at a time
_FALLOC_MODES = (
    0,
    2,
    8,
    0x10,
    0x20,
    0x40,
)  # allocate, punch hole, collapse, zero, insert, unshare: one of them


def files_of(task: Task) -> FilesStruct:
    """The descriptors of a task that makes system calls."""
    assert task.files is not None
    return task.files


def lookup_start(k: Kernel, task: Task, dirfd: int, name: str) -> Path:
    """Where a walk begins: the root directory, or for a relative path that of a descriptor. Errors: EBADF, ENOTDIR."""
    if name.startswith("/") or dirfd == AT_FDCWD:
        return Path(k.root)
    start = files_of(task).get(dirfd).f_path
    if not isinstance(start.inode, Directory):
        raise KernelError(ENOTDIR)
    return start


def open_(k: Kernel, task: Task, path: int, flags: int, mode: int) -> int:
    """open(2). Errors: those of openat()."""
    return openat(k, task, AT_FDCWD, path, flags, mode)


def creat(k: Kernel, task: Task, path: int, mode: int) -> int:
    """creat(2). Errors: those of openat()."""
    return openat(k, task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


def openat(k: Kernel, task: Task, dirfd: int, path: int, flags: int, mode: int) -> int:
    """openat(2), for absolute paths or relative to a descriptor's directory (AT_FDCWD: the root directory).

    Errors: EFAULT, ENAMETOOLONG, EMFILE, EBADF and ENOTDIR (the descriptor), and those of namei.open_path().
    """
    name = getname(task, path, namei.PATH_MAX)
    files = files_of(task)
    files.get_unused_fd()  # before anything is made
    file = namei.open_path(lookup_start(k, task, dirfd, name), name, flags, mode, task)
    return files.install(file, bool(flags & O_CLOEXEC))


def close(k: Kernel, task: Task, fd: int) -> int:
    """close(2). Errors: EBADF."""
    files_of(task).close(fd, task.ctx.cpu)
    return 0


def dup(k: Kernel, task: Task, fd: int) -> int:
    """dup(2). Errors: EBADF, EMFILE."""
    return files_of(task).dup(fd)


def dup2(k: Kernel, task: Task, fd: int, new: int) -> int:
    """dup2(2): of a number itself it only asks whether it is open. Errors: EBADF."""
    if fd == new:
        files_of(task).get(fd)
        return new
    return files_of(task).dup2(fd, new, task.ctx.cpu)


def dup3(k: Kernel, task: Task, fd: int, new: int, flags: int) -> int:
    """dup3(2). Errors: EINVAL (flags, or the same number twice), EBADF."""
    if flags & ~O_CLOEXEC or fd == new:
        raise KernelError(EINVAL)
    return files_of(task).dup2(fd, new, task.ctx.cpu, bool(flags & O_CLOEXEC))


def read(k: Kernel, task: Task, fd: int, buf: int, count: int) -> int:
    """read(2). Errors: EBADF, EISDIR, EINVAL, EFAULT (if nothing could be stored), and the file's own."""
    file = files_of(task).get(fd)
    with file.pos_lock:
        done = _read(task, file, buf, count, file.pos)
        file.pos += done
    return done


def pread64(k: Kernel, task: Task, fd: int, buf: int, count: int, pos: int) -> int:
    """pread(2). Errors: EINVAL (negative position) first, then those of read()."""
    if pos < 0:
        raise KernelError(EINVAL)
    return _read(task, files_of(task).get(fd), buf, count, pos)


def _read(task: Task, file: File, buf: int, count: int, pos: int) -> int:
    """Piece by piece, so that a large count costs no more than what is there."""
    if not file.readable:
        raise KernelError(EBADF)
    if not access_ok(task, buf, count):
        raise KernelError(EFAULT)
    count = min(count, MAX_RW_COUNT)
    done = 0
    file.get_file()  # it may be closed while this waits
    try:
        while True:
            want = min(count - done, _CHUNK)
            try:
                data = file.read(want, pos + done)
                stored = _store(task, file, buf + done, data)
            except KernelError:
                # What has been read before the error is a success.
                if not done:
                    raise
                return done
            done += stored
            if stored < want or done == count or not file.inode.seekable:
                return done
    finally:
        file.fput(task.ctx.cpu)


def _store(task: Task, file: File, buf: int, data: bytes) -> int:
    """copy_to_iter(), and what cannot be stored counts as not read. Errors: EFAULT (none of it)."""
    stored = 0
    try:
        stored = copy_to_user_upto(task, buf, data)
    finally:
        if stored < len(data):
            stored = file.inode.unread(data, stored)
    if data and not stored:
        raise KernelError(EFAULT)
    return stored


def write(k: Kernel, task: Task, fd: int, buf: int, count: int) -> int:
    """write(2): what is made up takes a page at most, and takes it whole. Errors: EBADF, EFAULT, and the file's own."""
    file = files_of(task).get(fd)
    with file.pos_lock:
        file.pos, done = _write(task, file, buf, count, file.pos)
    return done


def pwrite64(k: Kernel, task: Task, fd: int, buf: int, count: int, pos: int) -> int:
    """pwrite(2). Errors: EINVAL (negative position) first, then those of write()."""
    if pos < 0:
        raise KernelError(EINVAL)
    return _write(task, files_of(task).get(fd), buf, count, pos)[1]


def _write(task: Task, file: File, buf: int, count: int, pos: int) -> tuple[int, int]:
    """Returns the position behind what was written, and how many bytes that was."""
    # Before the buffer is looked at, as vfs_write() does.
    if not file.writable:
        raise KernelError(EBADF)
    if not access_ok(task, buf, count):
        raise KernelError(EFAULT)
    if not file.mappable:
        took = file.write(copy_from_user(task, buf, min(count, PAGE_SIZE)), pos)
        return pos + took, took
    count = min(count, MAX_RW_COUNT)
    if pos + count > MAX_LFS_FILESIZE:
        raise KernelError(EINVAL)
    file.get_file()  # it may be closed while this waits
    try:
        with file.inode.lock:
            if file.flags & O_APPEND:
                pos = file.inode.size
            done = _write_pages(task, file, buf, count, pos)
    finally:
        file.fput(task.ctx.cpu)
    return pos + done, done


def _write_pages(task: Task, file: File, buf: int, count: int, pos: int) -> int:
    """Piece by piece, as far as there is room; an error counts only if nothing was written before it."""
    done = 0
    while done < count:
        want = min(count - done, _CHUNK)
        try:
            data = copy_from_user_upto(task, buf + done, want)
            took = file.write(data, pos + done)
        except KernelError:
            if not done:
                raise
            break
        done += took
        if took < want:
            break
    return done


def lseek(k: Kernel, task: Task, fd: int, offset: int, whence: int) -> int:
    """lseek(2). Errors: EBADF, ESPIPE, EINVAL."""
    return files_of(task).get(fd).llseek(offset, whence)


def truncate(k: Kernel, task: Task, path: int, length: int) -> int:
    """truncate(2). Errors: EINVAL, EFAULT, ENAMETOOLONG, and those of namei.truncate()."""
    if length < 0:
        raise KernelError(EINVAL)
    namei.truncate(Path(k.root), getname(task, path, namei.PATH_MAX), length, task)
    return 0


def ftruncate(k: Kernel, task: Task, fd: int, length: int) -> int:
    """ftruncate(2). Errors: EINVAL (negative, no regular file, or not open for writing), EBADF."""
    if length < 0:
        raise KernelError(EINVAL)
    file = files_of(task).get(fd)
    if not stat.S_ISREG(file.inode.mode) or not file.writable:
        raise KernelError(EINVAL)
    file.inode.truncate(task.ctx, length)
    return 0


def fallocate(k: Kernel, task: Task, fd: int, mode: int, offset: int, length: int) -> int:
    """fallocate(2): mode 0, KEEP_SIZE, and PUNCH_HOLE with it.

    Errors: EBADF, EINVAL (range), EOPNOTSUPP (mode), EBADF (not open for writing), ESPIPE, EISDIR, ENODEV, EFBIG,
    and the file's own.
    """
    file = files_of(task).get(fd)
    inode = file.inode
    if offset < 0 or length <= 0:
        raise KernelError(EINVAL)
    kind = mode & ~FALLOC_FL_KEEP_SIZE
    if kind not in _FALLOC_MODES or (kind == FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE):
        raise KernelError(EOPNOTSUPP)
    if not file.writable:
        raise KernelError(EBADF)
    if stat.S_ISFIFO(inode.mode):
        raise KernelError(ESPIPE)
    if inode.is_dir:
        raise KernelError(EISDIR)
    if not stat.S_ISREG(inode.mode) and not stat.S_ISBLK(inode.mode):
        raise KernelError(ENODEV)
    if offset + length > MAX_LFS_FILESIZE:
        raise KernelError(EFBIG)
    inode.fallocate(task.ctx, mode, offset, length)
    return 0


def fsync(k: Kernel, task: Task, fd: int) -> int:
    """fsync(2). Errors: EBADF, EINVAL (nothing that could be written back)."""
    files_of(task).get(fd).fsync()
    return 0


def fdatasync(k: Kernel, task: Task, fd: int) -> int:
    """fdatasync(2). Errors: those of fsync()."""
    return fsync(k, task, fd)


def sync(k: Kernel, task: Task) -> int:
    """sync(2): whatever is dirty is written, as far as that can be."""
    for sb in k.super_blocks:
        sb.sync()
    return 0


def syncfs(k: Kernel, task: Task, fd: int) -> int:
    """syncfs(2). Errors: EBADF, EIO."""
    files_of(task).get(fd).syncfs()
    return 0
