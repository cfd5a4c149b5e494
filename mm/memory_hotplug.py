"""Memory blocks that go offline and come online while the machine runs.

Mirrors mm/memory_hotplug.c. To go offline a block is isolated, so that nobody is given what is free in it, and then
its pages are moved elsewhere, again and again, until all of it is free: there is no limit to that, only a signal ends
it. If it ends, or a page is met that can never move, everything is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import EINTR, EINVAL, KernelError
from numalab.mm import _constants as c
from numalab.mm.memory_block import MemoryBlock, block_frames, block_zone
from numalab.mm.migrate.batched import Target, lru_cache_disable, movable_pages
from numalab.mm.migrate.engine import engine_of
from numalab.mm.migrate.ledger import Ledger, open_ledger
from numalab.mm.page_alloc import drain_all_pages
from numalab.mm.page_isolation import IsolatedRange, start_isolate_page_range
from numalab.mm.vm_flags import VM_HUGETLB
from numalab.mm.zones import (
    ZONE_MOVABLE,
    ZONE_NORMAL,
    build_zonelists,
    grow_zone_span,
    setup_pagesets,
    setup_watermarks,
    zone_row,
)

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = [
    "ONLINE", "ONLINE_KERNEL", "ONLINE_MOVABLE", "add_memory", "memory_block_offline", "memory_block_online",
    "offline_pages", "online_pages", "zone_for_pfn_range",
]  # fmt: skip

#: MMOP_*, as they are written into a block's state.
ONLINE, ONLINE_KERNEL, ONLINE_MOVABLE = "online", "online_kernel", "online_movable"


def memory_block_offline(mem: MemMap, ctx: AllocCtx, block: MemoryBlock) -> bool:
    """memory_block_offline(), device_offline(): False if it is offline. Errors: as offline_pages()."""
    with mem.hotplug_lock:
        if block.number in mem.offline_blocks:
            return False
        offline_pages(mem, ctx, block)
        return True


def memory_block_online(mem: MemMap, block: MemoryBlock, online_type: str) -> bool:
    """memory_block_online(), device_online(): False if it is online."""
    with mem.hotplug_lock:
        if block.number not in mem.offline_blocks:
            return False
        mem.offline_blocks.remove(block.number)
        online_pages(mem, block.start, block.end, block.nid, online_type)
        return True


# ---------------------------------------------------------------- online


def _intersects(mem: MemMap, nid: int, kind: int, start: int, end: int) -> bool:
    """zone_intersects(): whether the span of a node's zones of one type has some of these frames."""
    zones = mem.zones
    rows = zones[(zones["node"] == nid) & (zones["type"] == kind) & (zones["managed"] > 0)]
    return bool(len(rows)) and start < int(rows["end"].max()) and end > int(rows["start"].min())


def zone_for_pfn_range(mem: MemMap, online_type: str, nid: int, start: int, end: int) -> int:
    """The type of the zone that a range goes to. ONLINE: to that which has frames around it, else to a kernel zone."""
    lower = [kind for kind in range(ZONE_NORMAL) if _intersects(mem, nid, kind, start, end)]
    kernel = [*lower, ZONE_NORMAL][0]
    if online_type == ONLINE:
        in_kernel = _intersects(mem, nid, kernel, start, end)
        return ZONE_MOVABLE if _intersects(mem, nid, ZONE_MOVABLE, start, end) and not in_kernel else kernel
    return ZONE_MOVABLE if online_type == ONLINE_MOVABLE else kernel


def online_pages(mem: MemMap, start: int, end: int, nid: int, online_type: str) -> None:
    """Give frames to a zone of their node; if the node had none, it has memory from now on."""
    row = zone_row(mem, nid, zone_for_pfn_range(mem, online_type, nid, start, end), start)
    was_empty = not mem.zones["managed"][row]
    grow_zone_span(mem, row, start, end)
    _node_states_set(mem, nid)
    if was_empty:
        build_zonelists(mem)
    _zones_changed(mem)
    mem.node_states_changed(nid)


def add_memory(mem: MemMap) -> None:
    """What is in the slots of a machine is found by its drivers, after boot, and goes online as the machine's
    parameters say (``memhp_default_state``).
    """
    how = mem.topology.boot["memhp_default_state"]
    size = block_frames(mem.topology)
    for node in mem.topology.nodes:
        for start, end in node.ranges if node.hotplug else ():
            if how == "offline":
                mem.offline_blocks.update(range(start // size, -(-end // size)))
            else:
                online_pages(mem, start, end, node.id, how)


def _zones_changed(mem: MemMap) -> None:
    """init_per_zone_wmark_min(), zone_pcp_update(). A set that is too large now gives back what it has."""
    drain_all_pages(mem)
    setup_watermarks(mem)
    setup_pagesets(mem)


def _node_states_set(mem: MemMap, nid: int) -> None:
    """node_states_set_node(), node_states_clear_node(): N_MEMORY and N_NORMAL_MEMORY as its zones are."""
    zones = mem.zones
    mine = (zones["node"] == nid) & (zones["managed"] > 0)
    normal = bool((mine & (zones["type"] <= ZONE_NORMAL)).any())
    mem.memory_nodes = mem.memory_nodes & ~(1 << nid) | int(mine.any()) << nid
    mem.normal_nodes = mem.normal_nodes & ~(1 << nid) | normal << nid


# ---------------------------------------------------------------- offline


def offline_pages(mem: MemMap, ctx: AllocCtx, block: MemoryBlock) -> None:
    """Empty a block that is online, and take it away.

    Raises KernelError: EINVAL (it has holes, or lies in several zones), EBUSY (something in it never moves), EINTR (a
    signal came before all had moved). It is online then as before, though pages may have moved.
    """
    zone = block_zone(mem, block)
    if zone is None:
        raise KernelError(EINVAL, "the block has holes, or lies in several zones")
    lru_cache_disable(mem)
    engine = engine_of(mem)
    isolated = start_isolate_page_range(
        mem, block.start, block.end, hugetlb_moves=not engine.passes_over & VM_HUGETLB
    )
    emptied = False
    try:
        _vacate(mem, ctx, isolated, block.nid)
        emptied = True
    finally:
        if not emptied:
            isolated.undo()
    isolated.remove()
    mem.offline_blocks.add(block.number)
    _zones_changed(mem)
    _node_states_set(mem, block.nid)
    if not mem.zones["managed"][zone]:
        build_zonelists(mem)
    mem.node_states_changed(block.nid)


def _vacate(mem: MemMap, ctx: AllocCtx, isolated: IsolatedRange, nid: int) -> None:
    """The loop of offline_pages(): move what can be moved until everything is free. Errors: EINTR, EBUSY."""
    ledger = open_ledger(mem, ctx, engine_of(mem).name, "memory_hotplug")
    signal_pending = mem.waits.signal_pending()
    while True:
        while True:
            if signal_pending():
                raise KernelError(EINTR)
            moved = ledger.moved
            if not _do_migrate_range(mem, ctx, isolated, nid, ledger):
                break
            if ledger.moved == moved:
                _wait_for_change(mem, isolated)
        mem.hstate.dissolve_free_hugetlb_folios(isolated.start, isolated.end)
        if isolated.is_free():
            return
        _wait_for_change(mem, isolated)


def _do_migrate_range(mem: MemMap, ctx: AllocCtx, isolated: IsolatedRange, nid: int, ledger: Ledger) -> int:
    """scan_movable_pages() and do_migrate_range(): how many pages there were to move.

    To the nodes nearest to this one; to this one itself only if there is no other.
    """
    lru_cache_disable(mem)
    before = mem.hw.now
    ledger.begin(len(ledger.passes))
    others = mem.memory_nodes & ~(1 << nid) or 1 << nid
    movable = int(mem.zones["type"][isolated.zone]) == ZONE_MOVABLE
    with movable_pages(mem, ctx, ledger) as pages:
        met = mem.k.memory_hotplug.isolate_movable_range(mem, isolated.start, isolated.used, pages)
        isolating = len(pages) * mem.hw.cost["isolate_page"]
        ledger.walked(mem.hw.now - before, isolated.used - isolated.start, isolating)
        if len(pages):
            engine_of(mem).migrate(mem, ctx, pages, Target(nid=nid, nodes=others, movable=movable), ledger)
    return int(met)


def _wait_for_change(mem: MemMap, isolated: IsolatedRange) -> None:
    """Linux tries again at once, for as long as it takes; nothing comes of that before somebody has done something."""
    watched = mem.hot[isolated.start : isolated.used]
    signal_pending = mem.waits.signal_pending()

    def state() -> tuple[bytes, bytes, bytes]:
        kept = watched["flags"] & ~np.uint32(c.PG_referenced)
        return kept.tobytes(), watched["refcount"].tobytes(), mem.zones["free"].tobytes()

    before = state()
    mem.waits.wait("memory to be given up", lambda: signal_pending() or state() != before)
