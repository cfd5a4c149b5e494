"""Page faults and access to the memory of programs: the drivers above the kernels of ``_memory``.

Mirrors handle_mm_fault(), copy_page_range(), zap_page_range() of mm/memory.c and do_user_addr_fault() of
arch/x86/mm/fault.c. A program's access goes through the MMU (TLB, then page tables); where that stops,
the range still to be accessed is faulted in one step, and the access goes on.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from numalab.mm._constants import PGMAJFAULT
from numalab.mm.huge_memory import huge_fault, thp_vma_allowable
from numalab.mm.hugetlb import copy_hugetlb_page_range, hugetlb_fault, unmap_hugepage_range
from numalab.mm.kernels import Why
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.preempt import Point, flush_tlb_batched_pending, piece_end
from numalab.mm.readahead import filemap_fault
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.shared_policy import get_vma_policy, interleave_index
from numalab.mm.stack import expand_stack
from numalab.mm.swap import folio_get, folio_put
from numalab.mm.swap_state import read_swap_page, wait_on_page
from numalab.mm.vm_flags import (
    PAGE_MASK,
    PAGE_SIZE,
    PMD_SIZE,
    VM_HUGETLB,
    VM_LOCKED,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from numalab.mm.vma_tree import find_vma
from numalab.mm.writeback import balance_dirty_pages

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct

__all__ = [
    "OutOfMemory", "UserFault", "copy_page_range", "handle_mm_fault", "read_user", "touch_user", "write_user",
    "zap_vma_range",
]  # fmt: skip

#: si_code of SIGSEGV: nothing is mapped there; the mapping forbids it (siginfo(7)).
SEGV_MAPERR = 1
SEGV_ACCERR = 2
#: si_code of SIGBUS: the page cannot be had.
BUS_ADRERR = 2

#: Bytes read at a time.
READ_PIECE = 1 << 20


class UserFault(Exception):
    """An access that no fault can make right.

    addr: where; signo, code: the signal a program gets for it; done: bytes or accesses completed before it.
    """

    def __init__(self, addr: int, signo: int, code: int) -> None:
        super().__init__(f"{signal.Signals(signo).name} at {addr:#x}")
        self.addr = addr
        self.signo = signo
        self.code = code
        self.done = 0


def _accessible_vma(mm: MmStruct, addr: int, write: bool) -> VMA:
    """The VMA that covers addr and allows the access; a stack grows down to it. Raises UserFault."""
    vma = expand_stack(mm, addr)
    if vma is None or addr < vma.start:
        raise UserFault(addr, signal.SIGSEGV, SEGV_MAPERR)
    # On x86 what may be written may be read; PROT_EXEC alone is execute-only, by a protection key (access_error()).
    if not vma.flags & (VM_WRITE if write else VM_READ | VM_WRITE):
        raise UserFault(addr, signal.SIGSEGV, SEGV_ACCERR)
    return vma


def handle_mm_fault(
    mm: MmStruct, ctx: AllocCtx, start: int, end: int, write: bool, *, touch: bool = False
) -> int:
    """Make [start, end) accessible as far as one VMA after the other allows; returns the address reached.

    After each sleep the VMA is looked up again, as it may be another one, or none. touch: it is somebody else than the
    processor who uses the pages, and says so in struct page (FOLL_TOUCH).
    Raises UserFault if not even ``start`` may be accessed, OutOfMemory if there is no frame for it.
    """
    mem = mm.mem
    va, end = start & PAGE_MASK, (end + PAGE_SIZE - 1) & PAGE_MASK
    slow = Slowpath(mem, ctx)
    # Linux does so after a fault; here that would write, and so protect again, what has just been made accessible.
    if write:
        balance_dirty_pages(mem)
    while va < end:
        limit = end if mem.preempt is None else piece_end(mem, va, end, PAGE_SIZE, Point.FAULT)
        mm.mmap_lock.wait_for_writer(mem.waits, ctx)
        try:
            vma = _accessible_vma(mm, max(va, start), write)
        except UserFault:
            if va > start:
                break
            raise
        if write and not vma.flags & VM_SHARED:
            anon_vma_prepare(mm, vma)
        stop, why = min(limit, vma.end), Why.NO_TARGET
        hugetlb = vma.flags & VM_HUGETLB != 0
        if hugetlb or thp_vma_allowable(vma):
            stop = min(stop, (va & -PMD_SIZE) + PMD_SIZE)
            why = (hugetlb_fault if hugetlb else huge_fault)(vma, ctx, va, write)
        reached, entry = (stop if why == Why.DONE else va), 0
        if why == Why.NO_TARGET:
            fault_range = mem.k.gup.faultin_range if touch else mem.k.memory.fault_range
            reached, why, entry = fault_range(mem, mm, vma, ctx, va, stop, write)
        elif touch and not hugetlb:
            mem.k.gup.touch_range(mem, mm, va, reached, write)
        if reached > va:
            slow.progress()
        va = reached
        if why in (Why.WAIT_IO, Why.WAIT_LOCK, Why.FILE) and not hugetlb:
            why, entry = _have_read(vma, ctx, va, why, entry), 0
        # Use what there is before a page that cannot be had: reclaim might take it away again.
        if why in (Why.NEED_RECLAIM, Why.WAIT_IO, Why.FILE) and va > start:
            break
        if why == Why.NEED_RECLAIM:
            _reclaim(slow, mem, ctx, _policy_nodes(vma, ctx, va), entry)
        elif why in (Why.WAIT_IO, Why.FILE):
            raise UserFault(max(va, start), signal.SIGBUS, BUS_ADRERR)
        elif why in (Why.MIGRATION_ENTRY, Why.WAIT_PAGE):
            wait_on_page(mem, entry)
        elif why != Why.DONE:
            raise AssertionError(f"fault at {va:#x} stopped with {Why(why).name} (entry {entry:#x})")
    return va


def _have_read(vma: VMA, ctx: AllocCtx, va: int, why: Why, entry: int) -> Why:
    """Have the page that a fault stopped at in memory: DONE; else why that cannot be (NEED_RECLAIM, WAIT_IO, FILE)."""
    mem = vma.mm.mem
    if why == Why.FILE:
        file = vma.file
        assert file is not None
        file.get_file()  # the area may be unmapped meanwhile
        try:
            return filemap_fault(vma, ctx, va)
        finally:
            file.fput(ctx.cpu)
    got = read_swap_page(mem, ctx, get_vma_policy(vma, va), interleave_index(vma, va), entry)
    # The kernel, which finds the page now, will count a minor fault.
    if got == Why.DONE and why == Why.WAIT_IO:
        ctx.maj_flt += 1
        ctx.min_flt -= 1
        mem.event[PGMAJFAULT] += 1
    return got


def _reclaim(slow: Slowpath, mem: MemMap, ctx: AllocCtx, nodes: int | None, keep: int) -> None:
    """Free something for a fault. keep: a page that it is about to copy, which must not be what goes; 0 = none."""
    if not keep:
        slow.reclaim(nodes)
        return
    folio_get(mem, keep)
    try:
        slow.reclaim(nodes)
    finally:
        folio_put(mem, ctx.cpu, keep)


def _policy_nodes(vma: VMA, ctx: AllocCtx, addr: int) -> int | None:
    """The nodes that a policy binds a fault to, None = any: also if the cpuset has moved away from them (it wins)."""
    own = get_vma_policy(vma, addr)
    policy = own if own is not None else ctx.policy
    if policy is None or policy.mode != MPOL_BIND or not policy.nodes & ctx.mems_allowed:
        return None
    return policy.nodes


def read_user(mm: MmStruct, ctx: AllocCtx, addr: int, n: int) -> bytes:
    """n bytes of a program's memory, read as the program itself would read them. Raises UserFault, OutOfMemory."""
    hw, mmu = mm.mem.hw, mm.mem.k.mmu
    out = bytearray()
    while True:
        # Piece by piece: a length that the memory cannot have meets its fault before the host runs out.
        piece = bytearray(min(n - len(out), READ_PIECE))
        got = mmu.read(hw, ctx.cpu, mm.asid, mm.pgd, addr + len(out), piece)
        if got == n:
            return bytes(piece)
        out += memoryview(piece)[:got]
        if len(out) == n:
            return bytes(out)
        if got < len(piece):
            at = addr + len(out)
            _fault(mm, ctx, at, at + len(piece) - got, False, len(out))


def write_user(mm: MmStruct, ctx: AllocCtx, addr: int, data: bytes | bytearray | memoryview) -> None:
    """Store ``data`` in a program's memory as the program itself would. Raises UserFault, OutOfMemory."""
    hw, mmu = mm.mem.hw, mm.mem.k.mmu
    view = memoryview(data).cast("B")
    done = 0
    while True:
        done += mmu.write(hw, ctx.cpu, mm.asid, mm.pgd, addr + done, view[done:])
        if done == len(view):
            return
        _fault(mm, ctx, addr + done, addr + len(view), True, done)


def touch_user(
    mm: MmStruct, ctx: AllocCtx, addr: int, stride: int, count: int, write: bool, value: int = 1
) -> None:
    """``count`` accesses of one byte, ``stride`` bytes apart: loads, or stores of ``value``. Raises as read_user()."""
    hw, mmu = mm.mem.hw, mm.mem.k.mmu
    done = 0
    while True:
        done += mmu.touch(
            hw, ctx.cpu, mm.asid, mm.pgd, addr + done * stride, stride, count - done, write, value
        )
        if done == count:
            return
        at = addr + done * stride
        # Only pages that will be accessed may be faulted: with a stride above a page that is one page at a time.
        end = addr + (count - 1) * stride + 1 if stride <= PAGE_SIZE else at + 1
        _fault(mm, ctx, at, end, write, done)


def _fault(mm: MmStruct, ctx: AllocCtx, start: int, end: int, write: bool, done: int) -> None:
    try:
        handle_mm_fault(mm, ctx, start, end, write)
    except UserFault as fault:
        fault.done = done
        raise


def zap_vma_range(mm: MmStruct, ctx: AllocCtx, start: int, end: int) -> None:
    """unmap_page_range(): drop every page that is mapped in a part of one VMA."""
    vma = find_vma(mm, start)
    assert vma is not None
    if vma.flags & VM_HUGETLB:
        unmap_hugepage_range(vma, start, end)
        return
    flush_tlb_batched_pending(mm.mem)
    file = vma.file is not None
    mm.mem.k.memory.zap_range(mm.mem, mm, ctx.cpu, start, end, bool(vma.flags & VM_LOCKED), file)


def copy_page_range(dst: MmStruct, src: MmStruct, dst_vma: VMA, src_vma: VMA, ctx: AllocCtx) -> None:
    """fork(): share the pages of one VMA with the child's copy of it. Raises OutOfMemory: no frame for a table."""
    if src_vma.flags & VM_HUGETLB:
        copy_hugetlb_page_range(dst_vma, src_vma, ctx)
        return
    mem = src.mem
    slow = Slowpath(mem, ctx)
    va = src_vma.start
    while va < src_vma.end:
        stop = piece_end(mem, va, src_vma.end, PMD_SIZE, Point.FORK)
        reached, why, _ = mem.k.memory.copy_range(mem, dst, src, dst_vma, src_vma, ctx, va, stop)
        if reached > va:
            slow.progress()
        va = reached
        if why == Why.NEED_RECLAIM:
            slow.reclaim()
