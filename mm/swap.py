"""Per-CPU LRU batches: what a CPU has touched but not yet put on the LRU lists; references; how much swap is left.

Mirrors mm/swap.c, and get_nr_swap_pages() of include/linux/swap.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.mm import _constants as c

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["folio_get", "folio_put", "lru_add_drain", "lru_add_drain_all", "nr_swap_pages"]


def lru_add_drain(mem: MemMap, cpu: int) -> None:
    """Put the pages that wait in one CPU's batch on their lists."""
    mem.k.lru.drain(mem, cpu)


def lru_add_drain_all(mem: MemMap) -> None:
    """The same for every CPU: afterwards every page that can be isolated is on a list."""
    mem.k.lru.drain_all(mem)


def folio_get(mem: MemMap, pfn: int) -> None:
    """One reference more, for somebody who keeps the page while he sleeps: it will not be freed meanwhile."""
    mem.hot["refcount"][pfn] += 1
    mem.held[pfn] += 1


def folio_put(mem: MemMap, cpu: int, pfn: int) -> None:
    """Give back what folio_get() took; the last reference frees the page."""
    mem.held[pfn] -= 1
    if int(mem.hot["flags"][pfn]) & c.PG_hugetlb:
        mem.hstate.put_part(pfn)
    else:
        mem.k.lru.put_page(mem, cpu, pfn)


def nr_swap_pages(mem: MemMap) -> int:
    """get_nr_swap_pages(): free slots in areas that give them out."""
    rows = mem.swap[(mem.swap["pages"] > 0) & (mem.swap["flags"] & c.SWP_WRITEOK > 0)]
    return int((rows["pages"].astype(np.int64) - 1 - rows["used"]).sum())
