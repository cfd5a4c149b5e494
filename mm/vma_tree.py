"""Finding memory areas: which VMA covers an address, which comes next.

Mirrors find_vma() and its family in mm/mmap.c and include/linux/mm.h. Deliberately different: where Linux
keeps a maple tree, ``mm.vmas`` is a SortedDict from start address to VMA. Whatever changes it tells the
kernels with ``mm.vmas_changed()``; that is why areas are put in, taken out and moved with the functions below only.
The free ranges between them (gap_tree.py) are brought up to date when somebody looks for room, for many address spaces
end before anybody does: until then, only the places are known where something has changed.

All addresses are bytes; areas never overlap, so neighbours in the dict are neighbours in memory.
"""

from __future__ import annotations

from numalab.mm._mm_types import VMA, MmStruct
from numalab.mm.gap_tree import END, GapTree
from numalab.mm.vm_flags import PAGE_SHIFT, PMD_SIZE, STACK_GUARD_GAP, VM_GROWSDOWN, VM_LOCKED

__all__ = [
    "find_vma", "find_vma_intersection", "linear_page_index", "locked_pages", "vm_start_gap", "vma_gaps", "vma_insert",
    "vma_lookup", "vma_next", "vma_pages", "vma_prev", "vma_remove", "vma_set_range",
]  # fmt: skip

MANY_PLACES = 1000  # more are not remembered


def find_vma(mm: MmStruct, addr: int) -> VMA | None:
    """The first area that ends above ``addr``: the one that covers it, or the next one. O(log areas)."""
    at = mm.vmas.bisect_right(addr)
    if at:
        vma: VMA = mm.vmas.peekitem(at - 1)[1]
        if addr < vma.end:
            return vma
    return mm.vmas.peekitem(at)[1] if at < len(mm.vmas) else None


def vma_lookup(mm: MmStruct, addr: int) -> VMA | None:
    """The area that covers ``addr``; None in a hole."""
    vma = find_vma(mm, addr)
    return vma if vma is not None and vma.start <= addr else None


def find_vma_intersection(mm: MmStruct, start: int, end: int) -> VMA | None:
    """The first area that has a byte in [start, end); None for an empty range."""
    vma = find_vma(mm, start) if start < end else None
    return vma if vma is not None and vma.start < end else None


def vma_next(mm: MmStruct, vma: VMA) -> VMA | None:
    """The area after ``vma``, however far away."""
    at = mm.vmas.bisect_right(vma.start)
    return mm.vmas.peekitem(at)[1] if at < len(mm.vmas) else None


def vma_prev(mm: MmStruct, addr: int) -> VMA | None:
    """The last area that starts below ``addr``."""
    at = mm.vmas.bisect_left(addr)
    return mm.vmas.peekitem(at - 1)[1] if at else None


def vma_insert(mm: MmStruct, vma: VMA) -> None:
    """Add an area; its range must be free."""
    mm.vmas[vma.start] = vma
    _changed(mm, vma.start, vma.end)


def vma_remove(mm: MmStruct, vma: VMA) -> None:
    """Take an area out; its pages, tables and anon_vmas are the caller's affair."""
    del mm.vmas[vma.start]
    _changed(mm, vma.start, vma.end)


def vma_set_range(mm: MmStruct, vma: VMA, start: int, end: int, pgoff: int) -> None:
    """Give an area of the tree another extent (vma_set_range() and the tree's share of it).

    No huge page may be mapped as a whole across its ends (vma_adjust_trans_huge()).
    """
    for cut in (start, end):
        if vma.start < cut < vma.end and cut % PMD_SIZE:
            mm.mem.k.huge_memory.split_pmd(mm.mem, mm, cut)
    if start != vma.start:
        del mm.vmas[vma.start]
        mm.vmas[start] = vma
    old = vma.start, vma.end
    vma.set_range(start, end, pgoff)
    _changed(mm, *old, start, end)


def _changed(mm: MmStruct, *places: int) -> None:
    """Areas begin or end here, or did so before."""
    mm.vmas_changed()
    mm.gaps_changed.update(places)
    if len(mm.gaps_changed) > MANY_PLACES:
        vma_gaps(mm)


def vma_gaps(mm: MmStruct) -> GapTree:
    """What is free between the areas. O(log areas) for each place where something has changed since the last time."""
    for place in mm.gaps_changed:
        at = mm.vmas.bisect_left(place)
        start = mm.vmas.peekitem(at - 1)[1].end if at else 0
        top = vm_start_gap(mm.vmas.peekitem(at)[1]) if at < len(mm.vmas) else END
        if start != place:
            mm.gaps.set(place, 0)
        mm.gaps.set(start, max(top - start, 0))
    mm.gaps_changed.clear()
    return mm.gaps


def vma_pages(vma: VMA) -> int:
    """Its size in pages."""
    return (vma.end - vma.start) >> PAGE_SHIFT


def linear_page_index(vma: VMA, addr: int) -> int:
    """Index within the area's mapping of the page at ``addr``."""
    return vma.pgoff + ((addr - vma.start) >> PAGE_SHIFT)


def vm_start_gap(vma: VMA) -> int:
    """Where the area really begins for its lower neighbour: a stack keeps a guard gap below itself."""
    return max(vma.start - STACK_GUARD_GAP, 0) if vma.flags & VM_GROWSDOWN else vma.start


def locked_pages(mm: MmStruct) -> int:
    """``mm->locked_vm``: pages in mlocked areas, present or not. Added up when asked: only limits ask.
    O(areas).
    """
    return sum(vma_pages(vma) for vma in mm.vmas.values() if vma.flags & VM_LOCKED)
