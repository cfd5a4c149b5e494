"""LRU lists at work: accessed bits asked on the way, holes in the list, pages taken from its middle.

A node of 16 GiB, its pages in random order on the list; beside it the same pages on a linked list in C. The PTE of each
page lies somewhere else than its neighbour's. Struct pages and PTEs only: no contents.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Value
from benchmarks.measure.lru import BATCH, LARGE, Frames, Scan

REPEATS = 18  # each takes pages off both lists, which have enough for all
STEP = 2048  # pages that stay in the cache from one kernel to the next
PTE_PRESENT, PTE_ACCESSED = 1, 1 << 5


def measure() -> dict[str, Value]:
    rng = np.random.default_rng()
    return age(rng) | holes(rng) | points(rng)


def compared(ours: Callable[[], object], rival: Callable[[], object]) -> tuple[int, int]:
    def timed(work: Callable[[], object]) -> Contender:
        def run() -> int:
            start = now()
            work()
            return now() - start

        return run

    ns = shortest({"ours": timed(ours), "rival": timed(rival)}, REPEATS)
    return ns["ours"], ns["rival"]


def age(rng: np.random.Generator) -> dict[str, Value]:
    """Isolate pages and ask whether their PTEs have been used, as the active list is scanned."""
    scan = Scan("1x21G", LARGE, True, rng, passed=0)
    scan.fill()
    table = scan.mem.hw.ram.nbytes - 2 * 8 * LARGE  # behind the node's pages: ours, then the rival's
    ptes = scan.mem.hw.ram[table:].view(np.uint64)
    ptes[:] = np.where(rng.random(2 * LARGE) < 0.5, PTE_PRESENT | PTE_ACCESSED, PTE_PRESENT)
    where = table + 8 * rng.permutation(LARGE).astype(np.uint64)
    scan.mem.hot["mapcount"][scan.frames] = 1
    scan.mem.hot["rmap"][scan.frames] = where
    scan.rival_pages.view(scan.mem.hot.dtype)["rmap"][scan.frames] = where + np.uint64(8 * LARGE)
    out: Frames = np.zeros(STEP, np.uint32)

    def ours() -> None:
        for _ in range(BATCH // STEP):
            taken, _ = scan.module.isolate_lru(scan.mem, 0, 0, out)
            assert taken == STEP
            scan.module.deactivate(scan.mem, out)

    def rival() -> None:
        taken, used = scan.rival.age(scan.mem, BATCH)
        assert taken == BATCH
        assert 0.4 < used / BATCH < 0.6

    mine, other = compared(ours, rival)
    del ptes
    scan.mem.hw.close()
    return {"age-large-random": other / mine, "age-ns": mine / BATCH}


def holes(rng: np.random.Generator) -> dict[str, Value]:
    """The isolation loop when three pages in ten, anywhere, have left."""
    scan = Scan("1x21G", LARGE, True, rng, passed=0)
    scan.fill()
    gone = scan.frames[rng.random(LARGE) < 0.3]
    scan.rival.remove(gone)
    scan.module.remove(scan.mem, gone)
    out: Frames = np.zeros(BATCH, np.uint32)

    def ours() -> None:
        taken, scanned = scan.module.isolate_lru(scan.mem, 0, 0, out)
        assert taken == scanned == BATCH

    mine, other = compared(ours, lambda: scan.rival.isolate(BATCH, 3, out))
    scan.mem.hw.close()
    return {"holes-large-random": other / mine, "holes-ns": mine / BATCH}


def points(rng: np.random.Generator) -> dict[str, Value]:
    """Pages named one by one, in random order, taken off the list or moved to the active one."""
    scan = Scan("1x21G", LARGE, True, rng, passed=0)
    scan.fill()
    batches = rng.permutation(scan.frames).reshape(-1, BATCH)
    removed, activated = batches[: REPEATS + 1], batches[REPEATS + 1 : 2 * (REPEATS + 1)]
    mine, theirs = iter(removed.copy()), iter(removed)
    remove = compared(
        lambda: scan.module.remove(scan.mem, next(mine)), lambda: scan.rival.remove(next(theirs))
    )
    mine, theirs = iter(activated.copy()), iter(activated)
    activate = compared(
        lambda: scan.module.activate(scan.mem, next(mine)), lambda: scan.rival.activate(next(theirs))
    )
    assert scan.mem.node_stat[0, 1] == activated.size
    scan.mem.hw.close()
    return {
        "remove-large-random": remove[0] / remove[1],
        "activate-large-random": activate[0] / activate[1],
        "remove-ns": remove[0] / BATCH,
        "activate-ns": activate[0] / BATCH,
    }
