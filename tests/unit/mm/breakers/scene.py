"""A healthy machine with a bit of everything, and the register of ways to break it."""

from collections.abc import Callable
from dataclasses import dataclass

from numalab.arch.disk import Disk
from numalab.mm._mm_types import ShmemSbInfo
from numalab.mm.filemap import generic_perform_write
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import touch_user, write_user
from numalab.mm.mempolicy import do_mbind, do_set_mempolicy
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MADV_PAGEOUT
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import MPOL_BIND, MPOL_PREFERRED
from numalab.mm.mprotect import do_mprotect
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swapon

from tests.mm_machine import PAGE, DiskFile, MemFile, MmMachine

__all__ = ["BREAKERS", "Breaker", "Scene", "breaks"]

FAR = 0x10_0000_0000


class Scene(MmMachine):
    """Two nodes of 8 MiB, a parent and its child.

    data: 40 pages: 0..29 written by the parent (0..4 copied by the child since), 30..33 read only, 34.. not touched.
    locked: 8 locked pages of the parent. none: 2 pages with PROT_NONE. far: one page with tables of its own.
    batched: 3 pages in the LRU batch of CPU 1. freed: a frame in a per-CPU set. block, order: a free block, never used.
    swapped: 4 pages of the parent, 1 in the swap cache and mapped, 1 in the cache, 2 in slots of area.
    file: 6 pages of shared memory of the parent, 5 of them written. named: a file of 3 pages in the tmpfs ``sb``, full.
    disk: a file on a disk, which nobody maps.
    own, shared: frames of one and of two processes. Each node has two CPUs, and half of it was never used.
    """

    def __init__(self) -> None:
        super().__init__("2x8M,cpus=2")
        self.parent = mm = self.new_mm()
        self.swapped = self.map(mm, 4)
        touch_user(mm, self.ctx, self.swapped, PAGE, 4, True)
        self.area = swapon(self.mem, Disk(self.hw, self.mem.timers, "disk", 64))
        do_madvise(mm, self.ctx, self.swapped, 4 * PAGE, MADV_PAGEOUT)
        other = self.fork(mm)
        touch_user(other, self.ctx, self.swapped, PAGE, 2, False)
        self.exit(other)
        touch_user(mm, self.ctx, self.swapped, PAGE, 1, False)
        self.data = self.map(mm, 40)
        write_user(mm, self.ctx, self.data, bytes(range(1, 31)) * PAGE)
        touch_user(mm, self.ctx, self.data + 30 * PAGE, PAGE, 4, False)
        self.none = self.map(mm, 2)
        touch_user(mm, self.ctx, self.none, PAGE, 2, True)
        do_mprotect(mm, self.ctx, self.none, 2 * PAGE, 0)
        self.far = self.map(mm, 1, at=FAR)
        touch_user(mm, self.ctx, FAR, PAGE, 1, True)
        self.child = self.fork(mm)
        touch_user(self.child, self.ctx, self.data, PAGE, 5, True)
        self.disk = DiskFile(self, 4, blocks=10)
        self.file = self.map(mm, 6, shared=True)
        write_user(mm, self.ctx, self.file, b"shared" * 3000)
        heir = self.fork(mm)
        touch_user(heir, self.ctx, self.file, PAGE, 2, False)
        self.exit(heir)
        self.sb = ShmemSbInfo(3)
        self.named = MemFile(self.mem, self.sb)
        generic_perform_write(self.named.mapping, self.ctx, 0, b"named" * 2000)
        self.locked = self.map(mm, 8)
        do_mlock(mm, self.ctx, self.locked, 8 * PAGE, 0)
        do_mbind(self.mem, mm, self.ctx, self.locked, 4 * PAGE, MPOL_PREFERRED, 0, 2, 0)
        do_set_mempolicy(self.mem, self.ctx, MPOL_BIND, 0, 3)
        lru_add_drain_all(self.mem)
        gone = self.map(mm, 3)
        touch_user(mm, self.ctx, gone, PAGE, 3, True)
        self.freed = self.pfn(mm, gone)
        do_munmap(mm, self.ctx, gone, 3 * PAGE)
        self.batched = self.map(mm, 3, at=FAR + 16 * PAGE)
        touch_user(mm, self.task(1), self.batched, PAGE, 3, True)

        self.own = self.pfn(mm, self.data)
        self.shared = self.pfn(mm, self.data + 20 * PAGE)
        zone = self.mem.zones[0]
        self.order = int(zone["nonempty"]).bit_length() - 1
        self.block = int(zone["head"][self.order])
        assert self.order > 3
        assert not self.mem.hot["flags"][self.block : self.block + (1 << self.order)].any()


@dataclass(frozen=True)
class Breaker:
    """One way to break a scene, and what must be found: number and clause of an invariant, words of what it says."""

    number: int
    clause: str
    words: str
    act: Callable[[Scene], None]

    @property
    def name(self) -> str:
        return f"{self.number}-{self.act.__name__}"


BREAKERS: list[Breaker] = []


def breaks(
    number: int, clause: str, words: str
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Enter a function that breaks a scene."""

    def enter(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        BREAKERS.append(Breaker(number, clause, words, act))
        return act

    return enter
