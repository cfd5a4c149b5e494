"""Open files and file descriptors.

Mirrors fs/file_table.c, fs/file.c (the descriptor table), fs/read_write.c and the mode bits of include/linux/fs.h.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from numalab.arch.errno import EBADF, EINVAL, EIO, EISDIR, EMFILE, ESPIPE, KernelError
from numalab.kernel.cred import Cred
from numalab.kernel.fs.inode import Directory, Opening
from numalab.kernel.fs.path import Path, d_path
from numalab.mm._mm_types import AddressSpace, AllocCtx
from numalab.mm.errseq import errseq_sample, errseq_seen
from numalab.mm.mutex import Mutex
from numalab.mm.writeback import file_check_wb_err

__all__ = [
    "MAX_RW_COUNT", "O_ACCMODE", "O_APPEND", "O_CLOEXEC", "O_CREAT", "O_DIRECTORY", "O_EXCL", "O_NOFOLLOW",
    "O_NONBLOCK", "O_RDONLY", "O_RDWR", "O_TRUNC", "O_WRONLY", "SEEK_CUR", "SEEK_END", "SEEK_SET",
    "File", "FilesStruct",
]  # fmt: skip

O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE = 0, 1, 2, 3
O_APPEND, O_NONBLOCK = 0o2000, 0o4000
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

SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2
_MAX_POS = 1 << 63


class File:
    """struct file: an inode, opened. count: descriptors and mappings of it; whoever opens it holds the first.

    A ``MappedFile`` (mm/filemap.py).
    """

    def __init__(self, path: Path, flags: int, cred: Cred) -> None:
        self.f_path = path
        self.inode = path.inode
        self.flags = flags
        self.pos = 0
        self.opening = Opening(cred)
        self.opening.nonblock = bool(flags & O_NONBLOCK)
        self.count = 1
        self.f_wb_err = 0
        self.f_sb_err = errseq_sample(self.inode.sb.errors)
        #: f_pos_lock: one read or write after the other moves the position, where either may sleep.
        self.pos_lock: AbstractContextManager[None] = nullcontext()
        if self.inode.mapping is not None:
            self.f_wb_err = errseq_sample(self.inode.mapping)
            self.pos_lock = Mutex(self.inode.mapping.mem, "the position of a file")
        self.inode.users += 1
        self.inode.sb.users += 1

    def get_file(self) -> None:
        """One descriptor or mapping more."""
        self.count += 1

    def fput(self, cpu: int) -> None:
        """One less; with the last one the file is released, and the inode if it has no name any more."""
        self.count -= 1
        if self.count == 0:
            self.inode.release(cpu)
            self.inode.users -= 1
            self.inode.sb.users -= 1
            self.inode.iput(cpu)

    # What mm asks of it

    @property
    def mapping(self) -> AddressSpace:
        """Its pages; only what is mappable has any."""
        assert self.inode.mapping is not None
        return self.inode.mapping

    @property
    def mappable(self) -> bool:
        return self.inode.mapping is not None

    @property
    def path(self) -> str:
        """Its name, as /proc shows it."""
        return d_path(self.f_path)

    @property
    def dev(self) -> int:
        return self.inode.sb.dev

    @property
    def ino(self) -> int:
        return self.inode.ino

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE in (O_RDONLY, O_RDWR)

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE in (O_WRONLY, O_RDWR)

    # Reading and writing

    def read(self, count: int, pos: int | None = None) -> bytes:
        """read(2), or pread(2) when a position is given. At most MAX_RW_COUNT bytes are looked at.

        Errors: EBADF (not open for reading), EISDIR, EINVAL (negative position), and the inode's own.
        """
        if not self.readable:
            raise KernelError(EBADF)
        if isinstance(self.inode, Directory):
            raise KernelError(EISDIR)
        at = self.pos if pos is None else pos
        _verify_area(at, count)
        # Only a plain read moves the position; pread leaves it alone.
        data = self.inode.read(self.opening, at, min(count, MAX_RW_COUNT))
        if pos is None:
            self.pos = at + len(data)
        return data

    def write(self, data: bytes, pos: int | None = None) -> int:
        """write(2), or pwrite(2) when a position is given: with O_APPEND both go to the end.

        Errors: EBADF (not open for writing), EINVAL (negative position), and the inode's own.
        """
        if not self.writable:
            raise KernelError(EBADF)
        at = self.pos if pos is None else pos
        _verify_area(at, len(data))
        if self.flags & O_APPEND and self.mappable:
            at = self.inode.size
        done = self.inode.write(self.opening, at, data)
        if pos is None:
            self.pos = at + done
        return done

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """The file's own part of fallocate(2)."""
        self.inode.fallocate(ctx, mode, offset, length)

    def fsync(self) -> None:
        """fsync(2). Errors: EINVAL (nothing that could be written back), EIO (told once to each open file)."""
        self.inode.fsync()
        if self.mappable:
            file_check_wb_err(self)

    def syncfs(self) -> None:
        """syncfs(2). Errors: EIO (something there could not be written: told once to each open file)."""
        sb = self.inode.sb
        sb.sync()
        if self.f_sb_err != sb.errors.wb_err:
            self.f_sb_err = errseq_seen(sb.errors)
            raise KernelError(EIO)

    def llseek(self, offset: int, whence: int) -> int:
        """lseek(2). Errors: ESPIPE; EINVAL (no such whence, or before the start).

        What is made up has no end to seek from.
        """
        if not self.inode.seekable:
            raise KernelError(ESPIPE)
        base = {SEEK_SET: 0, SEEK_CUR: self.pos}
        if self.mappable:
            base[SEEK_END] = self.inode.size
        if whence not in base:
            raise KernelError(EINVAL)
        pos = base[whence] + offset
        if not 0 <= pos < _MAX_POS:
            raise KernelError(EINVAL)
        # Going back to the start is how programs ask a made-up file for fresh contents.
        if pos == 0:
            self.opening.shown = None
        self.pos = pos
        return pos


def _verify_area(pos: int, count: int) -> None:
    """rw_verify_area(): whether positions from ``pos`` on are numbers of a file. Errors: EINVAL."""
    if pos < 0 or pos + count >= _MAX_POS:
        raise KernelError(EINVAL)


class FilesStruct:
    """struct files_struct: the open files of a process by number."""

    LIMIT = 1024  # RLIMIT_NOFILE's default; raising the limit has no effect

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._cloexec: set[int] = set()
        self.users = 1  # tasks that share the table (CLONE_FILES)

    def get_unused_fd(self) -> int:
        """The lowest free number. Errors: EMFILE."""
        fd = next((n for n in range(self.LIMIT) if n not in self._files), None)
        if fd is None:
            raise KernelError(EMFILE)
        return fd

    def install(self, file: File, cloexec: bool = False) -> int:
        """Give a file, whose reference goes over to the table, the lowest free number. Errors: EMFILE."""
        fd = self.get_unused_fd()
        self._set(fd, file, cloexec)
        return fd

    def _set(self, fd: int, file: File, cloexec: bool) -> None:
        self._files[fd] = file
        self._cloexec.discard(fd)
        if cloexec:
            self._cloexec.add(fd)

    def get(self, fd: int) -> File:
        """fget(). Errors: EBADF."""
        file = self._files.get(fd)
        if file is None:
            raise KernelError(EBADF)
        return file

    def dup(self, fd: int) -> int:
        """dup(2). Errors: EBADF, EMFILE."""
        file = self.get(fd)
        new = self.install(file)
        file.get_file()
        return new

    def dup2(self, fd: int, new: int, cpu: int, cloexec: bool = False) -> int:
        """Make ``new`` mean what ``fd`` means, closing what it meant. Errors: EBADF (either number)."""
        if not 0 <= new < self.LIMIT:
            raise KernelError(EBADF)
        file, old = self.get(fd), self._files.get(new)
        file.get_file()
        self._set(new, file, cloexec)
        if old is not None:
            old.fput(cpu)
        return new

    def close(self, fd: int, cpu: int) -> None:
        """close(2). Errors: EBADF."""
        file = self.get(fd)
        del self._files[fd]
        self._cloexec.discard(fd)
        file.fput(cpu)

    def close_on_exec(self, cpu: int) -> None:
        """Close what was opened with O_CLOEXEC."""
        for fd in list(self._cloexec):
            self.close(fd, cpu)

    def exit_files(self, cpu: int) -> None:
        """One task that shares the table has ended; with the last one everything is closed."""
        self.users -= 1
        if self.users == 0:
            for fd in list(self._files):
                self.close(fd, cpu)

    def copy(self) -> FilesStruct:
        """The table of a forked child: the same open files under the same numbers."""
        new = FilesStruct()
        new._files = dict(self._files)
        for file in new._files.values():
            file.get_file()
        new._cloexec = set(self._cloexec)
        return new
