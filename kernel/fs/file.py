"""Open files and file descriptors.

Mirrors fs/file.c (the descriptor table), fs/read_write.c and the mode bits of include/linux/fs.h.
"""

from __future__ import annotations

from numalab.arch.errno import EBADF, EINVAL, EISDIR, EMFILE, ESPIPE, KernelError
from numalab.kernel.cred import Cred
from numalab.kernel.fs.inode import Directory, Inode, Opening

__all__ = [
    "MAX_RW_COUNT", "O_ACCMODE", "O_CLOEXEC", "O_CREAT", "O_DIRECTORY", "O_EXCL", "O_NOFOLLOW", "O_NONBLOCK",
    "O_RDONLY", "O_RDWR", "O_TRUNC", "O_WRONLY", "File", "FilesStruct",
]  # fmt: skip

O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE = 0, 1, 2, 3
O_NONBLOCK = 0o4000
O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC = (
    0o100,
    0o200,
    0o1000,
    0o200000,
    0o400000,
    0o2000000,
)
MAX_RW_COUNT = 0x7FFFF000
"""The most that one read or write moves: INT_MAX rounded down to a page."""

SEEK_SET, SEEK_CUR = 0, 1


class File:
    """struct file: an inode, opened. count: descriptors that fork and clone have made of it."""

    def __init__(self, inode: Inode, path: str, flags: int, cred: Cred) -> None:
        self.inode = inode
        self.path = path
        self.flags = flags
        self.pos = 0
        self.opening = Opening(cred)
        self.opening.nonblock = bool(flags & O_NONBLOCK)
        self.count = 0

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE in (O_RDONLY, O_RDWR)

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE in (O_WRONLY, O_RDWR)

    def read(self, count: int, pos: int | None = None) -> bytes:
        """read(2), or pread(2) when a position is given. At most MAX_RW_COUNT bytes are looked at.

        Errors: EBADF (not open for reading), EISDIR, EINVAL (negative position), and the inode's own.
        """
        if not self.readable:
            raise KernelError(EBADF)
        if isinstance(self.inode, Directory):
            raise KernelError(EISDIR)
        at = self.pos if pos is None else pos
        if at < 0:
            raise KernelError(EINVAL)
        # Only a plain read moves the position; pread leaves it alone.
        data = self.inode.read(self.opening, at, min(count, MAX_RW_COUNT))
        if pos is None:
            self.pos = at + len(data)
        return data

    def write(self, data: bytes, pos: int | None = None) -> int:
        """write(2), or pwrite(2) when a position is given.

        Errors: EBADF (not open for writing), EINVAL (negative position), and the inode's own.
        """
        if not self.writable:
            raise KernelError(EBADF)
        at = self.pos if pos is None else pos
        if at < 0:
            raise KernelError(EINVAL)
        done = self.inode.write(self.opening, at, data)
        if pos is None:
            self.pos = at + done
        return done

    def fput(self) -> None:
        """One descriptor less; with the last one the file is released."""
        self.count -= 1
        if self.count == 0:
            self.inode.release()

    def llseek(self, offset: int, whence: int) -> int:
        """lseek(2). Errors: EINVAL (no such whence, or before the start). Made-up files have no end to seek from."""
        if not self.inode.seekable:
            raise KernelError(ESPIPE)
        if whence not in (SEEK_SET, SEEK_CUR):
            raise KernelError(EINVAL)
        pos = offset + (self.pos if whence == SEEK_CUR else 0)
        if not 0 <= pos < 1 << 63:
            raise KernelError(EINVAL)
        # Going back to the start is how programs ask a made-up file for fresh contents.
        if pos == 0:
            self.opening.shown = None
        self.pos = pos
        return pos


class FilesStruct:
    """struct files_struct: the open files of a process by number."""

    LIMIT = 1024  # RLIMIT_NOFILE's default; raising the limit has no effect

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._cloexec: set[int] = set()
        self.users = 1  # tasks that share the table (CLONE_FILES)

    def install(self, file: File) -> int:
        """Give a file the lowest free number. Errors: EMFILE."""
        fd = next((n for n in range(self.LIMIT) if n not in self._files), None)
        if fd is None:
            raise KernelError(EMFILE)
        self._files[fd] = file
        file.count += 1
        if file.flags & O_CLOEXEC:
            self._cloexec.add(fd)
        return fd

    def get(self, fd: int) -> File:
        """fget(). Errors: EBADF."""
        file = self._files.get(fd)
        if file is None:
            raise KernelError(EBADF)
        return file

    def close(self, fd: int) -> None:
        """close(2). Errors: EBADF."""
        file = self.get(fd)
        del self._files[fd]
        self._cloexec.discard(fd)
        file.fput()

    def close_on_exec(self) -> None:
        """Close what was opened with O_CLOEXEC."""
        for fd in list(self._cloexec):
            self.close(fd)

    def exit_files(self) -> None:
        """One task that shares the table has ended; with the last one everything is closed."""
        self.users -= 1
        if self.users == 0:
            for fd in list(self._files):
                self.close(fd)

    def copy(self) -> FilesStruct:
        """The table of a forked child: the same open files under the same numbers."""
        new = FilesStruct()
        new._files = dict(self._files)
        for file in new._files.values():
            file.count += 1
        new._cloexec = set(self._cloexec)
        return new
