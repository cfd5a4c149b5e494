"""/proc/{vmstat,meminfo,buddyinfo,zoneinfo,uptime}: the memory of the whole machine.

Mirrors mm/vmstat.c and fs/proc/meminfo.c.  All numbers are read off mm's counters and zones when a file is read;
lines that Linux has and this machine has no value for are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from numalab.kernel.fs.block import swaps
from numalab.kernel.fs.inode import Directory, text_file
from numalab.kernel.fs.seq import lines
from numalab.kernel.state import Kernel
from numalab.mm.mmzone import NODE_STATS, ZONE_NAMES
from numalab.mm.swap import nr_swap_pages
from numalab.mm.swapfile import swap_areas
from numalab.mm.vm_flags import PMD_SIZE
from numalab.mm.vmstat import node_meminfo, vmstat
from numalab.mm.zones import nr_free_pages, populated_zones

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_proc_system"]

_PAGE_KB = 4
_NUMA_STATS = ("numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other")
_MEMINFO = (
    "MemTotal", "MemFree", "MemAvailable", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Dirty",
    "Writeback", "AnonPages", "Mapped", "Shmem", "PageTables", "AnonHugePages",
)  # fmt: skip


def add_proc_system(k: Kernel, proc: Directory) -> None:
    """Fill /proc with the files that are about no process."""
    proc.add(
        "vmstat", text_file(lambda: lines(*(f"{name} {value}" for name, value in vmstat(k.mem).items())))
    )
    proc.add("meminfo", text_file(lambda: _meminfo(k)))
    proc.add("buddyinfo", text_file(lambda: _buddyinfo(k)))
    proc.add("zoneinfo", text_file(lambda: "".join(_zoneinfo(k))))
    proc.add("swaps", text_file(lambda: swaps(k.mem)))
    proc.add("uptime", text_file(lambda: f"{k.hw.now / 1e9:.2f} 0.00\n"))


def _meminfo(k: Kernel) -> str:
    """The nodes' meminfo added up, under the names that it has here."""
    total: dict[str, int] = {}
    for nid in k.topology.node_ids:
        for name, value in node_meminfo(k.mem, nid).items():
            total[name] = total.get(name, 0) + value
    total["Cached"] = total.get("FilePages", 0)
    total["SwapTotal"] = sum(area.size for area in swap_areas(k.mem)) * _PAGE_KB
    total["SwapFree"] = nr_swap_pages(k.mem) * _PAGE_KB
    total["MemAvailable"] = _available(k) * _PAGE_KB
    # In /proc's order, which is not the nodes'.
    rows = [(name, total[name]) for name in _MEMINFO if name in total]
    huge = k.mem.hstate
    pages = {
        "HugePages_Total": huge.nr_huge_pages,
        "HugePages_Free": huge.free_huge_pages,
        "HugePages_Rsvd": huge.resv_huge_pages,
        "HugePages_Surp": huge.surplus_huge_pages,
    }
    sizes = {"Hugepagesize": PMD_SIZE >> 10, "Hugetlb": huge.nr_huge_pages * PMD_SIZE >> 10}
    return lines(
        *(f"{name + ':':<15} {value:8} kB" for name, value in rows),
        *(f"{name + ':':<16}{value:8}" for name, value in pages.items()),
        *(f"{name + ':':<16}{value:8} kB" for name, value in sizes.items()),
    )


def _available(k: Kernel) -> int:
    """si_mem_available(): free pages less what the zones keep back, plus the part of the page cache that can go."""
    zones = k.mem.zones
    kept = sum(int(zone["lowmem_reserve"].max() + zone["watermark"][2]) for zone in zones)
    cache = sum(
        int(k.mem.node_stat[:, NODE_STATS.index(f"nr_{kind}_file")].sum()) for kind in ("active", "inactive")
    )
    cache -= min(cache // 2, int(zones["watermark"][:, 1].sum()))
    return max(0, nr_free_pages(k.mem) - kept + cache)


def _buddyinfo(k: Kernel) -> str:
    """Free blocks of each order. Frames that were never used lie in the largest blocks that their place allows."""
    return lines(
        *(
            f"Node {zone['node']}, zone {ZONE_NAMES[zone['type']]:>8} "
            + "".join(f"{count:6} " for count in _free_blocks(zone))
            for zone in k.mem.zones[populated_zones(k.mem)]
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


def _zoneinfo(k: Kernel) -> Iterator[str]:
    """zoneinfo_show_print() for each zone; the first one of a node comes with the node's own counters."""
    seen: set[int] = set()
    for number in (populated := populated_zones(k.mem)):
        zone = k.mem.zones[number]
        nid = int(zone["node"])
        yield f"Node {nid}, zone {ZONE_NAMES[zone['type']]:>8}"
        if nid not in seen:
            seen.add(nid)
            yield "\n  per-node stats"
            yield from (
                f"\n      {name:<12} {value}"
                for name, value in zip(NODE_STATS, k.mem.node_stat[nid], strict=True)
                if name not in _NUMA_STATS
            )
        yield from _zone_rows(zone)
        # numa_* are kept by node, so its last zone, where nearly all pages are, has them.
        last = [i for i in populated if k.mem.zones["node"][i] == nid][-1]
        yield from (
            f"\n      {name:<12} {k.mem.node_stat[nid][NODE_STATS.index(name)] if number == last else 0}"
            for name in _NUMA_STATS
        )
        yield "\n  pagesets"
        for cpu in range(k.topology.nr_cpus):
            count = k.mem.pcps["count"][number * k.topology.nr_cpus + cpu]
            yield f"\n    cpu: {cpu}"
            rows = (("count", count), ("high", zone["pcp_high"]), ("batch", zone["pcp_batch"]),
                    ("high_min", zone["pcp_high"]), ("high_max", zone["pcp_high"]))  # fmt: skip
            yield from (f"\n              {name + ':':<9} {value}" for name, value in rows)
        yield f"\n  node_unreclaimable:  0\n  start_pfn:           {zone['start']}\n"


def _zone_rows(zone: np.void) -> Iterator[str]:
    """The numbers of one zone: labels in a column of 9, then what it keeps from requests for a higher one."""
    low, high = int(zone["start"]), int(zone["end"])
    yield f"\n  pages free     {zone['free']}"
    marks = zip(("min", "low", "high", "promo"), zone["watermark"], strict=True)
    spanned = (
        ("spanned", high - low), ("present", zone["managed"]), ("managed", zone["managed"]), ("cma", 0),
    )  # fmt: skip
    yield from (f"\n        {name:<8} {value}" for name, value in (("boost", 0), *marks, *spanned))
    yield f"\n        protection: ({', '.join(str(pages) for pages in zone['lowmem_reserve'])})"
    yield f"\n      {'nr_free_pages':<12} {zone['free']}"
