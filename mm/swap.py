"""Per-CPU LRU batches: what a CPU has touched but not yet put on the LRU lists.

Mirrors the lru_add half of mm/swap.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["lru_add_drain", "lru_add_drain_all"]


def lru_add_drain(mem: MemMap, cpu: int) -> None:
    """Put the pages that wait in one CPU's batch on their lists."""
    mem.k.lru.drain(mem, cpu)


def lru_add_drain_all(mem: MemMap) -> None:
    """The same for every CPU: afterwards every page that can be isolated is on a list."""
    mem.k.lru.drain_all(mem)
