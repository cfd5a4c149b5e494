"""Splitting and merging memory areas, and giving a part of one other flags or another policy.

An area is one set of rules: access, flags, file, memory policy. Changing the rules of a part splits the area;
when that makes two neighbours equal, they become one again. What a program sees of it (maps, numa_maps, the
number of areas, which counts against a limit) is Linux 6.12's:

* two areas merge if they touch and have equal flags, file, policy and adjoining page offsets, and if their
  anon_vmas agree: the same one, or one of the two has none yet. In the latter case the area that has one must
  be on one list only, otherwise a child's area would be tied to its parent's (``_anon_compatible``);
* a change of a whole area may merge it with both neighbours, of its head with the one below, of its tail with
  the one above; a change in its middle never merges.

With P and N the neighbours, V the area and * the part that changes:

    PPPP****NNNN -> PPPPPPPPPPPP    PPPP**VVNNNN -> PPPPPPVVNNNN    PPPPV**VNNNN -> PPPPV--VNNNN
    PPPP****NNNN -> PPPPPPPPNNNN    PPPPVV**NNNN -> PPPPVVNNNNNN    (no merge: it is cut out)
    PPPP****NNNN -> PPPPNNNNNNNN

Mirrors mm/vma.c of 6.12. Deliberately different: no iterators and no preallocation, since nothing here can
fail half way but by the limit on the number of areas.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AnonVma, MemPolicy, MmStruct
from numalab.mm.mpol import mpol_equal
from numalab.mm.rmap import anon_vma_clone, dup_anon_vma, unlink_anon_vmas
from numalab.mm.vm_flags import PAGE_SHIFT, PMD_SIZE, VM_HUGETLB, VM_SPECIAL
from numalab.mm.vma_tree import (
    find_vma,
    linear_page_index,
    vma_insert,
    vma_next,
    vma_pages,
    vma_prev,
    vma_remove,
    vma_set_range,
)

__all__ = ["clone_vma", "split_vma", "vma_merge_new_range", "vma_modify"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a range is about to be; a neighbour that is the same can be merged with it (vma_merge_struct)."""

    start: int
    end: int
    pgoff: int
    flags: int
    file: object
    policy: MemPolicy | None
    anon_vma: AnonVma | None


def split_vma(mm: MmStruct, vma: VMA, addr: int, *, new_below: bool, limit: bool = True) -> VMA:
    """Cut ``vma`` in two at ``addr``, inside it; ``vma`` itself keeps the other half. Returns the new area.

    limit: check the number of areas; munmap() may exceed it for a moment, since it is about to fall.
    Raises KernelError: ENOMEM at the limit, EINVAL within a page of hugetlb.
    """
    if limit and len(mm.vmas) >= mm.mem.max_map_count:
        raise KernelError(ENOMEM, f"{mm.mem.max_map_count} areas are the limit")
    if vma.flags & VM_HUGETLB and addr % PMD_SIZE:
        raise KernelError(EINVAL, "an area of hugetlb is cut between huge pages only")
    pgoff = linear_page_index(vma, addr)
    low, high = (vma.start, addr, vma.pgoff), (addr, vma.end, pgoff)
    new = clone_vma(vma, *(low if new_below else high))
    vma_set_range(mm, vma, *(high if new_below else low))
    vma_insert(mm, new)
    return new


def clone_vma(vma: VMA, start: int, end: int, pgoff: int) -> VMA:
    """A new area with the rules of ``vma`` and its anon_vmas (vm_area_dup()), not yet in the tree."""
    new = VMA(vma.mm, start, end, pgoff, vma.flags)
    if vma.file is not None:
        new.attach_file(vma.file)
    new.policy = vma.policy
    new.anon_vma = vma.anon_vma
    new.vm_private_data = vma.vm_private_data
    anon_vma_clone(new, vma)
    return new


def vma_modify(
    mm: MmStruct,
    vma: VMA,
    start: int,
    end: int,
    *,
    flags: int | None = None,
    policy: MemPolicy | EllipsisType | None = ...,
) -> VMA:
    """Give [start, end) of ``vma`` other flags or another policy: merge where that is possible, else split.

    Returns the area that covers the range now; it may reach further on either side. PTEs are not touched.
    Raises KernelError(ENOMEM) at the limit on areas; the lower of two cuts may have been made by then.
    """
    wanted = Wanted(
        start,
        end,
        linear_page_index(vma, start),
        vma.flags if flags is None else flags,
        vma.file,
        vma.policy if policy is ... else policy,
        vma.anon_vma,
    )
    merged = _vma_merge_existing_range(mm, vma, wanted)
    if merged is not None:
        return merged
    if vma.start < start:
        split_vma(mm, vma, start, new_below=True)
    if vma.end > end:
        split_vma(mm, vma, end, new_below=False)
    if vma.flags != wanted.flags:
        vma.flags = wanted.flags
    vma.policy = wanted.policy
    return vma


def vma_merge_new_range(
    mm: MmStruct,
    start: int,
    end: int,
    flags: int,
    pgoff: int,
    *,
    file: object = None,
    policy: MemPolicy | None = None,
    anon_vma: AnonVma | None = None,
    apart_from: VMA | None = None,
) -> VMA | None:
    """Cover the free range [start, end) by growing a neighbour, or both into one; None if none fits.

    For mmap(), brk() and mremap(): no area may lie in the range. apart_from: a neighbour that stays as it is.
    Returns the grown area.
    """
    wanted = Wanted(start, end, pgoff, flags, file, policy, anon_vma)
    if flags & VM_SPECIAL:
        return None
    prev, next_ = vma_prev(mm, start), find_vma(mm, end)
    left, right = None, None
    if prev is not None and prev is not apart_from and _can_merge_after(wanted, prev):
        left = prev
    if next_ is not None and next_ is not apart_from and _can_merge_before(wanted, next_, left):
        right = next_
    if left is not None and right is not None:
        dup_anon_vma(left, right)
        _remove_merged(mm, right)
        vma_set_range(mm, left, left.start, right.end, left.pgoff)
        return left
    if left is not None:
        vma_set_range(mm, left, left.start, end, left.pgoff)
        return left
    if right is not None:
        vma_set_range(mm, right, start, right.end, pgoff)
    return right


def _vma_merge_existing_range(mm: MmStruct, vma: VMA, wanted: Wanted) -> VMA | None:
    """Merge the part ``wanted`` of ``vma`` with its neighbours as far as they equal what the part becomes."""
    start, end = wanted.start, wanted.end
    at_start, at_end = start == vma.start, end == vma.end
    if wanted.flags & VM_SPECIAL or not (at_start or at_end):
        return None
    prev = vma_prev(mm, vma.start) if at_start else None
    next_ = vma_next(mm, vma) if at_end else None
    left = prev if prev is not None and _can_merge_after(wanted, prev) else None
    right = next_ if next_ is not None and _can_merge_before(wanted, next_, left) else None
    whole = at_start and at_end

    if left is not None and right is not None:
        # prev takes everything; it needs the anon_vma of whichever of the two has one
        dup_anon_vma(left, right if right.anon_vma is not None else vma)
        _remove_merged(mm, vma)
        _remove_merged(mm, right)
        vma_set_range(mm, left, left.start, right.end, left.pgoff)
        return left
    if left is not None:
        dup_anon_vma(left, vma)
        if whole:
            _remove_merged(mm, vma)
        else:
            vma_set_range(mm, vma, end, vma.end, linear_page_index(vma, end))
        vma_set_range(mm, left, left.start, end, left.pgoff)
        return left
    if right is not None:
        dup_anon_vma(right, vma)
        if whole:
            _remove_merged(mm, vma)
        else:
            vma_set_range(mm, vma, vma.start, start, vma.pgoff)
        vma_set_range(mm, right, start, right.end, wanted.pgoff)
    return right


def _remove_merged(mm: MmStruct, vma: VMA) -> None:
    """Drop an area whose range and pages a neighbour has taken over."""
    unlink_anon_vmas(vma)
    file = vma.detach_file()
    if file is not None:
        file.fput(0)  # it is not the last reference: the neighbour maps the file too
    vma_remove(mm, vma)


def _can_merge_after(wanted: Wanted, prev: VMA) -> bool:
    return (
        prev.end == wanted.start
        and _same_rules(wanted, prev)
        and _anon_compatible(wanted.anon_vma, prev.anon_vma, prev)
        and prev.pgoff + vma_pages(prev) == wanted.pgoff
    )


def _can_merge_before(wanted: Wanted, next_: VMA, left: VMA | None) -> bool:
    """Whether the upper neighbour fits; ``left``: the lower one, if that is to be merged too."""
    pages = (wanted.end - wanted.start) >> PAGE_SHIFT
    if not (
        wanted.end == next_.start
        and _same_rules(wanted, next_)
        and _anon_compatible(wanted.anon_vma, next_.anon_vma, next_)
        and next_.pgoff == wanted.pgoff + pages
    ):
        return False
    # Each fits the middle; that does not make them fit each other.
    return left is None or _anon_compatible(left.anon_vma, next_.anon_vma, None)


def _same_rules(wanted: Wanted, vma: VMA) -> bool:
    return wanted.flags == vma.flags and wanted.file is vma.file and mpol_equal(wanted.policy, vma.policy)


def _anon_compatible(one: AnonVma | None, other: AnonVma | None, vma: VMA | None) -> bool:
    """Whether areas with these anon_vmas can be one (is_mergeable_anon_vma()); ``vma``: the neighbour, if
    asked about.

    A neighbour whose chain is not exactly one long was cloned in a fork; it is merged only with its like. By
    the letter of that rule, an area with pages does not merge with a neighbour that has none (an empty
    chain), while one without pages does merge with a neighbour that has some. 6.12 behaves so.
    """
    if (one is None or other is None) and (vma is None or len(vma.chain) == 1):
        return True
    return one is other
