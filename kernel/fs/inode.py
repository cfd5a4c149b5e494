"""Inodes: directories, links, and files whose contents the kernel makes up when they are read.

Mirrors include/linux/fs.h, fs/seq_file.c and fs/sysfs in what a program can see of them.  Deliberately
different: an inode is found by its name in a Python dict, there are no dentries, and a made-up file is rendered
whole when it is read from the start.

    Directory     names, by lookup(); /proc overrides that to find processes by number
    Symlink       /proc/self
    PseudoFile    text that a function renders, and perhaps another takes
    Inode         the base of all, and of files with contents of another kind: pagemap, and those with pages (tmpfs.py)
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from numalab.arch.errno import EINVAL, EIO, ENOTDIR, ENOTEMPTY, EOPNOTSUPP, KernelError
from numalab.kernel.fs.super import SuperBlock

if TYPE_CHECKING:
    from numalab.kernel.cred import Cred
    from numalab.mm._mm_types import AddressSpace, AllocCtx

__all__ = ["NO_SUPER", "Directory", "Inode", "Opening", "PseudoFile", "Symlink", "text_file"]


class Opening:
    """What an inode knows of one open file: who opened it, and what it showed, or listed, when read from the start.

    cred: the credentials at open(), which some files go by later (f_cred); nonblock: O_NONBLOCK.
    """

    def __init__(self, cred: Cred) -> None:
        self.cred = cred
        self.nonblock = False
        self.shown: bytes | None = None
        self.listed: list[str] | None = None


NO_SUPER = SuperBlock(0)
"""The file system of what is in none: pipes, and directories that are not in a tree yet."""


class Inode:
    """struct inode: type and permissions, owner, and who needs it.

    nlink: its names, users: open files of it. Without either it is evicted. sb: the file system that it is in.
    """

    #: Its pages; None: it has none.
    mapping: AddressSpace | None = None
    #: i_rwsem: held while its contents or its length change. What is made up changes at once, and needs none.
    lock: AbstractContextManager[None] = nullcontext()

    def __init__(self, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.users = 0
        self.sb = NO_SUPER
        self.mtime = 0  # virtual ns; the one time that is kept
        self._ino = 0

    @property
    def ino(self) -> int:
        """Its number within its file system, given when somebody first asks."""
        if not self._ino:
            self._ino = self.sb.get_next_ino()
        return self._ino

    @property
    def size(self) -> int:
        """i_size in bytes: 0 for what is made up."""
        return 0 if self.mapping is None else self.mapping.i_size

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    #: Whether capabilities override its mode (not in /proc/sys: proc_sys_permission()).
    overridable = True
    #: Whether reads and writes have a position (else it is a stream).
    seekable = True

    def open(self, opening: Opening) -> None:
        """Called by open(2) after the permission checks; may refuse with a KernelError."""

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Up to `count` bytes from `pos` on, none at the end. Errors: EINVAL where there is nothing to read."""
        raise KernelError(EINVAL)

    def unread(self, data: bytes, stored: int) -> int:
        """Only so many of the bytes just read could be stored. Returns how many of them count as read."""
        return stored

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Take `data` at `pos`; returns the bytes taken. Errors: EINVAL where nothing can be written."""
        raise KernelError(EINVAL)

    def truncate(self, ctx: AllocCtx, size: int) -> None:
        """Set the length: of what is made up there is none to set. ctx: who asks."""

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """fallocate(2), once it is known that the file can be written. Errors: EOPNOTSUPP."""
        raise KernelError(EOPNOTSUPP)

    def fsync(self) -> None:
        """fsync(2). Errors: EINVAL where nothing is ever written back, and nobody says that it need not be."""
        raise KernelError(EINVAL)

    def release(self, cpu: int) -> None:
        """Called when the last holder of an open file has gone."""

    def evict(self, cpu: int) -> None:
        """Called when neither a name nor an open file is left."""

    def drop_nlink(self, cpu: int) -> None:
        """One name less."""
        self.nlink -= 1
        self.iput(cpu)

    def iput(self, cpu: int) -> None:
        """Let it go if nobody needs it any more."""
        if not self.nlink and not self.users:
            self.evict(cpu)


class Directory(Inode):
    """A directory: names that boot filled in, and those that programs have made where the file system lets them."""

    def __init__(self, mode: int = 0o755) -> None:
        super().__init__(stat.S_IFDIR | mode)
        self.entries: dict[str, Inode] = {}
        self.nlink = 2  # its name, and its own `.`

    @property
    def size(self) -> int:
        """As tmpfs counts: 20 bytes an entry, with . and .. (BOGO_DIRENT_SIZE)."""
        return 20 * (2 + len(self.entries))

    def link(self, name: str, inode: Inode) -> None:
        """Give an inode a name here. What is in no file system yet comes into that of the directory."""
        if inode.sb is NO_SUPER:
            inode.sb = self.sb
        self.nlink += inode.is_dir
        self.entries[name] = inode

    def unlink(self, name: str, cpu: int) -> None:
        """Take a name away."""
        inode = self.entries.pop(name)
        if inode.is_dir:
            self.nlink -= 1
            inode.nlink -= 1
        inode.drop_nlink(cpu)

    def mkdir(self, name: str, mode: int, cred: Cred) -> Directory:
        """A directory to be linked here under that name; cred: who makes it. Errors: EPERM."""
        self.sb.may_change()
        return Directory(mode)

    def rmdir(self, victim: Directory, cpu: int) -> None:
        """Make ready for unlinking a directory that is here. Errors: EPERM, ENOTEMPTY."""
        self.sb.may_change()
        if list(victim.names()):
            raise KernelError(ENOTEMPTY)

    def fsync(self) -> None:
        """Nothing to do."""

    def lookup(self, name: str) -> Inode | None:
        """The entry of that name, or None."""
        return self.entries.get(name)

    def names(self) -> Iterable[str]:
        """Names of the entries, without . and .."""
        return list(self.entries)

    def add(self, path: str, inode: Inode) -> None:
        """Put an inode below this directory, making the directories in between."""
        name, _, rest = path.partition("/")
        if not rest:
            self.link(name, inode)
            return
        if name not in self.entries:
            self.link(name, Directory())
        below = self.entries[name]
        if not isinstance(below, Directory):
            raise KernelError(ENOTDIR, name)
        below.add(rest, inode)


class Symlink(Inode):
    """A symbolic link whose target may depend on who follows it (/proc/self)."""

    def __init__(self, target: Callable[[], str]) -> None:
        super().__init__(stat.S_IFLNK | 0o777)
        self.target = target


class PseudoFile(Inode):
    """A file that `show` renders and `store` takes writes for. Both get the Opening.

    It is rendered at a read from the start, and the rest of that text is served to the reads after it, as with
    seq_file and sysfs; a write hands over the whole buffer in one call whatever the position.
    """

    def __init__(
        self,
        mode: int,
        show: Callable[[Opening], str] | None = None,
        store: Callable[[Opening, str], None] | None = None,
    ) -> None:
        super().__init__(stat.S_IFREG | mode)
        self._show = show
        self._store = store

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Errors: EIO when there is nothing to show."""
        if self._show is None:
            raise KernelError(EIO)
        if pos == 0 or opening.shown is None:
            opening.shown = self._show(opening).encode("utf-8", "surrogateescape")
        return opening.shown[pos : pos + count]

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Errors: EINVAL when nothing can be written, or what `store` raises."""
        if self._store is None:
            raise KernelError(EINVAL)
        self._store(opening, data.decode("utf-8", "replace"))
        return len(data)


def text_file(show: Callable[[], str], mode: int = 0o444) -> PseudoFile:
    """A read-only file whose text depends on nothing but the machine."""
    return PseudoFile(mode, lambda opening: show())
