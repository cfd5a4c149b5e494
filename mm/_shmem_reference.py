"""Plain-Python twin of _shmem: shared memory in swap, a page's way out of its file and back.

Mirrors shmem_writepage(), shmem_swapin_folio() and shmem_unuse_inode() of mm/shmem.c. In a file's place stands

    a page          pfn * 2
    a swap entry    entry + 1: the page is in that slot, and perhaps in the swap cache too
    nothing         0: zeros, or beyond what was ever written

and page tables hold no swap entries of such a page: their PTEs are empty, and a fault looks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import count_cached, page_mapping, shared_policy_lookup
from numalab.mm._lru_reference import lru_cache_add
from numalab.mm._reference import View
from numalab.mm._swap_reference import (
    add_to_swap_cache,
    delete_from_swap_cache,
    slot_alloc,
    swap_cache_page,
    swap_dup,
    swap_put,
    swapin_new,
)
from numalab.mm.kernels import Why

if TYPE_CHECKING:
    from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap


def shmem_writepage(m: View, pfn: int) -> bool:
    """A page that nobody maps gets a slot and goes over to the swap cache; False: swap is full, and it stays."""
    mapping = page_mapping(m, pfn)
    entry = slot_alloc(m)
    if not entry:
        return False
    assert mapping is not None
    add_to_swap_cache(m, pfn, entry)
    m.hot.flags[pfn] |= c.PG_uptodate  # one from fallocate() too: its zeros are in the slot
    swap_dup(m, entry)  # the file's own reference
    mapping.store(m.cold.index[pfn], entry + 1)
    mapping.nrpages -= 1
    mapping.nr_swapped += 1
    count_cached(m, pfn, -1)
    m.hot.refcount[pfn] -= 1
    m.cold.mapping[pfn] = 0
    return True


def shmem_swapin(m: View, ctx: AllocCtx, mapping: AddressSpace, index: int) -> tuple[Why, int]:
    """The page at a place where a swap entry stands is the file's again; a fault that had to read it is a major one.

    Returns (why, the frame or the entry). WAIT_IO: it must be read into the swap cache first, or reading it has failed;
    WAIT_LOCK: it is there, locked or being written.
    """
    entry = mapping.load(index) - 1
    pfn = swap_cache_page(m, entry)
    fresh = not pfn
    if fresh:
        if not m.swap.flags[pt.swp_type(entry)] & c.SWP_SYNCHRONOUS_IO:
            return Why.WAIT_IO, entry
        pfn = swapin_new(m, ctx, shared_policy_lookup(mapping, index)[0], mapping.id + index, entry)
        if not pfn:
            return Why.NEED_RECLAIM, 0
    elif m.hot.flags[pfn] & (c.PG_locked | c.PG_writeback):
        return Why.WAIT_LOCK, entry
    elif not m.hot.flags[pfn] & c.PG_uptodate:
        return Why.WAIT_IO, entry
    else:
        delete_from_swap_cache(m, pfn)
    swap_put(m, entry)
    mapping.store(index, pfn << 1)
    mapping.nrpages += 1
    mapping.nr_swapped -= 1
    m.hot.flags[pfn] |= c.PG_dirty
    m.hot.refcount[pfn] += 1
    m.cold.mapping[pfn] = mapping.id
    m.cold.index[pfn] = index
    count_cached(m, pfn, 1)
    if fresh:
        lru_cache_add(m, ctx.cpu, [pfn])
        ctx.maj_flt += 1
        ctx.min_flt -= 1  # it will be counted with the others
        m.event[c.PGMAJFAULT] += 1
    return Why.DONE, pfn


def swapin_range(
    mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, start: int, end: int, types: int
) -> tuple[int, int, int]:
    """Bring back the pages [start, end) of a file that are in swap areas of ``types`` (bit t: type t).

    Returns (next, why, entry) as fault_range() does.
    """
    m = View(mem)
    for index, entry in mapping.entries(start, end):
        if entry & 1 and types >> pt.swp_type(entry - 1) & 1:
            why, stopped = shmem_swapin(m, ctx, mapping, index)
            if why != Why.DONE:
                return index, why, stopped
    return end, Why.DONE, 0
