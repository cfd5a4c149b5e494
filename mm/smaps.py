"""/proc/PID/smaps and smaps_rollup: what the pages of areas are, and whose.

Mirrors show_smap() and show_smaps_rollup() of fs/proc/task_mmu.c. A page that several share counts in Pss by its part.
There are no pages of KSM here, and no huge ones in files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np

from numalab.mm._mm_types import VMA, MmStruct
from numalab.mm.huge_memory import thp_vma_allowable, thp_vma_suitable
from numalab.mm.task_mmu import map_line, pagemap, show_map_vma, vm_softdirty
from numalab.mm.vm_flags import (
    PAGE_SIZE,
    PMD_SIZE,
    VM_ACCESS_FLAGS,
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
)
from numalab.mm.vma_tree import vma_pages

__all__ = ["SmapsStats", "show_smap", "show_smaps_rollup", "smaps_stats"]

_VM_FLAGS = {
    VM_READ: "rd", VM_WRITE: "wr", VM_EXEC: "ex", VM_SHARED: "sh", VM_MAYREAD: "mr", VM_MAYWRITE: "mw",
    VM_MAYEXEC: "me", VM_MAYSHARE: "ms", VM_GROWSDOWN: "gd", VM_PFNMAP: "pf", VM_LOCKED: "lo", VM_IO: "io",
    VM_SEQ_READ: "sr", VM_RAND_READ: "rr", VM_DONTCOPY: "dc", VM_DONTEXPAND: "de", VM_LOCKONFAULT: "lf",
    VM_ACCOUNT: "ac", VM_NORESERVE: "nr", VM_HUGETLB: "ht", VM_WIPEONFORK: "wf", VM_DONTDUMP: "dd",
}  # fmt: skip
#: Those behind VM_SOFTDIRTY.
_VM_FLAGS_HIGH = {VM_HUGEPAGE: "hg", VM_NOHUGEPAGE: "nh", VM_MERGEABLE: "mg"}

_PSS_SHIFT = 12
#: In pagemap: there is a page, or one in swap.
_MAPPED = np.uint64(3 << 62)
#: The key that the kernel takes for areas that may be executed and nothing else.
_EXECUTE_ONLY_PKEY = 1


@dataclass(frozen=True, slots=True)
class SmapsStats:
    """struct mem_size_stats, in bytes; what begins with pss and swap_pss in 1/4096 of them."""

    resident: int = 0
    shared_clean: int = 0
    shared_dirty: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    referenced: int = 0
    anonymous: int = 0
    lazyfree: int = 0
    anonymous_thp: int = 0
    swap: int = 0
    swap_pss: int = 0
    pss: int = 0
    pss_anon: int = 0
    pss_file: int = 0
    pss_shmem: int = 0
    pss_dirty: int = 0
    shared_hugetlb: int = 0
    private_hugetlb: int = 0
    pss_locked: int = 0

    def __add__(self, other: SmapsStats) -> SmapsStats:
        return SmapsStats(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def smaps_stats(mm: MmStruct, vma: VMA) -> SmapsStats:
    """smap_gather_stats(): one walk of the page tables of ``vma``. What hugetlb maps is not counted as resident."""
    found = SmapsStats(*mm.mem.k.task_mmu.smaps_stats(mm.mem, mm, vma.start, vma.end))
    if vma.flags & VM_HUGETLB:
        shared = found.shared_clean + found.shared_dirty
        return SmapsStats(shared_hugetlb=shared, private_hugetlb=found.resident - shared)
    swap = SmapsStats(swap=_shmem_swap_usage(mm, vma))
    return found + swap + SmapsStats(pss_locked=found.pss if vma.flags & VM_LOCKED else 0)


def _shmem_swap_usage(mm: MmStruct, vma: VMA) -> int:
    """Bytes of a shared file's part that are in swap: page tables hold no entries for them.

    A private mapping that may be written has copies: there only what has no PTE is the file's.
    """
    mapping = None if vma.file is None else vma.file.mapping
    if mapping is None or not mapping.nr_swapped:
        return 0
    entries = mapping.entries(vma.pgoff, vma.pgoff + vma_pages(vma))
    swapped = [index - vma.pgoff for index, entry in entries if entry & 1]
    if vma.flags & (VM_SHARED | VM_WRITE) == VM_WRITE:
        return PAGE_SIZE * int(
            np.count_nonzero(pagemap(mm, vma.start, vma_pages(vma))[swapped] & _MAPPED == 0)
        )
    return PAGE_SIZE * len(swapped)


def show_smap(mm: MmStruct, vma: VMA) -> list[str]:
    """The lines of one area: its line in maps, sizes, pages, what may become of it."""
    pagesize = PMD_SIZE if vma.flags & VM_HUGETLB else PAGE_SIZE
    sizes = {"Size": vma.end - vma.start, "KernelPageSize": pagesize, "MMUPageSize": pagesize}
    eligible = thp_vma_allowable(vma) and thp_vma_suitable(vma, vma.end - PMD_SIZE)
    execute_only = vma.flags & VM_ACCESS_FLAGS == VM_EXEC
    return [
        show_map_vma(mm, vma),
        *(_kb(label, size) for label, size in sizes.items()),
        *_rows(smaps_stats(mm, vma), rollup=False),
        f"{'THPeligible:':<16}{int(eligible):8}",
        f"{'ProtectionKey:':<16}{_EXECUTE_ONLY_PKEY if execute_only else 0:8}",
        "VmFlags: " + "".join(f"{letters} " for letters in _flag_letters(mm, vma)),
    ]


def show_smaps_rollup(mm: MmStruct) -> list[str]:
    """The lines of all areas taken together, as one from the first to the end of the last."""
    areas = list(mm.vmas.values())
    total = sum((smaps_stats(mm, vma) for vma in areas), SmapsStats())
    first, last = (areas[0].start, areas[-1].end) if areas else (0, 0)
    return [map_line(first, last, "---p", 0, 0, 0, "[rollup]"), *_rows(total, rollup=True)]


def _kb(label: str, size: int) -> str:
    return f"{label + ':':<16}{size >> 10:8} kB"


def _rows(stats: SmapsStats, *, rollup: bool) -> list[str]:
    """__show_smap()."""
    parts = {"Pss_Anon": stats.pss_anon, "Pss_File": stats.pss_file, "Pss_Shmem": stats.pss_shmem}
    sizes = {
        "Rss": stats.resident,
        "Pss": stats.pss >> _PSS_SHIFT,
        "Pss_Dirty": stats.pss_dirty >> _PSS_SHIFT,
        **{label: pss >> _PSS_SHIFT for label, pss in parts.items() if rollup},
        "Shared_Clean": stats.shared_clean,
        "Shared_Dirty": stats.shared_dirty,
        "Private_Clean": stats.private_clean,
        "Private_Dirty": stats.private_dirty,
        "Referenced": stats.referenced,
        "Anonymous": stats.anonymous,
        "KSM": 0,
        "LazyFree": stats.lazyfree,
        "AnonHugePages": stats.anonymous_thp,
        "ShmemPmdMapped": 0,
        "FilePmdMapped": 0,
        "Shared_Hugetlb": stats.shared_hugetlb,
        "Private_Hugetlb": stats.private_hugetlb,
        "Swap": stats.swap,
        "SwapPss": stats.swap_pss >> _PSS_SHIFT,
        "Locked": stats.pss_locked >> _PSS_SHIFT,
    }
    return [_kb(label, size) for label, size in sizes.items()]


def _flag_letters(mm: MmStruct, vma: VMA) -> Iterable[str]:
    """show_smap_vma_flags(): in the order of their bits."""
    yield from (letters for bit, letters in _VM_FLAGS.items() if vma.flags & bit)
    if vm_softdirty(mm, vma):
        yield "sd"
    yield from (letters for bit, letters in _VM_FLAGS_HIGH.items() if vma.flags & bit)
