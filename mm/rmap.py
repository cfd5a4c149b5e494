"""The life of anon_vmas: how an anonymous page finds, years later, every area that may map it.

An anonymous page names one anon_vma; an anon_vma lists the areas that may map its pages; an area stands in
the list of every anon_vma from which it may hold pages (its ``chain``, oldest first), and its own pages go to
``vma.anon_vma``. So:

* the first write fault gives an area an anon_vma (anon_vma_prepare), a neighbour's if the two could once be
  merged;
* a split or moved area joins all lists of its origin (anon_vma_clone);
* a forked area joins them too, for the pages it shares with its parent, and gets one of its own for its
  copies, so that the parent's list does not grow with pages it can never have (anon_vma_fork);
* the last area to leave takes the anon_vma with it (unlink_anon_vmas).

Mirrors the upper half of mm/rmap.c; walking the lists is the kernels' work (``_rmap.pyx``). Deliberately
different: no locks and no interval tree. A root counts as a child of itself, as in Linux, so that it is never
reused.
"""

from __future__ import annotations

from numalab.mm._mm_types import VMA, AnonVma, MmStruct
from numalab.mm.mpol import mpol_equal
from numalab.mm.vm_flags import PAGE_SHIFT, VM_ACCESS_FLAGS
from numalab.mm.vma_tree import vma_next, vma_prev

__all__ = ["anon_vma_clone", "anon_vma_fork", "anon_vma_prepare", "dup_anon_vma", "unlink_anon_vmas"]


def anon_vma_prepare(mm: MmStruct, vma: VMA) -> None:
    """Make sure that new anonymous pages of ``vma`` have an anon_vma to belong to."""
    if vma.anon_vma is not None:
        return
    anon_vma = _find_mergeable_anon_vma(mm, vma)
    if anon_vma is None:
        anon_vma = AnonVma(mm.mem)
        anon_vma.num_children += 1  # itself: it is a root
    vma.anon_vma = anon_vma
    anon_vma.attach(vma)
    anon_vma.num_active_vmas += 1


def _find_mergeable_anon_vma(mm: MmStruct, vma: VMA) -> AnonVma | None:
    """A neighbour's anon_vma that ``vma`` may share, so that the two can still become one area later.

    The upper neighbour comes first. Without sharing, an mprotect() that makes two areas equal again could not
    merge them, since their pages would belong to different anon_vmas.
    """
    above, below = vma_next(mm, vma), vma_prev(mm, vma.start)
    if above is not None and _compatible(vma, above) and len(above.chain) == 1:
        return above.anon_vma
    if below is not None and _compatible(below, vma) and len(below.chain) == 1:
        return below.anon_vma
    return None


def _compatible(low: VMA, high: VMA) -> bool:
    """Two neighbours that differ in access rights at most. A chain of one only: else it came from a fork."""
    return (
        low.end == high.start
        and mpol_equal(low.policy, high.policy)
        and low.file is high.file
        and not (low.flags ^ high.flags) & ~VM_ACCESS_FLAGS
        and high.pgoff == low.pgoff + ((high.start - low.start) >> PAGE_SHIFT)
    )


def anon_vma_clone(dst: VMA, src: VMA) -> None:
    """Enter ``dst`` in the list of every anon_vma that ``src`` is on; its chain must be empty.

    If ``dst`` has no anon_vma yet (a fork), it takes over an ancestor's that no area uses for new pages any
    more and that has at most one child: a process that forks, lets its parent exit and forks again, for ever,
    would otherwise build an ever longer chain.
    """
    for anon_vma in src.chain:
        anon_vma.attach(dst)
        if (
            dst.anon_vma is None
            and src.anon_vma is not None
            and anon_vma.num_children < 2
            and anon_vma.num_active_vmas == 0
        ):
            dst.anon_vma = anon_vma
    if dst.anon_vma is not None:
        dst.anon_vma.num_active_vmas += 1


def dup_anon_vma(dst: VMA, src: VMA) -> None:
    """``dst`` is about to take over pages of ``src``: give it the anon_vma and the chain if it has none."""
    if src.anon_vma is not None and dst.anon_vma is None:
        dst.anon_vma = src.anon_vma
        anon_vma_clone(dst, src)


def anon_vma_fork(vma: VMA, parent: VMA) -> None:
    """Chain the child's copy of an area to its parent's anon_vmas, and give it its own for its own pages."""
    if parent.anon_vma is None:
        return
    anon_vma_clone(vma, parent)
    if vma.anon_vma is not None:
        return
    anon_vma = AnonVma(vma.mm.mem, parent.anon_vma)
    anon_vma.num_active_vmas += 1
    parent.anon_vma.num_children += 1
    vma.anon_vma = anon_vma
    anon_vma.attach(vma)


def unlink_anon_vmas(vma: VMA) -> None:
    """Take an area off all its lists. An anon_vma that lists no area any more gives its number back."""
    emptied = []
    for anon_vma in tuple(vma.chain):
        anon_vma.detach(vma)
        if not anon_vma.vmas:
            emptied.append(anon_vma)
    if vma.anon_vma is not None:
        vma.anon_vma.num_active_vmas -= 1
        vma.anon_vma = None
    for anon_vma in emptied:
        anon_vma.parent.num_children -= 1
        anon_vma.close()
