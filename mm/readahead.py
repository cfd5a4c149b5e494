"""Bringing pages of files into the cache: the slow side of a fault on a file.

Mirrors filemap_fault() and do_sync_mmap_readahead() of mm/filemap.c, and mm/readahead.c. A fault that finds no page
reads 32 around it (read_ahead_kb is 128), only the one where MADV_RANDOM said so, the next 32 with MADV_SEQUENTIAL.
Deliberately different: the window does not learn, and nothing is read ahead before somebody waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.mm import _constants as c
from numalab.mm.backing_dev import disk_of
from numalab.mm.kernels import Why
from numalab.mm.swap_state import wait_on_page
from numalab.mm.vm_flags import VM_RAND_READ, VM_SEQ_READ
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx

__all__ = ["RA_PAGES", "filemap_fault", "page_cache_ra", "read_folio"]

RA_PAGES = 32


def filemap_fault(vma: VMA, ctx: AllocCtx, va: int) -> Why:
    """Have the page of a file at an address in the cache, for a fault that stopped with FILE.

    Returns DONE when it is there now (one major fault), NEED_RECLAIM if there is no frame for it, and FILE if it cannot
    be had: it is beyond the end of the file, it cannot be read, or there is no room for it where the file lies.
    """
    assert vma.file is not None
    mapping, index = vma.file.mapping, linear_page_index(vma, va)
    mem = mapping.mem
    if index >= mapping.size or not mapping.bdi:
        return Why.FILE
    if not mapping.load(index):
        page_cache_ra(mapping, ctx, *_window(vma, index))
        if not mapping.load(index):
            return Why.NEED_RECLAIM
        ctx.maj_flt += 1
        ctx.min_flt -= 1  # the kernel, which now finds the page, will count a minor one
        mem.event[c.PGMAJFAULT] += 1
    elif _uptodate(mapping, index):
        return Why.FILE
    return Why.DONE if read_folio(mapping, index) else Why.FILE


def read_folio(mapping: AddressSpace, index: int) -> bool:
    """filemap_read_folio(): wait until a page of the cache has been read, and try once more if that failed."""
    mem = mapping.mem
    entry = mapping.load(index)

    def settled() -> bool:
        """It has been read; or it has gone meanwhile, and whoever needs it looks again."""
        wait_on_page(mem, entry >> 1)
        return mapping.load(index) != entry or _uptodate(mapping, index)

    if not entry or entry & 1 or settled():
        return True
    mem.hot["flags"][entry >> 1] |= np.uint32(c.PG_locked)
    _read_pages(mapping, np.array([entry >> 1], np.uint32))
    return settled()


def page_cache_ra(mapping: AddressSpace, ctx: AllocCtx, start: int, n: int) -> None:
    """page_cache_ra_unbounded(): begin to read what the cache lacks of ``n`` pages, as far as there are frames."""
    pfns = np.empty(n, np.uint32)
    got = mapping.mem.k.readahead.page_cache_ra_unbounded(mapping.mem, ctx, mapping, start, n, pfns)
    if got:
        _read_pages(mapping, pfns[:got])


def _window(vma: VMA, index: int) -> tuple[int, int]:
    """Which pages to read for a fault on one: the first of them, and how many."""
    if vma.flags & VM_RAND_READ:
        return index, 1
    return (index if vma.flags & VM_SEQ_READ else max(0, index - RA_PAGES // 2)), RA_PAGES


def _uptodate(mapping: AddressSpace, index: int) -> bool:
    entry = mapping.load(index)
    busy = c.PG_locked | c.PG_uptodate
    return bool(entry) and int(mapping.mem.hot["flags"][entry >> 1]) & busy == c.PG_uptodate


def _read_pages(mapping: AddressSpace, pfns: NDArray[np.uint32]) -> None:
    """Hand locked pages to the disk; when it is done they are unlocked."""
    mem = mapping.mem
    disk_of(mapping).disk.read(len(pfns), lambda ok: mem.k.readahead.end_read(mem, pfns, ok))
    mem.timers.expire()
