"""migrate_pages(2): every page of a process from one set of nodes to another.

Mirrors do_migrate_pages() and migrate_to_node() of mm/mempolicy.c. The sets are paired by position, so
that the relative layout of the pages survives, and the pairs are taken in an order in which a node is
emptied before it is filled where that is possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm.migrate.batched import (
    PageList,
    Target,
    lru_cache_disable,
    migrate_pages,
    putback_movable_pages,
)
from numalab.mm.migrate.ledger import Ledger
from numalab.mm.nodemask import node_remap, nodes_weight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct

__all__ = ["do_migrate_pages", "node_pairs"]


def node_pairs(from_nodes: int, to_nodes: int) -> Iterator[tuple[int, int]]:
    """The (source, destination) pairs of one call, in the order in which Linux takes them.

    Of the sources left, the last one is taken whose destination is not a source any more, or else the last
    that moves at all. When the sets differ in size, nodes in both stay as they are.
    """
    left = from_nodes
    same_size = nodes_weight(from_nodes) == nodes_weight(to_nodes)
    while left:
        source = dest = -1
        for s in range(left.bit_length()):
            if not left >> s & 1 or (not same_size and to_nodes >> s & 1):
                continue
            d = node_remap(s, from_nodes, to_nodes)
            if s == d:
                continue
            source, dest = s, d
            if not left >> d & 1:
                break
        if source < 0:
            return
        left &= ~(1 << source)
        yield source, dest


def do_migrate_pages(
    mem: MemMap, mm: MmStruct, ctx: AllocCtx, from_nodes: int, to_nodes: int, flags: int
) -> int:
    """Move the pages of ``mm``; flags: MPOL_MF_MOVE or MPOL_MF_MOVE_ALL.

    Returns the number of pages that should have moved and did not, or -ENOMEM when a destination filled up: later
    pairs are not tried then, and what has moved stays moved. The ledger is ``mem.ledger``.
    """
    ledger = mem.ledger = Ledger("batched", "syscall_or_cpuset")
    lru_cache_disable(mem)
    nr_failed = 0
    for source, dest in node_pairs(from_nodes, to_nodes):
        moved = ledger.moved
        err = _migrate_to_node(mem, mm, ctx, source, dest, flags, ledger)
        ledger.pairs.append((source, dest, ledger.moved - moved))
        if err < 0:
            return err
        nr_failed += err
    return min(nr_failed, 0x7FFFFFFF)


def _migrate_to_node(
    mem: MemMap, mm: MmStruct, ctx: AllocCtx, source: int, dest: int, flags: int, ledger: Ledger
) -> int:
    pages = PageList()
    before = mem.hw.now
    for vma in mm.vmas.values():
        mem.k.migrate.queue_range(mem, mm, vma.start, vma.end, 1 << source, False, flags, pages)
    isolating = len(pages) * mem.hw.cost["isolate_page"]
    ledger.walked(mem.hw.now - before, pages.scanned, isolating, pages.nr_shared, pages.nr_failed)
    err = 0
    if len(pages):
        err = migrate_pages(mem, ctx, pages, Target(nid=dest), ledger)
        putback_movable_pages(mem, ctx, pages)
    return err if err < 0 else err + pages.nr_failed
