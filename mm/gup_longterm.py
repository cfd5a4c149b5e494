"""Pages that somebody pins for long: they must not stay in ZONE_MOVABLE, which is to remain movable.

Mirrors check_and_migrate_movable_pages() of mm/gup.c (FOLL_LONGTERM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm._constants import HPAGE_PMD_NR, PG_head, PG_tail
from numalab.mm._migrate import Target
from numalab.mm._mm_types import AllocCtx
from numalab.mm._page_list import PageLog
from numalab.mm.migrate.batched import lru_cache_disable, migrate_pages, movable_pages
from numalab.mm.migrate.ledger import Fate, Ledger, publish
from numalab.mm.zones import in_zone_movable

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["check_and_migrate_movable_pages"]


def check_and_migrate_movable_pages(mem: MemMap, pfn: int) -> int | None:
    """Where the page is that is to be pinned: a page in ZONE_MOVABLE is first moved out of it. None: it cannot be.

    By the engine of 6.12, whatever the machine's is: the others knew neither such a zone nor such pins.
    """
    if not in_zone_movable(mem, pfn):
        return pfn
    node = mem.topology.node(mem.topology.node_of_cpu(0))
    ctx = AllocCtx(0, node.id, mem.memory_nodes)
    log = PageLog()
    ledger = publish(mem, Ledger("batched", "longterm_pin", log=log))
    size = HPAGE_PMD_NR if int(mem.hot["flags"][pfn]) & (PG_head | PG_tail) else 1
    first = pfn & -size
    lru_cache_disable(mem)
    with movable_pages(mem, ctx, ledger) as pages:
        mem.k.memory_hotplug.isolate_movable_range(mem, first, first + size, pages)
        if len(pages):
            target = Target(nid=ctx.nid, nodes=mem.memory_nodes, movable=False)
            migrate_pages(mem, ctx, pages, target, ledger)
    moved = log.notes()
    moved = moved[(moved["fate"] == Fate.MOVED) & (moved["pfn"] == pfn)]
    return int(moved["to"][0]) if len(moved) else None
