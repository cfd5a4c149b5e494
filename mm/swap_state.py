"""The swap cache's slow side: reading pages in, with those around them, and waiting for them.

Mirrors swapin_readahead() of mm/swap_state.c and swap_writepage() of mm/page_io.c. The kernels of ``_swap`` find and
map; they come here (through their drivers) when a page must first be read from a disk that takes time, or is locked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._pagetable_reference import SWP_TYPE_SHIFT, swp_entry, swp_offset, swp_type
from numalab.mm import _constants as c
from numalab.mm.kernels import Why
from numalab.mm.shared_policy import get_vma_policy, interleave_index, shared_policy_lookup
from numalab.mm.swap import folio_get, folio_put
from numalab.mm.vm_flags import PAGE_SHIFT, PAGE_SIZE
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, MemMap, MemPolicy, MmStruct
    from numalab.mm.swapfile import SwapArea

__all__ = [
    "madvise_willneed", "read_again", "read_swap_page", "shmem_swapin_range", "swap_cache_get_folio", "swap_writepages",
    "wait_on_page",
]  # fmt: skip

PIECE = 1 << 16  # pages looked up at a time
ALL_TYPES = (1 << c.NR_SWAP_AREAS) - 1


def wait_on_page(mem: MemMap, pfn: int) -> None:
    """folio_wait_locked() and folio_wait_writeback(): sleep until nobody holds the page's lock, nor writes it."""
    flags, busy = mem.hot["flags"], c.PG_locked | c.PG_writeback
    if not int(flags[pfn]) & busy:
        return
    if int(flags[pfn]) & c.PG_locked:
        what = f"the lock of page {pfn:#x}, held by {mem.lock_owners.get(pfn, 'the kernel')}"
    else:
        what = f"the writeback of page {pfn:#x}"
    mem.waits.wait(what, lambda: not int(flags[pfn]) & busy)


def swap_cache_get_folio(mem: MemMap, entry: int) -> int:
    """The frame that the swap cache has for a slot, 0 = none."""
    area = mem.swap_areas[swp_type(entry)]
    return int(area.cache[swp_offset(entry)]) if area is not None else 0


def read_swap_page(mem: MemMap, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, entry: int) -> Why:
    """swapin_readahead(): have a slot's page in the swap cache, and those of the slots around it on their way.

    policy, ilx: where the pages go, None = as the task's policy says. Returns DONE when the page has been read,
    NEED_RECLAIM if there is no frame for it, WAIT_IO if reading it failed.
    """
    area = mem.swap_areas[swp_type(entry)]
    assert area is not None
    slot = swp_offset(entry)
    if not int(area.cache[slot]):
        window = 1 << mem.page_cluster
        first = slot & -window
        for near in range(max(first, 1), min(first + window, area.disk.pages)):
            there = _start_read(mem, ctx, policy, ilx, swp_entry(area.type, near))
            if near == slot and not there:
                return Why.NEED_RECLAIM
    pfn = int(area.cache[slot])
    folio_get(mem, pfn)  # whoever needs memory meanwhile would take it away again
    try:
        wait_on_page(mem, pfn)
        return Why.DONE if int(mem.hot["flags"][pfn]) & c.PG_uptodate else Why.WAIT_IO
    finally:
        folio_put(mem, ctx.cpu, pfn)


def shmem_swapin_range(
    mapping: AddressSpace, ctx: AllocCtx, start: int, end: int, types: int = ALL_TYPES
) -> tuple[int, Why]:
    """Bring back pages [start, end) of shared memory from the swap areas of ``types``, waiting for the disk.

    Returns how far it came, and DONE; NEED_RECLAIM: there is no frame for the next; WAIT_IO: it cannot be read.
    """
    mem = mapping.mem
    while True:
        start, why, entry = mem.k.shmem.swapin_range(mem, ctx, mapping, start, end, types)
        if why not in (Why.WAIT_IO, Why.WAIT_LOCK):
            return start, why
        why = read_swap_page(mem, ctx, shared_policy_lookup(mapping, start), mapping.id + start, entry)
        if why != Why.DONE:
            return start, why


def madvise_willneed(mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int) -> None:
    """MADV_WILLNEED (swapin_walk_pmd_entry(), shmem_swapin_range()): begin to read what is in swap, and do not wait."""
    for va, entry in _swapped(mem, mm, vma, start, end):
        _start_read(mem, ctx, get_vma_policy(vma, va), interleave_index(vma, va), entry)


def _swapped(mem: MemMap, mm: MmStruct, vma: VMA, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(address, swap entry) of the pages of [start, end) that are in swap: page tables or the file tell."""
    if vma.file is not None:  # shared memory, not what was copied of it; a file on a disk has no swap entries
        first, last = linear_page_index(vma, start), linear_page_index(vma, end)
        for index, entry in vma.file.mapping.entries(first, last):
            va = vma.start + (index - vma.pgoff << PAGE_SHIFT)
            if entry & 1:
                yield va, entry - 1
        return
    if not mm.rss_swap:
        return
    for at in range(start, end, PIECE * PAGE_SIZE):
        words = np.zeros(min(PIECE, (end - at) // PAGE_SIZE), np.uint64)
        mem.k.task_mmu.pagemap_range(mem, mm, at, words)
        types = words & np.uint64(31)
        swapped = (words >> np.uint64(62) == 1) & (types < np.uint64(len(mem.swap_areas)))
        for i in np.flatnonzero(swapped).tolist():
            yield at + i * PAGE_SIZE, swp_entry(int(types[i]), int(words[i]) >> 5 & (1 << 50) - 1)


def _start_read(mem: MemMap, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, entry: int) -> bool:
    """read_swap_cache_async(): begin to read one slot, unless its page is there; False if there is no frame for it."""
    policy = policy if policy is not None else ctx.policy
    pfn = mem.k.swap.read_into_cache(mem, ctx, policy, ilx, entry)
    if pfn == c.NO_PFN:
        return False
    if pfn:
        area = mem.swap_areas[swp_type(entry)]
        assert area is not None
        _submit_read(area, pfn)
    return True


def _submit_read(area: SwapArea, pfn: int) -> None:
    """A locked page of the swap cache gets its contents."""
    mem = area.mem
    area.disk.read(1, lambda ok: mem.k.swap.end_read(mem, pfn, ok))
    mem.timers.expire()


def read_again(area: SwapArea) -> None:
    """Begin to read once more what could not be read, and stands in the swap cache without its contents."""
    flags = area.mem.hot["flags"]
    pages = area.cache[np.flatnonzero(area.cache)]
    for pfn in pages[flags[pages] & np.uint32(c.PG_locked | c.PG_uptodate) == 0].tolist():
        flags[pfn] |= np.uint32(c.PG_locked)
        _submit_read(area, pfn)


def swap_writepages(mem: MemMap, pfns: NDArray[np.uint32]) -> None:
    """Hand pages under writeback, whose bytes are in their slots already, to their disks."""
    types = mem.cold["private"][pfns] >> np.uint64(SWP_TYPE_SHIFT)
    for type_ in np.unique(types).tolist():
        area, mine = mem.swap_areas[type_], pfns[types == type_]
        assert area is not None
        area.disk.write(
            len(mine),
            lambda mine=mine: [swp_offset(entry) for entry in mem.cold["private"][mine].tolist()],
            lambda ok, mine=mine: mem.k.vmscan.end_writeback(mem, mine, ok),
        )
    mem.timers.expire()
