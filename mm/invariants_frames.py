"""Invariants 1, 2 and 5: where every frame is, the buddy lists, and what freed frames hold.

Linux asserts parts of this in mm/page_alloc.c (bad_page(), page_is_buddy(), CONFIG_PAGE_POISONING); here it is the
whole of it, derived from the order bytes, the lists, the per-CPU sets, struct page and RAM.
"""

from __future__ import annotations

import numpy as np

from numalab.mm._mm_types import MemMap
from numalab.mm.invariants_memory import MAX_ORDER, ORDER_FREE, PG, Bools, Ints
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import SPECIAL
from numalab.mm.memory_block import memory_block
from numalab.mm.zones import populated_zones

__all__ = ["check_buddies", "check_frames", "check_freed"]

NO_PFN = 0xFFFFFFFF
_POISON = np.uint64(0xAAAAAAAAAAAAAAAA)
#: Frames compared at a time: what fits in the host's cache.
_CHUNK = 64


def check_frames(state: State, report: Report) -> None:
    """1: every used frame is in one free block, or in one per-CPU set, or somebody has it."""
    mem, frames, blocks = state.mem, state.frames, state.blocks
    spans = frames.spans
    lengths = np.bincount(spans[:, 0], spans[:, 2] - spans[:, 1], len(mem.zones)).astype(np.int64)
    if mem.isolating >= 0:  # what is isolated is still the zone's
        lengths[mem.isolating] += lengths[mem.isolate_zone]
        lengths[mem.isolate_zone] = 0
    for i, zone in enumerate(mem.zones):
        start, end, virgin = int(zone["start"]), int(zone["end"]), int(zone["virgin"])
        node = int(zone["node"])
        if not start <= virgin <= end:
            report.add(
                1, "virgin", f"the frontier of zone {i} is outside [{start}, {end}]", node=node, got=virgin
            )
        report.same(1, "managed", f"frames of zone {i}", int(lengths[i]), int(zone["managed"]), node=node)
    check_offline(mem, report)

    marked = frames.order != 0
    wrong = marked & ((frames.order & ORDER_FREE == 0) | (frames.order & ~ORDER_FREE > MAX_ORDER))
    report.frames(1, "order byte", "no order byte looks so", wrong, frames.pfn, got=frames.order)
    size = 1 << np.minimum(blocks.order, MAX_ORDER)
    skew = blocks.pfn & (size - 1) != 0
    report.frames(
        1, "order byte", "the free block is not aligned to its size", skew, blocks.pfn, got=blocks.order
    )
    rank = np.searchsorted(frames.start, blocks.pfn, side="right") - 1
    sticks_out = blocks.index + size > frames.offset[rank + 1]
    what = "the free block reaches beyond the used part of its zone"
    report.frames(1, "order byte", what, sticks_out, blocks.pfn, got=blocks.order)

    one = np.ones_like(state.places)
    crowded = state.places > 1
    report.frames(
        1, "one place", "free in several places", crowded, frames.pfn, expected=one, got=state.places
    )
    _check_page_sets(state, report)
    _check_struct_pages(state, report)


def check_offline(mem: MemMap, report: Report) -> None:
    """1: of an offline block nothing is left; nodes, and the lists of zones that are tried, are as zones are."""
    for number in sorted(mem.offline_blocks):
        block = memory_block(mem, number)
        assert block is not None
        hot = mem.hot[block.start : block.end]
        left = mem.order[block.start : block.end] != 0
        for field in ("flags", "refcount", "mapcount", "lru"):
            left |= hot[field] != 0
        what = "struct page of an offline frame"
        report.frames(1, "offline", what, left, np.arange(block.start, block.end))
    populated = populated_zones(mem)
    for name, kinds in (("memory_nodes", 4), ("normal_nodes", 3)):
        nodes = sum(
            1 << nid for nid in {int(mem.zones["node"][i]) for i in populated if mem.zones["type"][i] < kinds}
        )
        report.same(1, "offline", name, nodes, getattr(mem, name))
    for nid in mem.topology.node_ids:
        listed = [int(i) for i in mem.zonelist[nid] if i >= 0]
        report.same(1, "offline", "zones that a node tries", sorted(populated), sorted(listed), node=nid)


def _check_page_sets(state: State, report: Report) -> None:
    mem, sets, frames = state.mem, state.sets, state.frames
    high = np.repeat(mem.zones["pcp_high"], mem.hw.nr_cpus)
    for i in np.flatnonzero(mem.pcps["count"] > high):
        zone, cpu = divmod(int(i), mem.hw.nr_cpus)
        report.add(
            1,
            "per-CPU set",
            f"too full: zone {zone}, cpu {cpu}",
            expected=int(high[i]),
            got=int(mem.pcps["count"][i]),
        )
    elsewhere = (sets.index < 0) | (frames.zone[sets.index] != sets.zone)
    report.frames(
        1, "per-CPU set", "in a set of another zone", elsewhere, sets.pfn,
        expected=np.where(sets.index < 0, -1, frames.zone[sets.index]), got=sets.zone,
    )  # fmt: skip


def _check_struct_pages(state: State, report: Report) -> None:
    """A free frame has nothing left in struct page; an allocated one knows its place and has an owner."""
    frames, free = state.frames, state.free
    zeros = np.zeros_like(frames.pfn)
    for what, values in (
        ("flags", frames.flags & (1 << PG.PLACE_SHIFT) - 1),
        ("references", frames.refcount),
        ("mappings", frames.mapcount),
        ("pins", frames.pincount),
        ("rmap", frames.rmap),
    ):
        left = free & (values != 0)
        report.frames(
            1, "free frame", f"a free frame with {what}", left, frames.pfn, expected=zeros, got=values
        )
    place = state.mem.zones["place"][frames.zone].astype(np.int64) >> PG.PLACE_SHIFT
    has = frames.flags >> PG.PLACE_SHIFT
    wrong = ~free & (has != place)
    report.frames(1, "place", "page.flags names another zone", wrong, frames.pfn, expected=place, got=has)
    reasons = (
        (frames.refcount != 0) | (frames.mapcount != 0) | (state.mappings > 0) | (state.tables_at > 0)
        | state.is_zero_page | state.is_held | state.hugetlb | frames.has(PG.TABLE | PG.ISOLATED | PG.LRU_BATCH)
    )  # fmt: skip
    report.frames(1, "lost", "neither free nor anybody's", ~free & ~reasons, frames.pfn)


def check_buddies(state: State, report: Report) -> None:
    """2: two free buddies are one block; lists, counts and order bytes tell the same; a zone's free frames add up."""
    mem, blocks, frames = state.mem, state.blocks, state.frames
    buddy = blocks.pfn ^ (1 << np.minimum(blocks.order, MAX_ORDER))
    index = frames.index(buddy)
    both = (
        (blocks.order < MAX_ORDER)
        & (index >= 0)
        & (frames.zone[index] == blocks.zone)
        & (frames.order[index] == (blocks.order | ORDER_FREE))
        & (blocks.pfn < buddy)
    )
    report.frames(2, "both free", "two free buddies of one order are not merged", both, blocks.pfn, got=buddy)

    links = {
        pfn: (lru, link)
        for pfn, lru, link in zip(
            blocks.pfn.tolist(),
            frames.lru[blocks.index].tolist(),
            frames.link[blocks.index].tolist(),
            strict=True,
        )
    }
    in_list: dict[tuple[int, int], list[int]] = {}
    for pfn, order, zone in zip(
        blocks.pfn.tolist(), blocks.order.tolist(), blocks.zone.tolist(), strict=True
    ):
        in_list.setdefault((zone, order), []).append(pfn)
    for i, row in enumerate(mem.zones):
        node = int(row["node"])
        free = int(row["end"]) - int(row["virgin"])
        nonempty = 0
        for order, (head, count) in enumerate(
            zip(row["head"].tolist(), row["nr_free"].tolist(), strict=True)
        ):
            expected = in_list.get((i, order), [])
            if head == NO_PFN and not count and not expected:
                continue
            where = f"order {order} of zone {i}"
            listed = _walk_list(head, links, where, node, report)
            report.same(
                2, "list", f"blocks in the list, {where}", sorted(expected), sorted(listed), node=node
            )
            report.same(2, "count", f"nr_free, {where}", len(listed), count, node=node)
            nonempty |= (len(listed) > 0) << order
            free += len(listed) << order
        report.same(
            2, "count", f"the mask of lists with blocks, zone {i}", nonempty, int(row["nonempty"]), node=node
        )
        report.same(2, "total", f"free frames of zone {i}", free, int(row["free"]), node=node)


def _walk_list(
    head: int, links: dict[int, tuple[int, int]], where: str, node: int, report: Report
) -> list[int]:
    """The blocks of one free list from its head on; a link that leads out of it, back or round is reported."""
    seen: dict[int, None] = {}
    at, before = head, NO_PFN
    while at != NO_PFN:
        if at in seen or at not in links:
            report.add(2, "list", f"the list of {where} goes wrong after {before}", node=node, got=at)
            break
        seen[at] = None
        following, previous = links[at]
        if previous != before:
            report.add(2, "list", f"the backward link, {where}", pfn=at, expected=before, got=previous)
        at, before = following, at
    return list(seen)


def check_freed(state: State, report: Report) -> None:
    """5: nothing maps a freed frame; the zero page holds zeros; with debug_vm freed frames hold the poison, and have
    held it until they were taken again.
    """
    frames, leaves = state.frames, state.leaves
    named = leaves.kind <= SPECIAL
    gone = named & ((leaves.index < 0) | state.free[leaves.index])
    report.frames(5, "mapped", "a PTE names a frame that nobody has", gone, leaves.pfn, got=leaves.va)
    tables = state.tables
    gone = (tables.index < 0) | state.free[tables.index]
    report.frames(
        5, "mapped", "a table entry names a frame that nobody has", gone, tables.pfn, got=tables.base
    )
    zero = state.mem.zero_pfn
    if _ram(state)[zero].any():
        report.add(5, "zero page", "somebody wrote to the zero page", pfn=zero)
    if state.mem.debug:
        # A block that was cut off a never-used one and not handed out yet is free and was never freed: zeros.
        never = state.free & (frames.flags == 0)
        freed, fresh = frames.pfn[state.free & ~never], frames.pfn[never]
        for pfns in (freed, fresh[_differing(state, fresh, np.uint64(0))]):
            bad = _differing(state, pfns, _POISON)
            report.frames(5, "poison", "written to after it was freed", bad, pfns)
    if state.mem.corrupted:
        report.add(5, "poison", "written to after it was freed, and taken since", pfn=state.mem.corrupted)


def _differing(state: State, pfns: Ints, word: np.uint64) -> Bools:
    """Of ascending frames, those that do not consist of one word over and over."""
    ram = _ram(state)
    bad = np.zeros(len(pfns), bool)
    # Neighbouring frames are compared where they stand, and one by one only where something is wrong.
    cuts = np.flatnonzero(np.diff(pfns) != 1) + 1
    for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(pfns)], strict=True):
        for at in range(start, stop, _CHUNK):
            rows = ram[pfns[at] : pfns[at] + min(_CHUNK, stop - at)]
            if (rows != word if word else rows).any():
                bad[at : at + len(rows)] = (rows != word).any(axis=1)
    return bad


def _ram(state: State) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """RAM as one row of 512 words a frame."""
    rows: np.ndarray[tuple[int, int], np.dtype[np.uint64]] = state.mem.hw.ram.view(np.uint64).reshape(-1, 512)
    return rows
