"""Growing, shrinking and moving mappings: mremap(2).

What happens depends on the lengths and on what is above the area:

    shorter                              the tail is unmapped
    longer, free above, the whole tail   the area grows where it is
    longer, no room, MAYMOVE             a new area elsewhere, PTEs moved, the old range unmapped
    FIXED                                the same, to a given address, after clearing it
    DONTUNMAP                            the same, but the old range stays mapped, without pages

A moved area keeps its policy, its flags and its anon_vmas, and as long as it has pages also its page offsets,
since its pages are found by them; without pages the offsets follow the new address, so that it can merge
there. No page is copied: PTEs move from the old tables to the new ones, page by page, and struct page learns
where its PTE is now.

With DONTUNMAP the area that stays behind is never merged with the new one, and if it was locked, the part left
behind is cut out and unlocked; both as 6.12 was seen to do.

Mirrors mm/mremap.c and copy_vma() of mm/vma.c. ``memlock_limit`` and ``ipc_lock`` are mlock.py's.
"""

from __future__ import annotations

from numalab.arch.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.get_unmapped_area import get_unmapped_area, task_size
from numalab.mm.gup import mm_populate
from numalab.mm.hugetlb import move_hugetlb_page_tables
from numalab.mm.kernels import Why
from numalab.mm.mlock import RLIM_INFINITY, mlock_future_ok
from numalab.mm.mman import MAP_FIXED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.munmap import do_munmap
from numalab.mm.overcommit import vm_enough_memory
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.rmap import unlink_anon_vmas
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_SHIFT,
    PMD_SIZE,
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_HUGETLB,
    VM_LOCKED,
    VM_LOCKED_MASK,
    VM_MAYSHARE,
    VM_PFNMAP,
    offset_in_page,
    page_align,
)
from numalab.mm.vma import clone_vma, split_vma, vma_merge_new_range
from numalab.mm.vma_tree import (
    find_vma_intersection,
    linear_page_index,
    vma_insert,
    vma_lookup,
)

__all__ = ["do_mremap"]


def do_mremap(
    mm: MmStruct,
    ctx: AllocCtx,
    old: int,
    old_len: int,
    new_len: int,
    flags: int,
    new: int = 0,
    *,
    memlock_limit: int = RLIM_INFINITY,
    ipc_lock: bool = True,
) -> int:
    """mremap(2): [old, old + old_len) becomes ``new_len`` bytes long, elsewhere if need be: returns where.

    new: where to, with MREMAP_FIXED; a hint with MREMAP_DONTUNMAP.
    Raises KernelError: EINVAL (flags, alignment, a length of 0, overlap), EFAULT (no area there, or the range
    leaves it), ENOMEM (no room, may not move, too many areas), EAGAIN (RLIMIT_MEMLOCK).
    """
    if flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP):
        raise KernelError(EINVAL, f"unknown flags {flags:#x}")
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not flags & MREMAP_MAYMOVE:
        raise KernelError(EINVAL, "FIXED and DONTUNMAP need MAYMOVE")
    if flags & MREMAP_DONTUNMAP and old_len != new_len:
        raise KernelError(EINVAL, "DONTUNMAP keeps the length")
    if offset_in_page(old):
        raise KernelError(EINVAL, "the old address is not page aligned")
    old_len, new_len = page_align(old_len), page_align(new_len)
    if not new_len:
        raise KernelError(EINVAL, "the new length is 0")
    with mmap_write_lock(mm, ctx):
        at, locked = _remap_range(mm, ctx, old, old_len, new_len, flags, new, memlock_limit, ipc_lock)
    if locked and new_len > old_len:
        mm_populate(mm, ctx, at + old_len, new_len - old_len, ignore_errors=True)
    return at


def _remap_range(
    mm: MmStruct,
    ctx: AllocCtx,
    old: int,
    old_len: int,
    new_len: int,
    flags: int,
    new: int,
    memlock_limit: int,
    ipc_lock: bool,
) -> tuple[int, bool]:
    """What needs the lock; returns where the range is now, and whether it is locked."""
    vma = vma_lookup(mm, old)
    if vma is None:
        raise KernelError(EFAULT, f"nothing is mapped at {old:#x}")
    if vma.flags & VM_HUGETLB:
        old_len, new_len = old_len + -old_len % PMD_SIZE, new_len + -new_len % PMD_SIZE
        if (old | new) % PMD_SIZE or new_len > old_len:
            raise KernelError(EINVAL, "huge pages move whole, and such an area cannot grow")
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        at, vma = _mremap_to(mm, ctx, old, old_len, new_len, flags, new, memlock_limit, ipc_lock)
    elif old_len >= new_len:
        if old_len > new_len:
            do_munmap(mm, ctx, old + new_len, old_len - new_len)
        at = old
    else:
        _check_resize(mm, vma, old, old_len, new_len, flags, memlock_limit, ipc_lock)
        if old_len == vma.end - old and _expandable(mm, vma, new_len - old_len):
            vma = _expand(mm, vma, new_len - old_len)
            at = old
        elif flags & MREMAP_MAYMOVE:
            at = get_unmapped_area(mm, 0, new_len, 0, has_file=vma.file is not None)
            vma = _move_vma(mm, ctx, vma, old, old_len, new_len, at, flags)
        else:
            raise KernelError(ENOMEM, "no room to grow in place")
    return at, bool(vma.flags & VM_LOCKED)


def _check_resize(
    mm: MmStruct,
    vma: VMA,
    old: int,
    old_len: int,
    new_len: int,
    flags: int,
    memlock_limit: int,
    ipc_lock: bool,
) -> None:
    """vma_to_resize(): may this part of the area become that long?"""
    if not old_len and not vma.flags & VM_MAYSHARE:
        raise KernelError(EINVAL, "only a shared mapping can be duplicated with an old length of 0")
    if flags & MREMAP_DONTUNMAP and vma.flags & (VM_DONTEXPAND | VM_PFNMAP):
        raise KernelError(EINVAL, "the area cannot be left behind")
    if old_len > vma.end - old:
        raise KernelError(EFAULT, "the old range leaves its area")
    if new_len == old_len:
        return
    if linear_page_index(vma, old) + (new_len >> PAGE_SHIFT) > MASK64:
        raise KernelError(EINVAL, "the page offset overflows")
    if vma.flags & (VM_DONTEXPAND | VM_PFNMAP):
        raise KernelError(EFAULT, "the area cannot grow")
    if new_len > old_len and not mlock_future_ok(mm, vma.flags, new_len - old_len, memlock_limit, ipc_lock):
        raise KernelError(EAGAIN, "over RLIMIT_MEMLOCK")


def _expandable(mm: MmStruct, vma: VMA, delta: int) -> bool:
    """Whether nothing is in the way above the area (vma_expandable())."""
    end = vma.end + delta
    return end <= task_size(mm.mem) and find_vma_intersection(mm, vma.end, end) is None


def _expand(mm: MmStruct, vma: VMA, delta: int) -> VMA:
    """Grow in place, and into the next area if it turns out to be the same (vma_merge_extend())."""
    if vma.flags & VM_ACCOUNT:
        vm_enough_memory(mm.mem, delta >> PAGE_SHIFT)
    grown = vma_merge_new_range(
        mm,
        vma.end,
        vma.end + delta,
        vma.flags,
        linear_page_index(vma, vma.end),
        file=vma.file,
        policy=vma.policy,
        anon_vma=vma.anon_vma,
    )
    if grown is None:
        raise KernelError(ENOMEM, "the area cannot grow")
    return grown


def _mremap_to(
    mm: MmStruct,
    ctx: AllocCtx,
    old: int,
    old_len: int,
    new_len: int,
    flags: int,
    new: int,
    memlock_limit: int,
    ipc_lock: bool,
) -> tuple[int, VMA]:
    """Move to a given place, after clearing it; or (DONTUNMAP alone) to any place, leaving the old range
    mapped.
    """
    limit = task_size(mm.mem)
    if offset_in_page(new):
        raise KernelError(EINVAL, "the new address is not page aligned")
    if new_len > limit or new > limit - new_len:
        raise KernelError(EINVAL, "the new range is beyond the end of the address space")
    if old + old_len > new and new + new_len > old:
        raise KernelError(EINVAL, "old and new range overlap")
    # Moving may split one area in three and add one: it must not fail half way.
    if len(mm.vmas) + 2 >= mm.mem.max_map_count - 3:
        raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")
    if flags & MREMAP_FIXED:
        do_munmap(mm, ctx, new, new_len)
    if old_len > new_len:
        do_munmap(mm, ctx, old + new_len, old_len - new_len)
        old_len = new_len
    vma = vma_lookup(mm, old)
    if vma is None:
        raise KernelError(EFAULT, f"nothing is mapped at {old:#x}")
    _check_resize(mm, vma, old, old_len, new_len, flags, memlock_limit, ipc_lock)
    fixed = MAP_FIXED if flags & MREMAP_FIXED else 0
    at = get_unmapped_area(mm, new, new_len, fixed, has_file=vma.file is not None)
    return at, _move_vma(mm, ctx, vma, old, old_len, new_len, at, flags)


def _move_vma(
    mm: MmStruct, ctx: AllocCtx, vma: VMA, old: int, old_len: int, new_len: int, new: int, flags: int
) -> VMA:
    """An area at ``new`` with the PTEs of the old range, which is unmapped or (DONTUNMAP) left empty.

    The new area comes first, with the old one still there: so it can be chained to the same anon_vmas, and whoever
    walks them in between finds a page in either place. Raises KernelError(ENOMEM); nothing has moved then.
    """
    if len(mm.vmas) >= mm.mem.max_map_count - 3:
        raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")
    dontunmap = flags & MREMAP_DONTUNMAP
    if vma.flags & VM_ACCOUNT:
        vm_enough_memory(mm.mem, (new_len if dontunmap else new_len - old_len) >> PAGE_SHIFT)
    vma_flags = vma.flags
    if vma_flags & VM_HUGETLB or (dontunmap and vma_flags & VM_LOCKED):
        # It becomes an area of its own before the copy looks for neighbours: what stays behind is not locked; and
        # reservations go along with what moves, and stay with the rest.
        if vma.start < old:
            split_vma(mm, vma, old, new_below=True)
        if vma.end > old + old_len:
            split_vma(mm, vma, old + old_len, new_below=False)
        vma.flags &= ~VM_LOCKED_MASK
    vma, moved = _copy_vma(mm, vma, old, new, new_len, vma_flags, stays=bool(dontunmap))
    try:
        _move_page_tables(vma, ctx, old, new, old_len)
    except OutOfMemory as error:
        # No table for the rest: what has moved goes back, where its tables still are, and the new area goes.
        _move_page_tables(moved, ctx, new, old, old_len)
        do_munmap(mm, ctx, new, new_len)
        raise KernelError(ENOMEM, "no memory for page tables") from error
    if not dontunmap:
        if old_len:  # else a shared mapping has been duplicated
            do_munmap(mm, ctx, old, old_len)
        return moved
    if moved is not vma and (vma.start, vma.end) == (old, old + old_len):
        # It has no pages any more; new ones may get an anon_vma that suits the neighbours.
        unlink_anon_vmas(vma)
    return moved


def _move_page_tables(vma: VMA, ctx: AllocCtx, old: int, new: int, length: int) -> None:
    """Move the PTEs of ``length`` bytes. Raises OutOfMemory if a table cannot be had, with a part moved."""
    mm = vma.mm
    if vma.flags & VM_HUGETLB:
        move_hugetlb_page_tables(vma, ctx, old, new, length)
        vma.vm_private_data = None  # the reservations are the other area's
        return
    slow = Slowpath(mm.mem, ctx)
    done = 0
    while done < length:
        moved, why, _ = mm.mem.k.memory.move_range(mm.mem, mm, ctx, old + done, new + done, length - done)
        if moved:
            slow.progress()
        done += moved
        if why == Why.NEED_RECLAIM:
            slow.reclaim()


def _copy_vma(
    mm: MmStruct, vma: VMA, old: int, new: int, length: int, flags: int, *, stays: bool
) -> tuple[VMA, VMA]:
    """The area for the moved pages (copy_vma()), merged with its neighbours where that is possible.

    Returns the old area, which is another one if the new place swallowed it (neither has pages then), and the
    new. An old area that ``stays`` is not swallowed.
    """
    pgoff = linear_page_index(vma, old)
    if vma.file is None and vma.anon_vma is None:
        pgoff = new >> PAGE_SHIFT
    merged = vma_merge_new_range(
        mm,
        new,
        new + length,
        flags,
        pgoff,
        file=vma.file,
        policy=vma.policy,
        anon_vma=vma.anon_vma,
        apart_from=vma if stays else None,
    )
    if merged is None:
        copy = clone_vma(vma, new, new + length, pgoff)
        copy.flags = flags
        vma_insert(mm, copy)
        return vma, copy
    return (merged if merged.start <= old < merged.end else vma), merged
