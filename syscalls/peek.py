"""Looking at a program's memory without touching it: for tracers and for people.

Mirrors what process_vm_readv() sees, except that nothing is faulted in, no accessed bit is set and no time passes:
anonymous memory that was never touched reads as zeros, and a page that lies in swap or in a file cannot be read.
"""

from __future__ import annotations

from numalab.arch._pagetable import walk
from numalab.kernel.task import Task
from numalab.mm.vm_flags import PAGE_SIZE, VM_READ
from numalab.mm.vma_tree import vma_lookup

__all__ = ["peek"]

_PRESENT = 0x001
_FRAME = 0x000FFFFFFFFFF000


def peek(task: Task, addr: int, n: int) -> bytes | None:
    """n bytes of a program's memory; None if one of them cannot be read: by the program, or without a fault."""
    mm = task.mm
    if mm is None or not 0 <= addr < 1 << 64:
        return None
    hw = mm.mem.hw
    data = b""
    while len(data) < n:
        at = addr + len(data)
        vma = vma_lookup(mm, at)
        if vma is None or not vma.flags & VM_READ:
            return None
        offset = at % PAGE_SIZE
        size = min(n - len(data), PAGE_SIZE - offset)
        pte = walk(hw, mm.pgd, at)
        if pte & _PRESENT:
            data += hw.read_phys((pte & _FRAME) + offset, size)
        elif not pte and vma.file is None:
            data += bytes(size)
        else:
            return None
    return data
