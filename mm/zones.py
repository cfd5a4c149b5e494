"""Zones while the machine runs: their spans and rows, the order in which they are tried, their watermarks.

Mirrors what mm/page_alloc.c and mm/memory_hotplug.c compute anew when memory comes or goes: build_all_zonelists(),
init_per_zone_wmark_min(), and the spans of zones.

A zone has whole sections (only DMA and DMA32 share one), and ``section_zone`` says which. Its span, ``start`` to
``end``, may have holes: sections that are offline, or another zone's. There are none between ``virgin`` and ``end``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from numalab.arch.node import MAX_NUMNODES
from numalab.arch.sparse import sparse
from numalab.mm._constants import NO_PFN, PG_NODE_SHIFT, PG_ZONE_SHIFT, SECTION_SHIFT
from numalab.mm.nodemask import nodes_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.arch.topology import Topology
    from numalab.mm._mm_types import MemMap

__all__ = [
    "LOWMEM_RESERVE_RATIO", "MOVABLE_MIN", "WATERMARK_SCALE_FACTOR", "ZONE_MOVABLE", "ZONE_NORMAL",
    "ZoneRows", "build_zonelists", "grow_zone_span", "in_zone_movable", "isolate_zone", "nr_free_pages",
    "populated_zones", "setup_pagesets", "setup_watermarks", "shrink_zone_span", "use_virgin", "zone_of",
    "zone_row", "zone_spans",
]  # fmt: skip

ZONE_NORMAL, ZONE_MOVABLE = 2, 3

#: sysctl_lowmem_reserve_ratio: how much of a lower zone is kept from requests that may use a higher one.
LOWMEM_RESERVE_RATIO = (256, 256, 32, 0)
WATERMARK_SCALE_FACTOR = 10
#: SWAP_CLUSTER_MAX: a zone that the kernel itself takes nothing from keeps at least so many frames.
MOVABLE_MIN = 32


class ZoneRows:
    """Room for zones that come into being later: nobody has to look for the arrays anew when there is one more."""

    def __init__(self, zones: NDArray[Any], most: int, nr_cpus: int, pcp: np.dtype[Any]) -> None:
        self._zones = np.zeros(most, zones.dtype)
        self._zones[: len(zones)] = zones
        self._zones["head"] = NO_PFN
        self._trail_top = np.zeros(most, np.uint32)
        self._pcps = sparse(most * nr_cpus, pcp)
        self._nr_cpus = nr_cpus

    def bind(self, mem: MemMap, n: int) -> None:
        """From now on there are the first n."""
        mem.bind("zones", self._zones[:n])
        mem.bind("trail_top", self._trail_top[:n])
        mem.bind("pcps", self._pcps[: n * self._nr_cpus])


# ---------------------------------------------------------------- rows


def zone_of(mem: MemMap, pfn: int) -> int:
    """pfn_zone(): the number of a frame's zone."""
    i = int(mem.section_zone[pfn >> SECTION_SHIFT])
    while pfn < mem.zones["start"][i]:
        i -= 1
    return i


def in_zone_movable(mem: MemMap, pfn: int) -> bool:
    """Whether a page that is in use lies in ZONE_MOVABLE: its place stands in its flags."""
    return int(mem.hot["flags"][pfn]) >> PG_ZONE_SHIFT & 3 == ZONE_MOVABLE


def populated_zones(mem: MemMap) -> list[int]:
    """Numbers of the zones that have frames, node by node, those of a node by type and address."""
    zones = mem.zones
    order = np.lexsort((zones["start"], zones["type"], zones["node"]))
    return [int(i) for i in order if zones["managed"][i]]


def nr_free_pages(mem: MemMap) -> int:
    """NR_FREE_PAGES of all zones; what is isolated to go offline is not among them."""
    return int(mem.zones["free"][mem.zones["managed"] > 0].sum())


def _new_row(mem: MemMap, nid: int, kind: int) -> int:
    i = len(mem.zones)
    mem.zone_rows.bind(mem, i + 1)
    mem.zones[i]["node"], mem.zones[i]["type"] = nid, kind
    mem.zones[i]["place"] = nid % MAX_NUMNODES << PG_NODE_SHIFT | kind << PG_ZONE_SHIFT
    mem.zones[i]["pcp_batch"] = mem.zones[i]["pcp_high"] = 1
    build_zonelists(mem)
    return i


def zone_row(mem: MemMap, nid: int, kind: int, start: int) -> int:
    """The zone of a type that a node has, the one nearest to a frame if there are several; made if there is none."""
    zones = mem.zones
    mine = np.flatnonzero((zones["node"] == nid) & (zones["type"] == kind))
    if not len(mine):
        return _new_row(mem, nid, kind)
    return int(min(mine, key=lambda i: (not zones["managed"][i], abs(int(zones["start"][i]) - start))))


def isolate_zone(mem: MemMap) -> int:
    """The zone that stands for MIGRATE_ISOLATE: no node has it, so nobody is given what is free there.

    Between two uses it is empty, and stands for what is offline.
    """
    if mem.isolate_zone < 0:
        mem.isolate_zone = _new_row(mem, MAX_NUMNODES, 0)
    return mem.isolate_zone


# ---------------------------------------------------------------- spans


def zone_spans(mem: MemMap) -> list[tuple[int, int, int]]:
    """(zone, start, end) of the parts of all spans that are not holes, ascending by address."""
    spans: list[tuple[int, int, int]] = []
    starts = mem.zones["start"].astype(np.int64)
    ranges = [part for node in mem.topology.nodes for part in node.ranges]  # a section may be there in part
    for i, zone in enumerate(mem.zones):
        start, end = int(zone["start"]), int(zone["end"])
        if start == end:
            continue
        sections = np.arange(start >> SECTION_SHIFT, (end - 1 >> SECTION_SHIFT) + 1)
        owner = mem.section_zone[sections].astype(np.int64)
        # Where two zones share a section it is the later one's, which begins behind the section's start.
        mine = (owner == i) | (starts[owner] > np.maximum(start, sections << SECTION_SHIFT))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], mine, [False]])))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            low = max(start, int(sections[first]) << SECTION_SHIFT)
            high = min(end, int(sections[last - 1]) + 1 << SECTION_SHIFT)
            spans += [(i, max(a, low), min(b, high)) for a, b in ranges if a < high and b > low]
    return sorted(spans, key=lambda span: span[1])


def grow_zone_span(mem: MemMap, i: int, start: int, end: int) -> None:
    """move_pfn_range_to_zone(), and the frames are free: never used if they come last, else on the lists."""
    zone = mem.zones[i]
    if zone["start"] == zone["end"]:
        zone["start"] = zone["virgin"] = zone["end"] = start
    _sections(mem, start, end, i)
    fresh = start >= zone["end"]
    if fresh and start > zone["end"]:
        use_virgin(mem, i, int(zone["end"]))
        zone["virgin"] = start
    zone["start"], zone["end"] = min(zone["start"], start), max(zone["end"], end)
    if fresh:
        zone["free"] += end - start
    else:
        mem.k.page_alloc.free_range(mem, i, start, end)
    zone["managed"] += end - start
    mem.trail_top[i] = 0


def shrink_zone_span(mem: MemMap, i: int) -> None:
    """The span ends where the last section of the zone does, and begins with its first."""
    spans = [(start, end) for zone, start, end in zone_spans(mem) if zone == i]
    low, high = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    zone = mem.zones[i]
    zone["start"], zone["end"], zone["virgin"] = low, high, min(max(int(zone["virgin"]), low), high)
    mem.trail_top[i] = 0


def use_virgin(mem: MemMap, i: int, end: int) -> None:
    """Frames that were never used, up to ``end``, go to the free lists."""
    zone = mem.zones[i]
    start = int(zone["virgin"])
    if start < end:
        zone["virgin"] = end
        zone["free"] -= end - start
        mem.k.page_alloc.free_range(mem, i, start, end)


def _sections(mem: MemMap, start: int, end: int, zone: int) -> None:
    mem.section_zone[start >> SECTION_SHIFT : (end - 1 >> SECTION_SHIFT) + 1] = zone


# ---------------------------------------------------------------- orders and watermarks


def fallback_order(mem: MemMap, local: int, load: dict[int, int], *, boot: bool) -> list[int]:
    """Nodes with memory in the order in which a request that starts on ``local`` tries them.

    find_next_best_node(): itself first, then by distance, next higher numbers before lower ones, nodes without CPUs
    before others, and ``load`` (kept over all nodes) to take turns at equal distance. At boot no CPU is known to any
    node yet.
    """
    topology: Topology = mem.topology
    distance = topology.distance[local]
    cpus = 0 if boot else topology.cpu_nodes
    others = sorted(
        (n for n in nodes_in(mem.memory_nodes) if n != local),
        key=lambda n: (distance[n] + (n < local) + (cpus >> n & 1), load.get(n, 0), n),
    )
    # The first node of each distance has had its turn; the next node of this boot tries another one first.
    for previous, node in pairwise([local, *others]):
        if distance[node] != distance[previous]:
            load[node] = load.get(node, 0) + 1
    return [local, *others] if mem.memory_nodes >> local & 1 else others


def build_zonelists(mem: MemMap, *, boot: bool = False) -> None:
    """ZONELIST_FALLBACK of every node: node by node, within a node from the highest zone to the lowest."""
    topology: Topology = mem.topology
    zones = mem.zones
    lists = np.full((topology.nr_node_ids, len(zones) + 1), -1, np.int32)
    of_node: dict[int, list[int]] = {}
    for i in np.argsort(-zones["type"].astype(np.int32), kind="stable"):
        if zones["managed"][i]:
            of_node.setdefault(int(zones[i]["node"]), []).append(int(i))
    load: dict[int, int] = {}
    for nid in topology.node_ids:
        order = fallback_order(mem, nid, load, boot=boot)
        numbers = [z for n in order for z in of_node[n]]
        lists[nid, : len(numbers)] = numbers
    mem.bind("zonelist", lists)


def setup_watermarks(mem: MemMap) -> None:
    """min, low, high and promo of every zone, and what each keeps from requests for a higher one.

    __setup_per_zone_wmarks() and setup_per_zone_lowmem_reserve(). On a machine so small that Linux's lower
    bound of 128 kB would be more than a sixteenth of it, that sixteenth is the bound: a toy machine of a few
    pages must be able to use them.
    """
    zones = mem.zones
    total = int(zones["managed"][zones["type"] != ZONE_MOVABLE].sum())
    min_kb = min(max(math.isqrt(total * 4 * 16), 128), 262144)
    pages_min = min(min_kb // 4, total // 16)
    for z in zones:
        managed = int(z["managed"])
        low = share = pages_min * managed // total
        if z["type"] == ZONE_MOVABLE:  # where the kernel itself takes nothing little need be kept
            low = min(max(managed // 1024, MOVABLE_MIN), 128, managed // 16)
        step = max(share // 4, managed * WATERMARK_SCALE_FACTOR // 10000)
        z["watermark"] = [low + i * step for i in range(4)]
        above = 0
        reserve = [0, 0, 0, 0]
        for kind in range(int(z["type"]) + 1, 4):
            same = (zones["node"] == z["node"]) & (zones["type"] == kind)
            above += int(zones["managed"][same].sum())
            reserve[kind] = above // LOWMEM_RESERVE_RATIO[int(z["type"])]
        z["lowmem_reserve"] = reserve


def setup_pagesets(mem: MemMap) -> None:
    """Sizes of the per-CPU page sets: zone_batchsize() and zone_highsize().

    The CPUs of its node share a zone; where there are none, all CPUs do. The boot parameter
    ``percpu_pagelist_high_fraction`` works as the sysctl of that name.
    """
    topology: Topology = mem.topology
    fraction = topology.boot["percpu_pagelist_high_fraction"]
    cpus_of = {n.id: len(n.cpus) or topology.nr_cpus for n in topology.nodes}
    for i in populated_zones(mem):
        z = mem.zones[i]
        managed = int(z["managed"])
        batch = max(1, min(managed >> 10, 256) // 4)
        batch = max(1, (1 << ((batch + batch // 2).bit_length() - 1)) - 1)
        pages = managed // fraction if fraction else int(z["watermark"][1])
        z["pcp_batch"] = batch
        z["pcp_high"] = min(max(pages // cpus_of[int(z["node"])], 4 * batch), 1024 - batch)
