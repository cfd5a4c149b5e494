"""Shared anonymous memory: a file without a name, which every mapping of it shows.

Its pages belong to the file and not to who touched them first: a fork shares them, also those that come later; a
page stays when the last PTE that named it goes, and is free when the last mapping of the file goes. A memory policy
belongs to the file as well (shared_policy.py).

Mirrors shmem_zero_setup() of mm/shmem.c; what its pages do in swap is in ``_shmem``.
"""

from __future__ import annotations

from numalab.mm._mm_types import AddressSpace, MemMap
from numalab.mm.overcommit import vm_enough_memory
from numalab.mm.vm_flags import VM_NORESERVE

__all__ = ["ShmemFile", "shmem_zero_setup"]


class ShmemFile:
    """struct file of shared anonymous memory. mapping: its pages; path: its name in maps and numa_maps."""

    def __init__(self, mem: MemMap, pages: int) -> None:
        self.mapping = AddressSpace(mem, pages)
        self.path = "/dev/zero (deleted)"
        self._count = 0

    def get_file(self) -> None:
        """One mapping more."""
        self._count += 1

    def fput(self, cpu: int) -> None:
        """One mapping less; with the last one the pages go, to the free lists of ``cpu``."""
        self._count -= 1
        if not self._count:
            mem = self.mapping.mem
            mem.k.filemap.truncate_pages(mem, cpu, self.mapping, 0, self.mapping.size)
            self.mapping.close()


def shmem_zero_setup(mem: MemMap, pages: int, vm_flags: int) -> ShmemFile:
    """The file behind mmap(MAP_SHARED | MAP_ANONYMOUS) of so many pages.

    Raises KernelError(ENOMEM): more than the machine could ever have, and not MAP_NORESERVE.
    """
    if not vm_flags & VM_NORESERVE:
        vm_enough_memory(mem, pages)
    return ShmemFile(mem, pages)
