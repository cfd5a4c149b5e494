"""Why a page is where it is still: what the ledger says of each frame."""

from __future__ import annotations

from collections import Counter

import numpy as np

from numalab.arch._pagetable_reference import pte_mapped, pte_pfn
from numalab.mm._mm_types import MemMap, MmStruct
from numalab.mm.migrate.ledger import Fate, Ledger, Reason
from numalab.mm.migrate.reasons import word

from tests.reliability.pattern import PAGE

__all__ = ["NO_REASON", "Account"]

NO_REASON = "no reason"


class Account:
    """What calls that empty a node found there, and why they left what they left."""

    def __init__(self, mem: MemMap) -> None:
        self.moved = 0
        self._mem = mem
        self._found: set[int] = set()
        self._why: dict[int, int] = {}

    def find(self, mm: MmStruct) -> None:
        """A call for this address space begins: what it maps should move."""
        for vma in mm.vmas.values():
            self._found.update(self._frames(mm, vma.start, vma.end))

    def find_block(self, start: int, end: int) -> None:
        """A block is to go: all of it should move."""
        self._found.update(range(start, end))

    def take(self, ledger: Ledger, mm: MmStruct | None = None) -> None:
        """The call has ended; mm: if it was for one. It must have been explained."""
        assert ledger.log is not None
        self.moved += ledger.moved
        if mm is not None:
            for start, end, why in ledger.areas:
                self._why.update(dict.fromkeys(self._frames(mm, start, end), int(why)))
        notes = ledger.log.notes()
        stay = notes[(notes["fate"] == Fate.LEFT) | (notes["fate"] == Fate.PASSED)]
        self._why.update(zip(stay["pfn"].tolist(), stay["why"].tolist(), strict=True))

    def left(self, frames: range) -> Counter[str]:
        """Those that are in use still, by reason. A page that nobody mapped when the calls came, such as one of a file
        that reclaim had unmapped, is out of reach of migrate_pages(2).
        """
        left: Counter[str] = Counter()
        used = np.flatnonzero(self._mem.hot["refcount"][frames.start : frames.stop]) + frames.start
        for pfn in used.tolist():
            if pfn in self._why:
                left[word(Reason(self._why[pfn]))] += 1
            else:
                left[NO_REASON if pfn in self._found else "mapped by nobody"] += 1
        return left

    def _frames(self, mm: MmStruct, start: int, end: int) -> list[int]:
        mem = self._mem
        ptes = np.zeros((end - start) // PAGE, np.uint64)
        mem.k.pagetable.walk_range(mem.hw, mm.pgd, start, end, ptes)
        return [pte_pfn(pte) for pte in ptes[ptes != 0].tolist() if pte_mapped(pte)]
