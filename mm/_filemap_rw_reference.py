"""Plain-Python twin of _filemap_rw: reading and writing files through the page cache.

Mirrors filemap_read() and generic_perform_write() of mm/filemap.c, shmem_fallocate() of mm/shmem.c and the part of a
page that truncation leaves (mm/truncate.c). What a page needs before it can be used:

                 in memory (tmpfs)               on a disk
    in the cache nothing, once it is unlocked    the same, if it is uptodate; else to be read (WAIT_IO)
                 not uptodate: from fallocate(),
                 zeros that nobody has asked for
    in swap      to come back (WAIT_IO)          -
    nowhere      read: it is zeros               read: to be read (WAIT_IO)
                 written: a new page             written: a new page if nothing stays of it, else to be read
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import (
    add_to_page_cache,
    cached_pfn,
    folio_mark_dirty,
    shmem_alloc,
    shmem_full,
)
from numalab.mm._lru_reference import lru_cache_add, mark_page_accessed
from numalab.mm._mempolicy_reference import alloc_pages_mpol
from numalab.mm._reference import View
from numalab.mm._writeback_reference import page_mkwrite
from numalab.mm.kernels import Why

if TYPE_CHECKING:
    from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap

BATCH = 512


def find_page(m: View, mapping: AddressSpace, index: int) -> tuple[Why, int]:
    """filemap_get_folio(): the frame that the cache has, 0 = none. WAIT_PAGE: it is locked; WAIT_IO: read_range()."""
    entry = mapping.load(index)
    pfn = entry >> 1
    if entry & 1:
        return Why.WAIT_IO, entry - 1
    if not entry:
        return Why.WAIT_IO if mapping.bdi else Why.DONE, 0
    if m.hot.flags[pfn] & c.PG_locked:
        return Why.WAIT_PAGE, pfn
    return Why.DONE if m.hot.flags[pfn] & c.PG_uptodate or not mapping.bdi else Why.WAIT_IO, pfn


def missing(mapping: AddressSpace, index: int, end: int) -> int:
    """How many pages from ``index`` on the cache has not: up to ``end``, and up to what one batch takes."""
    n = 1
    while n < min(end - index, BATCH) and not mapping.load(index + n):
        n += 1
    return n


def parts(pos: int, n: int) -> Iterator[tuple[int, int]]:
    """(position, bytes) of the parts of a range, each within one page."""
    at = pos
    while at < pos + n:
        size = min(pt.PAGE_SIZE - at % pt.PAGE_SIZE, pos + n - at)
        yield at, size
        at += size


def read_range(mem: MemMap, mapping: AddressSpace, pos: int, buf: memoryview) -> tuple[int, int, int]:
    """filemap_read(): fill ``buf``, which is zeros, with the file's bytes from ``pos`` on. In memory a hole stays one.

    Returns (bytes done, why, entry). WAIT_PAGE: a page is locked. WAIT_IO: one must come from the disk, or, if the file
    is shared memory, from swap; entry: the swap entry.
    """
    m = View(mem)
    found = 0
    for at, n in parts(pos, len(buf)):
        why, found = find_page(m, mapping, at >> pt.PAGE_SHIFT)
        if why != Why.DONE:
            return at - pos, why, found
        if found and m.hot.flags[found] & c.PG_uptodate:
            if at % pt.PAGE_SIZE == 0:
                mark_page_accessed(m, found)
            buf[at - pos : at - pos + n] = mem.hw.read_phys((found << pt.PAGE_SHIFT) + at % pt.PAGE_SIZE, n)
        m.charge(m.cost["zero_page"])
    return len(buf), Why.DONE, found


def write_range(
    mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, pos: int, data: memoryview
) -> tuple[int, int, int]:
    """generic_perform_write(): store bytes from ``pos`` on, in new pages where the file has none; i_size stays.

    Returns (bytes done, why, entry): as read_range(); NEED_RECLAIM: no frame; FILE: the file system is full.
    """
    m = View(mem)
    found = 0
    last = pos + len(data) + pt.PAGE_SIZE - 1 >> pt.PAGE_SHIFT
    for at, n in parts(pos, len(data)):
        index = at >> pt.PAGE_SHIFT
        why, found = find_page(m, mapping, index)
        if why == Why.WAIT_IO and not found and (n == pt.PAGE_SIZE or not mapping.block(index)):
            why = Why.DONE
        if why == Why.DONE and not found:
            why = grow_cache(m, ctx, mapping, index, last)
            found = cached_pfn(mapping, index)
        if why != Why.DONE:
            return at - pos, why, found
        if not page_mkwrite(m, found):
            return at - pos, Why.FILE, found
        mark_page_accessed(m, found)
        m.hot.flags[found] |= c.PG_uptodate
        where = (found << pt.PAGE_SHIFT) + at % pt.PAGE_SIZE
        mem.hw.write_phys(where, bytes(data[at - pos : at - pos + n]))
        m.charge(m.cost["zero_page"])
    return len(data), Why.DONE, found


def grow_cache(m: View, ctx: AllocCtx, mapping: AddressSpace, index: int, end: int) -> Why:
    """Give the file new pages of zeros from ``index`` on: at least one, and a batch at most, or on a disk one."""
    if not mapping.bdi:
        if shmem_full(mapping):
            return Why.FILE
        n = missing(mapping, index, end)
        return Why.DONE if shmem_alloc(m, ctx, mapping, index, n) else Why.NEED_RECLAIM
    pfns = alloc_pages_mpol(m, ctx, ctx.policy, None, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM, 1)
    for pfn in pfns:
        add_to_page_cache(m, mapping, index, pfn, c.PG_uptodate)
        m.fill_page(pfn, 0)
    lru_cache_add(m, ctx.cpu, pfns)
    return Why.DONE if pfns else Why.NEED_RECLAIM


def alloc_range(mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, start: int, end: int) -> tuple[int, int]:
    """shmem_fallocate(): see to it that the file has all pages in [start, end). New ones are not uptodate until they
    are used, or asked for once more.

    Returns (index reached, why): NEED_RECLAIM: no frame; FILE: the file system is full.
    """
    m = View(mem)
    while start < end:
        if entry := mapping.load(start):
            pfns = [] if entry & 1 else [entry >> 1]
            for pfn in pfns:
                m.hot.flags[pfn] |= c.PG_uptodate
            reached = start + 1
        elif shmem_full(mapping):
            return start, Why.FILE
        else:
            pfns = shmem_alloc(m, ctx, mapping, start, missing(mapping, start, end))
            if not pfns:
                return start, Why.NEED_RECLAIM
            for pfn in pfns:
                m.hot.flags[pfn] &= ~c.PG_uptodate
            reached = start + len(pfns)
        for pfn in pfns:  # dirty, lest reclaim thinks that zeros need not be kept
            folio_mark_dirty(m, pfn)
        start = reached
    return start, Why.DONE


def zero_range(mem: MemMap, mapping: AddressSpace, pos: int, end: int) -> tuple[int, int]:
    """truncate_inode_partial_folio(): zeros in [pos, end), a part of one page, if the file has that page.

    Returns (why, entry) as read_range().
    """
    m = View(mem)
    index = pos >> pt.PAGE_SHIFT
    why, found = find_page(m, mapping, index)
    if why == Why.WAIT_IO and not found and not mapping.block(index):
        why = Why.DONE  # zeros already
    if why == Why.DONE and found:
        mem.hw.write_phys((found << pt.PAGE_SHIFT) + pos % pt.PAGE_SIZE, bytes(end - pos))
        page_mkwrite(m, found)  # it has its block, or is clean zeros
    return why, found
