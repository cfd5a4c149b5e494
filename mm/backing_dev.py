"""Disks that files lie on.

Mirrors struct backing_dev_info and the block bitmap of a simple file system (ext2): which blocks are in use, and their
contents. What is where in which file stands in the file (``AddressSpace.blocks()``), its name in the directory.
Deliberately different: only contents are on the disk. Names and block maps live beside it, so a disk cannot be mounted
again by another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.sparse import sparse
from numalab.mm.errseq import ErrSeq
from numalab.mm.vm_flags import PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.arch.disk import Disk
    from numalab.mm._mm_types import AddressSpace, MemMap

__all__ = ["FileDisk", "disk_of"]


class FileDisk:
    """A disk with files. number: its row in ``mem.bdi``, which is ``row``; used: by block, whether a file has it;
    writing: pages of files that are on their way to it; errors: writes that have failed, of whatever file.
    """

    def __init__(self, mem: MemMap, disk: Disk) -> None:
        """Raises ValueError if there are too many already."""
        if None not in mem.bdis[1:]:
            raise ValueError(f"{len(mem.bdis) - 1} disks with files are the limit")
        self.disk = disk
        self.writing = 0
        self.errors = ErrSeq()
        self.number = mem.bdis.index(None, 1)
        self.used = sparse(disk.pages, np.uint8)
        self.row = mem.bdi[self.number]
        self.row["store"], self.row["used"] = disk.store.ctypes.data, self.used.ctypes.data
        self.row["blocks"], self.row["next"] = disk.pages, 1
        mem.bdis[self.number] = self

    @property
    def nr_free(self) -> int:
        """Blocks that no file has; block 0 is the disk's own."""
        return int(self.row["blocks"]) - 1 - int(self.row["nr_used"])

    def bytes_of(self, block: int) -> NDArray[np.uint8]:
        """The contents of a block."""
        return self.disk.store[block * PAGE_SIZE : (block + 1) * PAGE_SIZE]


def disk_of(mapping: AddressSpace) -> FileDisk:
    """The disk that a file lies on."""
    store = mapping.mem.bdis[mapping.bdi]
    assert store is not None
    return store
