"""Choosing addresses: where a mapping goes that does not insist on a place.

From the top down: the highest gap below MMAP_BASE that is large enough; if there is none, from a third of the
address space upwards. A hint is taken if its range is free. Areas whose length is a whole number of 2 MiB are
put on a 2 MiB boundary, so that huge pages could serve them; Linux does so whether huge pages are on or off.

Mirrors mm/mmap.c (get_unmapped_area()), arch/x86/kernel/sys_x86_64.c and thp_get_unmapped_area().
Deliberately different: nothing is randomised (as with ``norandmaps``).
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, ENOMEM, EPERM, KernelError
from numalab.mm._mm_types import MemMap, MmStruct
from numalab.mm.mman import MAP_32BIT, MAP_FIXED
from numalab.mm.stack import RLIMIT_STACK
from numalab.mm.vm_flags import (
    MMAP_MIN_ADDR,
    PAGE_MASK,
    PAGE_SIZE,
    PMD_SIZE,
    STACK_GUARD_GAP,
    offset_in_page,
    page_align,
)
from numalab.mm.vma_tree import find_vma, vm_start_gap, vma_gaps, vma_prev

__all__ = ["MMAP_BASE", "get_unmapped_area", "round_hint_to_min", "task_size"]

#: Programs get higher addresses, which five levels of page tables offer, only when they ask for one.
DEFAULT_MAP_WINDOW = (1 << 47) - PAGE_SIZE
#: Room for the stack: its limit and the gap below it, but at least 128 MiB.
MMAP_BASE = DEFAULT_MAP_WINDOW - max(RLIMIT_STACK + STACK_GUARD_GAP, 128 << 20)
#: Where bottom-up searches begin (TASK_UNMAPPED_BASE).
MMAP_LEGACY_BASE = page_align(DEFAULT_MAP_WINDOW // 3)


def task_size(mem: MemMap) -> int:
    """TASK_SIZE: the first address that no program can have."""
    return (1 << 56) - PAGE_SIZE if mem.hw.levels == 5 else DEFAULT_MAP_WINDOW


def round_hint_to_min(addr: int) -> int:
    """A hint as mmap() takes it: page aligned, and not in the lowest 64 KiB."""
    addr &= PAGE_MASK
    return MMAP_MIN_ADDR if 0 < addr < MMAP_MIN_ADDR else addr


def get_unmapped_area(
    mm: MmStruct,
    addr: int,
    length: int,
    flags: int,
    *,
    has_file: bool = False,
    admin: bool = True,
    hugetlb: bool = False,
) -> int:
    """The address for a mapping of ``length`` bytes (page aligned), where ``addr`` is a hint or, MAP_FIXED,
    an order.

    flags: MAP_*. hugetlb: it is for whole huge pages. admin: the caller has CAP_SYS_RAWIO and may map below
    vm.mmap_min_addr.
    Raises KernelError: ENOMEM no room or beyond the end, EINVAL an order that is not aligned, EPERM one that
    is low.
    """
    limit = task_size(mm.mem)
    if length > limit:
        raise KernelError(ENOMEM, "longer than the address space")
    if hugetlb and flags & MAP_FIXED and addr % PMD_SIZE:
        raise KernelError(EINVAL, "huge pages are mapped at multiples of their size only")
    if flags & MAP_FIXED:
        found = addr
    elif hugetlb:
        found = _unmapped_area(mm, addr + -addr % PMD_SIZE, length, flags) if addr else -1
        if found % PMD_SIZE:  # the hint is taken
            found = _aligned_area(mm, length, flags)
    elif not has_file and not addr and length % PMD_SIZE == 0:
        found = _aligned_area(mm, length, flags)
    else:
        found = _unmapped_area(mm, addr, length, flags)
    if found > limit - length:
        raise KernelError(ENOMEM, "beyond the end of the address space")
    if offset_in_page(found):
        raise KernelError(EINVAL, "the address is not page aligned")
    if found < MMAP_MIN_ADDR and not admin:
        raise KernelError(EPERM, "below vm.mmap_min_addr")
    return found


def _aligned_area(mm: MmStruct, length: int, flags: int) -> int:
    """A place that begins on a huge-page boundary (thp_get_unmapped_area()), or any place if there is no
    such.
    """
    try:
        padded = _unmapped_area(mm, 0, length + PMD_SIZE, flags)
    except KernelError:
        return _unmapped_area(mm, 0, length, flags)
    offset = -padded % PMD_SIZE
    # The search was from the top: of the two boundaries that an aligned gap has, the upper one is wanted.
    return padded + (offset or PMD_SIZE)


def _unmapped_area(mm: MmStruct, addr: int, length: int, flags: int) -> int:
    """arch_get_unmapped_area_topdown(): the hint if it is free, else the highest gap, else the lowest."""
    low_only = bool(flags & MAP_32BIT)
    if addr:
        addr &= PAGE_MASK
        vma = find_vma(mm, addr)
        valid = addr <= (1 << 31) - length if low_only else _hint_valid(mm, addr, length)
        if valid and (vma is None or addr + length <= vm_start_gap(vma)):
            return addr
    if not low_only:
        high = MMAP_BASE
        if addr > DEFAULT_MAP_WINDOW:
            high += task_size(mm.mem) - DEFAULT_MAP_WINDOW
        found = _gap_from_top(mm, length, PAGE_SIZE, high)
        if found is not None:
            return found
    low, high = (1 << 30, 1 << 31) if low_only else (MMAP_LEGACY_BASE, DEFAULT_MAP_WINDOW)
    found = _gap_from_bottom(mm, length, low, high)
    if found is None:
        raise KernelError(ENOMEM, "no gap is large enough")
    return found


def _hint_valid(mm: MmStruct, addr: int, length: int) -> bool:
    """A mapping may not straddle the end of the 47-bit window (mmap_address_hint_valid())."""
    if addr > task_size(mm.mem) - length:
        return False
    return (addr > DEFAULT_MAP_WINDOW) == (addr + length > DEFAULT_MAP_WINDOW)


def _gap_from_top(mm: MmStruct, length: int, low: int, high: int) -> int | None:
    """The highest free [at, at + length) within [low, high) (unmapped_area_topdown())."""
    gaps, start = vma_gaps(mm), _gap_at(mm, high)
    top = min(start + gaps.length(start), high)
    if top - max(start, low) < length:
        found = gaps.highest(min(start, high), length)
        if found is None:
            return None
        start, top = found, found + gaps.length(found)
    return top - length if top - max(start, low) >= length else None


def _gap_from_bottom(mm: MmStruct, length: int, low: int, high: int) -> int | None:
    """The lowest free [at, at + length) within [low, high) (unmapped_area())."""
    gaps, start = vma_gaps(mm), _gap_at(mm, low)
    at = max(start, low)
    if start + gaps.length(start) - at < length:
        found = gaps.lowest(at, length)
        if found is None:
            return None
        at = found
    return at if at + length <= high else None


def _gap_at(mm: MmStruct, addr: int) -> int:
    """Where the area below ``addr`` ends: there the gap begins that ``addr`` lies in, if it lies in one."""
    vma = vma_prev(mm, addr)
    return 0 if vma is None else vma.end
