"""Writing dirty pages of files to their disks, and waiting for it.

Mirrors mm/page-writeback.c and filemap_write_and_wait_range(). Deliberately different: there is no flusher thread.
Whoever would wake it (reclaim that meets dirty pages, a writer above the background threshold) begins the writes
himself, and does not wait for them; and nothing is written merely because it has been dirty for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import EIO, KernelError
from numalab.mm import _constants as c
from numalab.mm._mm_types import AddressSpace
from numalab.mm.backing_dev import disk_of
from numalab.mm.errseq import errseq_seen, errseq_set
from numalab.mm.swap_state import swap_writepages, wait_on_page
from numalab.mm.zones import nr_free_pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap
    from numalab.mm.filemap import MappedFile

__all__ = [
    "BACKGROUND_RATIO", "DIRTY_RATIO", "balance_dirty_pages", "dirty_limits", "file_check_wb_err",
    "filemap_flush", "filemap_write_and_wait", "submit_writes", "wakeup_flusher_threads",
]  # fmt: skip

BATCH = 256
#: vm.dirty_background_ratio and vm.dirty_ratio, percent of the memory that could be dirty.
BACKGROUND_RATIO, DIRTY_RATIO = 10, 20


def submit_writes(mem: MemMap, pfns: NDArray[np.uint32]) -> None:
    """Hand pages under writeback, whose bytes are where they go already, to their disks: a file's, or a swap area's."""
    mapping = mem.cold["mapping"][pfns]
    of_files = (mapping != 0) & (mem.hot["flags"][pfns] & np.uint32(c.PG_anon) == 0)
    for id_ in np.unique(mapping[of_files]).tolist():
        file = mem.rmap_root(id_)
        assert isinstance(file, AddressSpace)
        _submit(file, pfns[of_files & (mapping == id_)])
    if not of_files.all():
        swap_writepages(mem, pfns[~of_files])


def _submit(mapping: AddressSpace, pfns: NDArray[np.uint32]) -> None:
    mem = mapping.mem

    def done(ok: bool) -> None:
        # mapping_set_error(): the page counts as clean, and whoever asks (fsync) learns that it is not on the disk.
        store.writing -= len(pfns)
        if not ok:
            errseq_set(mapping)
            errseq_set(store.errors)
        mem.k.vmscan.end_writeback(mem, pfns, True)

    def blocks() -> list[int]:
        return [mapping.block(index) for index in mem.cold["index"][pfns].tolist()]

    store = disk_of(mapping)
    store.writing += len(pfns)
    store.disk.write(len(pfns), blocks, done)
    mem.timers.expire()


def filemap_flush(mapping: AddressSpace, start: int, end: int) -> None:
    """filemap_fdatawrite_range(): begin to write the dirty pages [start, end) of a file."""
    mem, at, end = mapping.mem, start, min(end, mapping.size)
    while at < end:
        pfns = np.empty(BATCH, np.uint32)
        at, n = mem.k.writeback.write_cache_pages(mem, mapping, at, end, pfns)
        if n:
            _submit(mapping, pfns[:n])


def filemap_write_and_wait(mapping: AddressSpace, start: int, end: int) -> None:
    """Write the pages [start, end) that are dirty, locked ones too, and wait until that is over."""
    if not mapping.bdi:
        return
    mem = mapping.mem
    while True:
        # What is being written may have been changed since.
        wait_on_writeback(mapping, start, end, c.PG_dirty)
        filemap_flush(mapping, start, end)
        locked = _pages_with(mapping, start, end, c.PG_dirty | c.PG_locked)
        if not len(locked):
            break
        wait_on_page(mem, int(locked[0]))
    wait_on_writeback(mapping, start, end)


def file_check_wb_err(file: MappedFile) -> None:
    """file_check_and_advance_wb_err(): each open file is told once of a write that failed. Raises KernelError(EIO)."""
    mapping = file.mapping
    if file.f_wb_err != mapping.wb_err:
        file.f_wb_err = errseq_seen(mapping)
        raise KernelError(EIO)


def _pages_with(mapping: AddressSpace, start: int, end: int, wanted: int) -> NDArray[np.int64]:
    """The pages [start, end) in memory that have all these flags."""
    entries = [entry >> 1 for _, entry in mapping.entries(start, end) if not entry & 1]
    pfns = np.array(entries, np.int64)
    flags = mapping.mem.hot["flags"][pfns]
    found: NDArray[np.int64] = pfns[flags & np.uint32(wanted) == wanted]
    return found


def wait_on_writeback(mapping: AddressSpace, start: int, end: int, also: int = 0) -> None:
    """filemap_fdatawait_range(): sleep until none of these pages is under writeback. also: flags that it must have."""
    mem = mapping.mem
    flags = mem.hot["flags"]
    busy = _pages_with(mapping, start, end, c.PG_writeback | also)
    if len(busy):
        what = f"the writeback of {len(busy)} pages of a file"
        mem.waits.wait(what, lambda: not (flags[busy] & np.uint32(c.PG_writeback)).any())


def wakeup_flusher_threads(mem: MemMap) -> None:
    """Begin to write everything that is dirty."""
    if mem.node_stat[:, c.NR_FILE_DIRTY].any():
        for mapping in mem.mappings():
            if mapping.bdi:
                filemap_flush(mapping, 0, mapping.size)


def dirty_limits(mem: MemMap) -> tuple[int, int]:
    """domain_dirty_limits(): pages that may be dirty before somebody begins to write, and before writers wait."""
    dirtyable = nr_free_pages(mem) + int(mem.node_stat[:, [c.NR_INACTIVE_FILE, c.NR_ACTIVE_FILE]].sum())
    return BACKGROUND_RATIO * dirtyable // 100, DIRTY_RATIO * dirtyable // 100


def balance_dirty_pages(mem: MemMap) -> None:
    """Keep the share of dirty pages down: begin to write above the background ratio, wait above the other."""
    dirty = sum(mem.node_stat[:, c.NR_FILE_DIRTY].tolist())
    if not dirty:
        return
    background, limit = dirty_limits(mem)
    if dirty > background:
        wakeup_flusher_threads(mem)

    def writing() -> int:
        return sum(store.writing for store in mem.bdis if store is not None)

    if writing() > limit:
        mem.waits.wait("fewer pages of files being written", lambda: writing() <= limit)
