"""Files whose pages are all there is of them: shared anonymous memory, and the files of a tmpfs.

Pages belong to the file and not to who touched them first: a fork shares them, also those that come later; a page
stays when the last PTE that named it goes, and is free when the file goes. A memory policy belongs to the file as well
(shared_policy.py). Shared anonymous memory is a file without a name, which ends with its last mapping.

Mirrors mm/shmem.c; what the pages do in swap is in ``_shmem``.
"""

from __future__ import annotations

from itertools import pairwise

from numalab.arch.errno import EFBIG, EINVAL, ENOSPC, KernelError
from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap
from numalab.mm.filemap import MAX_LFS_FILESIZE
from numalab.mm.kernels import Why
from numalab.mm.overcommit import vm_enough_memory
from numalab.mm.page_alloc import Slowpath
from numalab.mm.truncate import LAST_INDEX, truncate_pagecache_range, truncate_pages
from numalab.mm.vm_flags import PAGE_SHIFT, VM_NORESERVE, page_align

__all__ = [
    "ShmemFile", "shmem_evict", "shmem_fallocate",
    "shmem_punch_hole", "shmem_zero_setup",
]  # fmt: skip


class ShmemFile:
    """struct file of shared anonymous memory. mapping: its pages; path: its name in maps and numa_maps."""

    dev, f_wb_err = 1, 0
    readable = writable = mappable = True

    def __init__(self, mem: MemMap, pages: int) -> None:
        self.mapping = AddressSpace(mem, pages << PAGE_SHIFT)
        self.path = "/dev/zero (deleted)"
        self._count = 0

    @property
    def ino(self) -> int:
        """Its inode number."""
        return self.mapping.id

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """MADV_REMOVE: nobody else can ask for anything, as it has no descriptor."""
        shmem_punch_hole(self.mapping, ctx, offset, length)

    def get_file(self) -> None:
        """One mapping more."""
        self._count += 1

    def fput(self, cpu: int) -> None:
        """One mapping less; with the last one the pages go, to the free lists of ``cpu``."""
        self._count -= 1
        if not self._count:
            shmem_evict(self.mapping, cpu)


def shmem_zero_setup(mem: MemMap, pages: int, vm_flags: int) -> ShmemFile:
    """The file behind mmap(MAP_SHARED | MAP_ANONYMOUS) of so many pages.

    Raises KernelError(ENOMEM): more than the machine could ever have, and not MAP_NORESERVE.
    """
    if not vm_flags & VM_NORESERVE:
        vm_enough_memory(mem, pages)
    return ShmemFile(mem, pages)


def shmem_evict(mapping: AddressSpace, cpu: int) -> None:
    """shmem_evict_inode(): nobody has the file any more; its pages go to the free lists of ``cpu``."""
    truncate_pages(mapping, cpu, 0, LAST_INDEX)
    mapping.close()


def shmem_punch_hole(mapping: AddressSpace, ctx: AllocCtx, offset: int, length: int) -> None:
    """fallocate(FALLOC_FL_PUNCH_HOLE) and madvise(MADV_REMOVE). Private copies of its pages stay."""
    truncate_pagecache_range(mapping, ctx, offset, offset + length)


def shmem_fallocate(
    mapping: AddressSpace, ctx: AllocCtx, offset: int, length: int, *, keep_size: bool
) -> None:
    """fallocate(2): see to it that writing there cannot fail for want of room. All or nothing.

    Raises KernelError: EINVAL, EFBIG (beyond the longest file), ENOSPC; OutOfMemory.
    """
    if offset < 0 or length <= 0:
        raise KernelError(EINVAL)
    if offset + length > MAX_LFS_FILESIZE:
        raise KernelError(EFBIG)
    start, end = offset >> PAGE_SHIFT, page_align(offset + length) >> PAGE_SHIFT
    if mapping.sb is not None and end - start > mapping.sb.max_blocks:
        raise KernelError(ENOSPC)
    before = [index for index, _ in mapping.entries(start, end)]
    try:
        _alloc_range(mapping, ctx, start, end)
    except BaseException:
        # What was there stays; the gaps between are as empty as they were.
        for below, above in pairwise([start - 1, *before, end]):
            truncate_pages(mapping, ctx.cpu, below + 1, above)
        raise
    if not keep_size:
        mapping.i_size = max(mapping.i_size, offset + length)


def _alloc_range(mapping: AddressSpace, ctx: AllocCtx, start: int, end: int) -> None:
    mem = mapping.mem
    slow = Slowpath(mem, ctx)
    at = start
    while at < end:
        reached, why = mem.k.filemap_rw.alloc_range(mem, ctx, mapping, at, end)
        if reached > at:
            slow.progress()
        at = reached
        if why == Why.NEED_RECLAIM:
            slow.reclaim()
        elif why == Why.FILE:
            raise KernelError(ENOSPC)
