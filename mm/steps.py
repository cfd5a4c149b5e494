"""A batch of migration or of page-out: in one crossing, or under the explorer of interleavings step by step.

Mirrors migrate_pages_batch() of mm/migrate.c and shrink_folio_list() of mm/vmscan.c, in which Linux may be preempted
anywhere. Between two steps, others meet migration entries, locked and isolated pages, pages in the swap cache that are
not yet written: what they do about them is what the explorer is there to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from numalab.mm import _constants as c
from numalab.mm._page_list import PageList
from numalab.mm.preempt import Point, preempt
from numalab.mm.swap import folio_get

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats, Target
    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = ["migrate_batch", "pageout_batch"]

BATCH = 512


@contextmanager
def _flushing(mem: MemMap, flush: Callable[[], None]) -> Iterator[None]:
    """Pages are unmapped in here, and flushed at the end; meanwhile others can do it."""
    mem.unflushed.append(flush)
    try:
        yield
        flush()
    finally:
        mem.unflushed.remove(flush)


def migrate_batch(
    mem: MemMap,
    ctx: AllocCtx,
    pages: NDArray[np.uint32],
    at: int,
    target: Target,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """The kernel of that name: move isolated pages from ``pages[at]`` on; (next, why, number left)."""
    whole = mem.k.migrate.migrate_batch
    answer: tuple[int, int, int]
    if mem.preempt is None:
        answer = whole(mem, ctx, pages, at, target, stats, left, why)
        return answer
    k, end = mem.k.steps, min(at + BATCH, len(pages))
    if (
        mem.hot["flags"][pages[at:end]] & (c.PG_head | c.PG_tail)
    ).any():  # nobody runs while a huge page moves
        answer = whole(mem, ctx, pages[:end], at, target, stats, left, why)
        return answer
    batch = k.migrate_begin(mem, stats)
    with _flushing(mem, lambda: k.migrate_flush(mem, batch, stats)):
        for i in range(at, end):
            preempt(mem, Point.UNMAP, int(pages[i]))
            k.migrate_unmap(mem, ctx.cpu, batch, pages, i, stats)
        preempt(mem, Point.FLUSH, 0)
    for i in range(len(batch)):
        preempt(mem, Point.COPY, batch[i])
        dst = k.migrate_copy(mem, ctx, batch, i, target, stats)
        if dst == c.NO_PFN:
            continue
        folio_get(mem, dst)
        preempt(mem, Point.REMAP, dst)
        mem.held[dst] -= 1  # and not put, for that would free it
        mem.hot["refcount"][dst] -= 1
        k.migrate_remap(mem, ctx, batch, i, stats)
    full, n = k.migrate_end(mem, batch, stats, left, why)
    return end, full, n


def pageout_batch(
    mem: MemMap,
    cpu: int,
    pages: NDArray[np.uint32],
    at: int,
    flags: int,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why: NDArray[np.uint8],
) -> tuple[int, int]:
    """The kernel of that name: page out isolated pages from ``pages[at]`` on; (next, number left)."""
    if mem.preempt is None:
        answer: tuple[int, int] = mem.k.vmscan.pageout_batch(mem, cpu, pages, at, flags, stats, left, why)
        return answer
    k, end = mem.k.steps, min(at + BATCH, len(pages))
    isolated = PageList()
    isolated.extend(pages)
    mem.page_lists.append(isolated)
    try:
        batch = k.pageout_begin(mem, stats)
        with _flushing(mem, lambda: k.pageout_flush(mem, batch, stats)):
            for i in range(at, end):
                preempt(mem, Point.UNMAP, int(pages[i]))
                k.pageout_unmap(mem, cpu, batch, pages, i, flags, stats)
            preempt(mem, Point.FLUSH, 0)
        for i in range(len(batch)):
            preempt(mem, Point.WRITE, batch[i])
            while k.pageout_write(mem, cpu, batch, i, flags, stats):
                preempt(mem, Point.FREE, batch[i])
        return end, k.pageout_end(mem, batch, stats, left, why)
    finally:
        mem.page_lists.remove(isolated)
