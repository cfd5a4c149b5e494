"""Making huge pages of small ones when a program asks for it: madvise(MADV_COLLAPSE).

Mirrors madvise_collapse() of mm/khugepaged.c. Deliberately different: there is no daemon that does so unasked, and only
private anonymous memory has huge pages.
"""

from __future__ import annotations

import enum

from numalab.arch.errno import EAGAIN, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx
from numalab.mm.huge_memory import thp_vma_allowable, thp_vma_suitable
from numalab.mm.memory import UserFault, handle_mm_fault
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.vm_flags import PAGE_SIZE, PMD_SIZE

__all__ = ["Scan", "madvise_collapse"]


class Scan(enum.IntEnum):
    """What came of one try (the ``SCAN_*`` of ``_khugepaged.pyx``)."""

    FAIL = 0
    SUCCEED = 1
    PMD_NONE = 3
    PMD_MAPPED = 4
    PTE_NON_PRESENT = 9
    PAGE_RO = 12
    PAGE_COUNT = 15
    PAGE_LRU = 16
    PAGE_LOCK = 17
    ALLOC_HUGE_PAGE_FAIL = 24
    SWAP = 30


#: madvise_collapse_errno(): no memory, or something that may pass; all else is EINVAL.
_ERRNO = {
    Scan.ALLOC_HUGE_PAGE_FAIL: ENOMEM,
    Scan.PAGE_COUNT: EAGAIN,
    Scan.PAGE_LOCK: EAGAIN,
    Scan.PAGE_LRU: EAGAIN,
}
#: After these the walk ends, after other failures the next 2 MiB are tried.
_LAST = (Scan.FAIL, Scan.PMD_NONE, Scan.ALLOC_HUGE_PAGE_FAIL)


def madvise_collapse(vma: VMA, ctx: AllocCtx, start: int, end: int) -> None:
    """A huge page for each aligned 2 MiB of [start, end), a part of an area, whatever ``enabled`` says.

    Raises KernelError: EINVAL (an area without huge pages, or nothing there to make one of), ENOMEM (no free block),
    EAGAIN (a page is locked, or held by somebody). What came before is done, and in part what comes behind.
    """
    suitable = thp_vma_suitable(vma, vma.end - PMD_SIZE)
    if not suitable or vma.anon_vma is None or not thp_vma_allowable(vma, enforce_sysfs=False):
        raise KernelError(EINVAL, f"the area at {vma.start:#x} cannot have huge pages")
    lru_add_drain_all(vma.mm.mem)
    failed: Scan | None = None
    first, last = start + -start % PMD_SIZE, end & -PMD_SIZE
    if last < first:
        raise KernelError(EINVAL, "the range touches 2 MiB without covering them")
    for va in range(first, last, PMD_SIZE):
        result = _collapse(vma, ctx, va)
        if result not in (Scan.SUCCEED, Scan.PMD_MAPPED):
            failed = result
        if result in _LAST:
            break
    if failed is not None:
        raise KernelError(_ERRNO.get(failed, EINVAL), f"no huge page could be made: {failed.name}")


def _collapse(vma: VMA, ctx: AllocCtx, va: int) -> Scan:
    """hpage_collapse_scan_pmd(), with what is in swap read in before."""
    mm = vma.mm
    collapse = mm.mem.k.khugepaged.collapse_huge_page
    result = Scan(collapse(mm.mem, mm, vma, ctx, va))
    if result == Scan.SWAP:
        # Empty PTEs are passed over: a read fault would give them the zero page, which does no harm.
        for page in range(va, va + PMD_SIZE, PAGE_SIZE):
            try:
                handle_mm_fault(mm, ctx, page, page + 1, False)
            except UserFault:  # it cannot be read
                return Scan.FAIL
        lru_add_drain_all(mm.mem)
        result = Scan(collapse(mm.mem, mm, vma, ctx, va))
    return result
