"""Open files as mm knows them, and reading and writing through the page cache.

Pages and contents of a file are mm's (``AddressSpace``); its name and who has it open are not. So an area holds it
through the protocol ``MappedFile``, which mm/shmem.py fulfils for memory without a name. Mirrors
``vm_area_struct.vm_file`` and mm/filemap.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from numalab.arch.errno import EFBIG, EIO, ENOSPC, KernelError
from numalab.mm.kernels import Why
from numalab.mm.page_alloc import Slowpath
from numalab.mm.readahead import RA_PAGES, page_cache_ra, read_folio
from numalab.mm.swap_state import shmem_swapin_range, wait_on_page
from numalab.mm.vm_flags import PAGE_SHIFT, page_align
from numalab.mm.writeback import balance_dirty_pages

if TYPE_CHECKING:
    from numalab.mm._mm_types import AddressSpace, AllocCtx

__all__ = [
    "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "MAX_LFS_FILESIZE", "MappedFile", "bring_in", "filemap_read",
    "generic_perform_write",
]  # fmt: skip

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
MAX_LFS_FILESIZE = (1 << 63) - 1
"""The longest that a file can be."""


class MappedFile(Protocol):
    """struct file, as mmap() and an area know it."""

    @property
    def mapping(self) -> AddressSpace:
        """Its pages, the areas that map it, and its memory policies. Only what is ``mappable`` has it."""

    @property
    def path(self) -> str:
        """Its name in maps and numa_maps."""

    @property
    def dev(self) -> int:
        """The minor number of its file system, as maps shows it."""

    @property
    def ino(self) -> int:
        """Its inode number."""

    @property
    def readable(self) -> bool:
        """FMODE_READ: it was opened for reading."""

    @property
    def writable(self) -> bool:
        """FMODE_WRITE: it was opened for writing."""

    #: What it knows of failed writes (errseq_sample()).
    f_wb_err: int

    @property
    def mappable(self) -> bool:
        """It has pages (f_op->mmap)."""

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """vfs_fallocate(), as far as MADV_REMOVE needs it. Raises KernelError: EOPNOTSUPP."""

    def get_file(self) -> None:
        """One area more maps it."""

    def fput(self, cpu: int) -> None:
        """One area less; what becomes free with the last one goes to the free lists of ``cpu``."""


def filemap_read(mapping: AddressSpace, ctx: AllocCtx, pos: int, count: int) -> bytes:
    """Up to ``count`` bytes of a file from ``pos`` on, none at its end. In memory a hole stays one.

    Raises KernelError(EIO) if nothing can be read; OutOfMemory.
    """
    mem = mapping.mem
    buf = memoryview(bytearray(max(0, min(count, mapping.i_size - pos))))
    slow = Slowpath(mem, ctx)
    done = 0
    while done < len(buf):
        got, why, entry = mem.k.filemap_rw.read_range(mem, mapping, pos + done, buf[done:])
        done += got
        if got:
            slow.progress()
        if why != Why.DONE and not bring_in(mapping, ctx, slow, why, entry, pos + done, len(buf) - done):
            if not done:
                raise KernelError(EIO)
            break
    return bytes(buf[:done])


def generic_perform_write(mapping: AddressSpace, ctx: AllocCtx, pos: int, data: bytes) -> int:
    """Store bytes in a file from ``pos`` on, making it longer if need be. Returns how many there was room for.

    Raises KernelError: EFBIG (beyond the longest file), ENOSPC (not one page more), EIO; OutOfMemory.
    """
    mem = mapping.mem
    view = memoryview(data)[: max(0, MAX_LFS_FILESIZE - pos)]
    if data and not view:
        raise KernelError(EFBIG)
    slow = Slowpath(mem, ctx)
    done = 0
    while done < len(view):
        got, why, entry = mem.k.filemap_rw.write_range(mem, ctx, mapping, pos + done, view[done:])
        done += got
        if got:
            slow.progress()
            mapping.i_size = max(mapping.i_size, pos + done)
        # What is needed from the disk is one page at a time, the first or the last: the others are written whole.
        if why != Why.DONE and (
            why == Why.FILE or not bring_in(mapping, ctx, slow, why, entry, pos + done, 1)
        ):
            if not done:
                raise KernelError(ENOSPC if why == Why.FILE else EIO)
            break
    if mapping.bdi:
        balance_dirty_pages(mem)
    return done


def bring_in(
    mapping: AddressSpace, ctx: AllocCtx, slow: Slowpath, why: Why, entry: int, pos: int, count: int
) -> bool:
    """Do what a kernel of ``filemap_rw`` stopped for at ``pos``, with ``count`` bytes still to go.

    Returns False if the page cannot be read. Raises OutOfMemory.
    """
    mem = mapping.mem
    index, end = pos >> PAGE_SHIFT, page_align(pos + count) >> PAGE_SHIFT
    if why == Why.WAIT_IO and mapping.bdi:
        if not mapping.load(index):
            page_cache_ra(mapping, ctx, index, min(end - index, RA_PAGES))
        if mapping.load(index):
            return read_folio(mapping, index)
        why = Why.NEED_RECLAIM
    elif why == Why.WAIT_IO:
        why = shmem_swapin_range(mapping, ctx, index, end)[1]
    if why == Why.WAIT_PAGE:
        wait_on_page(mem, entry)
    elif why == Why.NEED_RECLAIM:
        slow.reclaim()
    return why != Why.WAIT_IO
