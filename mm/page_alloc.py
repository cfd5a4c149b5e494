"""What happens when no frame is free: the slow path of the page allocator.

Mirrors __alloc_pages_slowpath() of mm/page_alloc.c. The kernels only take from free lists; a driver whose
kernel stopped with NEED_RECLAIM comes here, and calls the kernel again if this returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.mm.swap import lru_add_drain_all
from numalab.mm.vmscan import reclaimable_pages, try_to_free_pages

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemMap

__all__ = ["OutOfMemory", "Slowpath", "drain_all_pages"]


#: Attempts at reclaim in a row that free nothing, after which there is nothing to be had.
MAX_RECLAIM_RETRIES = 16


class OutOfMemory(Exception):
    """No frame to be had, and nothing that could free one: the caller's task must end (VM_FAULT_OOM)."""


def drain_all_pages(mem: MemMap) -> int:
    """drain_all_pages(): the per-CPU sets of every CPU back to the buddy; returns how many frames that freed."""
    return sum(mem.k.page_alloc.drain_pages(mem, cpu) for cpu in range(mem.topology.nr_cpus))


class Slowpath:
    """One request's way through the slow path: each step may free something, and the request is then tried again.

    targets: those of a migration, which gives up rather than have somebody killed (__GFP_RETRY_MAYFAIL); by default
    frames may come from all nodes. Made anew for each request; ``progress()`` starts over after the kernel got further.
    """

    def __init__(self, mem: MemMap, ctx: AllocCtx, targets: int | None = None) -> None:
        self._mem = mem
        self._ctx = ctx
        self._targets = targets
        self.progress()

    def progress(self) -> None:
        """The kernel got further since the last call."""
        self._drained = False
        self._no_progress_loops = 0

    def reclaim(self, bound: int | None = None) -> None:
        """Free something, or have reason to hope that it will be so next time; else raise OutOfMemory.

        Frames in per-CPU sets and pages that wait in per-CPU LRU batches belong to nobody: they come first. When
        nothing can be reclaimed, somebody else may be killed for it.
        bound: the nodes that a policy binds the request to, None = any.
        """
        mem = self._mem
        wanted = bound if bound is not None else self._targets
        nodes = (mem.memory_nodes if wanted is None else wanted) & self._ctx.mems_allowed
        mem.wake_kswapd(nodes)
        if not self._drained:
            self._drained = True
            lru_add_drain_all(mem)
            drain_all_pages(mem)
            return
        if try_to_free_pages(mem, self._ctx.cpu, nodes):
            self._no_progress_loops = 0
        elif not self._should_reclaim_retry(nodes):
            if self._targets is not None or not mem.out_of_memory(bound):
                raise OutOfMemory
            self.progress()
        drain_all_pages(mem)

    def _should_reclaim_retry(self, nodes: int) -> bool:
        """should_reclaim_retry() after an attempt in vain: would there be room if all went that can be reclaimed?"""
        self._no_progress_loops += 1
        if self._no_progress_loops > MAX_RECLAIM_RETRIES:
            return False
        zones = [zone for zone in self._mem.zones if nodes >> int(zone["node"]) & 1]
        return any(
            int(zone["free"]) + reclaimable_pages(self._mem, int(zone["node"])) > int(zone["watermark"][0])
            for zone in zones
        )
