"""tmpfs: files whose pages are all there is of them.

Mirrors the file system half of mm/shmem.c; what happens to the pages is mm/shmem.py. A mount has a limit of its own,
half of the machine's memory unless it was given another, and may have a memory policy for the files made in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch.errno import EOPNOTSUPP, KernelError
from numalab.kernel.fs.inode import Inode
from numalab.kernel.fs.regular import RegularFile
from numalab.kernel.fs.super import SuperBlock
from numalab.mm._mm_types import AddressSpace, ShmemSbInfo
from numalab.mm.filemap import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from numalab.mm.shared_policy import mpol_shared_policy_init
from numalab.mm.shmem import (
    shmem_evict,
    shmem_fallocate,
    shmem_punch_hole,
)

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel
    from numalab.mm._mm_types import AllocCtx, MemPolicy

__all__ = ["Tmpfs", "TmpfsFile"]


class Tmpfs(SuperBlock):
    """One mount. info: its limit in pages, None = none; policy: what that of the files made here is made of.

    max_blocks: None for half of the machine's memory, 0 for no limit.
    """

    def __init__(self, k: Kernel, *, max_blocks: int | None = None, policy: MemPolicy | None = None) -> None:
        super().__init__(k.get_anon_bdev())
        self.k = k
        half = int(k.mem.zones["managed"].sum()) // 2
        limit = half if max_blocks is None else max_blocks
        self.info = ShmemSbInfo(limit) if limit else None
        self.policy = policy

    def create(self, mode: int, ctx: AllocCtx) -> Inode:
        """A new regular file, empty."""
        file = TmpfsFile(self, mode)
        mpol_shared_policy_init(file.mapping, self.policy, ctx)
        return file

    def may_change(self) -> None:
        """Programs make and remove names here."""


class TmpfsFile(RegularFile):
    """A regular file in memory."""

    def __init__(self, sb: Tmpfs, mode: int) -> None:
        super().__init__(sb.k, sb, mode, AddressSpace(sb.k.mem, 0, sb.info))

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """Errors: EOPNOTSUPP (other modes than KEEP_SIZE, alone or with PUNCH_HOLE), ENOSPC."""
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE):
            raise KernelError(EOPNOTSUPP)
        with self.lock:
            self.touch()
            if mode & FALLOC_FL_PUNCH_HOLE:
                shmem_punch_hole(self.mapping, ctx, offset, length)
            else:
                keep_size = bool(mode & FALLOC_FL_KEEP_SIZE)
                shmem_fallocate(self.mapping, ctx, offset, length, keep_size=keep_size)

    def fsync(self) -> None:
        """There is nothing that the pages could be written to."""

    def evict(self, cpu: int) -> None:
        shmem_evict(self.mapping, cpu)
