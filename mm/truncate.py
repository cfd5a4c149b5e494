"""Cutting files off: pages leave the cache, and every mapping that still shows them.

The order matters. First the file becomes shorter, so that no fault can map a page beyond its end any more; then the
mappings go, private copies too; then the pages. What is left of the last page reads as zeros if the file grows again.
A hole is the same in the middle of a file, but for private copies: they stay.

Mirrors mm/truncate.c and unmap_mapping_range() of mm/memory.c.
"""

from __future__ import annotations

import numpy as np

from numalab.arch.errno import EIO, KernelError
from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx
from numalab.mm.filemap import bring_in
from numalab.mm.kernels import Why
from numalab.mm.page_alloc import Slowpath
from numalab.mm.preempt import flush_tlb_batched_pending
from numalab.mm.swap_state import wait_on_page
from numalab.mm.vm_flags import PAGE_SHIFT, PAGE_SIZE, VM_LOCKED, page_align
from numalab.mm.vma_tree import vma_pages

__all__ = [
    "invalidate_mapping_pages",
    "truncate_pagecache_range",
    "truncate_pages",
    "truncate_partial",
    "truncate_setsize",
    "unmap_mapping_range",
]

#: Beyond every index.
LAST_INDEX = 1 << 52
_FILE_PAGE = np.uint64(1 << 61)
_PIECE = 1 << 16  # pages looked at in one go


def truncate_setsize(mapping: AddressSpace, ctx: AllocCtx, size: int) -> None:
    """Give a file another length in bytes. Raises KernelError(EIO): what stays of its last page cannot be read."""
    old, mapping.i_size = mapping.i_size, size
    if size < old:
        truncate_pagecache_range(mapping, ctx, size, LAST_INDEX << PAGE_SHIFT, even_cows=True)


def truncate_pagecache_range(
    mapping: AddressSpace, ctx: AllocCtx, start: int, end: int, *, even_cows: bool = False
) -> None:
    """Let the bytes [start, end) read as zeros: whole pages go, parts of pages are overwritten.

    Raises KernelError(EIO): such a part cannot be read.
    """
    first, last = page_align(start) >> PAGE_SHIFT, end >> PAGE_SHIFT
    truncate_pages(mapping, ctx.cpu, first, last, even_cows=even_cows)
    if first > last:
        _zero_partial_page(mapping, ctx, start, end)
    else:
        _zero_partial_page(mapping, ctx, start, first << PAGE_SHIFT)
        _zero_partial_page(mapping, ctx, last << PAGE_SHIFT, end)


def truncate_partial(mapping: AddressSpace, ctx: AllocCtx, size: int) -> None:
    """block_truncate_page(): what lies behind ``size`` in its page is zeros. Raises KernelError(EIO)."""
    _zero_partial_page(mapping, ctx, size, page_align(size))


def truncate_pages(
    mapping: AddressSpace, cpu: int, first: int, last: int, *, even_cows: bool = False
) -> None:
    """Whole pages [first, last) go, to the free lists of ``cpu``, and whatever maps them."""
    mem = mapping.mem
    # Who slept until a page was unlocked may find it mapped again: by a fault, or by the end of its migration.
    while True:
        unmap_mapping_range(mapping, cpu, first, last, even_cows=even_cows)
        busy = mem.k.filemap.truncate_pages(mem, cpu, mapping, first, last)
        if not busy:
            return
        wait_on_page(mem, busy)


def invalidate_mapping_pages(mapping: AddressSpace, cpu: int) -> int:
    """Clean pages of a file on a disk that nobody uses go; returns how many."""
    gone: int = mapping.mem.k.filemap.invalidate_pages(mapping.mem, cpu, mapping, 0, LAST_INDEX)
    return gone


def _zero_partial_page(mapping: AddressSpace, ctx: AllocCtx, start: int, end: int) -> None:
    """Zeros in [start, end), less than a page and within one, if the file has that page."""
    mem = mapping.mem
    slow = Slowpath(mem, ctx)
    while start < end:
        why, entry = mem.k.filemap_rw.zero_range(mem, mapping, start, end)
        if why == Why.DONE:
            return
        if not bring_in(mapping, ctx, slow, why, entry, start, 1):
            raise KernelError(EIO)


def unmap_mapping_range(mapping: AddressSpace, cpu: int, start: int, end: int, *, even_cows: bool) -> None:
    """Unmap the pages [start, end) of a file wherever they are mapped; with even_cows, private copies of them too."""
    for vma in mapping.areas(start, end - 1) if start < end else ():
        low, high = max(start, vma.pgoff), min(end, vma.pgoff + vma_pages(vma))
        at = vma.start + (low - vma.pgoff << PAGE_SHIFT)
        to = at + (high - low << PAGE_SHIFT)
        if even_cows or vma.anon_vma is None:
            _zap(vma, cpu, at, to)
        else:
            _zap_file_pages(vma, cpu, at, to)


def _zap_file_pages(vma: VMA, cpu: int, start: int, end: int) -> None:
    """Unmap what is not a private copy."""
    for at in range(start, end, _PIECE * PAGE_SIZE):
        words = np.zeros(min(_PIECE, (end - at) >> PAGE_SHIFT), np.uint64)
        vma.mm.mem.k.task_mmu.pagemap_range(vma.mm.mem, vma.mm, at, words)
        found = np.flatnonzero(words & _FILE_PAGE)
        for run in np.split(found, np.flatnonzero(np.diff(found) != 1) + 1):
            if len(run):
                _zap(vma, cpu, at + int(run[0]) * PAGE_SIZE, at + (int(run[-1]) + 1) * PAGE_SIZE)


def _zap(vma: VMA, cpu: int, start: int, end: int) -> None:
    mem = vma.mm.mem
    flush_tlb_batched_pending(mem)
    mem.k.memory.zap_range(mem, vma.mm, cpu, start, end, bool(vma.flags & VM_LOCKED), True)
