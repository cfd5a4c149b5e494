"""Invariants 3, 7 and 8: who refers to a page, who maps it, and who may write to it.

Every table of every address space is walked, and what struct page says is compared with what the tables say. Linux
relies on this (page_expected_state(), the refcount check of migration, PageAnonExclusive()) but cannot check it as a
whole.
"""

from __future__ import annotations

import numpy as np

from numalab.arch._pagetable import PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER
from numalab.mm.invariants_memory import PG
from numalab.mm.invariants_report import LIMIT, Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import MIGRATION, SPECIAL, SWAP, page_key
from numalab.mm.vm_flags import PAGE_SHIFT

__all__ = ["check_contents", "check_migration_entries", "check_references", "check_tables"]

_RW = np.uint64(PTE_RW)
_RIGHTS = np.uint64(PTE_PRESENT | PTE_RW | PTE_USER | PTE_DIRTY)
_ADDRESS = np.uint64(0x000FFFFFFFFFF000)


def check_references(state: State, report: Report) -> None:
    """3: every reference is somebody's, every mapping is counted, and rmap is the address of the one PTE."""
    frames, pages = state.frames, state.pages
    batch = sum(frames.count(waiting.index) for waiting in state.fbatches.values())
    expected = (
        state.mappings
        + batch
        + state.tables_at
        + frames.has(PG.ISOLATED)
        + frames.has(PG.SWAPCACHE)
        + state.cached
        + state.hugetlb_cached
        + frames.pincount
        + state.held
    )
    got = frames.refcount
    bad = ~state.free & (got != expected)
    report.frames(3, "refcount", "references", bad, frames.pfn, expected=expected, got=got)
    bad = ~state.free & (frames.mapcount != state.mappings)
    report.frames(
        3, "mapcount", "PTEs that name it", bad, frames.pfn, expected=state.mappings, got=frames.mapcount
    )

    # The PTE of a page that has one; of several the last, but then rmap must be 0.
    address = np.zeros(len(frames), np.uint64)
    known = pages.index >= 0
    address[pages.index[known]] = pages.where[known].astype(np.uint64)
    address[state.mappings != 1] = 0
    bad = ~state.free & (frames.rmap != 0) & (frames.rmap != address)
    report.frames(3, "rmap", "the address of its one PTE", bad, frames.pfn, expected=address, got=frames.rmap)

    special = state.leaves.pick(state.leaves.kind == SPECIAL)
    zero = np.full_like(special.pfn, state.mem.zero_pfn)
    other = special.pfn != zero
    report.frames(
        3, "zero page", "a special PTE names it", other, special.pfn, expected=zero, got=special.pfn
    )
    ours = pages.pfn == state.mem.zero_pfn
    report.frames(3, "zero page", "an ordinary PTE names the zero page", ours, pages.pfn, got=pages.va)
    if not state.frames.has(PG.RESERVED)[state.is_zero_page].all():
        report.add(3, "zero page", "it is not marked as reserved", pfn=state.mem.zero_pfn)


def check_tables(state: State, report: Report) -> None:
    """3: a page table belongs to one address space, stands where struct page says, and is counted."""
    frames, tables, mems = state.frames, state.tables, state.mem
    report.frames(
        3, "tables", "an entry leads to a page that is no table", ~tables.real, tables.pfn, got=tables.base
    )
    for va, owner, entry in state.odd_entries:
        what = f"asid {state.mms[owner].asid} at {va:#x}: an upper entry that nothing makes"
        report.add(3, "tables", what, got=hex(entry))
    often = state.tables_at > 1
    report.frames(3, "tables", "a page table in several places", often, frames.pfn, got=state.tables_at)
    orphan = ~state.free & frames.has(PG.TABLE) & (state.tables_at == 0)
    report.frames(3, "tables", "a page table of no address space", orphan, frames.pfn)

    asids = np.array([mm.asid for mm in state.mms], np.int64)
    cold = mems.cold[tables.pfn[tables.real]]
    for what, values, got in (
        ("owner of the page table", asids[tables.owner], cold["mapping"]),
        ("level of the page table", tables.level, cold["private"]),
        ("what the page table maps", tables.base >> (12 + 9 * (tables.level + 1)), cold["index"]),
    ):
        expected = values[tables.real].astype(np.uint64)
        report.frames(3, "tables", what, expected != got, tables.pfn[tables.real], expected=expected, got=got)
    owners = np.concatenate([tables.owner[tables.real], state.reserve.owner])
    counts = np.bincount(owners, minlength=len(state.mms))
    for mm, count in zip(state.mms, counts.tolist(), strict=True):
        report.same(3, "nr_tables", f"tables of asid {mm.asid}", count, mm.nr_tables)
    if len(np.unique(asids)) != len(asids):
        report.add(3, "asid", "two address spaces have one number", got=sorted(asids.tolist()))


def check_migration_entries(state: State, report: Report) -> None:
    """7: a migration entry names a locked page that a migration under way has isolated."""
    entries = state.leaves.pick(state.leaves.kind == MIGRATION)
    under_way = (
        (entries.index >= 0) & state.isolated[entries.index] & state.frames.has(PG.LOCKED)[entries.index]
    )
    report.frames(
        7,
        "entry",
        "a migration entry is left behind, at the address given",
        ~under_way,
        entries.pfn,
        got=entries.va,
    )


def check_contents(state: State, report: Report) -> None:
    """8, as far as a state can tell: who may write to a page shares it with nobody, and no TLB says otherwise."""
    frames, pages = state.frames, state.pages
    shared = frames.has(PG.ANON_EXCLUSIVE) & (state.mappings > 1)
    report.frames(
        8, "exclusive", "a page of one process is mapped by several", shared, frames.pfn, got=state.mappings
    )
    anon = frames.has(PG.ANON)[pages.index] & (pages.index >= 0)
    loose = anon & (pages.pte & _RW != 0) & ~frames.has(PG.ANON_EXCLUSIVE)[pages.index]
    report.frames(
        8, "writable", "writable without a copy, though not exclusive, at", loose, pages.pfn, got=pages.va
    )
    zero = state.leaves.pick((state.leaves.kind == SPECIAL) & (state.leaves.pte & _RW != 0))
    report.frames(8, "writable", "the zero page is writable, at", zero.va >= 0, zero.pfn, got=zero.va)
    _check_tlb(state, report)


def _check_tlb(state: State, report: Report) -> None:
    """A TLB entry may be missing or stricter than the tables, but it names the same frame and allows no more.

    Its DIRTY bit is a right too: with it, a store leaves no trace in the table. An isolated page that is locked has
    been unmapped by somebody who flushes before he does anything else with it.
    """
    tlb, leaves = state.mem.hw.tlb, state.leaves
    entries = tlb[tlb["tag"] & np.uint64(1) != 0]
    asid, vpn = (
        (entries["tag"] >> np.uint64(1) & np.uint64(0xFFFF)).astype(np.int64),
        entries["tag"] >> np.uint64(17),
    )
    owners = np.full(1 << 16, -1)
    owners[[mm.asid for mm in state.mms]] = np.arange(len(state.mms))
    wanted = page_key(owners[asid], vpn.astype(np.int64) << 12)
    known = np.append(page_key(leaves.owner, leaves.va), -1)
    at = np.searchsorted(known[:-1], wanted)
    there = (known[at] == wanted) & (np.append(leaves.kind, SWAP)[at] <= SPECIAL)
    found = np.where(there, np.append(leaves.pte, np.uint64(0))[at], np.uint64(0))
    stale = ((entries["pte"] ^ found) & _ADDRESS != 0) | (entries["pte"] & ~found & _RIGHTS != 0) | ~there
    index = state.frames.index((entries["pte"] & _ADDRESS).astype(np.int64) >> PAGE_SHIFT)
    stale &= ~((index >= 0) & state.isolated[index] & state.frames.has(PG.LOCKED)[index] & ~there)
    for i in np.flatnonzero(stale)[:LIMIT]:
        what = f"asid {asid[i]} at {int(vpn[i]) << 12:#x}: a TLB says otherwise than the tables"
        report.add(8, "tlb", what, expected=hex(found[i]), got=hex(entries["pte"][i]))
