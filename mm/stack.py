"""The stack of a program: an area that grows downwards when it is touched just below.

Mirrors setup_arg_pages() of fs/exec.c and expand_stack() of mm/mmap.c. Deliberately different: RLIMIT_STACK
is 8 MiB for everybody, the place of the stack is not randomised, there are no arguments on it, and growth of
a locked stack is not held against RLIMIT_MEMLOCK (a fault does not know the limits of the task).
"""

from __future__ import annotations

from numalab.mm._mm_types import VMA, MmStruct
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vm_flags import (
    MMAP_MIN_ADDR,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    STACK_GUARD_GAP,
    VM_ACCESS_FLAGS,
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_READ,
    VM_WRITE,
)
from numalab.mm.vma_tree import find_vma, vma_insert, vma_prev, vma_set_range

__all__ = ["RLIMIT_STACK", "STACK_TOP", "expand_stack", "setup_stack"]

RLIMIT_STACK = 8 << 20
#: First address above the stack: the end of the 47-bit window, also with five levels of page tables.
STACK_TOP = (1 << 47) - PAGE_SIZE
#: What an exec()'ed program finds: one page of arguments and 128 KiB that it may use without growing.
_INITIAL = 128 << 10


def setup_stack(mm: MmStruct) -> VMA:
    """Give a new address space its stack: 132 KiB below STACK_TOP, growing down to 8 MiB. Sets
    ``mm.start_stack``.
    """
    start = STACK_TOP - PAGE_SIZE - _INITIAL
    flags = (
        VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_ACCOUNT | mm.def_flags
    )
    vma = VMA(mm, start, STACK_TOP, start >> PAGE_SHIFT, flags)
    vma_insert(mm, vma)
    mm.start_stack = STACK_TOP - 8
    return vma


def expand_stack(mm: MmStruct, addr: int) -> VMA | None:
    """The area in which a program may touch ``addr``: the one that covers it, or a stack above grown down to
    it.

    None: nothing is there, and what lies above is no stack, may not grow so far (8 MiB), or would come closer
    than 256 pages to its lower neighbour. The access is then a SIGSEGV.
    """
    vma = find_vma(mm, addr)
    if vma is None or vma.start <= addr:
        return vma
    addr &= PAGE_MASK
    if not vma.flags & VM_GROWSDOWN or addr < MMAP_MIN_ADDR:
        return None
    prev = vma_prev(mm, vma.start)
    # A neighbour without access rights is a guard area that a program made itself; another stack may come
    # close.
    if (
        prev is not None
        and not prev.flags & VM_GROWSDOWN
        and prev.flags & VM_ACCESS_FLAGS
        and addr - prev.end < STACK_GUARD_GAP
    ):
        return None
    grow = (vma.start - addr) >> PAGE_SHIFT
    if vma.end - addr > RLIMIT_STACK or grow > vma.pgoff:
        return None
    anon_vma_prepare(mm, vma)
    vma_set_range(mm, vma, addr, vma.end, vma.pgoff - grow)
    return vma
