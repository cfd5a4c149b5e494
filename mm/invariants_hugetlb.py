"""Invariants 3 and 10 of hugetlb: its pool, the pages that areas and files have, and what they have been promised."""

from __future__ import annotations

import numpy as np

from numalab.mm import _constants as c
from numalab.mm.hugetlb import hugetlb_index
from numalab.mm.invariants_memory import PG
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.vm_flags import VM_HUGETLB, VM_LOCKED

__all__ = ["check_hugetlb"]


def check_hugetlb(state: State, report: Report) -> None:
    """3: pages are whole, and either somebody's or free in the pool; 10: the pool's counts, and its promises."""
    frames, hstate = state.frames, state.mem.hstate
    head, hugetlb = frames.has(PG.HEAD), state.hugetlb
    loose = hugetlb & ~head & ~frames.has(PG.TAIL)
    report.frames(3, "hugetlb", "marked as hugetlb's, but no part of a huge page", loose, frames.pfn)
    report.frames(3, "hugetlb", "in the pool, but not marked", (state.pooled > 0) & ~hugetlb, frames.pfn)
    used = frames.refcount != 0
    whole = np.isin(frames.pfn // c.HPAGE_PMD_NR, frames.pfn[hugetlb & used] // c.HPAGE_PMD_NR)
    wrong = hugetlb & (state.pooled != ~whole)
    report.frames(3, "hugetlb", "free in the pool, or somebody's", wrong, frames.pfn, got=state.pooled)
    lost = hugetlb & state.free
    report.frames(3, "hugetlb", "marked as hugetlb's, but the buddy allocator has it", lost, frames.pfn)
    counts = np.bincount(frames.node[hugetlb & head], minlength=len(hstate.free_lists))
    for nid, count in enumerate(counts.tolist()):
        report.same(10, "hugetlb", "pages", count, hstate.nr_huge_pages_node[nid], node=nid)
        if not 0 <= hstate.surplus_huge_pages_node[nid] <= count:
            report.add(10, "hugetlb", "surplus pages", node=nid, got=hstate.surplus_huge_pages_node[nid])
        for page in hstate.free_lists[nid]:
            report.same(10, "hugetlb", f"node of page {page}", nid, state.mem.node_of(page))
    _check_areas(state, report)
    _check_reservations(state, report)


def _check_areas(state: State, report: Report) -> None:
    """Areas of hugetlb map its pages and others do not; they are not locked."""
    leaves = state.pages
    area = state.areas.covering(leaves.owner, leaves.va)
    here = np.append(state.areas.flags, 0)[area] & VM_HUGETLB != 0
    wrong = (here != state.hugetlb[leaves.index]) & (area >= 0) & (leaves.index >= 0)
    report.frames(3, "hugetlb", "mapped by an area of another kind, at", wrong, leaves.pfn, got=leaves.va)
    for vma, flags in zip(state.areas.vma, state.areas.flags.tolist(), strict=True):
        if flags & VM_HUGETLB and flags & VM_LOCKED:
            report.add(11, "hugetlb", f"{vma} is locked")


def _check_reservations(state: State, report: Report) -> None:
    """What is promised: what private areas have not used yet, and files do not have yet. It is free in the pool."""
    hstate = state.mem.hstate
    promised = sum(len(file.resv_map - set(file.pages)) for file in hstate.files.values())
    for vma in state.areas.vma:
        if vma.flags & VM_HUGETLB and isinstance(vma.vm_private_data, set):
            pages = range(hugetlb_index(vma, vma.start), hugetlb_index(vma, vma.end))
            promised += len(pages) - len(vma.vm_private_data.intersection(pages))
    report.same(10, "hugetlb", "pages promised", promised, hstate.resv_huge_pages)
    if hstate.resv_huge_pages > hstate.free_huge_pages:
        report.add(10, "hugetlb", "more promised than free", expected=hstate.free_huge_pages, got=promised)
