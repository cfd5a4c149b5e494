"""A machine without a kernel: hardware, mm and address spaces, driven by the functions that system calls end in."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from numalab.arch._hw import Hardware
from numalab.arch.disk import Disk
from numalab.arch.errno import EOPNOTSUPP, KernelError
from numalab.arch.topology import Topology
from numalab.mm import mmzone
from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, MemMap, MmStruct, ShmemSbInfo
from numalab.mm.backing_dev import FileDisk
from numalab.mm.invariants import Broken, check_invariants
from numalab.mm.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_mmap, dup_mmap, exit_mmap, mm_alloc
from numalab.mm.shmem import shmem_evict, shmem_punch_hole

__all__ = ["PAGE", "PTE_PFN", "DiskFile", "MemFile", "MmMachine"]

PAGE = 4096
PTE_PFN = 0x000FFFFFFFFFF000


class DiskFile:
    """An open file on a disk of its own, of so many blocks. Page n holds n; the last ``holes`` pages have no block."""

    path, dev, ino, f_wb_err = "/file", 8, 12, 0
    readable = writable = mappable = True

    def __init__(self, m: MmMachine, pages: int, *, blocks: int, holes: int = 0) -> None:
        self.disk = Disk(m.hw, m.mem.timers, "vda", blocks)
        self.store = FileDisk(m.mem, self.disk)
        self.mapping = AddressSpace(m.mem, pages * PAGE, None, self.store.number)
        for index in range(pages - holes):
            self.mapping.set_block(index, index + 1)
            self.store.bytes_of(index + 1)[:] = index & 255
        self.store.used[1 : pages - holes + 1] = 1
        self.store.row["nr_used"] = pages - holes

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        raise KernelError(EOPNOTSUPP)

    def get_file(self) -> None:
        """It is open all the time."""

    def fput(self, cpu: int) -> None:
        """It is open all the time."""


class MemFile:
    """A file for mm to map, which somebody has open until ``close()``."""

    dev, f_wb_err = 7, 0
    mappable = True

    def __init__(
        self,
        mem: MemMap,
        sb: ShmemSbInfo | None = None,
        *,
        readable: bool = True,
        writable: bool = True,
        path: str = "/file",
    ) -> None:
        self.mapping = AddressSpace(mem, 0, sb)
        self.path = path
        self.readable, self.writable = readable, writable
        self.ino = 11
        self.count = 1

    def fallocate(self, ctx: AllocCtx, mode: int, offset: int, length: int) -> None:
        shmem_punch_hole(self.mapping, ctx, offset, length)

    def get_file(self) -> None:
        self.count += 1

    def fput(self, cpu: int) -> None:
        self.count -= 1
        if not self.count:
            shmem_evict(self.mapping, cpu)

    def close(self) -> None:
        self.fput(0)


class MmMachine:
    """One machine; ``ctx`` is a task on CPU 0, and ``mms`` are the address spaces that exist."""

    def __init__(self, spec: str | Topology, *, debug_vm: bool = True, twins: bool = False) -> None:
        self.hw = Hardware(spec)
        self.mem = mmzone.build(self.hw, debug_vm=debug_vm, twins=twins)
        self.ctx = self.task(0)
        self.mms: list[MmStruct] = []

    def task(self, cpu: int) -> AllocCtx:
        """What mm knows of a task on a CPU."""
        return AllocCtx(cpu, self.hw.topology.node_of_cpu(cpu), self.mem.memory_nodes)

    def new_mm(self) -> MmStruct:
        self.mms.append(mm_alloc(self.mem, self.ctx))
        return self.mms[-1]

    def fork(self, mm: MmStruct) -> MmStruct:
        self.mms.append(dup_mmap(mm, self.ctx))
        return self.mms[-1]

    def exit(self, mm: MmStruct) -> None:
        self.mms.remove(mm)
        exit_mmap(mm, self.ctx)

    def map(
        self,
        mm: MmStruct,
        pages: int,
        at: int = 0,
        prot: int = PROT_READ | PROT_WRITE,
        *,
        shared: bool = False,
    ) -> int:
        """Anonymous memory, at a given address or anywhere; returns its address."""
        flags = (MAP_SHARED if shared else MAP_PRIVATE) | MAP_ANONYMOUS | (MAP_FIXED if at else 0)
        return do_mmap(mm, self.ctx, at, pages * PAGE, prot, flags)

    def map_file(
        self, mm: MmStruct, file: DiskFile, pages: int, at: int, *, shared: bool, offset: int = 0
    ) -> int:
        """Pages of a file from ``offset`` on at an address; returns it."""
        flags = MAP_FIXED | (MAP_SHARED if shared else MAP_PRIVATE)
        rw = PROT_READ | PROT_WRITE
        return do_mmap(mm, self.ctx, at, pages * PAGE, rw, flags, offset, file=file)

    def check(self, *, isolated: Iterable[int] = (), held: dict[int, int] | None = None) -> list[Broken]:
        mms = [*self.mms, *self.mem.taskless]
        return check_invariants(self.mem, mms, [self.ctx], isolated=list(isolated), held=held)

    # What is where

    def vma(self, mm: MmStruct, addr: int) -> VMA:
        """The area that begins at an address."""
        area: VMA = mm.vmas[addr]
        return area

    def ptes(self, mm: MmStruct, addr: int, pages: int) -> npt.NDArray[np.uint64]:
        """PTEs of consecutive pages."""
        out = np.zeros(pages, np.uint64)
        self.mem.k.pagetable.walk_range(self.hw, mm.pgd, addr, addr + pages * PAGE, out)
        return out

    def pfn(self, mm: MmStruct, addr: int) -> int:
        """The frame that a PTE names."""
        return (int(self.ptes(mm, addr, 1)[0]) & PTE_PFN) >> 12

    def page(self, pfn: int) -> Any:
        """A frame's struct page: assigning to its fields changes it."""
        return self.mem.hot[pfn]

    def pte_address(self, mm: MmStruct, addr: int) -> int:
        """Where in RAM the PTE of a page is."""
        table = mm.pgd
        for level in range(self.hw.levels - 1, 0, -1):
            table = self.word(table + 8 * (addr >> 12 + 9 * level & 511)) & PTE_PFN
        return table + 8 * (addr >> 12 & 511)

    def word(self, pa: int) -> int:
        """Eight bytes of RAM."""
        return int.from_bytes(self.hw.read_phys(pa, 8), "little")

    def store(self, pa: int, value: int) -> None:
        """Change eight bytes of RAM behind everybody's back."""
        self.hw.write_phys(pa, value.to_bytes(8, "little"))

    def close(self) -> None:
        self.hw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
