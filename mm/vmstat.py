"""Counters by name: what /proc/vmstat and the files of a node show.

Mirrors mm/vmstat.c and the meminfo and numastat of drivers/base/node.c. The counters themselves are kept by the
kernels (``mem.node_stat``, ``mem.event``) and by the zones; nothing is counted here. A counter that this machine
does not keep is left out rather than shown as 0; ``numa_pages_migrated`` is shown
as 0 since there is no NUMA balancing that could raise it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm.mmzone import NODE_STATS, VM_EVENTS, ZONE_NAMES
from numalab.mm.zones import nr_free_pages, populated_zones

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["node_meminfo", "numastat", "vmstat"]

#: pgalloc_* and pgfree stand apart, since Linux splits allocations by zone; pgreuse and the rest by name.
_NAMED_EVENTS = tuple(name for name in VM_EVENTS if name != "pgalloc")
_NEVER = ("numa_pages_migrated",)


def vmstat(mem: MemMap) -> dict[str, int]:
    """/proc/vmstat: counters in pages, events since boot."""
    rows = {"nr_free_pages": nr_free_pages(mem)}
    rows |= {name: int(mem.node_stat[:, i].sum()) for i, name in enumerate(NODE_STATS)}
    events = {name: int(mem.event[i]) for i, name in enumerate(VM_EVENTS)}
    used = {str(ZONE_NAMES[mem.zones["type"][i]]).lower() for i in populated_zones(mem)}
    # Which zone an allocation came from is not kept: all are shown under the highest zone that the machine has.
    top = max((name for name in used), key=[name.lower() for name in ZONE_NAMES].index)
    rows[f"pgalloc_{top}"] = events["pgalloc"]
    rows |= {name: events[name] for name in _NAMED_EVENTS}
    return rows | dict.fromkeys(_NEVER, 0)


def node_meminfo(mem: MemMap, nid: int) -> dict[str, int]:
    """/sys/devices/system/node/nodeN/meminfo: kB by label, in its order. All 0 for a node without memory."""
    zones = mem.zones[mem.zones["node"] == nid]
    stat = {name: 4 * int(value) for name, value in zip(NODE_STATS, mem.node_stat[nid], strict=True)}
    total, free = 4 * int(zones["managed"].sum()), 4 * int(zones["free"].sum())
    active = {kind: stat[f"nr_active_{kind}"] for kind in ("anon", "file")}
    inactive = {kind: stat[f"nr_inactive_{kind}"] for kind in ("anon", "file")}
    return {
        "MemTotal": total,
        "MemFree": free,
        "MemUsed": total - free,
        "SwapCached": stat["nr_swapcached"],
        "Active": sum(active.values()),
        "Inactive": sum(inactive.values()),
        "Active(anon)": active["anon"],
        "Inactive(anon)": inactive["anon"],
        "Active(file)": active["file"],
        "Inactive(file)": inactive["file"],
        "Unevictable": stat["nr_unevictable"],
        "Mlocked": stat["nr_mlock"],
        "Dirty": stat["nr_dirty"],
        "Writeback": stat["nr_writeback"],
        "FilePages": stat["nr_file_pages"],
        "Mapped": stat["nr_mapped"],
        "AnonPages": stat["nr_anon_pages"],
        "Shmem": stat["nr_shmem"],
        "PageTables": stat["nr_page_table_pages"],
        "AnonHugePages": 512 * stat["nr_anon_transparent_hugepages"],
    }


def numastat(mem: MemMap, nid: int) -> dict[str, int]:
    """/sys/devices/system/node/nodeN/numastat: pages; hit and miss against the wanted node, local and other by CPU."""
    stat = dict(zip(NODE_STATS, (int(value) for value in mem.node_stat[nid]), strict=True))
    return {
        "numa_hit": stat["numa_hit"],
        "numa_miss": stat["numa_miss"],
        "numa_foreign": stat["numa_foreign"],
        "interleave_hit": stat["numa_interleave"],
        "local_node": stat["numa_local"],
        "other_node": stat["numa_other"],
    }
