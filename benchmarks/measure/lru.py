"""The isolation loop: from the cold end of an LRU list, against a linked list in C and the bare chase through it.

A node of 1 GiB, whose struct pages fit the cache, and one of 16 GiB, whose do not; pages in physical and in random
order. One page in ten may not be taken: it is being freed, or in too high a zone. Struct pages only: no contents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numalab.arch.sparse import sparse

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Value

BATCH = 1 << 16
SMALL, LARGE = 1 << 18, 1 << 22
PG_LRU, PG_SWAPBACKED, PG_ISOLATED = 1 << 4, 1 << 8, 1 << 19
HIGHEST = 2
Frames = NDArray[np.uint32]


def measure() -> dict[str, Value]:
    values: dict[str, Value] = {}
    rng = np.random.default_rng()
    for pages, spec, size in ((SMALL, "1x1280M", "small"), (LARGE, "1x21G", "large")):
        scan = Scan(spec, pages, False, rng)
        ns = scan.times()
        values[f"isolate-{size}-physical"] = ns["ours"] / ns["list"]
        values[f"isolate-{size}-floor"] = ns["ours"] / ns["floor"]
        scan = Scan(spec, pages, True, rng)
        ns = scan.times()
        values[f"isolate-{size}-random"] = ns["list"] / ns["ours"]
        values[f"isolate-{size}-chase"] = ns["ours"] / ns["chase"]
        values[f"isolate-{size}-ns"] = ns["ours"] / BATCH
    values["lru-bytes-per-page"] = bytes_per_page(SMALL)
    return values


def bytes_per_page(pages: int) -> float:
    """What a full list costs: the page's position, and its share of the chunks that the list has."""
    scan = Scan("1x1280M", pages, False, np.random.default_rng())
    scan.fill()
    chunks = int(scan.mem.lrus["chunks"][0])
    scan.mem.hw.close()
    return 4 + 256 * chunks / pages


class Scan:
    """One node with its pages on the inactive list, and the same pages on a linked list beside it.

    passed: the share of pages that may not be taken.
    """

    def __init__(
        self, spec: str, pages: int, shuffled: bool, rng: np.random.Generator, passed: float = 0.1
    ) -> None:
        module = build.load("lru")
        self.mem = machine.build_untouched(spec)
        zone = self.mem.zones[-1]
        first = int(zone["start"])
        self.frames: Frames = np.arange(first, first + pages, dtype=np.uint32)
        if shuffled:
            rng.shuffle(self.frames)
        self.module = module
        self.zones = np.full(len(self.mem.hot), int(zone["place"]), np.uint32)
        # A fresh pattern each time: a branch predictor learns an old one.
        over = rng.random(pages) < passed
        self.refcounts = np.where(over & (rng.random(pages) < 0.5), 0, 1).astype(np.int32)
        self.high = self.frames[over & (self.refcounts == 1)]
        self.rival_pages = sparse(32 * (len(self.mem.hot) + 2), np.uint8, huge=True)
        self.rival = module.Rival(self.rival_pages, len(self.mem.hot))
        self.floor_pages = sparse(32 * len(self.mem.hot), np.uint8, huge=True)
        self.floor = module.Floor(self.floor_pages, sparse(64 * (pages // 30), np.uint32, huge=True))

    def fill(self) -> None:
        """All pages on the list, coldest first."""
        hot = self.mem.hot
        hot["flags"][self.frames] = self.zones[self.frames] | PG_SWAPBACKED
        hot["flags"][self.high] |= np.uint32(3 << 24)
        hot["refcount"][self.frames] = 2  # one more, which putting back takes away
        self.mem.node_stat[0, 5] += len(self.frames)
        hot["flags"][self.frames] |= np.uint32(PG_ISOLATED)
        self.mem.k.lru.putback(self.mem, 0, self.frames)
        hot["refcount"][self.frames] = self.refcounts
        for copy in (self.rival_pages.view(hot.dtype), self.floor_pages.view(hot.dtype)):
            copy["flags"][self.frames] = hot["flags"][self.frames]
            copy["refcount"][self.frames] = self.refcounts
        self.rival.link(self.frames)
        self.floor.link(self.frames)

    def times(self) -> dict[str, int]:
        out = np.zeros(BATCH, np.uint32)
        self.fill()

        def ours() -> int:
            start = now()
            taken, scanned = self.module.isolate_lru(self.mem, 0, 0, out, HIGHEST)
            taken_ns = now() - start
            assert scanned == BATCH
            assert taken > BATCH * 0.85
            return taken_ns

        def linked() -> int:
            start = now()
            taken = self.rival.isolate(BATCH, HIGHEST, out)
            taken_ns = now() - start
            assert taken > BATCH * 0.85
            return taken_ns

        def floor() -> int:
            start = now()
            taken = self.floor.isolate(BATCH, HIGHEST, out)
            taken_ns = now() - start
            assert taken > BATCH * 0.85
            return taken_ns

        def chase() -> int:
            start = now()
            self.rival.chase(BATCH)
            return now() - start

        # Each round takes pages off both lists; before they run short, everything is put back.
        rounds = min(9, len(self.frames) // BATCH - 1)
        best: dict[str, int] = {}
        for _ in range(-(-18 // rounds)):
            contenders: dict[str, Contender] = {"ours": ours, "floor": floor, "list": linked, "chase": chase}
            for name, ns in shortest(contenders, repeats=rounds - 1).items():
                best[name] = min(ns, best.get(name, ns))
            self.empty()
            self.fill()
        self.mem.hw.close()
        return best

    def empty(self) -> None:
        """Nothing is on the list."""
        out = np.zeros(len(self.frames), np.uint32)
        self.mem.hot["refcount"][self.frames] = np.maximum(self.mem.hot["refcount"][self.frames], 1)
        self.mem.k.vmscan.isolate_lru(self.mem, 0, 0, out)
