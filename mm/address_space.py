"""The life of an address space: made empty, copied by fork, torn down at exit.

Mirrors mm_alloc(), dup_mm() and dup_mmap() of kernel/fork.c and exit_mmap() of mm/mmap.c. ``MmStruct`` is the
C half; what only Python needs is set here:

    vmas         SortedDict, start address -> VMA (vma_tree.py)
    gaps         what is free between them (gap_tree.py), but where gaps_changed says that it may be different by now
    start_brk    where the heap begins, bytes
    brk          where it ends now, bytes
    start_stack  an address in the stack, bytes; 0 = there is none (stack.py sets it)
    def_flags    VM_* flags that every new area gets (mlockall(MCL_FUTURE))
    thp_disabled no new huge pages (prctl(PR_SET_THP_DISABLE)); children and other programs inherit it
    mmap_lock    who may change the areas (mmap_lock.py)

Deliberately different: sizes of all kinds (total_vm, locked_vm, map_count) are added up from the areas when
somebody asks, so they cannot be wrong.
"""

from __future__ import annotations

from sortedcontainers import SortedDict

from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct
from numalab.mm.gap_tree import GapTree
from numalab.mm.memory import copy_page_range
from numalab.mm.mmap_lock import MmapLock, mmap_write_lock
from numalab.mm.munmap import unmap_areas
from numalab.mm.overcommit import vm_enough_memory
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.rmap import anon_vma_fork
from numalab.mm.vm_flags import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_INIT_DEF_MASK,
    VM_LOCKED_MASK,
    VM_WIPEONFORK,
)
from numalab.mm.vma_tree import vma_insert, vma_pages

__all__ = ["START_BRK", "dup_mmap", "exit_mmap", "mm_alloc"]

#: The heap of a small position-independent program without randomisation; there is no program text below it
#: here.
START_BRK = 0x555555559000


def mm_alloc(mem: MemMap, ctx: AllocCtx | None = None) -> MmStruct:
    """An empty address space: a root table and nothing in it.

    ctx: who asks, which decides on the node of the table; without one it is the first CPU's.
    Raises KernelError(ENOMEM): no frame for the table, or all 65535 address space numbers are in use.
    """
    if ctx is None:
        node = next(node for node in mem.topology.nodes if node.cpus)
        ctx = AllocCtx(node.cpus[0], node.id, mem.memory_nodes)
    try:
        asid = mem.alloc_asid()
    except MemoryError as error:
        raise KernelError(ENOMEM, str(error)) from error
    slow = Slowpath(mem, ctx)
    try:
        while not (pgd := mem.k.page_alloc.alloc_pgd(mem, ctx, asid)):
            slow.reclaim()
    except OutOfMemory as error:
        MmStruct(mem, 0, asid).close()  # gives the number back
        raise KernelError(ENOMEM, "no frame for the root table") from error
    mm = MmStruct(mem, pgd, asid)
    mm.vmas = SortedDict()
    mm.gaps = GapTree()
    mm.gaps_changed = {0}
    mm.start_brk = mm.brk = START_BRK
    mm.start_stack = 0
    mm.def_flags = 0
    mm.thp_disabled = False
    mm.mmap_lock = MmapLock()
    return mm


def dup_mmap(mm: MmStruct, ctx: AllocCtx) -> MmStruct:
    """fork(): a copy that shares every page until one side writes. Locks are not inherited, policies are.

    Areas that are DONTCOPY are left out, those that are WIPEONFORK come over empty.
    Raises KernelError(ENOMEM): no memory for the tables of the copy, which is taken down again.
    """
    child = mm_alloc(mm.mem, ctx)
    try:
        _dup_areas(child, mm, ctx)
    except (KernelError, OutOfMemory) as error:
        exit_mmap(child, ctx)
        raise KernelError(ENOMEM, "no memory for the copy of the address space") from error
    return child


def _dup_areas(child: MmStruct, mm: MmStruct, ctx: AllocCtx) -> None:
    """Fill the copy. Until it is done it is one of ``mem.taskless``: who needs memory for tables may sleep."""
    mm.mem.taskless.append(child)
    try:
        with mmap_write_lock(mm, ctx), mmap_write_lock(child, ctx):
            child.start_brk, child.brk, child.start_stack = mm.start_brk, mm.brk, mm.start_stack
            child.def_flags = mm.def_flags & VM_INIT_DEF_MASK
            child.thp_disabled = mm.thp_disabled
            for vma in mm.vmas.values():
                if not vma.flags & VM_DONTCOPY:
                    _dup_vma(child, vma, ctx)
    finally:
        mm.mem.taskless.remove(child)


def _dup_vma(child: MmStruct, vma: VMA, ctx: AllocCtx) -> None:
    """One area of the parent in the child, chained to the parent's anon_vmas before any page is shared."""
    if vma.flags & VM_ACCOUNT:
        vm_enough_memory(child.mem, vma_pages(vma))
    copy = VMA(child, vma.start, vma.end, vma.pgoff, vma.flags & ~VM_LOCKED_MASK)
    if vma.file is not None:
        copy.attach_file(vma.file)
    copy.policy = vma.policy
    if not vma.flags & VM_WIPEONFORK:
        anon_vma_fork(copy, vma)
    vma_insert(child, copy)
    # Without an anon_vma there is at most the zero page or a file's, which a fault gives the child as well
    # (vma_needs_copy()).
    if copy.anon_vma is not None:
        copy_page_range(child, vma.mm, copy, vma, ctx)


def exit_mmap(mm: MmStruct, ctx: AllocCtx) -> None:
    """Take an address space down: pages, areas, tables, its number; then its files are let go.

    Nothing may use ``mm`` afterwards, but to see that it has no areas any more: who walks it when the last task leaves
    is waited for, and it is one of ``mem.taskless`` that long.
    """
    mem = mm.mem
    mem.taskless.append(mm)
    with mmap_write_lock(mm, ctx):
        if mm.vmas:
            unmap_areas(mm, ctx, list(mm.vmas.values()))
        mem.k.page_alloc.free_pgd(mem, ctx.cpu, mm)
        mem.k.mmu.flush_tlb_mm(mem.hw, mm.asid)  # the next address space may get the same number
        mm.close()
        mem.taskless.remove(mm)
