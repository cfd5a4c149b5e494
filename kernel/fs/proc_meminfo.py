"""/proc/meminfo: the memory of the whole machine, in kB.

Mirrors fs/proc/meminfo.c. All numbers are read off mm's counters when the file is read; what this machine has not
(slabs, bounce buffers, a direct map) is 0.
"""

from __future__ import annotations

from numalab.kernel.fs.seq import lines
from numalab.kernel.state import Kernel
from numalab.mm.mmzone import NODE_STATS
from numalab.mm.overcommit import vm_commit_limit
from numalab.mm.swap import nr_swap_pages
from numalab.mm.swapfile import swap_areas
from numalab.mm.vm_flags import PAGE_SIZE, PMD_SIZE, VM_ACCOUNT
from numalab.mm.vma_tree import vma_pages
from numalab.mm.vmstat import node_meminfo
from numalab.mm.zones import nr_free_pages

__all__ = ["meminfo"]

_PAGE_KB = PAGE_SIZE >> 10
#: VMALLOC_TOTAL in kB, by levels of the page tables.
_VMALLOC_TOTAL = {4: (32 << 30) - 1, 5: (12800 << 30) - 1}

_LABELS = (
    "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "SwapTotal", "SwapFree", "Zswap",
    "Zswapped", "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable",
    "SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "NFS_Unstable", "Bounce", "WritebackTmp",
    "CommitLimit", "Committed_AS", "VmallocTotal", "VmallocUsed", "VmallocChunk", "Percpu", "HardwareCorrupted",
    "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped", "Unaccepted",
)  # fmt: skip
_DIRECT_MAP = ("DirectMap4k", "DirectMap2M", "DirectMap1G")


def meminfo(k: Kernel) -> str:
    """The nodes' meminfo added up where a line is also there, then what only the whole machine has."""
    kb: dict[str, int] = {}
    for nid in k.topology.node_ids:
        for label, value in node_meminfo(k.mem, nid).items():
            kb[label] = kb.get(label, 0) + value
    kb["MemAvailable"] = _available(k) * _PAGE_KB
    kb["Cached"] = kb["FilePages"] - kb["SwapCached"]
    kb["SwapTotal"] = sum(area.size for area in swap_areas(k.mem)) * _PAGE_KB
    kb["SwapFree"] = nr_swap_pages(k.mem) * _PAGE_KB
    kb["CommitLimit"] = vm_commit_limit(k.mem) * _PAGE_KB
    kb["Committed_AS"] = _committed(k) * _PAGE_KB
    kb["VmallocTotal"] = _VMALLOC_TOTAL[k.hw.levels]
    huge = k.mem.hstate
    pages = {
        "HugePages_Total": huge.nr_huge_pages,
        "HugePages_Free": huge.free_huge_pages,
        "HugePages_Rsvd": huge.resv_huge_pages,
        "HugePages_Surp": huge.surplus_huge_pages,
    }
    sizes = {"Hugepagesize": PMD_SIZE >> 10, "Hugetlb": huge.nr_huge_pages * PMD_SIZE >> 10}
    return lines(
        *(_row(label, kb.get(label, 0)) + " kB" for label in _LABELS),
        *(_row(label, value) for label, value in pages.items()),
        *(_row(label, value) + " kB" for label, value in sizes.items()),
        *(_row(label, 0) + " kB" for label in _DIRECT_MAP),
    )


def _row(label: str, value: int) -> str:
    """Numbers end in column 24, also behind the one label that reaches into theirs."""
    return f"{label + ':':<16}{value:{min(8, 23 - len(label))}}"


def _available(k: Kernel) -> int:
    """si_mem_available(): free pages less what the zones keep back, plus the part of the page cache that can go."""
    zones = k.mem.zones
    kept = sum(int(zone["lowmem_reserve"].max() + zone["watermark"][2]) for zone in zones)
    cache = sum(
        int(k.mem.node_stat[:, NODE_STATS.index(f"nr_{kind}_file")].sum()) for kind in ("active", "inactive")
    )
    cache -= min(cache // 2, int(zones["watermark"][:, 1].sum()))
    return max(0, nr_free_pages(k.mem) - kept + cache)


def _committed(k: Kernel) -> int:
    """vm_committed_as, in pages: private memory that programs may come to write."""
    return sum(vma_pages(vma) for mm in k.mms() for vma in mm.vmas.values() if vma.flags & VM_ACCOUNT)
