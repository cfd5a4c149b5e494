"""What /proc/PID shows of an address space: numa_maps, maps, pagemap, and the sizes in status.

Mirrors fs/proc/task_mmu.c. Everything is read off areas and page tables when somebody asks. This file renders
the part of a line that mm knows; whose address space it is and who may look is the business of the floors
above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numalab.mm._constants import HPAGE_PMD_NR
from numalab.mm._mm_types import VMA, MemPolicy, MmStruct
from numalab.mm.mpol import mpol_to_str
from numalab.mm.shared_policy import get_vma_policy
from numalab.mm.vm_flags import (
    PAGE_SHIFT,
    PAGE_SIZE,
    PMD_SIZE,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from numalab.mm.vma_tree import find_vma, vma_next, vma_pages

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "NumaStats", "VmSizes", "map_line", "numa_maps_stats", "pagemap", "show_map_vma", "show_numa_map", "vm_sizes",
    "vm_softdirty",
]  # fmt: skip


_SOFT_DIRTY = np.uint64(1 << 55)


@dataclass(frozen=True, slots=True)
class NumaStats:
    """What is mapped in one area, in pages (struct numa_maps). Swapped pages and the zero page are not
    counted.

    anon: anonymous; dirty: by PTE or page; pages: all; mapcount_max: most mappings of one page; active: on an
    active list or unevictable; nodes: pages by node id.
    """

    anon: int
    dirty: int
    pages: int
    mapcount_max: int
    swapcache: int
    active: int
    writeback: int
    nodes: tuple[int, ...]


def numa_maps_stats(mm: MmStruct, vma: VMA) -> NumaStats:
    """Count the pages mapped in ``vma``; of hugetlb huge ones. One walk of its page tables."""
    anon, dirty, pages, mapcount_max, swapcache, active, writeback, nodes = mm.mem.k.task_mmu.numa_stats(
        mm.mem, mm, vma.start, vma.end
    )
    if vma.flags & VM_HUGETLB:
        anon, dirty, pages, nodes = (n // HPAGE_PMD_NR for n in (anon, dirty, pages, nodes))
    return NumaStats(anon, dirty, pages, mapcount_max, swapcache, active, writeback, tuple(map(int, nodes)))


def show_numa_map(mm: MmStruct, vma: VMA, task_policy: MemPolicy | None) -> str:
    """One line of numa_maps, without its newline: address, policy, then what there is of each kind.

    task_policy: shown for an area without a policy of its own. The order of the fields, and which of them are
    left out when, is Linux's; with no page mapped only the first two are there.
    """
    own = get_vma_policy(vma, vma.start)
    policy = task_policy if own is None else own
    words = [f"{vma.start:08x} {mpol_to_str(policy)}"]
    name = _area_name(mm, vma)
    if vma.file is not None:
        words.append("file=" + _mangle_path(vma.file.path, "\n\t= "))
    elif name:
        words.append(name)
    if vma.flags & VM_HUGETLB:
        words.append("huge")
    stats = numa_maps_stats(mm, vma)
    if stats.pages:
        words += _numa_fields(stats, PMD_SIZE if vma.flags & VM_HUGETLB else PAGE_SIZE)
    return " ".join(words)


def _numa_fields(stats: NumaStats, pagesize: int) -> list[str]:
    fields = (
        ("anon", stats.anon, stats.anon > 0),
        ("dirty", stats.dirty, stats.dirty > 0),
        ("mapped", stats.pages, stats.pages not in (stats.anon, stats.dirty)),
        ("mapmax", stats.mapcount_max, stats.mapcount_max > 1),
        ("swapcache", stats.swapcache, stats.swapcache > 0),
        ("active", stats.active, stats.active < stats.pages),
        ("writeback", stats.writeback, stats.writeback > 0),
        *((f"N{node}", n, n > 0) for node, n in enumerate(stats.nodes)),
        ("kernelpagesize_kB", pagesize >> 10, True),
    )
    return [f"{name}={value}" for name, value, shown in fields if shown]


def _area_name(mm: MmStruct, vma: VMA) -> str:
    """``heap`` or ``stack`` for the areas that are the program's own; empty for others."""
    if vma.start < mm.brk and vma.end > mm.start_brk:
        return "heap"
    if vma.start <= mm.start_stack <= vma.end:
        return "stack"
    return ""


def _mangle_path(path: str, special: str) -> str:
    """mangle_path(): characters that would be misread stand as three octal digits."""
    return "".join(f"\\{ord(char):03o}" if char in special else char for char in path)


def show_map_vma(mm: MmStruct, vma: VMA) -> str:
    """One line of maps, without its newline: range, rights, offset, device, inode, name."""
    flags = vma.flags
    rights = "".join(
        letter if flags & bit else "-" for letter, bit in (("r", VM_READ), ("w", VM_WRITE), ("x", VM_EXEC))
    ) + ("s" if flags & VM_MAYSHARE else "p")
    if vma.file is not None:
        file = vma.file
        offset, name = vma.pgoff << PAGE_SHIFT, _mangle_path(file.path, "\n")
        return map_line(vma.start, vma.end, rights, offset, file.dev, file.ino, name)
    name = _area_name(mm, vma)
    return map_line(vma.start, vma.end, rights, 0, 0, 0, f"[{name}]" if name else "")


def map_line(start: int, end: int, rights: str, offset: int, dev: int, ino: int, name: str) -> str:
    """show_vma_header_prefix(), and the name behind it in its column."""
    line = f"{start:08x}-{end:08x} {rights} {offset:08x} 00:{dev:02x} {ino} "
    return f"{line:<73}{name}" if name else line


def pagemap(mm: MmStruct, start: int, n: int) -> npt.NDArray[np.uint64]:
    """The words of /proc/PID/pagemap for ``n`` pages from ``start`` on, holes included.

    Bit 63 present, 62 in swap or under migration, 61 file page or shared, 56 mapped once, 55 soft-dirty; bits
    0-54 the frame number (present), or 0-4 the swap type and 5-54 the offset. Whether frame numbers may be shown
    is the caller's question.
    """
    words = np.zeros(n, np.uint64)
    if n:
        mm.mem.k.task_mmu.pagemap_range(mm.mem, mm, start, words)
        _mark_soft_dirty(mm, start, words)
    return words


def vm_softdirty(mm: MmStruct, vma: VMA) -> bool:
    """VM_SOFTDIRTY, which nobody clears: all areas have it that a program mapped, the stack that it was given not."""
    return not vma.start <= mm.start_stack < vma.end


def _mark_soft_dirty(mm: MmStruct, start: int, words: npt.NDArray[np.uint64]) -> None:
    """Whatever lies in an area that has VM_SOFTDIRTY, also where no page is; else what was written: anonymous pages."""
    end = start + len(words) * PAGE_SIZE
    vma = find_vma(mm, start)
    while vma is not None and vma.start < end:
        part = words[max(vma.start - start, 0) >> PAGE_SHIFT : (min(vma.end, end) - start) >> PAGE_SHIFT]
        if vm_softdirty(mm, vma):
            part |= _SOFT_DIRTY
        else:
            frame = part & np.uint64(int(_SOFT_DIRTY) - 1)
            part[(frame != 0) & (frame != mm.mem.zero_pfn)] |= _SOFT_DIRTY
        vma = vma_next(mm, vma)


@dataclass(frozen=True, slots=True)
class VmSizes:
    """Sizes of an address space in pages, as /proc/PID/status and statm name them."""

    total: int
    locked: int
    data: int
    stack: int
    exec: int


def vm_sizes(mm: MmStruct) -> VmSizes:
    """Add up the areas by kind: a stack grows, code may be executed but not written, data is written
    privately.
    """
    total = locked = data = stack = exec_ = 0
    for vma in mm.vmas.values():
        pages = vma_pages(vma)
        total += pages
        if vma.flags & VM_LOCKED:
            locked += pages
        if vma.flags & VM_GROWSDOWN:
            stack += pages
        elif vma.flags & (VM_EXEC | VM_WRITE) == VM_EXEC:
            exec_ += pages
        elif vma.flags & (VM_WRITE | VM_SHARED) == VM_WRITE:
            data += pages
    return VmSizes(total, locked, data, stack, exec_)
