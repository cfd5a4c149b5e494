"""migrate_pages(2): every page of a process from one set of nodes to another.

Mirrors do_migrate_pages() and migrate_to_node() of mm/mempolicy.c. ``pairs`` says which nodes are vacated in favour of
which, and the machine's engine how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm.migrate.batched import (
    Target,
    lru_cache_disable,
    movable_pages,
)
from numalab.mm.migrate.engine import Engine, engine_of, why_passed_over
from numalab.mm.migrate.ledger import Ledger, open_ledger
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.preempt import Point, piece_end
from numalab.mm.vm_flags import PMD_SIZE

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct
    from numalab.mm._page_list import PageList

__all__ = ["do_migrate_pages"]

MPOL_MF_MOVE_ALL = 4


def do_migrate_pages(
    mem: MemMap, mm: MmStruct, ctx: AllocCtx, from_nodes: int, to_nodes: int, flags: int
) -> int:
    """Move the pages of ``mm``; flags: MPOL_MF_MOVE or MPOL_MF_MOVE_ALL.

    Returns the number of pages that should have moved and did not, or -ENOMEM when a destination filled up: later
    pairs are not tried then, and what has moved stays moved. The ledger is ``mem.ledger``.
    """
    engine = engine_of(mem)
    ledger = open_ledger(mem, ctx, engine.name, "syscall_or_cpuset")
    nr_failed = 0
    for sources, dest in engine.pairs(from_nodes, to_nodes):
        lru_cache_disable(mem)
        moved = ledger.moved
        err = _migrate_to_node(mem, mm, ctx, engine, sources, dest, flags, ledger)
        ledger.pairs.append((sources, dest, ledger.moved - moved))
        if err < 0:
            return err
        nr_failed += err
    return min(nr_failed, 0x7FFFFFFF)


def _migrate_to_node(
    mem: MemMap,
    mm: MmStruct,
    ctx: AllocCtx,
    engine: Engine,
    sources: int,
    dest: int,
    flags: int,
    ledger: Ledger,
) -> int:
    before = mem.hw.now
    flags |= engine.flags
    ledger.begin(len(ledger.pairs))
    with movable_pages(mem, ctx, ledger) as pages:
        with mmap_read_lock(mm):
            for vma in mm.vmas.values():
                if vma.flags & engine.passes_over:
                    ledger.areas.append((vma.start, vma.end, why_passed_over(vma.flags)))
                else:
                    _queue_area(mem, mm, vma, sources, flags, pages)
        isolating = len(pages) * mem.hw.cost["isolate_page"]
        ledger.walked(mem.hw.now - before, pages.scanned, isolating, pages.nr_shared, pages.nr_failed)
        err = engine.migrate(mem, ctx, pages, Target(nid=dest), ledger) if len(pages) else 0
    return err if err < 0 else err + pages.nr_failed


def _queue_area(mem: MemMap, mm: MmStruct, vma: VMA, sources: int, flags: int, pages: PageList) -> None:
    """Isolate the pages of an area that lie on the nodes to vacate."""
    va = vma.start
    while va < vma.end:
        stop = piece_end(mem, va, vma.end, PMD_SIZE, Point.QUEUE)
        va, _, _ = mem.k.migrate.queue_range(mem, mm, va, stop, sources, False, flags, pages)
