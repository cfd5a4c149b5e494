"""Changing access rights: mprotect(2).

Mirrors mm/mprotect.c. The range may cross areas of any kind but no hole; what lies before a hole, or before
an area that does not allow the change, has the new rights when the error is returned.

Three things change, in this order: the areas, by which later faults are judged; the PTEs that exist; and the TLBs, by
a flush that the kernel of the second step ends with. A private page never becomes writable for the CPU by this unless
it belongs to this process alone: otherwise its first write is still a fault that copies it.
"""

from __future__ import annotations

from numalab.arch.errno import EACCES, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.gup import mm_populate
from numalab.mm.hugetlb import hugetlb_change_protection
from numalab.mm.mman import (
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
    calc_vm_prot_bits,
)
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.overcommit import vm_enough_memory
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_SHIFT,
    VM_ACCESS_FLAGS,
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_NORESERVE,
    VM_SHARED,
    VM_WRITE,
    offset_in_page,
    page_align,
)
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import find_vma_intersection, vma_lookup

__all__ = ["do_mprotect"]


def do_mprotect(mm: MmStruct, ctx: AllocCtx, start: int, length: int, prot: int) -> None:
    """mprotect(2): give [start, start + length) the rights ``prot``. ``ctx`` pays for pages of locked areas.

    Raises KernelError: EINVAL (both or the wrong GROWS bit, start not aligned, unknown bits), ENOMEM (the
    range wraps or has a hole, too many areas, more memory than there is), EACCES (an area that may never have
    the right).
    """
    grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
    prot &= ~grows
    if grows == PROT_GROWSDOWN | PROT_GROWSUP:
        raise KernelError(EINVAL, "an area grows one way")
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    if not length:
        return
    end = start + page_align(length) & MASK64
    if end <= start:
        raise KernelError(ENOMEM, "the range wraps round the end of the address space")
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM):
        raise KernelError(EINVAL, f"unknown bits in {prot:#x}")
    with mmap_write_lock(mm, ctx):
        _protect_range(mm, ctx, *_grown(mm, start, end, grows), prot)


def _protect_range(mm: MmStruct, ctx: AllocCtx, start: int, end: int, prot: int) -> None:
    """Area by area, as far as they allow it."""
    at = start
    while at < end:
        vma = vma_lookup(mm, at)
        if vma is None:
            raise KernelError(ENOMEM, f"nothing is mapped at {at:#x}")
        flags = vma.flags & ~VM_ACCESS_FLAGS | calc_vm_prot_bits(prot)
        # VM_MAYREAD and its like stand four bits above what they allow.
        if flags & ~(flags >> 4) & VM_ACCESS_FLAGS:
            raise KernelError(EACCES, f"the area at {at:#x} may not have these rights")
        at = _mprotect_fixup(mm, ctx, vma, at, min(end, vma.end), flags).end


def _grown(mm: MmStruct, start: int, end: int, grows: int) -> tuple[int, int]:
    """PROT_GROWSDOWN: from the beginning of the stack on. There are no areas that grow upwards on x86."""
    if not grows:
        return start, end
    vma = find_vma_intersection(mm, start, end)
    if vma is None or (grows == PROT_GROWSUP and vma.start > start):
        raise KernelError(ENOMEM, "nothing is mapped there")
    if grows == PROT_GROWSUP or not vma.flags & VM_GROWSDOWN:
        raise KernelError(EINVAL, "the area does not grow that way")
    return vma.start, end


def _mprotect_fixup(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int, flags: int) -> VMA:
    """Change a part of one area and the PTEs there; returns the area that covers it now."""
    old = vma.flags
    if flags == old:
        return vma
    if flags & VM_WRITE:
        # What becomes writable may need memory of its own from now on; an area counts once and stays counted.
        if not old & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE):
            vm_enough_memory(mm.mem, (end - start) >> PAGE_SHIFT)
            flags |= VM_ACCOUNT
    elif old & VM_ACCOUNT and vma.file is None and vma.anon_vma is None:
        flags &= ~VM_ACCOUNT
    vma = vma_modify(mm, vma, start, end, flags=flags)
    if flags & VM_HUGETLB:
        hugetlb_change_protection(vma, start, end)
    else:
        mm.mem.k.memory.protect_range(mm.mem, mm, vma, start, end)
    if old & (VM_WRITE | VM_SHARED | VM_LOCKED) == VM_LOCKED and flags & VM_WRITE:
        # A locked area must not have to fault: copy now what the first write would copy.
        mm_populate(mm, ctx, start, end - start, ignore_errors=True)
    return vma
