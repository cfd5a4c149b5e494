"""Invariant 4: every page that can age is on one LRU list at the place it claims, or has a named reason not to be.

Linux's lists are checked by CONFIG_DEBUG_LIST link by link; ours are chunks of 60 slots from one pool (``_lru.pyx``),
so there is more to agree: links, fill and live words, the pool's free list, and the position in struct page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numalab.mm import _constants as c
from numalab.mm.invariants_memory import PG, Bools, Ints, mlock_new
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.mmzone import NODE_STATS, NR_LRU_LISTS

__all__ = ["check_lru"]

HOTTER, COLDER, FILL, LIVE = range(4)
CHUNK_SLOTS = 60
HOLE = 0xFFFFFFFF


@dataclass
class _Chunks:
    """The chunks of all lists, each from its hottest to its coldest. lists: node * 5 + list; first: is the hottest."""

    number: Ints
    lists: Ints
    first: Bools
    words: NDArray[np.uint32]


def check_lru(state: State, report: Report) -> None:
    """4: lists, pages and counters; then what is off the lists and why."""
    chunks = _check_chunks(state, report)
    _check_slots(state, report, chunks)
    _check_states(state, report)
    _check_mlocked(state, report)


def _check_chunks(state: State, report: Report) -> _Chunks:
    """Follow every list and the pool's own; each chunk ever used is in exactly one of them."""
    pool: NDArray[np.uint32] = state.mem.chunks.reshape(-1, 64)
    top = min(int(pool[0, 0]), len(pool))
    if not 1 <= int(pool[0, 0]) <= int(pool[0, 2]):
        report.add(
            4, "pool", "chunks used, of those there are", expected=int(pool[0, 2]), got=int(pool[0, 0])
        )
    words = pool[:top, :4].tolist()
    seen: dict[int, int] = {}
    numbers: list[int] = []
    lists: list[int] = []
    for i, (hottest, coldest, _, nr_chunks) in enumerate(state.mem.lrus.tolist()):
        if not hottest and not coldest and not nr_chunks:
            continue
        name = _list_name(i)
        at, before = hottest, 0
        count = 0
        while at:
            if at >= top or at in seen:
                report.add(4, "links", f"the list {name} leads to a chunk that is no part of it", got=at)
                break
            seen[at] = i
            numbers.append(at)
            lists.append(i)
            count += 1
            report.same(4, "links", f"the hotter neighbour of chunk {at}, {name}", before, words[at][HOTTER])
            at, before = words[at][COLDER], at
        report.same(4, "links", f"the coldest chunk, {name}", before, coldest)
        report.same(4, "counts", f"chunks of {name}", count, nr_chunks)
    at = int(pool[0, 1])
    while at:
        if at >= top or at in seen:
            report.add(
                4, "pool", "the list of free chunks leads to a chunk in use, or out of the pool", got=at
            )
            break
        seen[at] = -1
        at = words[at][HOTTER]
    lost = sorted(set(range(1, top)) - set(seen))
    report.same(4, "pool", "chunks that are in no list", [], lost)
    number, of = np.array(numbers, np.int64), np.array(lists, np.int64)
    return _Chunks(number, of, np.diff(of, prepend=-1) != 0, pool[number])


def _check_slots(state: State, report: Report, chunks: _Chunks) -> None:
    """What stands in the slots against what struct page says, both ways."""
    mem, frames = state.mem, state.frames
    fill, live = chunks.words[:, FILL].astype(np.int64), chunks.words[:, LIVE].astype(np.int64)
    slots = chunks.words[:, 4:]
    alive = (np.arange(CHUNK_SLOTS) < fill[:, None]) & (slots != HOLE)
    there = alive.sum(axis=1)
    for i in np.flatnonzero((live != there) | (there == 0)):
        what = f"live pages in chunk {chunks.number[i]} of {_list_name(chunks.lists[i])} (none: it should be gone)"
        report.add(4, "chunk", what, expected=int(there[i]), got=int(live[i]))
    for i in np.flatnonzero((fill > CHUNK_SLOTS) | ((fill < CHUNK_SLOTS) & ~chunks.first)):
        what = f"slots used in chunk {chunks.number[i]} of {_list_name(chunks.lists[i])}; only the hottest has room"
        report.add(4, "chunk", what, expected=CHUNK_SLOTS, got=int(fill[i]))

    total = np.bincount(np.repeat(chunks.lists, there), minlength=len(mem.lrus))
    stat = mem.node_stat[:, :NR_LRU_LISTS].reshape(-1)
    for number in np.flatnonzero((total != mem.lrus["live"]) | (total != stat)).tolist():
        count, (node, kind) = int(total[number]), divmod(number, NR_LRU_LISTS)
        report.same(4, "counts", f"pages of {_list_name(number)}", count, int(mem.lrus[number]["live"]))
        report.same(4, "counts", NODE_STATS[kind], count, int(stat[number]), node=node)

    row, column = np.nonzero(alive)
    pfn, lists = slots[row, column].astype(np.int64), chunks.lists[row]
    position = chunks.number[row] * 64 + 4 + column
    index = frames.index(pfn)
    report.frames(
        4, "slot", "a slot names a frame that nobody has", (index < 0) | state.free[index], pfn, got=position
    )
    good = index >= 0
    index, pfn, lists, position = index[good], pfn[good], lists[good], position[good]
    claims = frames.lru[index]
    report.frames(
        4, "position", "its place on the LRU", claims != position, pfn, expected=position, got=claims
    )
    belongs = _list_of(frames.flags)[index]
    report.frames(4, "list", "the list it belongs on", belongs != lists, pfn, expected=belongs, got=lists)
    on_list = frames.count(index)
    says = frames.has(PG.LRU).astype(np.int64)
    report.frames(
        4, "one list", "slots that name it", on_list != says, frames.pfn, expected=says, got=on_list
    )
    idle = ~state.free & ~frames.has(PG.LRU) & (frames.lru != 0)
    report.frames(4, "position", "a place, but not on the LRU", idle, frames.pfn, got=frames.lru)


def _list_of(flags: Ints) -> Ints:
    """folio_lru_list() of each page, counted over all nodes."""
    evictable = np.where(flags & PG.SWAPBACKED, 0, 2) + (flags & PG.ACTIVE != 0)
    kind = np.where(flags & PG.UNEVICTABLE, NR_LRU_LISTS - 1, evictable)
    return (flags >> PG.NODE_SHIFT) * NR_LRU_LISTS + kind


def _check_states(state: State, report: Report) -> None:
    """A page of a program is on the LRU, or isolated, or in an add batch: one of the three. Others are none of them."""
    mem, frames = state.mem, state.frames
    table = frames.has(PG.TABLE)
    owned_otherwise = table | state.is_zero_page | state.is_held | state.hugetlb
    isolated = frames.has(PG.ISOLATED) & ~state.hugetlb
    states = frames.has(PG.LRU).astype(np.int64) + isolated + frames.has(PG.LRU_BATCH)
    expected = np.where(owned_otherwise | (frames.refcount == 0), 0, 1)
    bad = ~state.free & (states != expected) & ~(state.is_held & (states == 1))
    report.frames(
        4, "state", "on the LRU, isolated or in a batch", bad, frames.pfn, expected=expected, got=states
    )

    new = state.fbatches["mlock"].index[mlock_new(mem.fbatches)]
    in_batch = frames.count(state.fbatches["lru_add"].index) + frames.count(new)
    says = frames.has(PG.LRU_BATCH).astype(np.int64)
    report.frames(
        4, "batch", "add batches that it is in", in_batch != says, frames.pfn, expected=says, got=in_batch
    )
    for name, waiting in state.fbatches.items():
        nowhere = waiting.index < 0
        report.frames(4, "batch", f"the {name} batch names a frame that nobody has", nowhere, waiting.pfn)
        counts = mem.fbatches[name]["count"]
        for cpu in np.flatnonzero(counts >= c.LRU_BATCH):
            what = f"cpu {cpu}'s {name} batch should have been emptied"
            report.add(4, "batch", what, got=int(counts[cpu]))
    lazyfree = frames.has(PG.ANON) & ~frames.has(PG.SWAPBACKED) & ~state.hugetlb
    bad = ~state.free & lazyfree & frames.has(PG.SWAPCACHE)
    report.frames(4, "lazyfree", "swap has a page that it does not stand behind", bad, frames.pfn)
    wrong = ~state.free & (frames.has(PG.ISOLATED) != state.isolated)
    report.frames(
        4, "isolated", "isolated", wrong, frames.pfn, expected=state.isolated, got=frames.has(PG.ISOLATED)
    )  # fmt: skip


def _check_mlocked(state: State, report: Report) -> None:
    """PG_mlocked and mlock_count say in how many locked areas a page is mapped; such a page is unevictable."""
    frames, locked = state.frames, state.locked_mappings
    count = state.mem.cold["mlock_count"][frames.pfn].astype(np.int64)
    mlocked = frames.has(PG.MLOCKED)
    wrong = ~state.free & (mlocked != (locked > 0))
    report.frames(4, "mlock", "in a locked area", wrong, frames.pfn, expected=locked > 0, got=mlocked)
    wrong = ~state.free & mlocked & (count != locked)
    report.frames(4, "mlock", "mlock_count", wrong, frames.pfn, expected=locked, got=count)
    unevictable = frames.has(PG.UNEVICTABLE)
    wrong = ~state.free & (mlocked != unevictable)
    report.frames(4, "mlock", "unevictable", wrong, frames.pfn, expected=mlocked, got=unevictable)


def _list_name(i: int) -> str:
    node, kind = divmod(int(i), NR_LRU_LISTS)
    return f"{NODE_STATS[kind].removeprefix('nr_')} of node {node}"
