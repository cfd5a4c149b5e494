"""Faulting pages in on a program's behalf, without the program touching them.

Mirrors the populating parts of mm/gup.c. A system call that wants memory present (MAP_POPULATE, mlock(),
MADV_POPULATE_*, get_mempolicy(MPOL_F_NODE | MPOL_F_ADDR)) goes through the fault handler as a touch would,
but a missing right is an errno here, not a signal. Running out of memory is no errno at all: as for a touch,
it is ``OutOfMemory`` and the OOM killer's affair.

Whoever populates empties the CPU's LRU batch afterwards, so that the new pages can be isolated, and so that
the batch's reference does not make a later write copy them.
"""

from __future__ import annotations

import signal

from numalab.arch._pagetable_reference import PTE_PRESENT, PTE_SPECIAL, pte_pfn
from numalab.arch.errno import EFAULT, EINVAL, ENOMEM, KernelError
from numalab.mm._constants import PG_referenced
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.memory import UserFault, handle_mm_fault
from numalab.mm.swap import lru_add_drain
from numalab.mm.vm_flags import VM_IO, VM_LOCKONFAULT, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE
from numalab.mm.vma_tree import find_vma_intersection, vma_lookup

__all__ = ["faultin_page", "madvise_populate", "mm_populate"]


def mm_populate(mm: MmStruct, ctx: AllocCtx, start: int, length: int, *, ignore_errors: bool = False) -> None:
    """Make the pages of [start, start + length) present, as the areas there demand; holes are passed over.

    Private areas that may be written get their pages by a write fault, so that nothing is left to copy later;
    others by a read fault. Areas locked on fault are left alone.
    Raises KernelError(EFAULT) for a page that cannot be had, unless ``ignore_errors``.
    """
    at, end = start, start + length
    while (vma := find_vma_intersection(mm, at, end)) is not None:
        at, stop = max(at, vma.start), min(end, vma.end)
        if not vma.flags & (VM_IO | VM_PFNMAP | VM_LOCKONFAULT):
            write = vma.flags & (VM_WRITE | VM_SHARED) == VM_WRITE
            try:
                stop = _faultin(vma, ctx, at, stop, write)
            except KernelError:
                if not ignore_errors:
                    raise
            finally:
                lru_add_drain(mm.mem, ctx.cpu)
        at = stop


def madvise_populate(mm: MmStruct, ctx: AllocCtx, start: int, end: int, write: bool) -> None:
    """MADV_POPULATE_READ and _WRITE: touch every page of [start, end), up to the first obstacle.

    Raises KernelError: ENOMEM (a hole), EINVAL (an area without the right), EFAULT (a touch would be a
    SIGBUS).
    """
    at = start
    while at < end:
        vma = vma_lookup(mm, at)
        if vma is None:
            raise KernelError(ENOMEM, f"nothing is mapped at {at:#x}")
        if vma.flags & (VM_IO | VM_PFNMAP) or not vma.flags & (VM_WRITE if write else VM_READ):
            raise KernelError(EINVAL, f"the area at {at:#x} does not allow it")
        try:
            at = _faultin(vma, ctx, at, min(end, vma.end), write)
        finally:
            lru_add_drain(mm.mem, ctx.cpu)


def faultin_page(mm: MmStruct, ctx: AllocCtx, addr: int) -> None:
    """get_user_pages_fast() for reading: make one page present. Raises KernelError(EFAULT) if it may not be read.

    A page that the processor could read is there already, whatever its area allows: x86 reads what may only be written.
    The zero page is not found that way (gup_fast_pte_range() passes over special entries).
    """
    pte = mm.mem.k.pagetable.walk(mm.mem.hw, mm.pgd, addr)
    if pte & (PTE_PRESENT | PTE_SPECIAL) == PTE_PRESENT:
        mm.mem.hot["flags"][pte_pfn(pte)] |= PG_referenced
        return
    vma = vma_lookup(mm, addr)
    if vma is None or not vma.flags & VM_READ:
        raise KernelError(EFAULT, f"{addr:#x} cannot be read")
    if _faultin(vma, ctx, addr, addr + 1, False) <= addr:
        raise KernelError(EFAULT, f"{addr:#x} was unmapped meanwhile")


def _faultin(vma: VMA, ctx: AllocCtx, start: int, end: int, write: bool) -> int:
    """Fault in a part of an area; returns the address reached: ``end``, or where the area went away in a sleep.

    What is populated counts as used, and as written if it was for writing, though nobody has.
    """
    mm, at = vma.mm, start
    try:
        while at < end:
            at = handle_mm_fault(mm, ctx, at, end, write, touch=True)
    except UserFault as fault:
        at = fault.addr
        if vma_lookup(mm, at) is vma or fault.signo != signal.SIGSEGV:
            raise KernelError(EFAULT, f"the page at {at:#x} cannot be had") from fault
    return at
