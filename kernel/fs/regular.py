"""Regular files: those whose contents are pages.

Mirrors what generic_file_read_iter(), generic_file_write_iter() and setattr() are to the file systems that use them.
Where the pages are kept, in memory or on a disk, is for tmpfs.py and ext2.py to say.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from numalab.kernel.fs.inode import Inode, Opening
from numalab.mm.filemap import filemap_read, generic_perform_write
from numalab.mm.mutex import Mutex
from numalab.mm.truncate import truncate_setsize

if TYPE_CHECKING:
    from numalab.kernel.fs.super import SuperBlock
    from numalab.kernel.state import Kernel
    from numalab.mm._mm_types import AddressSpace, AllocCtx

__all__ = ["RegularFile"]


class RegularFile(Inode):
    """A regular file, empty at first."""

    mapping: AddressSpace

    def __init__(self, k: Kernel, sb: SuperBlock, mode: int, mapping: AddressSpace) -> None:
        super().__init__(stat.S_IFREG | mode)
        self._k = k
        self.sb = sb
        self.mapping = mapping
        self.lock = Mutex(k.mem, "the lock of an inode")
        self.mtime = k.hw.now

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Errors: EIO."""
        return filemap_read(self.mapping, self._k.current_ctx, pos, count)

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Errors: EFBIG, ENOSPC, EIO. The caller has the lock.

        New pages are placed as the file's policy, or that of the task, has it.
        """
        self.touch()
        return generic_perform_write(self.mapping, self._k.current_ctx, pos, data)

    def truncate(self, ctx: AllocCtx, size: int) -> None:
        """Errors: EIO."""
        with self.lock:
            self.touch()
            self.setsize(ctx, size)

    def setsize(self, ctx: AllocCtx, size: int) -> None:
        """The part of truncate() that file systems differ in; the lock is held."""
        truncate_setsize(self.mapping, ctx, size)

    def touch(self) -> None:
        """file_update_time()."""
        self.mtime = self._k.hw.now
