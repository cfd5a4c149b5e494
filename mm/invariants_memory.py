"""What the invariants look at, the physical side: used frames, free blocks, per-CPU sets and batches.

Everything is read from the machine's own arrays, a few numpy operations for each. Frames that were never used (those
beyond the virgin frontier of their zone) are not looked at, so the cost follows what is in use, not the machine's size.

Throughout, ``index`` is a frame's place among the used frames (-1: never used, or no frame), ``pfn`` its number.
Nothing here trusts what it reads: a frame number may point anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numalab.mm._mm_types import MemMap
from numalab.mm.zones import zone_spans

__all__ = [
    "FBATCHES", "MAX_ORDER", "ORDER_FREE", "PG", "Bools", "Frames", "FreeBlocks", "Ints", "PerCpu", "Words",
    "cpu_batches", "mlock_new", "page_sets",
]  # fmt: skip

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]

ORDER_FREE = 0x80
MAX_ORDER = 10


class PG:
    """Bits of page.flags (``_mm_types.pxd``); a test compares."""

    LOCKED = 1 << 0
    DIRTY = 1 << 3
    ACTIVE = 1 << 5
    LRU = 1 << 4
    UNEVICTABLE = 1 << 6
    MLOCKED = 1 << 7
    SWAPBACKED = 1 << 8
    SWAPCACHE = 1 << 9
    ANON = 1 << 13
    ANON_EXCLUSIVE = 1 << 14
    TABLE = 1 << 15
    RESERVED = 1 << 16
    HEAD = 1 << 17
    TAIL = 1 << 18
    ISOLATED = 1 << 19
    LRU_BATCH = 1 << 20
    HUGETLB = 1 << 23
    PLACE_SHIFT = 24
    NODE_SHIFT = 26


class Frames:
    """Every frame that was ever used, zone by zone in the order of addresses."""

    def __init__(self, mem: MemMap) -> None:
        #: Parts of zones without holes: number of the zone, and where it begins and ends.
        self.spans: Ints = np.array(zone_spans(mem), np.int64).reshape(-1, 3)
        zone, self.start, end = self.spans.T
        self.stop = np.clip(mem.zones["virgin"][zone].astype(np.int64), self.start, end)
        lengths = self.stop - self.start
        self.offset = np.concatenate([[0], np.cumsum(lengths)])
        self.pfn: Ints = np.concatenate([np.arange(a, b) for a, b in self._spans()])
        #: Number of its zone in mem.zones.
        self.zone = np.repeat(zone, lengths)
        hot = np.concatenate([mem.hot[a:b] for a, b in self._spans()])
        self.flags: Ints = hot["flags"].astype(np.int64)
        self.refcount: Ints = hot["refcount"].astype(np.int64)
        self.mapcount: Ints = hot["mapcount"].astype(np.int64)
        self.pincount: Ints = hot["pincount"].astype(np.int64)
        self.lru: Ints = hot["lru"].astype(np.int64)
        self.link: Ints = hot["link"].astype(np.int64)
        self.rmap: Words = hot["rmap"]
        self.order: Ints = np.concatenate([mem.order[a:b] for a, b in self._spans()]).astype(np.int64)
        self.node = self.flags >> PG.NODE_SHIFT

    def __len__(self) -> int:
        return len(self.pfn)

    def _spans(self) -> list[tuple[int, int]]:
        return list(zip(self.start.tolist(), self.stop.tolist(), strict=True))

    def index(self, pfns: NDArray[Any]) -> Ints:
        """Place of each frame among the used ones; -1: never used, or no frame at all."""
        pfns = pfns.astype(np.int64)
        zone = np.searchsorted(self.start, pfns, side="right") - 1
        inside = (zone >= 0) & (pfns < self.stop[zone])
        return np.where(inside, self.offset[zone] + pfns - self.start[zone], -1)

    def count(self, indexes: Ints) -> Ints:
        """How often each used frame occurs in ``indexes`` (-1 is passed over)."""
        return np.bincount(indexes[indexes >= 0], minlength=len(self))

    def has(self, flag: int) -> Bools:
        """Frames with a bit of page.flags."""
        found: Bools = self.flags & flag != 0
        return found


@dataclass
class FreeBlocks:
    """Free buddy blocks as the order bytes tell them. cover: how many blocks each used frame lies in."""

    index: Ints
    pfn: Ints
    order: Ints
    zone: Ints
    cover: Ints

    @classmethod
    def read(cls, frames: Frames) -> FreeBlocks:
        index = np.flatnonzero(frames.order & ORDER_FREE)
        order = frames.order[index] & ~ORDER_FREE
        # A block that sticks out of its zone's used part is reported; here it ends where that ends.
        rank = np.searchsorted(frames.start, frames.pfn[index], side="right") - 1
        stop = np.minimum(index + (1 << np.minimum(order, MAX_ORDER)), frames.offset[rank + 1])
        edges = np.bincount(index, minlength=len(frames) + 1) - np.bincount(stop, minlength=len(frames) + 1)
        return cls(index, frames.pfn[index], order, frames.zone[index], np.cumsum(edges)[:-1])


@dataclass
class PerCpu:
    """Entries of arrays that CPUs keep: which CPU (and zone), which frame."""

    cpu: Ints
    zone: Ints
    pfn: Ints
    index: Ints


def page_sets(mem: MemMap, frames: Frames) -> PerCpu:
    """What lies in the per-CPU page sets; a count beyond the array is cut (and reported elsewhere)."""
    counts = np.minimum(mem.pcps["count"].astype(np.int64), mem.pcps["pfn"].shape[1])
    used = np.flatnonzero(counts)
    pfn = np.concatenate([mem.pcps["pfn"][i, : counts[i]] for i in used] or [np.empty(0)]).astype(np.int64)
    zone, cpu = np.divmod(np.repeat(used, counts[used]), mem.hw.nr_cpus)
    return PerCpu(cpu, zone, pfn, frames.index(pfn))


#: The batches of a CPU, by kind.
FBATCHES = ("lru_add", "lru_deactivate", "lru_lazyfree", "mlock")


def cpu_batches(batches: NDArray[Any], frames: Frames) -> PerCpu:
    """What waits in the CPUs' batches of one kind."""
    counts = np.minimum(batches["count"].astype(np.int64), batches["pfn"].shape[1])
    pfn = np.concatenate([b["pfn"][:n] for b, n in zip(batches, counts, strict=True)]).astype(np.int64)
    cpu = np.repeat(np.arange(len(counts)), counts)
    return PerCpu(cpu, np.zeros_like(cpu), pfn, frames.index(pfn))


def mlock_new(fbatches: NDArray[Any]) -> Bools:
    """Which of all that waits in the CPUs' mlock batches is new, and on no list yet."""
    waiting = np.arange(fbatches["mlock"]["pfn"].shape[1]) < fbatches["mlock"]["count"][:, None]
    new = fbatches["mlock_new"][:, None] >> np.arange(waiting.shape[1]) & 1
    return np.asarray(new[waiting] == 1)
