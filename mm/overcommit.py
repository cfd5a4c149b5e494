"""May a program be promised so much memory? Overcommit mode 0, the heuristic.

Mirrors __vm_enough_memory() of mm/util.c and accountable_mapping() of mm/vma.c. Mode 0 refuses only what
could not be kept even by an empty machine: one request for more pages than there is RAM and swap. Modes 1 and
2 do not exist.
"""

from __future__ import annotations

from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm._constants import HPAGE_PMD_NR
from numalab.mm._mm_types import MemMap
from numalab.mm.swapfile import swap_areas
from numalab.mm.vm_flags import PAGE_SHIFT, VM_HUGETLB, VM_NORESERVE, VM_SHARED, VM_WRITE

__all__ = ["OVERCOMMIT_RATIO", "accountable_mapping", "vm_commit_limit", "vm_enough_memory"]

#: vm.overcommit_ratio, percent of the RAM.
OVERCOMMIT_RATIO = 50


def accountable_mapping(flags: int) -> bool:
    """Whether a mapping may come to need memory of its own: private, writable, not NORESERVE, not hugetlb's."""
    return flags & (VM_HUGETLB | VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE


def vm_enough_memory(mem: MemMap, pages: int) -> None:
    """Raises KernelError(ENOMEM) if ``pages`` are more than all RAM and the swap device of the boot
    parameters.
    """
    total = int(mem.zones["managed"].sum()) + (int(mem.topology.boot["swap"]) >> PAGE_SHIFT)
    if pages > total:
        raise KernelError(ENOMEM, f"{pages} pages are more than the machine has ({total})")


def vm_commit_limit(mem: MemMap) -> int:
    """What mode 2 would hold all programs to together, in pages."""
    ram = int(mem.zones["managed"].sum()) - mem.hstate.nr_huge_pages * HPAGE_PMD_NR
    return ram * OVERCOMMIT_RATIO // 100 + sum(area.size for area in swap_areas(mem))
