"""Invariants 3 and 10 where there are huge pages: blocks of 512 frames, the PMDs that map them, tables in reserve.

A PMD leaf is looked at as the 512 PTEs that it stands for, by the same checks as all others; here is what is left:
that what a PMD maps is a whole huge page, which knows how many PMDs map it, and that each of these has its table in
reserve.
"""

from __future__ import annotations

import numpy as np

from numalab.mm import _constants as c
from numalab.mm.invariants_memory import PG, Ints
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import Leaves

__all__ = ["check_huge_pages"]


def check_huge_pages(state: State, report: Report) -> None:
    """3: huge pages are whole, and what a PMD maps is one. Those of hugetlb have no tables in reserve."""
    frames = state.frames
    huge = state.huge.pick(~state.hugetlb[state.huge.index])
    head, tail = frames.has(PG.HEAD), frames.has(PG.TAIL)
    first = frames.pfn % c.HPAGE_PMD_NR == 0
    report.frames(3, "huge page", "marked as the first page of one", head & ~first, frames.pfn)
    report.frames(3, "huge page", "marked as a later page of one", tail & first, frames.pfn)
    mapped = frames.count(huge.index)
    wrong = head & (frames.link != mapped)
    report.frames(3, "huge page", "PMDs that map it", wrong, frames.pfn, expected=mapped, got=frames.link)
    wrong = ~head & (mapped > 0)
    report.frames(3, "huge page", "a PMD names what is none", wrong, frames.pfn, got=mapped)
    whole = np.isin(frames.pfn // c.HPAGE_PMD_NR, frames.pfn[mapped > 0] // c.HPAGE_PMD_NR)
    missing = whole & ~head & ~tail
    report.frames(3, "huge page", "not marked, though a PMD maps it", missing, frames.pfn)
    thps = np.bincount(frames.node[head & (mapped > 0)], minlength=len(state.mem.node_stat))
    for node, count in enumerate(thps[: len(state.mem.node_stat)].tolist()):
        got = int(state.mem.node_stat[node, c.NR_ANON_THPS])
        report.same(10, "nr_anon_transparent_hugepages", "mapped by PMDs", count, got, node=node)
    _check_reserve(state, huge, report)


def _check_reserve(state: State, huge: Leaves, report: Report) -> None:
    """Each PMD table has as many empty tables in reserve as it has leaves."""
    leaves = np.bincount(state.frames.index(huge.where >> 12), minlength=len(state.frames))
    found = np.bincount(state.reserve.parent, minlength=len(state.frames))
    wrong = leaves != found
    report.frames(3, "reserve", "tables in reserve", wrong, state.frames.pfn, expected=leaves, got=found)
    used: Ints = state.reserve.pfn[_rows(state)[state.reserve.pfn].any(axis=1)]
    report.frames(3, "reserve", "a table in reserve is not empty", used >= 0, used)


def _rows(state: State) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    return state.mem.hw.ram.view(np.uint64).reshape(-1, 512)
