"""The rmap walk: pages that 2, 8 or 64 processes share after fork, every PTE a migration entry and back.

In batches, as migration does it, and page by page; sorted by address, and as they come from an LRU in random order;
all shared, and half of each process's PTEs copied by a write since.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numalab.arch._pagetable_reference import pte_index, words
from numalab.mm._mm_types import MmStruct

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Value

PAGES = 1 << 14
BATCH = 512
NODE = 1
TABLE = 512
PTE_RW, PFN_SHIFT = 2, 12
Frames = NDArray[np.uint32]


def measure() -> dict[str, Value]:
    two, eight, many = (Shared(processes) for processes in (2, 8, 64))
    rng = np.random.default_rng()
    few, some, most = (shared.ns({"batch": ("kernel", BATCH)})["batch"] for shared in (two, eight, many))
    one = eight.ns({"one": ("kernel", 1), "batch": ("kernel", BATCH)})
    lru = eight.ns({"sorted": ("predicting", BATCH), "unsorted": ("unsorted", BATCH)}, order=rng)
    copied = eight.ns({"found first": ("copied", BATCH), "guessed": ("predicting", BATCH)}, copy=rng)
    for shared in (two, eight, many):
        shared.close()
    return {
        "rmap-batch": one["batch"] / one["one"],
        "rmap-flat": most / few,
        "rmap-sorted": lru["sorted"] / lru["unsorted"],
        "rmap-copied": copied["found first"] / copied["guessed"],
        "rmap-ns": some,
    }


class Shared:
    """The pages of one mapping of a process and of its children."""

    def __init__(self, processes: int) -> None:
        self.module = build.load("rmap")
        self.mem = machine.build("2x256M")
        self.program = machine.Program(self.mem, PAGES, NODE)
        self.program.touch()
        self.children = [self.program.fork() for _ in range(processes - 1)]
        self.shared = self.program.ptes()
        self.pfns: Frames = (self.shared >> np.uint64(PFN_SHIFT) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        self.ram = self.mem.hw.ram.view(np.uint64)
        self.tables = [self.ptes_of(mm) for mm in (self.program.mm, *self.children)]

    def ptes_of(self, mm: MmStruct) -> NDArray[np.int64]:
        """Where the PTE of each page is, in words of RAM."""
        hw = self.mem.hw
        starts = range(self.program.start, self.program.end, TABLE * machine.PAGE)
        tables = [pte_index(words(hw), hw.levels, mm.pgd, va) for va in starts]
        return (np.array(tables)[:, None] + np.arange(TABLE)).ravel()

    def share(self, copy: np.random.Generator | None) -> int:
        """All PTEs name the shared pages; with ``copy``, every other one at random names another. Returns how many do.

        The pattern is new each time, for a branch predictor learns an old one; so no page fault makes it.
        """
        mapped = np.zeros(PAGES, np.uint32)
        other = self.shared ^ np.uint64(1 << 30 | PTE_RW)
        for table in self.tables:
            copied = copy.random(PAGES) < 0.5 if copy else np.zeros(PAGES, np.bool_)
            self.ram[table] = np.where(copied, other, self.shared)
            mapped += ~copied
        self.mem.hot["mapcount"][self.pfns] = mapped
        self.mem.hot["refcount"][self.pfns] = mapped
        return int(mapped.sum())

    def ns(
        self,
        ways: dict[str, tuple[str, int]],
        order: np.random.Generator | None = None,
        copy: np.random.Generator | None = None,
    ) -> dict[str, float]:
        """ns a PTE by each of ``ways``: which loop, and the size of its batches."""

        def walk(how: str, size: int) -> Contender:
            def run() -> int:
                expected = self.share(copy)
                pfns = order.permutation(self.pfns) if order else self.pfns
                start = now()
                ptes = self.module.unmap_and_remap(self.mem, pfns, size, how)
                taken = now() - start
                assert ptes == expected
                assert int(self.mem.hot["mapcount"][self.pfns].sum()) == expected
                return taken

            return run

        taken = shortest({name: walk(*way) for name, way in ways.items()})
        return {name: ns / (PAGES * len(self.tables)) for name, ns in taken.items()}

    def close(self) -> None:
        del self.ram
        self.mem.hw.close()
