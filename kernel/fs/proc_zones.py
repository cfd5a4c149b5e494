"""/proc/{buddyinfo,pagetypeinfo,zoneinfo}: the zones.

Mirrors mm/vmstat.c. All numbers are read off mm's zones when a file is read. Where a node's memory has holes mm may
keep several zones of one type; here they are one, as Linux has it. Deliberately different: there is one migrate type,
so all that is free is movable; counters that mm keeps by node stand at its highest zone, where nearly all pages are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numalab.kernel.fs.inode import Directory, PseudoFile, text_file
from numalab.kernel.fs.seq import lines
from numalab.kernel.state import Kernel
from numalab.mm._constants import HPAGE_PMD_NR, HPAGE_PMD_ORDER
from numalab.mm.mmzone import NR_ORDERS, ZONE_NAMES
from numalab.mm.vmstat import node_vmstat
from numalab.mm.vmstat_text import NODE_STAT, NUMA_STAT, ZONE_STAT
from numalab.mm.zones import MOVABLE_MIN, ZONE_MOVABLE

__all__ = ["add_proc_zones"]

_ZONES = (*ZONE_NAMES, "Device")
_MIGRATE_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate")
_WATERMARKS = ("min", "low", "high", "promo")


class Zone:
    """All zones of one type that a node has, taken together; of a type that it has none of, an empty one."""

    def __init__(self, k: Kernel, nid: int, kind: int) -> None:
        zones = k.mem.zones
        # One without frames is left over from memory that went offline.
        self.numbers = np.flatnonzero(
            (zones["node"] == nid) & (zones["type"] == kind) & (zones["managed"] > 0)
        )
        self.rows = zones[self.numbers]
        self.nid = nid
        self.kind = kind
        self.populated = len(self.rows) > 0
        self.head = f"Node {nid}, zone {_ZONES[kind]:>8}"

    def total(self, field: str) -> int:
        return int(self.rows[field].sum())

    @property
    def start(self) -> int:
        """zone_start_pfn; 0 of an empty one."""
        return int(self.rows["start"].min()) if self.populated else 0

    @property
    def end(self) -> int:
        return int(self.rows["end"].max()) if self.populated else 0

    def watermarks(self) -> list[int]:
        """Even where it is empty, ZONE_MOVABLE has a least one."""
        if self.populated:
            return [int(mark) for mark in self.rows["watermark"].sum(axis=0)]
        return [MOVABLE_MIN if self.kind == ZONE_MOVABLE else 0] * len(_WATERMARKS)

    def protection(self) -> list[int]:
        """lowmem_reserve: what it keeps from requests for each type of zone. ZONE_DEVICE is always empty."""
        if not self.populated:
            return [0] * len(_ZONES)
        reserve = [int(pages) for pages in self.rows["lowmem_reserve"].max(axis=0)]
        return [*reserve, reserve[-1]]

    def free_blocks(self) -> list[int]:
        """nr_free of each order."""
        return [sum(counts) for counts in zip(*map(_free_blocks, self.rows), strict=True)]


def add_proc_zones(k: Kernel, proc: Directory) -> None:
    """Fill /proc with the files that are about zones."""
    proc.add("buddyinfo", text_file(lambda: _buddyinfo(k)))
    proc.add("pagetypeinfo", PseudoFile(0o400, lambda opening: "".join(_pagetypeinfo(k))))
    proc.add("zoneinfo", text_file(lambda: "".join(_zoneinfo(k))))


def _zones(k: Kernel, nid: int, *, populated: bool) -> list[Zone]:
    """Those of a node, from the lowest to the highest."""
    zones = [Zone(k, nid, kind) for kind in range(len(_ZONES))]
    return [zone for zone in zones if zone.populated or not populated]


def _buddyinfo(k: Kernel) -> str:
    """Free blocks of each order."""
    return lines(
        *(
            f"{zone.head} " + "".join(f"{count:6} " for count in zone.free_blocks())
            for nid in k.topology.node_ids
            for zone in _zones(k, nid, populated=True)
        )
    )


def _free_blocks(zone: np.void) -> list[int]:
    """nr_free of each order; frames beyond the `virgin` frontier count as Linux would keep them, in aligned blocks."""
    counts = [int(count) for count in zone["nr_free"]]
    at, end = int(zone["virgin"]), int(zone["end"])
    while at < end:
        # As large as its address allows and as fits; from the first whole block on, all are of the largest order.
        order = min((at & -at).bit_length() - 1 if at else 10, (end - at).bit_length() - 1, 10)
        run = (end - at) >> order if order == 10 else 1
        counts[order] += run
        at += run << order
    return counts


def _pagetypeinfo(k: Kernel) -> Iterator[str]:
    """Node by node: free blocks by migrate type, then how many page blocks there are of each."""
    title = "Free pages count per migrate type at order"
    for nid in k.topology.node_ids:
        zones = _zones(k, nid, populated=True)
        if not zones:
            continue
        yield f"Page block order: {HPAGE_PMD_ORDER}\nPages per block:  {HPAGE_PMD_NR}\n"
        yield f"\n{title:<43} " + "".join(f"{order:6} " for order in range(NR_ORDERS)) + "\n"
        for zone in zones:
            for kind in _MIGRATE_TYPES:
                counts = zone.free_blocks() if kind == "Movable" else [0] * NR_ORDERS
                yield f"Node {nid:4}, zone {_ZONES[zone.kind]:>8}, type {kind:>12} "
                yield "".join(f"{count:6} " for count in counts) + "\n"
        yield f"\n{'Number of blocks type':<23}" + "".join(f"{kind:>12} " for kind in _MIGRATE_TYPES) + "\n"
        for zone in zones:
            blocks = -(-zone.end // HPAGE_PMD_NR) - zone.start // HPAGE_PMD_NR
            yield f"{zone.head} "
            yield "".join(f"{blocks if kind == 'Movable' else 0:12} " for kind in _MIGRATE_TYPES) + "\n"


def _zoneinfo(k: Kernel) -> Iterator[str]:
    """zoneinfo_show_print() for each zone, also those that are empty."""
    for nid in k.topology.node_ids:
        counters = node_vmstat(k.mem, nid)
        zones = _zones(k, nid, populated=False)
        there = [zone for zone in zones if zone.populated]
        for zone in zones:
            yield zone.head
            if there and zone is there[0]:
                yield "\n  per-node stats" + _counters({name: counters[name] for name in NODE_STAT})
            yield from _zone_rows(zone)
            if zone.populated:
                highest = zone is there[-1]
                by_zone = {name: counters[name] if highest else 0 for name in (*ZONE_STAT, *NUMA_STAT)}
                yield _counters(by_zone | {"nr_free_pages": zone.total("free")})
                yield from _pagesets(k, zone)
                yield f"\n  node_unreclaimable:  0\n  start_pfn:           {zone.start}"
            yield "\n"


def _counters(values: dict[str, int]) -> str:
    return "".join(f"\n      {name:<12} {value}" for name, value in values.items())


def _zone_rows(zone: Zone) -> Iterator[str]:
    """The numbers of one zone, then what it keeps from requests for a higher one."""
    managed = zone.total("managed")
    yield f"\n  pages free     {zone.total('free')}"
    rows = {
        "boost": 0,
        **dict(zip(_WATERMARKS, zone.watermarks(), strict=True)),
        "spanned": zone.end - zone.start,
        "present": managed,
        "managed": managed,
        "cma": 0,
    }
    yield from (f"\n        {name:<8} {value}" for name, value in rows.items())
    yield f"\n        protection: ({', '.join(map(str, zone.protection()))})"


def _pagesets(k: Kernel, zone: Zone) -> Iterator[str]:
    """The caches of the CPUs."""
    nr_cpus = k.topology.nr_cpus
    # calculate_normal_threshold(): by how much a CPU's own counters may be off.
    threshold = min(125, 2 * nr_cpus.bit_length() * (1 + (zone.total("managed") >> 15).bit_length()))
    yield "\n  pagesets"
    for cpu in range(nr_cpus):
        count = sum(int(k.mem.pcps["count"][number * nr_cpus + cpu]) for number in zone.numbers)
        yield f"\n    cpu: {cpu}"
        rows = (("count", count), ("high", zone.total("pcp_high")), ("batch", zone.rows["pcp_batch"].max()))
        yield from (f"\n              {name + ':':<6} {value}" for name, value in rows)
        yield f"\n  vm stats threshold: {threshold}"
