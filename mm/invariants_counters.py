"""Invariant 10: every counter equals what it counts.

Mirrors what /proc/zoneinfo, numastat and /proc/PID/status add up from; the LRU counters belong to invariant 4.
"""

from __future__ import annotations

import numpy as np

from numalab.mm.invariants_memory import PG, Bools
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import MIGRATION, PAGE, SWAP
from numalab.mm.mmzone import NODE_STATS, VM_EVENTS

__all__ = ["check_counters", "check_rss"]


def check_counters(state: State, report: Report) -> None:
    """10: counters of nodes against struct pages; hits and misses against allocations."""
    mem, frames = state.mem, state.frames
    allocated = ~state.free
    anon, mapped, isolated = frames.has(PG.ANON), state.mappings > 0, frames.has(PG.ISOLATED)
    swapbacked = frames.has(PG.SWAPBACKED)
    for name, counted in (
        ("nr_isolated_anon", isolated & swapbacked),
        ("nr_isolated_file", isolated & ~swapbacked),
        ("nr_anon_pages", anon & mapped),
        ("nr_mapped", ~anon & mapped),
        ("nr_file_pages", (state.cached > 0) | frames.has(PG.SWAPCACHE)),
        ("nr_shmem", (state.cached > 0) & swapbacked),
        ("nr_dirty", (state.cached > 0) & ~swapbacked & frames.has(PG.DIRTY)),
        ("nr_page_table_pages", frames.has(PG.TABLE)),
        ("nr_mlock", frames.has(PG.MLOCKED)),
        ("nr_swapcached", frames.has(PG.SWAPCACHE)),
    ):
        _check_stat(state, report, name, counted & allocated & ~state.hugetlb)

    stat = {name: mem.node_stat[:, i] for i, name in enumerate(NODE_STATS)}
    wanted, got = stat["numa_hit"] + stat["numa_miss"], stat["numa_local"] + stat["numa_other"]
    for node in np.flatnonzero(wanted != got).tolist():
        values = {"expected": int(wanted[node]), "got": int(got[node])}
        report.add(10, "numastat", "hits and misses; local and other", node=node, **values)
    foreign = int(stat["numa_foreign"].sum())
    report.same(10, "numastat", "misses, and as many foreign", int(stat["numa_miss"].sum()), foreign)
    taken = int(mem.event[VM_EVENTS.index("pgalloc")]) - int(mem.event[VM_EVENTS.index("pgfree")])
    given = int((allocated & ~state.is_zero_page).sum())  # the zero page was there before the allocator
    report.same(10, "events", "pgalloc - pgfree, frames allocated", given, taken)


def _check_stat(state: State, report: Report, name: str, counted: Bools) -> None:
    counts = np.bincount(state.frames.node[counted], minlength=len(state.mem.node_stat))
    has = state.mem.node_stat[:, NODE_STATS.index(name)]
    for node in np.flatnonzero(counts[: len(has)] != has).tolist():
        report.add(
            10, name, "the counter of the node", node=node, expected=int(counts[node]), got=int(has[node])
        )


def check_rss(state: State, report: Report) -> None:
    """10: the pages of each address space as its tables say; a page under migration still counts."""
    leaves, frames = state.leaves, state.frames
    anon, swapbacked = frames.has(PG.ANON)[leaves.index], frames.has(PG.SWAPBACKED)[leaves.index]
    named = ((leaves.kind == PAGE) | (leaves.kind == MIGRATION)) & ~state.hugetlb[leaves.index]
    for field, counted in (
        ("rss_anon", named & anon),
        ("rss_file", named & ~anon & ~swapbacked),
        ("rss_shmem", named & ~anon & swapbacked),
        ("rss_swap", leaves.kind == SWAP),
    ):
        counts = np.bincount(leaves.owner[counted], minlength=len(state.mms))
        for mm, count in zip(state.mms, counts.tolist(), strict=True):
            report.same(10, field, f"pages of asid {mm.asid}", count, getattr(mm, field))
