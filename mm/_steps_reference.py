"""Plain-Python twin of _steps: the batches of migration and of page-out, one page and one phase at a time.

The phases themselves are those of ``_migrate_reference`` and ``_vmscan_reference``; here they can be stopped between
any two, which the explorer of interleavings does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm import _constants as c
from numalab.mm import _migrate_reference as migrate
from numalab.mm import _vmscan_reference as vmscan
from numalab.mm._buddy_reference import free_pages_bulk
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._reference import View, try_to_unmap_flush
from numalab.mm.migrate.ledger import Phase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numalab.mm._migrate import MigrateStats, Target
    from numalab.mm._mm_types import AllocCtx, MemMap

# ---------------------------------------------------------------- migration


class MigrateBatch(migrate.Batch):
    """Pages on their way to other nodes: one is an item from its unmapping on."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> int:
        """Frame of item ``i``. Raises IndexError."""
        return self.items[i].src


def migrate_begin(mem: MemMap, stats: MigrateStats) -> MigrateBatch:
    """A batch with nothing in it."""
    View(mem).charge(mem.hw.cost["migrate_call"])
    stats.batches += 1
    return MigrateBatch()


def migrate_unmap(
    mem: MemMap, cpu: int, b: MigrateBatch, pfns: NDArray[np.uint32], at: int, stats: MigrateStats
) -> None:
    """migrate_folio_unmap() for the page ``pfns[at]``."""
    migrate.unmap_batch(View(mem), b, cpu, [int(pfns[at])], stats)


def migrate_flush(mem: MemMap, b: MigrateBatch, stats: MigrateStats) -> None:
    """try_to_unmap_flush() for all that have been unmapped."""
    migrate.flush_batch(View(mem), b, stats)


def migrate_copy(
    mem: MemMap, ctx: AllocCtx, b: MigrateBatch, at: int, target: Target, stats: MigrateStats
) -> int:
    """A target for item ``at``, and the copy; NO_PFN: it stays, and is mapped again."""
    m, items = View(mem), [b.items[at]]
    dst = migrate.target_pages(m, ctx, items, target)
    moving = migrate.sort_out(m, b, items, dst, stats)
    if not moving:
        free_pages_bulk(m, ctx.cpu, dst)
        return c.NO_PFN
    migrate.copy_pages(m, moving)
    return dst[0]


def migrate_remap(mem: MemMap, ctx: AllocCtx, b: MigrateBatch, at: int, stats: MigrateStats) -> None:
    """The copy of item ``at`` takes over, unless somebody has taken a reference to the page meanwhile."""
    m, item = View(mem), b.items[at]
    if migrate.still_movable(m, b, item):
        migrate.remap_pages(m, ctx.cpu, [item], stats)
    else:
        free_pages_bulk(m, ctx.cpu, [item.dst])


def migrate_end(
    mem: MemMap,
    b: MigrateBatch,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why_left: NDArray[np.uint8],
) -> tuple[int, int]:
    """As ``migrate_batch`` ends: (why, number left)."""
    lru_check_holes(View(mem))
    return migrate.report_left(b, stats, left, why_left), len(b.left)


# ---------------------------------------------------------------- page-out


class PageoutBatch(vmscan.Outgoing):
    """Pages on their way to the disk: one is an item from its unmapping on."""

    def __len__(self) -> int:
        return len(self.pfns)

    def __getitem__(self, i: int) -> int:
        """Frame of item ``i``. Raises IndexError."""
        return self.pfns[i]


def pageout_begin(mem: MemMap, stats: MigrateStats) -> PageoutBatch:
    """A batch with nothing in it."""
    stats.batches += 1
    return PageoutBatch()


def pageout_unmap(
    mem: MemMap,
    cpu: int,
    b: PageoutBatch,
    pfns: NDArray[np.uint32],
    at: int,
    flags: int,
    stats: MigrateStats,
) -> None:
    """try_to_unmap() for the page ``pfns[at]``, if it may go."""
    vmscan.unmap_outgoing(View(mem), b, cpu, [int(pfns[at])], flags, stats)


def pageout_flush(mem: MemMap, b: PageoutBatch, stats: MigrateStats) -> None:
    """try_to_unmap_flush() for all that have been unmapped."""
    if b.pfns:
        stats.charge(Phase.FLUSH, try_to_unmap_flush(View(mem), b.asids, b.flush_all))


def pageout_write(mem: MemMap, cpu: int, b: PageoutBatch, at: int, flags: int, stats: MigrateStats) -> bool:
    """Write item ``at``, or free it. True: it has been written, and another call frees it."""
    return vmscan.write_outgoing(View(mem), b, [b.pfns[at]], cpu, flags, stats, pause=True)


def pageout_end(
    mem: MemMap,
    b: PageoutBatch,
    stats: MigrateStats,
    left: NDArray[np.uint32],
    why_left: NDArray[np.uint8],
) -> int:
    """As ``pageout_batch`` ends: the number left."""
    vmscan.report_staying(b, stats, left, why_left)
    return len(b.left)
