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
from numalab.mm.swap_state import swap_writepages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap

__all__ = [
    "balance_dirty_pages", "filemap_flush", "filemap_write_and_wait", "submit_writes", "wait_on_writeback",
    "wakeup_flusher_threads",
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
        if not ok:
            mapping.wb_err = EIO
        mem.k.vmscan.end_writeback(mem, pfns, True)

    disk_of(mapping).submit(len(pfns), True, done)
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
    """fsync(2)'s part: the pages [start, end) that were dirty are on the disk.

    Raises KernelError(EIO): some write since the last time has failed.
    """
    if mapping.bdi:
        wait_on_writeback(
            mapping, start, end, c.PG_dirty
        )  # what is being written may have been changed since
        filemap_flush(mapping, start, end)
        wait_on_writeback(mapping, start, end)
    if mapping.wb_err:
        mapping.wb_err = 0
        raise KernelError(EIO)


def wait_on_writeback(mapping: AddressSpace, start: int, end: int, also: int = 0) -> None:
    """filemap_fdatawait_range(): sleep until none of these pages is under writeback. also: flags that it must have."""
    mem = mapping.mem
    flags = mem.hot["flags"]
    entries = [entry >> 1 for _, entry in mapping.entries(start, end) if not entry & 1]
    pfns = np.array(entries, np.int64)
    wanted = np.uint32(c.PG_writeback | also)
    busy = pfns[flags[pfns] & wanted == wanted]
    if len(busy):
        what = f"the writeback of {len(busy)} pages of a file"
        mem.waits.wait(what, lambda: not (flags[busy] & np.uint32(c.PG_writeback)).any())


def wakeup_flusher_threads(mem: MemMap) -> None:
    """Begin to write everything that is dirty."""
    if mem.node_stat[:, c.NR_FILE_DIRTY].any():
        for mapping in mem.mappings():
            if mapping.bdi:
                filemap_flush(mapping, 0, mapping.size)


def balance_dirty_pages(mem: MemMap) -> None:
    """Keep the share of dirty pages down: begin to write above the background ratio, wait above the other."""
    dirty = sum(mem.node_stat[:, c.NR_FILE_DIRTY].tolist())
    if not dirty:
        return
    dirtyable = int(mem.zones["free"].sum()) + int(
        mem.node_stat[:, [c.NR_INACTIVE_FILE, c.NR_ACTIVE_FILE]].sum()
    )
    if 100 * dirty > BACKGROUND_RATIO * dirtyable:
        wakeup_flusher_threads(mem)
    writing = mem.node_stat[:, c.NR_WRITEBACK]
    limit = DIRTY_RATIO * dirtyable // 100
    if int(writing.sum()) > limit:
        mem.waits.wait("fewer pages under writeback", lambda: int(writing.sum()) <= limit)
