"""Locking memory: mlock(2), mlock2(2), munlock(2), mlockall(2).

A locked area's pages are made present, marked PG_mlocked and put among the unevictable ones; ONFAULT locks
them only as they are touched. Locked pages still migrate.

Mirrors mm/mlock.c. Who calls says what limits it: ``memlock_limit`` is RLIMIT_MEMLOCK in bytes, ``ipc_lock``
whether the task has CAP_IPC_LOCK, which lifts the limit; mm knows no tasks.
"""

from __future__ import annotations

from numalab.arch.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, EPERM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.gup import mm_populate
from numalab.mm.mman import MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.swap import lru_add_drain
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_MASK,
    PAGE_SHIFT,
    VM_LOCKED,
    VM_LOCKED_MASK,
    VM_LOCKONFAULT,
    VM_SPECIAL,
    offset_in_page,
    page_align,
)
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import find_vma, locked_pages, vma_lookup, vma_pages

__all__ = [
    "RLIM_INFINITY", "can_do_mlock", "do_mlock", "do_mlockall", "do_munlock", "do_munlockall",
    "mlock_future_ok",
]  # fmt: skip

RLIM_INFINITY = MASK64


def can_do_mlock(memlock_limit: int, ipc_lock: bool) -> None:
    """Raises KernelError(EPERM) for a task that may lock nothing at all."""
    if not memlock_limit and not ipc_lock:
        raise KernelError(EPERM, "RLIMIT_MEMLOCK is 0")


def mlock_future_ok(mm: MmStruct, flags: int, length: int, memlock_limit: int, ipc_lock: bool) -> bool:
    """Whether ``length`` more bytes with these VM_* flags keep within the limit."""
    if not flags & VM_LOCKED or ipc_lock:
        return True
    return (length >> PAGE_SHIFT) + locked_pages(mm) <= memlock_limit >> PAGE_SHIFT


def do_mlock(
    mm: MmStruct,
    ctx: AllocCtx,
    start: int,
    length: int,
    flags: int,
    *,
    memlock_limit: int = RLIM_INFINITY,
    ipc_lock: bool = True,
) -> None:
    """mlock2(2), with flags = 0 mlock(2): lock every page that has a byte in [start, start + length).

    Raises KernelError: EINVAL (flags other than MLOCK_ONFAULT, the range wraps), EPERM (no right to lock),
    ENOMEM (over the limit, or a hole in the range: what lies before it is locked), EAGAIN (no memory to make
    it present).
    """
    if flags & ~MLOCK_ONFAULT:
        raise KernelError(EINVAL, f"unknown flags {flags:#x}")
    can_do_mlock(memlock_limit, ipc_lock)
    start, length = _whole_pages(start, length)
    vm_flags = VM_LOCKED | (VM_LOCKONFAULT if flags & MLOCK_ONFAULT else 0)
    with mmap_write_lock(mm, ctx):
        if not ipc_lock:
            locked = (length >> PAGE_SHIFT) + locked_pages(mm)
            limit = memlock_limit >> PAGE_SHIFT
            if locked > limit and locked - _locked_in(mm, start, length) > limit:
                raise KernelError(ENOMEM, "over RLIMIT_MEMLOCK")
        _apply_vma_lock_flags(mm, ctx, start, length, vm_flags)
    try:
        mm_populate(mm, ctx, start, length)
    except KernelError as error:
        # POSIX has other names for "not there" and "no memory" than the fault handler.
        number = {EFAULT: ENOMEM, ENOMEM: EAGAIN}.get(error.errno, error.errno)
        raise KernelError(number, error.why) from error


def do_munlock(mm: MmStruct, ctx: AllocCtx, start: int, length: int) -> None:
    """munlock(2): unlock every page that has a byte in the range.

    Raises KernelError: EINVAL (the range wraps), ENOMEM (a hole; what lies before it is unlocked).
    """
    with mmap_write_lock(mm, ctx):
        _apply_vma_lock_flags(mm, ctx, *_whole_pages(start, length), 0)


def do_mlockall(
    mm: MmStruct, ctx: AllocCtx, flags: int, *, memlock_limit: int = RLIM_INFINITY, ipc_lock: bool = True
) -> None:
    """mlockall(2): lock what is mapped (MCL_CURRENT) and what will be (MCL_FUTURE); ONFAULT: once touched.

    Raises KernelError: EINVAL (no flag, an unknown one, or ONFAULT alone), EPERM, ENOMEM (over the limit).
    """
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise KernelError(EINVAL, f"flags {flags:#x}")
    can_do_mlock(memlock_limit, ipc_lock)
    with mmap_write_lock(mm, ctx):
        total = sum(map(vma_pages, mm.vmas.values()))
        if flags & MCL_CURRENT and not ipc_lock and total > memlock_limit >> PAGE_SHIFT:
            raise KernelError(ENOMEM, "over RLIMIT_MEMLOCK")
        _apply_mlockall_flags(mm, ctx, flags)
    if flags & MCL_CURRENT:
        mm_populate(mm, ctx, 0, task_size(mm.mem), ignore_errors=True)


def do_munlockall(mm: MmStruct, ctx: AllocCtx) -> None:
    """munlockall(2)."""
    with mmap_write_lock(mm, ctx):
        _apply_mlockall_flags(mm, ctx, 0)


def _whole_pages(start: int, length: int) -> tuple[int, int]:
    """The pages that [start, start + length) touches."""
    return start & PAGE_MASK, page_align(length + offset_in_page(start) & MASK64)


def _locked_in(mm: MmStruct, start: int, length: int) -> int:
    """Pages of the range that are locked already and so do not count again."""
    end = start + length
    return sum(
        (min(end, vma.end) - max(start, vma.start)) >> PAGE_SHIFT
        for vma in mm.vmas.values()
        if vma.flags & VM_LOCKED and vma.start < end and start < vma.end
    )


def _apply_vma_lock_flags(mm: MmStruct, ctx: AllocCtx, start: int, length: int, flags: int) -> None:
    end = (start + length) & MASK64
    if end < start:
        raise KernelError(EINVAL, "the range wraps round the end of the address space")
    at = start
    while at < end:
        vma = vma_lookup(mm, at)
        if vma is None:
            raise KernelError(ENOMEM, f"nothing is mapped at {at:#x}")
        at = _mlock_fixup(mm, ctx, vma, at, min(end, vma.end), vma.flags & ~VM_LOCKED_MASK | flags).end


def _apply_mlockall_flags(mm: MmStruct, ctx: AllocCtx, flags: int) -> None:
    lock = VM_LOCKED | (VM_LOCKONFAULT if flags & MCL_ONFAULT else 0)
    mm.def_flags = mm.def_flags & ~VM_LOCKED_MASK | (lock if flags & MCL_FUTURE else 0)
    if flags and not flags & MCL_CURRENT:
        return
    at = 0
    while (vma := find_vma(mm, at)) is not None:
        new_flags = vma.flags & ~VM_LOCKED_MASK | (lock if flags else 0)
        at = _mlock_fixup(mm, ctx, vma, vma.start, vma.end, new_flags).end


def _mlock_fixup(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int, flags: int) -> VMA:
    """Change a part of one area and the pages present there. Returns the area that covers it now."""
    old = vma.flags
    if flags == old or old & VM_SPECIAL:
        return vma
    vma = vma_modify(mm, vma, start, end, flags=flags)
    if (flags ^ old) & VM_LOCKED:
        lru = mm.mem.k.lru
        lru_add_drain(mm.mem, ctx.cpu)
        (lru.mlock_range if flags & VM_LOCKED else lru.munlock_range)(mm.mem, mm, start, end)
        lru_add_drain(mm.mem, ctx.cpu)
    return vma
