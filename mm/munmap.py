"""Taking mappings away: munmap(2), and whatever makes room for something else.

Mirrors the munmap half of mm/vma.c. The order matters: first the areas are cut at both ends (only that can
fail), then their pages go, then the areas, then the page tables that nobody needs any more. Files are let go last of
all, without the lock: that may sleep (mmap_lock.py).
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.hugetlb import hugetlb_vm_op_close
from numalab.mm.memory import zap_vma_range
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.rmap import unlink_anon_vmas
from numalab.mm.vm_flags import offset_in_page, page_align
from numalab.mm.vma import split_vma
from numalab.mm.vma_tree import find_vma, find_vma_intersection, vma_lookup, vma_prev, vma_remove

__all__ = ["do_munmap", "unmap_areas"]


def do_munmap(mm: MmStruct, ctx: AllocCtx, start: int, length: int) -> None:
    """munmap(2): nothing is mapped in [start, start + length) afterwards. A range without areas is no error.

    Raises KernelError: EINVAL (start not page aligned, nothing to do, beyond the address space), ENOMEM (a
    hole in the middle of an area would make one area too many).
    """
    limit = task_size(mm.mem)
    if offset_in_page(start) or start > limit or length > limit - start:
        raise KernelError(EINVAL, "not a page aligned range of user addresses")
    end = start + page_align(length)
    if end == start:
        raise KernelError(EINVAL, "the length is 0")
    with mmap_write_lock(mm, ctx):
        _unmap_range(mm, ctx, start, end)


def _unmap_range(mm: MmStruct, ctx: AllocCtx, start: int, end: int) -> None:
    """Cut the areas at both ends, and remove what lies between."""
    first = find_vma_intersection(mm, start, end)
    if first is None:
        return
    if first.start < start:
        # The count may pass its limit by one while a cut is made, as it falls again at once; a hole does not.
        if end < first.end and len(mm.vmas) >= mm.mem.max_map_count:
            raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")
        split_vma(mm, first, start, new_below=True, limit=False)
    last = vma_lookup(mm, end - 1)
    if last is not None and last.end > end:
        split_vma(mm, last, end, new_below=False, limit=False)
    unmap_areas(mm, ctx, [mm.vmas[key] for key in mm.vmas.irange(start, end, inclusive=(True, False))])


def unmap_areas(mm: MmStruct, ctx: AllocCtx, areas: list[VMA]) -> None:
    """Remove whole areas, ascending and with none between them, and everything that is mapped there.

    Needs the lock for writing: when it is released, their files are let go.
    """
    start, end = areas[0].start, areas[-1].end
    for vma in areas:
        zap_vma_range(mm, ctx, vma.start, vma.end)
    for vma in areas:
        unlink_anon_vmas(vma)
        hugetlb_vm_op_close(vma)
        file = vma.detach_file()
        if file is not None:
            mm.mmap_lock.unmapped.append(file)
        vma_remove(mm, vma)
    prev, next_ = vma_prev(mm, start), find_vma(mm, end)
    floor, ceiling = 0 if prev is None else prev.end, 0 if next_ is None else next_.start
    mm.mem.k.memory.free_tables(mm.mem, mm, ctx.cpu, start, end, floor, ceiling)
