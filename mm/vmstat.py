"""Counters by name: what /proc/vmstat and the files of a node show.

Mirrors mm/vmstat.c and the meminfo, numastat and vmstat of drivers/base/node.c. The counters themselves are kept by the
kernels (``mem.node_stat``, ``mem.event``) and by the zones; nothing is counted here. All names are there, in Linux's
order (``vmstat_text``); what this machine does not keep, or has not, is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm._constants import HPAGE_PMD_NR
from numalab.mm.mmzone import NODE_STATS, VM_EVENTS, ZONE_NAMES
from numalab.mm.vmstat_text import MEMMAP_STAT, NODE_STAT, NUMA_STAT, VM_EVENT, WRITEBACK_STAT, ZONE_STAT
from numalab.mm.writeback import dirty_limits
from numalab.mm.zones import nr_free_pages, populated_zones

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numalab.mm._mm_types import MemMap

__all__ = ["node_meminfo", "node_vmstat", "numastat", "vmstat"]


def vmstat(mem: MemMap) -> dict[str, int]:
    """/proc/vmstat: counters in pages, events since boot."""
    kept = _kept(mem, mem.topology.node_ids) | {"nr_free_pages": nr_free_pages(mem)}
    kept |= zip(WRITEBACK_STAT, reversed(dirty_limits(mem)), strict=True)
    kept |= {name: int(mem.event[i]) for i, name in enumerate(VM_EVENTS)}
    # Which zone an allocation came from is not kept: all are shown under the highest zone that the machine has.
    top = max(int(mem.zones["type"][i]) for i in populated_zones(mem))
    kept[f"pgalloc_{ZONE_NAMES[top].lower()}"] = kept["pgalloc"]
    names = (*ZONE_STAT, *NUMA_STAT, *NODE_STAT, *WRITEBACK_STAT, *MEMMAP_STAT, *VM_EVENT)
    return {name: kept.get(name, 0) for name in names}


def node_vmstat(mem: MemMap, nid: int) -> dict[str, int]:
    """/sys/devices/system/node/nodeN/vmstat: the counters that are kept by zone or by node."""
    kept = _kept(mem, [nid]) | {"nr_free_pages": int(mem.zones["free"][mem.zones["node"] == nid].sum())}
    return {name: kept.get(name, 0) for name in (*ZONE_STAT, *NUMA_STAT, *NODE_STAT)}


def _kept(mem: MemMap, nids: Iterable[int]) -> dict[str, int]:
    """The counters of some nodes, and those that Linux keeps by zone too."""
    total = mem.node_stat[list(nids)].sum(axis=0)
    kept = dict(zip(NODE_STATS, map(int, total), strict=True))
    for name in ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"):
        kept[f"nr_zone_{name}"] = kept[f"nr_{name}"]
    kept["nr_zone_write_pending"] = kept["nr_dirty"] + kept["nr_writeback"]
    return kept


#: The lines of nodeN/meminfo that are a counter of the node.
_NODE_MEMINFO = {
    "Unevictable": "nr_unevictable", "Mlocked": "nr_mlock", "Dirty": "nr_dirty", "Writeback": "nr_writeback",
    "FilePages": "nr_file_pages", "Mapped": "nr_mapped", "AnonPages": "nr_anon_pages", "Shmem": "nr_shmem",
    "KernelStack": "nr_kernel_stack", "PageTables": "nr_page_table_pages", "SecPageTables": "nr_sec_page_table_pages",
    "NFS_Unstable": "", "Bounce": "nr_bounce", "WritebackTmp": "nr_writeback_temp",
    "KReclaimable": "nr_slab_reclaimable", "Slab": "", "SReclaimable": "nr_slab_reclaimable",
    "SUnreclaim": "nr_slab_unreclaimable", "AnonHugePages": "nr_anon_transparent_hugepages",
    "ShmemHugePages": "nr_shmem_hugepages", "ShmemPmdMapped": "nr_shmem_pmdmapped",
    "FileHugePages": "nr_file_hugepages", "FilePmdMapped": "nr_file_pmdmapped", "Unaccepted": "nr_unaccepted",
}  # fmt: skip


def node_meminfo(mem: MemMap, nid: int) -> dict[str, int]:
    """/sys/devices/system/node/nodeN/meminfo: kB by label, in its order. All 0 for a node without memory."""
    zones = mem.zones[mem.zones["node"] == nid]
    stat = {name: 4 * value for name, value in node_vmstat(mem, nid).items()}
    stat["nr_anon_transparent_hugepages"] *= HPAGE_PMD_NR  # counted in huge pages
    total = 4 * int(zones["managed"].sum())
    active = {kind: stat[f"nr_active_{kind}"] for kind in ("anon", "file")}
    inactive = {kind: stat[f"nr_inactive_{kind}"] for kind in ("anon", "file")}
    return {
        "MemTotal": total,
        "MemFree": stat["nr_free_pages"],
        "MemUsed": total - stat["nr_free_pages"],
        "SwapCached": stat["nr_swapcached"],
        "Active": sum(active.values()),
        "Inactive": sum(inactive.values()),
        "Active(anon)": active["anon"],
        "Inactive(anon)": inactive["anon"],
        "Active(file)": active["file"],
        "Inactive(file)": inactive["file"],
    } | {label: stat.get(name, 0) for label, name in _NODE_MEMINFO.items()}


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
