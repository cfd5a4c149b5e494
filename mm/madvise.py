"""What a program says about its memory: madvise(2).

Three kinds of advice: what changes flags of the areas (fork, readahead, huge pages, core dumps) and may split and
merge them; what drops the pages (DONTNEED at once, FREE when memory runs short; REMOVE drops them from their file);
and what makes them present (POPULATE_*). A hole in the range is reported as ENOMEM, but only after everything else has
been done, unlike in mlock() and mprotect(), which stop; an area that the advice does not suit ends the walk. Populating
goes its own way: it stops at a hole.

Mirrors mm/madvise.c. Deliberately different:

* the machine answers like a kernel without memory failure injection: its advice is EINVAL;
* MADV_MERGEABLE marks areas, and nobody merges their pages: there is no ksmd;
* MADV_COLD moves pages to the inactive list at once, where Linux collects them per CPU first.
"""

from __future__ import annotations

from numalab.arch.errno import EACCES, EAGAIN, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MmStruct
from numalab.mm._page_list import PageList
from numalab.mm.filemap import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from numalab.mm.gup import madvise_populate
from numalab.mm.khugepaged import madvise_collapse
from numalab.mm.memory import zap_vma_range
from numalab.mm.mman import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
)
from numalab.mm.mmap_lock import mmap_read_lock, mmap_write_lock
from numalab.mm.swap import lru_add_drain
from numalab.mm.swap_state import madvise_willneed
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_SHIFT,
    PMD_SIZE,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_SPECIAL,
    VM_WIPEONFORK,
    offset_in_page,
    page_align,
)
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import find_vma, linear_page_index
from numalab.mm.vmscan import reclaim_pages

__all__ = ["do_madvise"]

#: Advice that only changes flags: what to clear, what to set.
_FLAGS = {
    MADV_NORMAL: (VM_RAND_READ | VM_SEQ_READ, 0),
    MADV_SEQUENTIAL: (VM_RAND_READ, VM_SEQ_READ),
    MADV_RANDOM: (VM_SEQ_READ, VM_RAND_READ),
    MADV_DONTFORK: (0, VM_DONTCOPY),
    MADV_DOFORK: (VM_DONTCOPY, 0),
    MADV_WIPEONFORK: (0, VM_WIPEONFORK),
    MADV_KEEPONFORK: (VM_WIPEONFORK, 0),
    MADV_DONTDUMP: (0, VM_DONTDUMP),
    MADV_DODUMP: (VM_DONTDUMP, 0),
    MADV_HUGEPAGE: (VM_NOHUGEPAGE, VM_HUGEPAGE),
    MADV_NOHUGEPAGE: (VM_HUGEPAGE, VM_NOHUGEPAGE),
    MADV_MERGEABLE: (0, VM_MERGEABLE),
    MADV_UNMERGEABLE: (VM_MERGEABLE, 0),
}
#: Areas that refuse a piece of advice, by flag.
_REFUSED = {MADV_DOFORK: VM_IO, MADV_WIPEONFORK: VM_SHARED, MADV_DODUMP: VM_SPECIAL}
#: Areas whose pages KSM leaves alone; it does not say so (vma_ksm_compatible()).
_NOT_KSM = VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_HUGETLB
_AGING = (MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT)
_ON_PAGES = (MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE, MADV_REMOVE)
_POPULATE = (MADV_POPULATE_READ, MADV_POPULATE_WRITE)


def do_madvise(mm: MmStruct, ctx: AllocCtx, start: int, length: int, advice: int) -> None:
    """madvise(2) on [start, start + length).

    Raises KernelError: EINVAL (unknown advice, start not aligned, the range wraps, an area that the advice
    does not suit: the walk stops there), ENOMEM (holes; the rest is done), EAGAIN (too many areas), EFAULT
    (populate), EACCES (remove). Of collapse: madvise_collapse().
    """
    if advice not in _FLAGS and advice not in (*_ON_PAGES, *_POPULATE, *_AGING, MADV_COLLAPSE):
        raise KernelError(EINVAL, f"advice {advice} is not known")
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    rounded = page_align(length)
    end = start + rounded & MASK64
    if (length and not rounded) or end < start:
        raise KernelError(EINVAL, "the range wraps round the end of the address space")
    if end == start:
        return
    if advice in _POPULATE:
        madvise_populate(mm, ctx, start, end, advice == MADV_POPULATE_WRITE)
    elif advice in _FLAGS:
        with mmap_write_lock(mm, ctx):
            _walk_vmas(mm, ctx, start, end, advice)
    else:
        with mmap_read_lock(mm):
            _walk_vmas(mm, ctx, start, end, advice)


def _walk_vmas(mm: MmStruct, ctx: AllocCtx, start: int, end: int, advice: int) -> None:
    hole = False
    at = start
    while at < end:
        vma = find_vma(mm, at)
        hole |= vma is None or at < vma.start
        if vma is None or vma.start >= end:
            break
        at = _vma_behavior(mm, ctx, vma, max(at, vma.start), min(end, vma.end), advice)
    if hole:
        raise KernelError(ENOMEM, "there are holes in the range")


def _vma_behavior(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int, advice: int) -> int:
    """Follow the advice in a part of one area; returns where to go on."""
    if advice == MADV_REMOVE:
        _remove(mm, ctx, vma, start, end)
        return end
    if advice in _ON_PAGES:
        _dontneed_free(mm, ctx, vma, start, end, advice)
        return end
    if advice in _AGING:
        _age(mm, ctx, vma, start, end, advice)
        return end
    if advice == MADV_COLLAPSE:
        madvise_collapse(vma, ctx, start, end)
        return end
    refused = _REFUSED.get(advice, 0) & ~(VM_DONTEXPAND if vma.flags & VM_HUGETLB else 0)
    if vma.flags & refused or (advice == MADV_WIPEONFORK and vma.file is not None):
        raise KernelError(EINVAL, f"the area at {start:#x} does not suit the advice")
    clear, set_ = _FLAGS[advice]
    flags = vma.flags & ~clear | set_
    if flags == vma.flags or (advice == MADV_MERGEABLE and vma.flags & _NOT_KSM):
        return end
    try:
        return vma_modify(mm, vma, start, end, flags=flags).end
    except KernelError as error:
        # Too many areas is a passing state here: ENOMEM means holes.
        raise KernelError(EAGAIN if error.errno == ENOMEM else error.errno, error.why) from error


def _dontneed_free(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int, advice: int) -> None:
    """Drop the pages: the next touch finds zeros. Locked pages only go if the advice says so. FREE: when memory runs
    short, unless they are written to before.
    """
    if vma.flags & VM_HUGETLB:
        if advice == MADV_FREE or start % PMD_SIZE:
            raise KernelError(EINVAL, "huge pages are dropped whole, and at once")
        end &= -PMD_SIZE  # whoever does not know of them asks for too much rather than for too little
    if vma.flags & (VM_PFNMAP | (0 if advice == MADV_DONTNEED_LOCKED else VM_LOCKED)):
        raise KernelError(EINVAL, f"the area at {start:#x} is locked or not ordinary memory")
    if advice == MADV_FREE:
        if vma.file is not None or vma.flags & VM_SHARED:
            raise KernelError(EINVAL, "only private anonymous memory can be freed lazily")
        lru_add_drain(mm.mem, ctx.cpu)
        mm.mem.k.madvise.free_range(mm.mem, mm, ctx.cpu, start, end)
        return
    if start < end:
        zap_vma_range(mm, ctx, start, end)


def _remove(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int) -> None:
    """madvise_remove(): punch a hole in the file that is mapped, without the lock: the area may go meanwhile."""
    if vma.flags & VM_LOCKED or vma.file is None:
        raise KernelError(EINVAL, f"the area at {start:#x} is locked, or maps no file")
    if vma.flags & (VM_SHARED | VM_MAYWRITE) != VM_SHARED | VM_MAYWRITE:
        raise KernelError(EACCES, f"the area at {start:#x} does not share its pages for writing")
    file, offset = vma.file, linear_page_index(vma, start) << PAGE_SHIFT
    file.get_file()
    mm.mmap_lock.up_read()
    try:
        file.fallocate(ctx, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - start)
    finally:
        file.fput(ctx.cpu)
        mm.mmap_lock.down_read(mm.mem.waits)


def _age(mm: MmStruct, ctx: AllocCtx, vma: VMA, start: int, end: int, advice: int) -> None:
    """WILLNEED reads ahead what is in swap; COLD makes pages the next to go; PAGEOUT lets them go now."""
    mem = mm.mem
    if advice == MADV_WILLNEED:
        madvise_willneed(mem, mm, vma, ctx, start, end)
        return
    if vma.flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB):
        raise KernelError(EINVAL, f"the area at {start:#x} is locked or not ordinary memory")
    pages = PageList()
    lru_add_drain(mem, ctx.cpu)
    mem.k.vmscan.cold_range(mem, mm, ctx.cpu, start, end, pages, advice == MADV_PAGEOUT)
    if len(pages):
        reclaim_pages(mem, ctx.cpu, pages)
