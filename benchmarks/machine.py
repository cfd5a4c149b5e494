"""A machine and a program on it, in the state that a measurement wants: frames in whole blocks, or scattered.

Works at the level of mm: no tasks and no scheduler. Fresh frames are whole buddy blocks whose host memory a throw-away
pass has touched; scattered ones are single frames of which no two are neighbours, freed in random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from numalab.arch._hw import Hardware
from numalab.mm import mmzone
from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct
from numalab.mm.memory import handle_mm_fault
from numalab.mm.mmap import do_mmap, do_munmap, dup_mmap, exit_mmap, mm_alloc

from benchmarks.build import load

__all__ = ["PAGE", "Program", "build", "build_untouched", "keep_from_children", "scattered_frames"]

PAGE = 4096
SPARSE = 1 << 20  # arrays from this size on are mappings of their own
PROT_READ, PROT_WRITE = 1, 2
MAP_PRIVATE_ANONYMOUS = 0x22
GFP_USER_MOVABLE, GFP_THISNODE, GFP_MEMALLOC = 0x01, 0x02, 0x20


def build(spec: object) -> MemMap:
    """Boot the memory of a machine; the host has backed all of its RAM."""
    mem = mmzone.build(Hardware(spec))
    mem.hw.ram[::PAGE] = 0
    return mem


def build_untouched(spec: object) -> MemMap:
    """Boot the memory of a machine whose contents will not be looked at."""
    return mmzone.build(Hardware(spec))


def keep_from_children(mem: MemMap) -> None:
    """Leave the machine's memory out of this process's fork(), whose cost it would be."""
    host = load("host")
    for array in (mem.hw.ram, *vars(mem).values()):
        if isinstance(array, np.ndarray) and array.nbytes >= SPARSE:
            host.keep_from_children(array.ctypes.data, array.nbytes)


class Program:
    """An address space with one mapping of ``pages`` pages, run on the first CPU of ``node``."""

    def __init__(self, mem: MemMap, pages: int, node: int = 0) -> None:
        cpu = mem.topology.nodes[node].cpus[0]
        self.mem = mem
        self.pages = pages
        self.ctx = AllocCtx(cpu, node, mem.memory_nodes)
        self.mm: MmStruct = mm_alloc(mem)
        self.start = 0
        self.map()

    @property
    def end(self) -> int:
        return self.start + self.pages * PAGE

    def map(self) -> None:
        """Map the pages, if they are not; none is present."""
        if not self.mm.vmas:
            prot = PROT_READ | PROT_WRITE
            self.start = do_mmap(self.mm, self.ctx, 0, self.pages * PAGE, prot, MAP_PRIVATE_ANONYMOUS)

    def touch(self) -> None:
        """Write fault on every page."""
        handle_mm_fault(self.mm, self.ctx, self.start, self.end, True)

    def unmap(self) -> None:
        do_munmap(self.mm, self.ctx, self.start, self.pages * PAGE)

    def fork(self) -> MmStruct:
        return dup_mmap(self.mm, self.ctx)

    def exit(self, child: MmStruct) -> None:
        exit_mmap(child, self.ctx)

    def ptes(self) -> NDArray[np.uint64]:
        out = np.zeros(self.pages, np.uint64)
        self.mem.k.pagetable.walk_range(self.mem.hw, self.mm.pgd, self.start, self.end, out)
        return out

    def close(self) -> None:
        exit_mmap(self.mm, self.ctx)


@contextmanager
def scattered_frames(mem: MemMap, node: int, pages: int, rng: np.random.Generator) -> Iterator[None]:
    """Inside, the free frames of a node are single: ``pages`` of them, of no two neighbours, freed in random order.

    Everything of the node is taken, then one random frame of each of so many pairs of buddies is given back, with a few
    more for page tables and watermarks.
    """
    page_alloc = mem.k.page_alloc
    cpu = mem.topology.nodes[node].cpus[0]
    room = np.empty(mem.hw.nr_frames, np.uint32)
    everything = GFP_USER_MOVABLE | GFP_THISNODE | GFP_MEMALLOC
    taken = room[: page_alloc.alloc_bulk(mem, AllocCtx(cpu, node, 1 << node), None, 0, everything, room)]
    pairs, frames = np.unique(taken >> 1, return_counts=True)
    chosen = rng.permutation(pairs[frames == 2])[: pages + pages // 16] << 1
    chosen |= rng.integers(0, 2, len(chosen), np.uint32)
    if len(chosen) < pages + pages // 16:
        raise MemoryError(f"node {node} has only {len(chosen)} pairs of free frames")
    page_alloc.free_bulk(mem, cpu, chosen)
    page_alloc.drain_pages(mem, cpu)
    try:
        yield
    finally:
        page_alloc.free_bulk(mem, cpu, np.setdiff1d(taken, chosen))
        page_alloc.drain_pages(mem, cpu)
