"""The page-table walker: against the same walk in C, in time and in instructions.

64k pages of a program, 2^18 addresses a batch. Instructions are counted one by one, so they are exact on any load.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Skipped, Value

PAGES = 1 << 16
BATCH = 1 << 18
COUNTED = 2048  # addresses whose walk is counted instruction by instruction


def measure() -> dict[str, Value]:
    walker = build.load("walker")
    mem = machine.build("1x1G")
    program = machine.Program(mem, PAGES)
    program.touch()
    hw, pgd, out = mem.hw, program.mm.pgd, np.zeros(BATCH, np.uint64)
    rng = np.random.default_rng()
    anywhere = program.start + rng.integers(0, PAGES, BATCH).astype(np.uint64) * machine.PAGE
    in_order = program.start + (np.arange(BATCH, dtype=np.uint64) & (PAGES - 1)) * machine.PAGE

    def walk(name: str, vaddrs: NDArray[np.uint64]) -> Contender:
        def run() -> int:
            start = now()
            getattr(walker, name)(hw, pgd, vaddrs, out)
            return now() - start

        return run

    ns = shortest(
        {
            "random": walk("walk_batch", anywhere),
            "random floor": walk("floor_batch", anywhere),
            "in order": walk("walk_batch", in_order),
            "in order floor": walk("floor_batch", in_order),
            "in order plain": walk("plain_batch", in_order),
        },
        repeats=15,
    )

    def instructions(kernel: bool) -> int:
        """Of so many walks, without what counting adds to them."""
        counts = [walker.instructions(hw, pgd, anywhere[:n], out, kernel) for n in (1, 1 + COUNTED)]
        return -1 if min(counts) < 0 else counts[1] - counts[0]

    ours, floor = instructions(True), instructions(False)
    hw.close()
    return {
        "walker-floor": ns["random"] / ns["random floor"],
        "walker-floor-sequential": ns["in order"] / ns["in order floor"],
        "walker-cached-table": ns["in order plain"] / ns["in order"],
        "walker-instructions": Skipped("this host forbids ptrace") if min(ours, floor) < 0 else ours / floor,
    }
