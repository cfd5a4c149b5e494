"""Swap areas: switching them on and off.

Mirrors swapon(2) and swapoff(2) in mm/swapfile.c. Slots and their counts are the kernels' (``_swap``); an area is here
the arrays they work on, the disk that holds its contents, and its place among the others. Deliberately different: the
first page of the disk is kept free for the header, but no header is read: any disk can be swapped to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._pagetable_reference import swp_entry
from numalab.arch.errno import EBUSY, EINVAL, EIO, ENOMEM, EPERM, KernelError
from numalab.arch.sparse import sparse
from numalab.mm import _constants as c
from numalab.mm.kernels import Why
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.swap import folio_get, folio_put
from numalab.mm.swap_state import read_again, read_swap_page, shmem_swapin_range, wait_on_page
from numalab.mm.vma_tree import find_vma, linear_page_index

if TYPE_CHECKING:
    from numalab.arch.disk import Disk
    from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap, MmStruct

__all__ = ["SwapArea", "swap_area_on", "swap_areas", "swapoff", "swapon"]

#: What the first area without a priority gets; later ones get less.
FIRST_PRIO = -2
MAX_COUNT = 0x7FFF


class SwapArea:
    """One area: struct swap_info_struct. type: its number in swap PTEs; row: what the kernels see of it."""

    def __init__(self, mem: MemMap, type_: int, disk: Disk, prio: int) -> None:
        self.mem = mem
        self.type = type_
        self.disk = disk
        self.map = sparse(disk.pages, np.uint16)
        self.cache = sparse(disk.pages, np.uint32)
        self.zeromap = sparse(disk.pages, np.uint8)
        row = mem.swap[type_]
        row["map"], row["cache"] = self.map.ctypes.data, self.cache.ctypes.data
        row["zeromap"] = self.zeromap.ctypes.data
        row["store"], row["pages"] = disk.store.ctypes.data, disk.pages
        row["used"], row["next"], row["turn"], row["prio"] = 0, 1, 0, prio
        row["flags"] = c.SWP_WRITEOK
        self.sync()

    @property
    def prio(self) -> int:
        return int(self.mem.swap[self.type]["prio"])

    @property
    def used(self) -> int:
        """Slots in use."""
        return int(self.mem.swap[self.type]["used"])

    @property
    def size(self) -> int:
        """Slots that can be used: all but the header."""
        return self.disk.pages - 1

    def sync(self) -> None:
        """The disk has become another one (slower, failing, whole again): tell the kernels whether they must wait."""
        flags = int(self.mem.swap[self.type]["flags"]) & ~c.SWP_SYNCHRONOUS_IO
        self.mem.swap[self.type]["flags"] = flags | (c.SWP_SYNCHRONOUS_IO if self.disk.synchronous else 0)


def swap_areas(mem: MemMap) -> Iterator[SwapArea]:
    """The areas that are switched on, by type."""
    return (area for area in mem.swap_areas if area is not None)


def swap_area_on(mem: MemMap, disk: Disk) -> SwapArea | None:
    """The area that is on a disk, also while it is being emptied; None: the disk is not swapped to."""
    return next((area for area in swap_areas(mem) if area.disk is disk), None)


def swapon(mem: MemMap, disk: Disk, prio: int | None = None) -> SwapArea:
    """Swap to a disk. prio: 0..32767, areas of higher priority fill first; None = below all there are.

    Raises KernelError: EINVAL (fewer than 2 pages), EBUSY (it is swapped to already), EPERM (no type is left).
    """
    if disk.pages < 2:
        raise KernelError(EINVAL, "a swap area needs a header and at least one page")
    if swap_area_on(mem, disk) is not None:
        raise KernelError(EBUSY, f"{disk.name} is a swap area already")
    if None not in mem.swap_areas:
        raise KernelError(EPERM, f"{len(mem.swap_areas)} swap areas are the limit")
    if prio is None:
        prio = min((area.prio for area in swap_areas(mem)), default=FIRST_PRIO + 1)
        prio = min(prio - 1, FIRST_PRIO)
    type_ = mem.swap_areas.index(None)
    area = mem.swap_areas[type_] = SwapArea(mem, type_, disk, prio)
    return area


def swapoff(mem: MemMap, area: SwapArea, mms: Callable[[], Iterable[MmStruct]], ctx: AllocCtx) -> None:
    """Bring everything back that is in an area, and give it up.

    mms: tells every address space of the machine, those of new processes too. Raises KernelError: EINVAL (somebody
    switches it off already), ENOMEM (memory runs out on the way), EIO (the disk fails); after the latter two the area
    is in use again, with what had not come back yet.
    """
    row = mem.swap[area.type]
    # Whoever takes this flag away is the one who empties the area: he may sleep, and finds it there when he wakes.
    if not int(row["flags"]) & c.SWP_WRITEOK:
        raise KernelError(EINVAL, f"{area.disk.name} is being emptied")
    row["flags"] = int(row["flags"]) & ~c.SWP_WRITEOK
    read_again(area)
    try:
        # Whoever needs memory meanwhile may unmap pages again that are still in the swap cache: then once more.
        while before := area.used:
            for mapping in mem.mappings():
                _shmem_unuse(mapping, ctx, area.type)
            # A process that forks while this sleeps hands on what has not come back to it yet.
            seen: set[MmStruct] = set()
            while new := [mm for mm in mms() if mm not in seen]:
                for mm in new:
                    with mmap_read_lock(mm):
                        _unuse_mm(mem, mm, ctx, area.type)
                seen.update(new)
            _drop_cache(area, ctx)
            if area.used == before:
                raise OutOfMemory
    except (OutOfMemory, KernelError) as error:
        row["flags"] = int(row["flags"]) | c.SWP_WRITEOK
        if isinstance(error, KernelError):
            raise
        raise KernelError(ENOMEM, "there is no room for what is in the swap area") from None
    row["pages"] = row["flags"] = 0
    mem.swap_areas[area.type] = None


def _drop_cache(area: SwapArea, ctx: AllocCtx) -> None:
    """The pages of slots that no swap PTE names any more leave the swap cache, when nobody locks or writes them."""
    mem = area.mem
    for slot in np.flatnonzero(area.cache).tolist():
        pfn = int(area.cache[slot])
        if not pfn or area.map[slot] != 1:
            continue
        folio_get(mem, pfn)  # it might become another page while this waits for it
        try:
            wait_on_page(mem, pfn)
        finally:
            folio_put(mem, ctx.cpu, pfn)
        mem.k.swap.drop_cache(mem, ctx.cpu, swp_entry(area.type, slot))


def _shmem_unuse(mapping: AddressSpace, ctx: AllocCtx, type_: int) -> None:
    """shmem_unuse(): the pages of a file that are in the area are in memory again. Raises OutOfMemory."""
    slow = Slowpath(mapping.mem, ctx)
    at = 0
    while mapping.nr_swapped and at < mapping.size:
        reached, why = shmem_swapin_range(mapping, ctx, at, mapping.size, 1 << type_)
        if reached > at:
            slow.progress()
        at = reached
        if why == Why.WAIT_IO:
            raise KernelError(EIO, f"the swap area cannot be read for page {at} of a file")
        if why == Why.NEED_RECLAIM:
            slow.reclaim()


def _unuse_mm(mem: MemMap, mm: MmStruct, ctx: AllocCtx, type_: int) -> None:
    """unuse_mm(): map again what an address space has in the area. Raises OutOfMemory."""
    slow = Slowpath(mem, ctx)
    va = 0
    # Areas are looked up anew after each sleep: the program may have changed them, or left.
    while mm.rss_swap and (vma := find_vma(mm, va)) is not None:
        va = max(va, vma.start)
        reached, why, entry = mem.k.swap.unuse_range(mem, mm, vma, ctx, va, vma.end, type_)
        if reached > va:
            slow.progress()
        va = reached
        if why in (Why.WAIT_IO, Why.WAIT_LOCK):
            why = read_swap_page(mem, ctx, vma.policy, linear_page_index(vma, va), entry)
            if why == Why.WAIT_IO:
                raise KernelError(EIO, f"the swap area cannot be read at {va:#x}")
        if why == Why.NEED_RECLAIM:
            slow.reclaim()
