"""Invariant 6: every slot of every swap area is counted by whoever refers to it, and slot and cached page agree.

Mirrors swap_count() and the checks of folio_free_swap(). A slot's count is the swap PTEs that name it, over all address
spaces, the places in files where it stands, and one more if the swap cache has its page.
"""

from __future__ import annotations

import numpy as np

from numalab.arch._pagetable import SWP_OFFSET_SHIFT, SWP_TYPE_SHIFT
from numalab.mm.invariants_memory import PG
from numalab.mm.invariants_report import LIMIT, Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import SWAP
from numalab.mm.swapfile import swap_areas

__all__ = ["check_swap"]

_TYPE_SHIFT, _SLOT_SHIFT = np.uint64(SWP_TYPE_SHIFT), np.uint64(SWP_OFFSET_SHIFT)
_SLOT_MASK = np.uint64((1 << SWP_TYPE_SHIFT - SWP_OFFSET_SHIFT) - 1)


def check_swap(state: State, report: Report) -> None:
    """6: counts, used slots, and the swap cache seen from both sides."""
    mem, frames = state.mem, state.frames
    ptes = np.concatenate((state.leaves.pte[state.leaves.kind == SWAP], state.swapped_entries))
    types, slots = ptes >> _TYPE_SHIFT, (ptes >> _SLOT_SHIFT & _SLOT_MASK).astype(np.int64)
    cached = np.flatnonzero(frames.has(PG.SWAPCACHE) & ~state.free)
    entries = mem.cold["private"][frames.pfn[cached]]
    known = np.zeros(len(ptes), bool)
    for area in swap_areas(mem):
        pages = len(area.map)
        mine = (types == area.type) & (slots > 0) & (slots < pages)
        known |= mine
        counts = np.bincount(slots[mine], minlength=pages) + (area.cache != 0)
        _same_slots(report, "count", f"references of slot {{}} of area {area.type}", counts, area.map)
        report.same(6, "used", f"slots of area {area.type} in use", int((area.map != 0).sum()), area.used)
        # The cache as the pages tell it.
        held = np.zeros(pages, np.int64)
        ours = entries >> _TYPE_SHIFT == area.type
        place = (entries[ours] >> _SLOT_SHIFT & _SLOT_MASK).astype(np.int64)
        inside = place < pages
        held[place[inside]] = frames.pfn[cached[ours]][inside]
        _same_slots(report, "cache", f"the page of slot {{}} of area {area.type}", held, area.cache)
    for pte in ptes[~known][:LIMIT].tolist():
        report.add(6, "entry", f"a swap entry names a slot that is none: {pte:#x}")


def _same_slots(report: Report, clause: str, what: str, expected: np.ndarray, got: np.ndarray) -> None:
    for slot in np.flatnonzero(expected != got)[:LIMIT].tolist():
        report.add(6, clause, what.format(slot), expected=int(expected[slot]), got=int(got[slot]))
