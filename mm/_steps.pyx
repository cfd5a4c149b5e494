"""The batches of migration and of page-out, one page and one phase at a time.

``migrate_batch`` and ``pageout_batch`` go through a batch without a stop. Here the same code can be stopped between any
two pages and any two phases, so that others run meanwhile: that is for the explorer of interleavings alone, whose
budget is one page (docs/adr). ``mm/steps.py`` drives it.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from numalab.mm._lru cimport lru_check_holes
from numalab.mm._migrate cimport (
    MigrateStats, PHASE_FLUSH, Target, batch, copy_pages, flush_batch, remap_pages, report_left, sort_out,
    still_movable, target_pages, unmap_batch,
)
from numalab.mm._mm_types cimport AllocCtx, MemMap, NO_PFN, NR_LRU_LISTS
from numalab.mm._page_alloc cimport free_pages_bulk
from numalab.mm._rmap cimport mig_item
from numalab.mm._tlbbatch cimport tlb_batch_begin, try_to_unmap_flush
from numalab.mm._vmscan cimport outgoing, report_staying, unmap_outgoing, write_outgoing


# ---------------------------------------------------------------- migration

cdef class MigrateBatch:
    """Pages on their way to other nodes: one is an item from its unmapping on."""

    cdef batch c

    def __len__(self) -> int:
        return self.c.n

    def __getitem__(self, uint32_t i) -> int:
        """Frame of item ``i``. Raises IndexError."""
        if i >= self.c.n:
            raise IndexError(i)
        return self.c.item[i].src


def migrate_begin(MemMap mem, MigrateStats stats) -> MigrateBatch:
    """A batch with nothing in it."""
    cdef MigrateBatch b = MigrateBatch()
    tlb_batch_begin(&b.c.tlb)
    mem.m.h.now += mem.m.h.cost.migrate_call
    stats.batches += 1
    return b


def migrate_unmap(MemMap mem, uint32_t cpu, MigrateBatch b, uint32_t[::1] pfns, uint64_t at, MigrateStats stats
                  ) -> None:
    """migrate_folio_unmap() for the page ``pfns[at]``."""
    b.c.nr_multi = 0
    unmap_batch(&mem.m, &b.c, cpu, &pfns[at], 1, stats)


def migrate_flush(MemMap mem, MigrateBatch b, MigrateStats stats) -> None:
    """try_to_unmap_flush() for all that have been unmapped."""
    flush_batch(&mem.m, &b.c, stats)


def migrate_copy(MemMap mem, AllocCtx ctx, MigrateBatch b, uint32_t at, Target target, MigrateStats stats) -> int:
    """A target for item ``at``, and the copy; NO_PFN: it stays, and is mapped again."""
    cdef mig_item *moving[1]
    cdef uint32_t dst
    cdef uint32_t got = target_pages(&mem.m, &ctx.c, &b.c, at, 1, target, &dst)
    if not sort_out(&mem.m, &b.c, at, 1, &dst, got, moving, stats):
        if got:
            free_pages_bulk(&mem.m, ctx.c.cpu, &dst, 1)
        return <uint32_t>NO_PFN
    copy_pages(&mem.m, moving, 1, False)
    return dst


def migrate_remap(MemMap mem, AllocCtx ctx, MigrateBatch b, uint32_t at, MigrateStats stats) -> None:
    """The copy of item ``at`` takes over, unless somebody has taken a reference to the page meanwhile."""
    cdef mig_item *item = &b.c.item[at]
    if still_movable(&mem.m, &b.c, item):
        remap_pages(&mem.m, ctx.c.cpu, &b.c, &item, 1, stats)
    else:
        free_pages_bulk(&mem.m, ctx.c.cpu, &item.dst, 1)


def migrate_end(MemMap mem, MigrateBatch b, MigrateStats stats, uint32_t[::1] left, uint8_t[::1] why_left) -> tuple:
    """As ``migrate_batch`` ends: (why, number left)."""
    cdef uint32_t i
    for i in range(mem.m.nr_nodes * NR_LRU_LISTS):
        lru_check_holes(&mem.m, &mem.m.lrus[i])
    return report_left(&b.c, stats, &left[0], &why_left[0]), b.c.nr_left


# ---------------------------------------------------------------- page-out

cdef class PageoutBatch:
    """Pages on their way to the disk: one is an item from its unmapping on."""

    cdef outgoing c

    def __len__(self) -> int:
        return self.c.n

    def __getitem__(self, uint32_t i) -> int:
        """Frame of item ``i``. Raises IndexError."""
        if i >= self.c.n:
            raise IndexError(i)
        return self.c.item[i].src


def pageout_begin(MemMap mem, MigrateStats stats) -> PageoutBatch:
    """A batch with nothing in it."""
    cdef PageoutBatch b = PageoutBatch()
    tlb_batch_begin(&b.c.tlb)
    stats.batches += 1
    return b


def pageout_unmap(MemMap mem, uint32_t cpu, PageoutBatch b, uint32_t[::1] pfns, uint64_t at, uint32_t flags,
                  MigrateStats stats) -> None:
    """try_to_unmap() for the page ``pfns[at]``, if it may go."""
    b.c.nr_multi = 0
    unmap_outgoing(&mem.m, &b.c, cpu, &pfns[at], 1, flags, stats)


def pageout_flush(MemMap mem, PageoutBatch b, MigrateStats stats) -> None:
    """try_to_unmap_flush() for all that have been unmapped."""
    if b.c.n:
        stats.phase[PHASE_FLUSH] += try_to_unmap_flush(&mem.m, &b.c.tlb)


def pageout_write(MemMap mem, uint32_t cpu, PageoutBatch b, uint32_t at, uint32_t flags, MigrateStats stats
                  ) -> bool:
    """Write item ``at``, or free it. True: it has been written, and another call frees it."""
    return write_outgoing(&mem.m, &b.c, at, at + 1, cpu, flags, False, True, stats) == at


def pageout_end(MemMap mem, PageoutBatch b, MigrateStats stats, uint32_t[::1] left, uint8_t[::1] why_left) -> int:
    """As ``pageout_batch`` ends: the number left."""
    report_staying(&b.c, stats, &left[0], &why_left[0])
    return b.c.nr_left
