"""Which pages are in memory: mincore(2).

Mirrors mm/mincore.c: a page that is mapped (the zero page too) or under migration is there, and so is one that the page
cache has of the file that is mapped; one that is in swap is not, unless the swap cache still has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numalab.arch._pagetable_reference import swp_entry
from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm._constants import PG_uptodate
from numalab.mm._mm_types import MemMap, MmStruct
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.hugetlb import hugetlb_cached
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.swap_state import swap_cache_get_folio
from numalab.mm.vm_flags import PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, VM_HUGETLB, offset_in_page, page_align
from numalab.mm.vma_tree import linear_page_index, vma_lookup

__all__ = ["do_mincore"]

_PRESENT = np.uint64(1 << 63)
_SWAPLIKE = np.uint64(1 << 62)
#: Swap types from here on are not swap areas but migration entries (include/linux/swapops.h).
_FIRST_MIGRATION_TYPE = np.uint64(29)


def do_mincore(mm: MmStruct, start: int, length: int) -> bytes:
    """mincore(2): one byte a page of [start, start + length), 1 = in memory.

    Raises KernelError: EINVAL (start not page aligned), ENOMEM (beyond user addresses, or a hole in the
    range).
    """
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    if length > task_size(mm.mem) or start > task_size(mm.mem) - length:
        raise KernelError(ENOMEM, "beyond the end of the address space")
    with mmap_read_lock(mm):
        return _mincore_range(mm, start, start + page_align(length))


def _mincore_range(mm: MmStruct, start: int, end: int) -> bytes:
    """The answer for whole pages; a hole is an error."""
    at = start
    while at < end:
        vma = vma_lookup(mm, at)
        if vma is None:
            raise KernelError(ENOMEM, f"nothing is mapped at {at:#x}")
        at = vma.end
    words = np.zeros((end - start) >> PAGE_SHIFT, np.uint64)
    if len(words):
        mm.mem.k.task_mmu.pagemap_range(mm.mem, mm, start, words)
    _add_cached(mm, start, words)
    swaplike, types = words & _SWAPLIKE != 0, words & np.uint64(31)
    migrating = swaplike & (types >= _FIRST_MIGRATION_TYPE)
    here = (words & _PRESENT != 0) | migrating
    for i in np.flatnonzero(swaplike & ~migrating).tolist():
        here[i] = _in_core(mm.mem, swp_entry(int(types[i]), int(words[i]) >> 5 & (1 << 50) - 1) + 1)
    vec: bytes = here.astype(np.uint8).tobytes()
    return vec


def _in_core(mem: MemMap, entry: int) -> bool:
    """mincore_page(): whether what stands in a file's place is a page that has been read, perhaps in the swap cache."""
    pfn = swap_cache_get_folio(mem, entry - 1) if entry & 1 else entry >> 1
    return bool(int(mem.hot["flags"][pfn]) & PG_uptodate) if pfn else False


def _add_cached(mm: MmStruct, start: int, words: NDArray[np.uint64]) -> None:
    """Pages of files that are in memory, though not mapped here (mincore_page())."""
    at, end = start, start + len(words) * PAGE_SIZE
    while at < end:
        vma = vma_lookup(mm, at)
        assert vma is not None
        stop = min(end, vma.end)
        if vma.flags & VM_HUGETLB:
            stop = min(stop, (at & -PMD_SIZE) + PMD_SIZE)
            if hugetlb_cached(vma, at):
                words[at - start >> PAGE_SHIFT : stop - start >> PAGE_SHIFT] = _PRESENT
        elif vma.file is not None:
            first = linear_page_index(vma, at)
            for index, entry in vma.file.mapping.entries(first, first + (stop - at >> PAGE_SHIFT)):
                here = (at - start >> PAGE_SHIFT) + index - first
                if not words[here] and _in_core(mm.mem, entry):  # a private copy answers for itself
                    words[here] = _PRESENT
        at = stop
