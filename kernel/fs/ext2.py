"""Files on a disk.

Mirrors fs/ext2 in what a program can see of a small file system: pages come from the disk when they are missed and go
back to it when they are synced, when many are dirty or when memory is short; a file may have holes; there is no
fallocate(). What happens to pages and blocks is mm's (filemap, readahead, writeback). Deliberately different: names and
block maps are not on the disk but beside it, in this object, as if they were always cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.kernel.fs.inode import Directory, Inode
from numalab.kernel.fs.regular import RegularFile
from numalab.kernel.fs.super import SuperBlock
from numalab.mm._mm_types import AddressSpace
from numalab.mm.backing_dev import FileDisk
from numalab.mm.truncate import LAST_INDEX, truncate_pages, truncate_partial
from numalab.mm.writeback import filemap_flush, filemap_write_and_wait

if TYPE_CHECKING:
    from numalab.arch.disk import Disk
    from numalab.kernel.state import Kernel
    from numalab.mm._mm_types import AllocCtx

__all__ = ["Ext2", "Ext2File"]


class Ext2(SuperBlock):
    """What is on one disk."""

    def __init__(self, k: Kernel, disk: Disk) -> None:
        super().__init__(k.get_anon_bdev())
        self.k = k
        self.store = FileDisk(k.mem, disk)
        self.errors = self.store.errors
        k.super_blocks.append(self)

    def make_root(self) -> Directory:
        """An empty root directory."""
        root = Directory()
        root.sb = self
        return root

    def create(self, mode: int, ctx: AllocCtx) -> Inode:
        """A new regular file, empty."""
        return Ext2File(self, mode)

    def may_change(self) -> None:
        """Programs make and remove names here."""

    def kill(self, root: Directory, cpu: int) -> None:
        """Nobody sees it any more; it is on the disk, and can be mounted again."""
        self.sync()

    def sync(self) -> None:
        """Write what is dirty, and wait for it; fsync() tells who asks what could not be written."""
        files = [mapping for mapping in self.k.mem.mappings() if mapping.bdi == self.store.number]
        for write in (filemap_flush, filemap_write_and_wait):  # all at once, then each for certain
            for mapping in files:
                write(mapping, 0, mapping.size)


class Ext2File(RegularFile):
    """A regular file on the disk."""

    def __init__(self, sb: Ext2, mode: int) -> None:
        super().__init__(sb.k, sb, mode, AddressSpace(sb.k.mem, 0, None, sb.store.number))

    def setsize(self, ctx: AllocCtx, size: int) -> None:
        """ext2_setsize(). Errors: EIO, with everything as it was: what stays of the last page is read first."""
        if size < self.mapping.i_size:
            truncate_partial(self.mapping, ctx, size)
        super().setsize(ctx, size)
        self._k.mem.k.writeback.free_blocks(self._k.mem, self.mapping, self.mapping.size)

    def fsync(self) -> None:
        """Write what is dirty and wait for it; whether that went well, the open file tells (file_check_wb_err())."""
        filemap_write_and_wait(self.mapping, 0, self.mapping.size)

    def evict(self, cpu: int) -> None:
        """ext2_evict_inode(): pages and blocks are free again."""
        truncate_pages(self.mapping, cpu, 0, LAST_INDEX)
        self._k.mem.k.writeback.free_blocks(self._k.mem, self.mapping, 0)
        self.mapping.close()
