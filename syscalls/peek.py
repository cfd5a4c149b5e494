"""Looking at a program's memory without touching it: for tracers and for people.

Mirrors what process_vm_readv() would see, except that nothing is faulted in, no accessed bit is set and no time
passes: a page that is not present cannot be read this way.
"""

from __future__ import annotations

from numalab.arch._pagetable import walk
from numalab.kernel.task import Task

__all__ = ["peek"]

PAGE_SIZE = 4096
_PRESENT, _PROTNONE = 0x001, 0x100
_FRAME = 0x000FFFFFFFFFF000


def peek(task: Task, addr: int, n: int) -> bytes | None:
    """n bytes of a program's memory; None if a page of them is not present, or is none of the program's."""
    mm = task.mm
    if mm is None or not 0 <= addr < 1 << 64:
        return None
    hw = mm.mem.hw
    data = b""
    while len(data) < n:
        at = addr + len(data)
        if at >= 1 << 64:
            return None
        pte = walk(hw, mm.pgd, at)
        if not pte & (_PRESENT | _PROTNONE):
            return None
        offset = at % PAGE_SIZE
        data += hw.read_phys((pte & _FRAME) + offset, min(n - len(data), PAGE_SIZE - offset))
    return data
