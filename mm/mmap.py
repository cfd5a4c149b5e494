"""Making mappings: mmap(2) and brk(2); and the life of an address space, under one name for the floors above.

A mapping is made in four steps, and only the first two can refuse:

1. check what was asked, choose the address (get_unmapped_area.py), check the limits;
2. ask whether the machine could ever keep the promise (overcommit.py);
3. take away what is there (MAP_FIXED replaces), and cover the range: by growing a neighbour that is the same, or
   two into one, else by a new area;
4. for MAP_POPULATE and MAP_LOCKED make the pages present; that they cannot be had is no error of mmap().

Without the fourth, pages come when they are touched.

Mirrors mm/mmap.c. A mapping is of a file, with the offset that was asked for, or of anonymous memory: private, whose
offset is its address, or shared, which is a file that has no name (shmem.py).
"""

from __future__ import annotations

from numalab.arch.errno import (
    EACCES,
    EAGAIN,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOMEM,
    ENOSYS,
    EOPNOTSUPP,
    EOVERFLOW,
    KernelError,
)
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm.address_space import dup_mmap, exit_mmap, mm_alloc
from numalab.mm.filemap import MAX_LFS_FILESIZE, MappedFile
from numalab.mm.get_unmapped_area import get_unmapped_area, round_hint_to_min, task_size
from numalab.mm.gup import mm_populate
from numalab.mm.hugetlb import hugetlb_reserve_pages
from numalab.mm.hugetlbfs import HugetlbFile
from numalab.mm.mlock import RLIM_INFINITY, can_do_mlock, mlock_future_ok
from numalab.mm.mman import (
    LEGACY_MAP_MASK,
    MAP_DROPPABLE,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_TYPE,
    PROT_WRITE,
    calc_vm_flag_bits,
    calc_vm_prot_bits,
)
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.munmap import do_munmap
from numalab.mm.overcommit import accountable_mapping, vm_enough_memory
from numalab.mm.shmem import shmem_zero_setup
from numalab.mm.stack import expand_stack, setup_stack
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_SHIFT,
    PAGE_SIZE,
    STACK_GUARD_GAP,
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_LOCKED_MASK,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NORESERVE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    page_align,
)
from numalab.mm.vma import vma_merge_new_range
from numalab.mm.vma_tree import find_vma, find_vma_intersection, vm_start_gap, vma_insert, vma_lookup

__all__ = [
    "do_brk", "do_mmap", "do_munmap", "dup_mmap", "exit_mmap", "expand_stack", "find_vma", "mm_alloc",
    "setup_stack", "vma_lookup",
]  # fmt: skip

_VM_MAY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC


def do_mmap(
    mm: MmStruct,
    ctx: AllocCtx,
    addr: int,
    length: int,
    prot: int,
    flags: int,
    pgoff: int = 0,
    file: MappedFile | None = None,
    *,
    memlock_limit: int = RLIM_INFINITY,
    ipc_lock: bool = True,
    admin: bool = True,
) -> int:
    """mmap(2): map ``length`` bytes (rounded up to pages) at ``addr`` or where there is room. Returns the
    address.

    memlock_limit, ipc_lock: see mlock.py; admin: CAP_SYS_RAWIO, may map the lowest 64 KiB.
    Raises KernelError: EINVAL (length 0, kind of mapping, alignment), ENOMEM (no room, too many areas, more
    than the machine has), EOVERFLOW (offset), EEXIST (MAP_FIXED_NOREPLACE), EPERM, EAGAIN (mlock), for files
    EOPNOTSUPP (flags), EACCES and ENODEV, ENOSYS (not built).
    """
    with mmap_write_lock(mm, ctx):
        addr, length, populate = _map_range(
            mm, ctx, addr, length, prot, flags, pgoff, file, memlock_limit, ipc_lock, admin
        )
    if populate:
        mm_populate(mm, ctx, addr, length, ignore_errors=True)
    return addr


def _map_range(
    mm: MmStruct,
    ctx: AllocCtx,
    addr: int,
    length: int,
    prot: int,
    flags: int,
    pgoff: int,
    file: MappedFile | None,
    memlock_limit: int,
    ipc_lock: bool,
    admin: bool,
) -> tuple[int, int, bool]:
    """Steps 1 to 3, under the lock: (address, length, whether the pages shall be made present)."""
    if not length:
        raise KernelError(EINVAL, "the length is 0")
    if flags & MAP_FIXED_NOREPLACE:
        flags |= MAP_FIXED
    if not flags & MAP_FIXED:
        addr = round_hint_to_min(addr)
    length = page_align(length)
    if not length:
        raise KernelError(ENOMEM, "longer than the address space")
    if pgoff + (length >> PAGE_SHIFT) > MASK64:
        raise KernelError(EOVERFLOW, "the offset overflows")
    if len(mm.vmas) > mm.mem.max_map_count:
        raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")

    vm_flags = calc_vm_prot_bits(prot) | calc_vm_flag_bits(flags) | mm.def_flags | _VM_MAY
    shared = flags & MAP_TYPE == MAP_SHARED
    has_file = file is not None or shared
    hugetlb = isinstance(file, HugetlbFile)
    addr = get_unmapped_area(mm, addr, length, flags, has_file=has_file, admin=admin, hugetlb=hugetlb)
    if flags & MAP_FIXED_NOREPLACE and find_vma_intersection(mm, addr, addr + length) is not None:
        raise KernelError(EEXIST, "something is mapped there")
    if flags & MAP_LOCKED:
        can_do_mlock(memlock_limit, ipc_lock)
    if not mlock_future_ok(mm, vm_flags, length, memlock_limit, ipc_lock):
        raise KernelError(EAGAIN, "over RLIMIT_MEMLOCK")
    if file is not None:
        vm_flags = _check_file(file, length, prot, flags, pgoff, vm_flags)
    else:
        _check_anonymous(flags)
        # The page offset of private anonymous memory is the address at which it is mapped. So neighbours adjoin, and
        # areas that were moved side by side later do not look as if they did.
        pgoff = 0 if shared else addr >> PAGE_SHIFT
        vm_flags |= VM_SHARED | VM_MAYSHARE if shared else 0
    if flags & MAP_NORESERVE:
        vm_flags |= VM_NORESERVE

    if hugetlb:
        _mmap_region(
            mm, ctx, addr, length, vm_flags & ~VM_LOCKED_MASK | VM_HUGETLB | VM_DONTEXPAND, pgoff, file
        )
    else:
        _mmap_region(mm, ctx, addr, length, vm_flags, pgoff, file)
    populate = vm_flags & VM_LOCKED or flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE
    return addr, length, bool(populate)


def _check_file(file: MappedFile, length: int, prot: int, flags: int, pgoff: int, vm_flags: int) -> int:
    """Whether a file may be mapped so; returns the flags of the area.

    A shared mapping of what is not open for writing can never become writable, and counts as one that is not shared.
    Raises KernelError: EOVERFLOW, EOPNOTSUPP, EACCES, ENODEV, EINVAL, in Linux's order.
    """
    longest = MAX_LFS_FILESIZE if file.mappable else MASK64
    if length > longest or pgoff > (longest - length) >> PAGE_SHIFT:
        raise KernelError(EOVERFLOW, "the mapping ends behind the longest file")
    kind = flags & MAP_TYPE
    if kind == MAP_SHARED:
        flags &= LEGACY_MAP_MASK  # flags that it does not know never stopped it
    elif kind not in (MAP_SHARED_VALIDATE, MAP_PRIVATE):
        raise KernelError(EINVAL, "neither private nor shared")
    if kind != MAP_PRIVATE:
        if flags & ~LEGACY_MAP_MASK:
            raise KernelError(EOPNOTSUPP, f"unknown flags {flags & ~LEGACY_MAP_MASK:#x}")
        if prot & PROT_WRITE and not file.writable:
            raise KernelError(EACCES, "the file is not open for writing")
        vm_flags |= VM_SHARED | VM_MAYSHARE
        if not file.writable:
            vm_flags &= ~(VM_MAYWRITE | VM_SHARED)
    if not file.readable:
        raise KernelError(EACCES, "the file is not open for reading")
    if not file.mappable:
        raise KernelError(ENODEV, "the file has no pages")
    if vm_flags & VM_GROWSDOWN:
        raise KernelError(EINVAL, "a mapping of a file cannot grow")
    return vm_flags


def _check_anonymous(flags: int) -> None:
    """Private and shared memory passes; what Linux has besides is ENOSYS, what it has not is EINVAL."""
    if flags & MAP_TYPE == MAP_SHARED:
        if flags & MAP_GROWSDOWN:
            raise KernelError(EINVAL, "a shared mapping cannot grow")
        return
    if flags & MAP_TYPE == MAP_DROPPABLE:
        raise KernelError(ENOSYS, "droppable memory is not built")
    if flags & MAP_TYPE != MAP_PRIVATE:
        raise KernelError(EINVAL, "neither private nor shared")


def _mmap_region(
    mm: MmStruct, ctx: AllocCtx, addr: int, length: int, flags: int, pgoff: int, file: MappedFile | None
) -> None:
    """Cover [addr, addr + length) with an area, after taking away what is there.

    Raises KernelError(ENOMEM), with everything as it was but for a cut at either end.
    """
    if accountable_mapping(flags):
        vm_enough_memory(mm.mem, length >> PAGE_SHIFT)
        flags |= VM_ACCOUNT
    if find_vma_intersection(mm, addr, addr + length) is not None:
        do_munmap(mm, ctx, addr, length)
    if file is None and flags & VM_SHARED:
        file = shmem_zero_setup(mm.mem, length >> PAGE_SHIFT, flags)
    if vma_merge_new_range(mm, addr, addr + length, flags, pgoff, file=file) is None:
        vma = VMA(mm, addr, addr + length, pgoff, flags)
        if file is not None:
            vma.attach_file(file)
        if flags & VM_HUGETLB:
            _reserve(vma, ctx)
        vma_insert(mm, vma)


def _reserve(vma: VMA, ctx: AllocCtx) -> None:
    """The reservations of a new area of hugetlb. Raises KernelError(ENOMEM), and it maps nothing then."""
    try:
        hugetlb_reserve_pages(vma, ctx)
    except KernelError:
        file = vma.detach_file()
        if file is not None:
            vma.mm.mmap_lock.unmapped.append(file)
        raise


def do_brk(
    mm: MmStruct,
    ctx: AllocCtx,
    brk: int,
    *,
    memlock_limit: int = RLIM_INFINITY,
    ipc_lock: bool = True,
) -> int:
    """brk(2): move the end of the heap to ``brk``; returns where it is now, the old place if it cannot be
    moved.
    """
    with mmap_write_lock(mm, ctx):
        before = mm.brk
        now = _move_brk(mm, ctx, brk, memlock_limit, ipc_lock)
    old, new = page_align(before), page_align(now)
    if new > old and mm.def_flags & VM_LOCKED:
        mm_populate(mm, ctx, old, new - old, ignore_errors=True)
    return now


def _move_brk(mm: MmStruct, ctx: AllocCtx, brk: int, memlock_limit: int, ipc_lock: bool) -> int:
    """What needs the lock; returns where the heap ends now."""
    if brk < mm.start_brk or brk > task_size(mm.mem):
        return mm.brk
    old, new = page_align(mm.brk), page_align(brk)
    try:
        if new < old:
            if find_vma_intersection(mm, new, old) is None:
                return mm.brk
            do_munmap(mm, ctx, new, old - new)
        elif new > old:
            _grow_heap(mm, old, new, memlock_limit, ipc_lock)
    except KernelError:
        return mm.brk
    mm.brk = brk
    return brk


def _grow_heap(mm: MmStruct, old: int, new: int, memlock_limit: int, ipc_lock: bool) -> None:
    """do_brk_flags(): more heap at [old, new), a page and a guard gap away from whatever comes next."""
    get_unmapped_area(mm, old, new - old, MAP_FIXED)
    if not mlock_future_ok(mm, mm.def_flags, new - old, memlock_limit, ipc_lock):
        raise KernelError(EAGAIN, "over RLIMIT_MEMLOCK")
    above = find_vma_intersection(mm, old, new + PAGE_SIZE + STACK_GUARD_GAP)
    if above is not None and new + PAGE_SIZE > vm_start_gap(above):
        raise KernelError(ENOMEM, "something is in the way")
    if len(mm.vmas) > mm.mem.max_map_count:
        raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")
    vm_enough_memory(mm.mem, (new - old) >> PAGE_SHIFT)
    flags = VM_READ | VM_WRITE | _VM_MAY | VM_ACCOUNT | mm.def_flags
    if vma_merge_new_range(mm, old, new, flags, old >> PAGE_SHIFT) is None:
        vma_insert(mm, VMA(mm, old, new, old >> PAGE_SHIFT, flags))
