"""Files whose pages are those of hugetlb: what stands behind mmap(MAP_HUGETLB).

Each such mapping is of a file of its own, without a name. Shared mappings have its pages, and its reservations;
private ones have their own of both. Mirrors fs/hugetlbfs/inode.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import EINVAL, KernelError
from numalab.mm import _constants as c
from numalab.mm._mm_types import AddressSpace
from numalab.mm.hugetlb import unmap_shared
from numalab.mm.mman import MAP_HUGE_MASK, MAP_HUGE_SHIFT
from numalab.mm.vm_flags import MASK64, PMD_SIZE

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = ["HugetlbFile", "hugetlb_file_setup"]

HUGE_SHIFT = 21


class HugetlbFile:
    """struct file of such a mapping, and its inode. Indexes count huge pages.

    mapping: who maps it (its pages are not there); pages: what shared mappings have of it, by index; resv_map: what is
    reserved for these, or was.
    """

    f_wb_err = 0
    readable = writable = mappable = True
    path = "/anon_hugepage (deleted)"

    def __init__(self, mem: MemMap, length: int) -> None:
        self.mem = mem
        self.mapping = AddressSpace(mem, length)
        self.pages: dict[int, int] = {}
        self.resv_map: set[int] = set()
        self._count = 0
        mem.hstate.files[self.mapping.id] = self

    @property
    def dev(self) -> int:
        """The minor number of its file system."""
        return self.mem.hstate.dev

    @property
    def ino(self) -> int:
        """Its inode number."""
        return self.mapping.id

    def add_to_page_cache(self, index: int, head: int) -> None:
        """hugetlb_add_to_page_cache(): a new page is the file's, which holds it."""
        page = slice(head, head + c.HPAGE_PMD_NR)
        self.mem.cold["mapping"][page] = self.mapping.id
        self.mem.cold["index"][page] = range(index * c.HPAGE_PMD_NR, (index + 1) * c.HPAGE_PMD_NR)
        self.mem.hot["refcount"][page] += 1
        self.mem.hot["flags"][page] |= np.uint32(c.PG_dirty)
        self.pages[index] = head

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        """hugetlbfs_punch_hole(), for MADV_REMOVE: of whole huge pages, with their reservations."""
        for index in range(-(-offset // PMD_SIZE), (offset + length) // PMD_SIZE):
            head = self.pages.get(index)
            if head is not None:
                unmap_shared(self.mapping, head)
                self.resv_map.discard(index)
                self._remove(index)

    def _remove(self, index: int) -> None:
        """hugetlb_delete_from_page_cache()."""
        head = self.pages.pop(index)
        self.mem.hot["flags"][head : head + c.HPAGE_PMD_NR] &= ~np.uint32(c.PG_dirty)
        self.mem.hstate.put_page(head)

    def get_file(self) -> None:
        """One mapping more."""
        self._count += 1

    def fput(self, cpu: int) -> None:
        """One mapping less; with the last one pages and reservations go."""
        self._count -= 1
        if self._count:
            return
        unused = len(self.resv_map - set(self.pages))
        for index in list(self.pages):
            self._remove(index)
        self.mem.hstate.unreserve(unused)
        del self.mem.hstate.files[self.mapping.id]
        self.mapping.close()


def hugetlb_file_setup(mem: MemMap, length: int, flags: int) -> tuple[HugetlbFile, int]:
    """The file behind mmap(MAP_HUGETLB | MAP_ANONYMOUS), and the length of the mapping, which is that of whole pages.

    flags: MAP_*, which may name a size. Raises KernelError(EINVAL): there are no pages of that size, or no length.
    """
    if flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK not in (0, HUGE_SHIFT):
        raise KernelError(EINVAL, "huge pages are of 2 MiB")
    length = length + PMD_SIZE - 1 & MASK64 & -PMD_SIZE
    if not length:
        raise KernelError(EINVAL, "the length is 0")
    return HugetlbFile(mem, length), length
