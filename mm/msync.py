"""Writing back what has been stored through shared mappings: msync(2).

Mirrors mm/msync.c. MS_SYNC writes what is dirty of a file on a disk and waits for it; MS_ASYNC does nothing: what is
dirty is written in the end anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch.errno import EBUSY, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.mman import MS_ASYNC, MS_INVALIDATE, MS_SYNC
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.vm_flags import MASK64, VM_LOCKED, VM_SHARED, offset_in_page, page_align
from numalab.mm.vma_tree import find_vma, linear_page_index
from numalab.mm.writeback import file_check_wb_err, filemap_write_and_wait

if TYPE_CHECKING:
    from numalab.mm.filemap import MappedFile

__all__ = ["do_msync"]


def do_msync(mm: MmStruct, ctx: AllocCtx, start: int, length: int, flags: int) -> None:
    """msync(2) on [start, start + length).

    Raises KernelError: EINVAL (flags, start not aligned), ENOMEM (the range wraps; holes, after the rest has been
    done, but with MS_ASYNC at once), EBUSY (MS_INVALIDATE met a locked area), EIO (MS_SYNC: it cannot be written).
    """
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC:
        raise KernelError(EINVAL, f"no such flags: {flags:#x}")
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    end = start + page_align(length) & MASK64
    if end < start:
        raise KernelError(ENOMEM, "the range wraps round the end of the address space")
    with mmap_read_lock(mm):
        hole = _sync_range(mm, ctx, start, end, flags)
    if hole:
        raise KernelError(ENOMEM, "there are holes in the range")


def _sync_range(mm: MmStruct, ctx: AllocCtx, start: int, end: int, flags: int) -> bool:
    """Area by area; whether there are holes. What is written is waited for without the lock: the area may go then."""
    hole = False
    while start < end:
        vma = find_vma(mm, start)
        if vma is None:
            raise KernelError(ENOMEM, f"nothing is mapped from {start:#x} on")
        if start < vma.start:
            hole = True
            if flags == MS_ASYNC or vma.start >= end:
                break
        if flags & MS_INVALIDATE and vma.flags & VM_LOCKED:
            raise KernelError(EBUSY, "a locked area cannot be invalidated")
        stop = min(vma.end, end)
        if flags & MS_SYNC and vma.file is not None and vma.flags & VM_SHARED:
            first = linear_page_index(vma, max(start, vma.start))
            last = linear_page_index(vma, stop - 1) + 1
            _write_and_wait(mm, ctx, vma.file, first, last)
        start = stop
    return hole


def _write_and_wait(mm: MmStruct, ctx: AllocCtx, file: MappedFile, first: int, last: int) -> None:
    """vfs_fsync_range() of a file whose area was found under the lock."""
    file.get_file()
    mm.mmap_lock.up_read()
    try:
        filemap_write_and_wait(file.mapping, first, last)
        file_check_wb_err(file)
    finally:
        file.fput(ctx.cpu)
        mm.mmap_lock.down_read(mm.mem.waits)
