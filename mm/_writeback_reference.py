"""Plain-Python twin of _writeback: dirty pages of files on a disk, becoming dirty and being written.

Mirrors mm/page-writeback.c (folio_mark_dirty, folio_clear_dirty_for_io, write_cache_pages) and page_mkwrite(). A page
goes round:

    clean, its PTEs read-only --first write: a fault-->  dirty, writable  --write_cache_pages()-->  clean, being written

and has a block on the disk from its first write on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import count_dirty, folio_mark_dirty, page_mapping
from numalab.mm._reference import View, try_to_unmap_flush
from numalab.mm._rmap_reference import MigItem, rmap_mkclean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import AddressSpace, MemMap


def get_block(m: View, mapping: AddressSpace, index: int) -> int:
    """The block of a page of a file, a new one full of zeros if it has none; 0: the disk is full."""
    disk = m.bdi(mapping.bdi)
    block = mapping.block(index)
    if block or int(disk.row["nr_used"]) + 1 >= int(disk.row["blocks"]):
        return block
    block = int(disk.row["next"])
    while disk.used[block]:
        block = block + 1 if block + 1 < int(disk.row["blocks"]) else 1
    disk.row["next"] = block
    disk.used[block] = 1
    disk.row["nr_used"] += 1
    disk.bytes_of(block)[:] = 0
    mapping.set_block(index, block)
    return block


def page_mkwrite(m: View, pfn: int) -> bool:
    """A page of a file is about to be written; False: the disk has no room for it."""
    mapping = page_mapping(m, pfn)
    assert mapping is not None
    if mapping.bdi and not get_block(m, mapping, m.cold.index[pfn]):
        return False
    folio_mark_dirty(m, pfn)
    return True


def folio_mkclean(m: View, pfn: int, asids: set[int]) -> bool:
    """The next write to a page will be a fault again. Returns whether all TLBs must be flushed; asids: whose else."""
    if not m.hot.mapcount[pfn]:
        return False
    if m.hot.mapcount[pfn] == 1 and m.hot.rmap[pfn]:
        at = m.hot.rmap[pfn] // 8
        if m.ram[at] & (pt.PTE_RW | pt.PTE_DIRTY):
            m.ram[at] &= ~(pt.PTE_RW | pt.PTE_DIRTY)
            asids.add(m.cold.mapping[m.hot.rmap[pfn] >> pt.PAGE_SHIFT])
        return False
    rmap_mkclean(m, MigItem(pfn, anon=m.cold.mapping[pfn], index=m.cold.index[pfn]))
    return True


def write_page(m: View, pfn: int) -> bool:
    """writepage() of a dirty page whose PTEs are clean: it is under writeback now; False: the disk is full."""
    mapping = page_mapping(m, pfn)
    assert mapping is not None
    block = get_block(m, mapping, m.cold.index[pfn])
    if not block:
        return False
    # What was stored behind the end of the file through a mapping is not the file's.
    if m.cold.index[pfn] == mapping.i_size >> pt.PAGE_SHIFT and mapping.i_size % pt.PAGE_SIZE:
        m.page_bytes(pfn)[mapping.i_size % pt.PAGE_SIZE :] = 0
    m.hot.flags[pfn] = m.hot.flags[pfn] & ~c.PG_dirty | c.PG_writeback
    count_dirty(m, pfn, -1)
    m.node_stat[m.node(pfn), c.NR_WRITEBACK] += 1
    m.bdi(mapping.bdi).bytes_of(block)[:] = m.page_bytes(pfn)
    return True


# ---------------------------------------------------------------- what drivers call


def write_cache_pages(
    mem: MemMap, mapping: AddressSpace, start: int, end: int, out: NDArray[np.uint32]
) -> tuple[int, int]:
    """Begin to write the dirty pages [start, end) of a file that nobody locks or writes, as many as ``out`` holds.

    They are under writeback until the driver has handed them to the disk, and it is done. Returns (next, how many).
    """
    m = View(mem)
    asids: set[int] = set()
    everything, n, at = False, 0, start
    busy = c.PG_dirty | c.PG_writeback | c.PG_locked
    for index, entry in mapping.entries(start, end):
        if n == len(out):
            break
        if entry & 1 or m.hot.flags[entry >> 1] & busy != c.PG_dirty:
            continue
        everything |= folio_mkclean(m, entry >> 1, asids)
        if write_page(m, entry >> 1):
            out[n] = entry >> 1
            n += 1
            at = index + 1
    if everything or asids:
        try_to_unmap_flush(m, asids, everything)
    m.charge(n * m.cost["swap_page"])
    return (at if n == len(out) else max(start, end)), n


def free_blocks(mem: MemMap, mapping: AddressSpace, start: int) -> None:
    """ext2_truncate(): the pages of a file from ``start`` on have no place on the disk any more."""
    disk = View(mem).bdi(mapping.bdi)
    for index, block in mapping.blocks(start):
        disk.used[block] = 0
        disk.row["nr_used"] -= 1
        mapping.set_block(index, 0)
