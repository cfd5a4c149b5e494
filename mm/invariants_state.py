"""One look at a machine, from which all invariants are checked: both sides of it, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from numalab.mm import _constants as c
from numalab.mm._mm_types import MemMap, MmStruct
from numalab.mm.invariants_memory import FBATCHES, PG, Bools, Frames, FreeBlocks, Ints, cpu_batches, page_sets
from numalab.mm.invariants_walk import MIGRATION, PAGE, Areas, reserve, walk
from numalab.mm.vm_flags import VM_LOCKED

__all__ = ["State"]


class State:
    """One look at the whole machine, which all checks share.

    mms: all its address spaces; isolated: pages that somebody took off the LRU and still has; held: by frame, the
    references that nothing in the machine explains (a frame in it is owned, if only with 0 references).
    """

    def __init__(
        self, mem: MemMap, mms: Sequence[MmStruct], isolated: Sequence[int], held: Mapping[int, int]
    ) -> None:
        self.mem = mem
        self.mms = mms
        self.frames = frames = Frames(mem)
        self.blocks = FreeBlocks.read(frames)
        self.sets = page_sets(mem, frames)
        self.fbatches = {name: cpu_batches(mem.fbatches[name], frames) for name in FBATCHES}
        self.tables, self.leaves, self.huge, self.odd_entries = walk(mem, frames, mms)
        self.reserve = reserve(frames, self.tables)
        self.pages = self.leaves.pick(self.leaves.kind == PAGE)
        self.isolated = frames.count(frames.index(np.array(isolated, np.int64))) > 0
        owned = frames.index(np.array(list(held), np.int64))
        self.is_held = frames.count(owned) > 0
        self.held = np.zeros(len(frames), np.int64)
        self.held[owned[owned >= 0]] = np.array(list(held.values()), np.int64)[owned >= 0]

        #: Frames in a free block or a per-CPU set; the others are allocated.
        self.places: Ints = self.blocks.cover + frames.count(self.sets.index)
        self.free: Bools = self.places > 0
        self.mappings = frames.count(self.pages.index)
        self.tables_at = frames.count(self.tables.index[self.tables.real]) + frames.count(self.reserve.index)
        #: Pages that a file has: each is in one place of one page cache.
        self.files = mem.mappings()
        entries = [(file.id, index, entry) for file in self.files for index, entry in file.entries()]
        cached = [(file, index, entry >> 1) for file, index, entry in entries if not entry & 1]
        self.in_files = np.array(cached, np.int64).reshape(-1, 3)
        self.swapped_entries = np.array([entry - 1 for _, _, entry in entries if entry & 1], np.uint64)
        self.cached = frames.count(frames.index(self.in_files[:, 2]))
        self.is_zero_page = frames.pfn == mem.zero_pfn
        #: Frames of hugetlb's pages; of those free in its pool; of those that its files have, and how often.
        self.hugetlb: Bools = frames.has(PG.HUGETLB)
        self.pooled = frames.count(self._hugetlb_frames(list(chain.from_iterable(mem.hstate.free_lists))))
        in_files = [head for file in mem.hstate.files.values() for head in file.pages.values()]
        self.hugetlb_cached = frames.count(self._hugetlb_frames(in_files))

        self.areas = areas = Areas.read(mms)
        #: Number of the area that each leaf lies in, -1 = none.
        self.area_of: Ints = areas.covering(self.leaves.owner, self.leaves.va)
        in_locked = (self.area_of >= 0) & (np.append(areas.flags, 0)[self.area_of] & VM_LOCKED != 0)
        # A page under migration counts as mapped.
        named = (self.leaves.kind == PAGE) | (self.leaves.kind == MIGRATION)
        self.locked_mappings = frames.count(self.leaves.index[in_locked & named])

    def _hugetlb_frames(self, heads: list[int]) -> Ints:
        """Places of the frames of these pages among the used ones."""
        return self.frames.index((np.array(heads, np.int64)[:, None] + np.arange(c.HPAGE_PMD_NR)).ravel())
