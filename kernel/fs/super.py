"""File systems: what is mounted somewhere, and makes the inodes of the files there.

Mirrors struct super_block and the inode operations that make and remove names. This one can do neither, as /proc and
/sys: their names are the kernel's. tmpfs.py has one that can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from numalab.arch.errno import EACCES, EPERM, KernelError
from numalab.mm.errseq import ErrSeq

if TYPE_CHECKING:
    from numalab.kernel.fs.inode import Directory, Inode
    from numalab.mm._mm_types import AllocCtx

__all__ = ["SuperBlock"]


class SuperBlock:
    """struct super_block.

    dev: the minor number of its device, which is made up; blocksize: what stat() calls the best size of a read.
    negative: a name that is not there is known not to be; else (/proc) nobody gets so far as to be refused to make it.
    by_mode: a file that nobody may read, or write, is so to root as well (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK).
    """

    def __init__(
        self, dev: int, *, blocksize: int = 4096, negative: bool = True, by_mode: bool = False
    ) -> None:
        self.dev = dev
        self.blocksize = blocksize
        self.negative = negative
        self.by_mode = by_mode
        self.errors = ErrSeq()  # s_wb_err: what could not be written
        self.users = 0  # open files of its inodes, and mappings of them
        self._last_ino = 0

    def get_next_ino(self) -> int:
        """A number for a new inode."""
        self._last_ino += 1
        return self._last_ino

    def create(self, mode: int, ctx: AllocCtx) -> Inode:
        """An inode for a new regular file. ctx: of whoever makes it. Errors: EACCES where none can be made; ENOSPC."""
        raise KernelError(EACCES, "no files can be made here")

    def kill(self, root: Directory, cpu: int) -> None:
        """kill_litter_super(): it is not mounted any more, and its names were all that kept its files."""
        for name, inode in list(root.entries.items()):
            if inode.is_dir:
                self.kill(cast("Directory", inode), cpu)
            root.unlink(name, cpu)

    def sync(self) -> None:
        """Write what is dirty: nothing, where memory is all there is."""

    def may_change(self) -> None:
        """Whether directories can be made, and names removed. Errors: EPERM."""
        raise KernelError(EPERM, "the names here are the kernel's")
