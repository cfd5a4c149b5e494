"""Inodes: directories, links, and files whose contents the kernel makes up when they are read.

Mirrors include/linux/fs.h, fs/seq_file.c and fs/sysfs in what a program can see of them.  Deliberately
different: an inode is found by its name in a Python dict, there are no dentries, and a made-up file is rendered
whole when it is read from the start.

    Directory     names, by lookup(); /proc overrides that to find processes by number
    Symlink       /proc/self
    PseudoFile    text that a function renders, and perhaps another takes
    Inode         the base of all, and of files with contents of another kind (pagemap)
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from numalab.arch.errno import EINVAL, EIO, ENOTDIR, KernelError

if TYPE_CHECKING:
    from numalab.kernel.cred import Cred

__all__ = ["Directory", "Inode", "Opening", "PseudoFile", "Symlink", "text_file"]


class Opening:
    """What an inode knows of one open file: who opened it, and what it showed at the last read from the start.

    cred: the credentials at open(), which some files go by later (f_cred); nonblock: O_NONBLOCK.
    """

    def __init__(self, cred: Cred) -> None:
        self.cred = cred
        self.nonblock = False
        self.shown: bytes | None = None


class Inode:
    """struct inode: type and permissions, and owner."""

    def __init__(self, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    #: Whether reads and writes have a position (else it is a stream).
    seekable = True

    def open(self, opening: Opening) -> None:
        """Called by open(2) after the permission checks; may refuse with a KernelError."""

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Up to `count` bytes from `pos` on, none at the end. Errors: EINVAL where there is nothing to read."""
        raise KernelError(EINVAL)

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Take `data` at `pos`; returns the bytes taken. Errors: EINVAL where nothing can be written."""
        raise KernelError(EINVAL)

    def release(self) -> None:
        """Called when the last descriptor of an open file has gone."""


class Directory(Inode):
    """A directory with a fixed set of entries, which boot fills in and mkdir(2) may add to."""

    def __init__(self, mode: int = 0o755) -> None:
        super().__init__(stat.S_IFDIR | mode)
        self.entries: dict[str, Inode] = {}

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
            self.entries[name] = inode
            return
        below = self.entries.setdefault(name, Directory())
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
            opening.shown = self._show(opening).encode()
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
