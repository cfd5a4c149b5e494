"""The rmap walk: pages that 2, 8 or 64 processes share after fork, every PTE a migration entry and back.

In batches, as migration does it, and page by page; pages in the order of their addresses.
"""

from __future__ import annotations

import numpy as np

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Value

PAGES = 1 << 14
BATCH = 512
NODE = 1


def measure() -> dict[str, Value]:
    two, eight, many = (shared_by(processes) for processes in (2, 8, 64))
    return {
        "rmap-batch": eight["batch"] / eight["one"],
        "rmap-flat": many["batch"] / two["batch"],
        "rmap-ns": eight["batch"],
    }


def shared_by(processes: int) -> dict[str, float]:
    """ns a PTE, by size of the batch."""
    module = build.load("rmap")
    mem = machine.build("2x256M")
    program = machine.Program(mem, PAGES, NODE)
    program.touch()
    pfns = ((program.ptes() >> np.uint64(12)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    children = [program.fork() for _ in range(processes - 1)]

    def walk(size: int) -> Contender:
        def run() -> int:
            start = now()
            ptes = module.unmap_and_remap(mem, pfns, size)
            taken = now() - start
            assert ptes == PAGES * processes
            return taken

        return run

    ns = shortest({"batch": walk(BATCH), "one": walk(1)})
    for child in children:
        program.exit(child)
    program.close()
    mem.hw.close()
    return {name: taken / (PAGES * processes) for name, taken in ns.items()}
