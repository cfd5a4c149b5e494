"""Plain-Python twin of _readahead: pages of files coming from the disk.

Mirrors mm/readahead.c (page_cache_ra_unbounded) and the end of a read in fs/mpage.c. A page is in the cache, locked,
from the moment it is asked for; whoever wants it waits for the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.mm import _constants as c
from numalab.mm._filemap_reference import add_to_page_cache, page_mapping
from numalab.mm._lru_reference import lru_cache_add
from numalab.mm._mempolicy_reference import alloc_pages_mpol
from numalab.mm._reference import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap


def page_cache_ra_unbounded(
    mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, start: int, n: int, out: NDArray[np.uint32]
) -> int:
    """New, locked pages for those of [start, start + n) that the cache lacks; their contents are still to come.

    out: their frames, room for n. Returns how many; fewer than are missing: there is no frame for the rest.
    """
    m = View(mem)
    missing = [index for index in range(start, min(start + n, mapping.size)) if not mapping.load(index)]
    gfp = c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM
    pfns = alloc_pages_mpol(m, ctx, ctx.policy, None, gfp, len(missing)) if missing else []
    for index, pfn in zip(missing, pfns, strict=False):
        add_to_page_cache(m, mapping, index, pfn, c.PG_locked)
    lru_cache_add(m, ctx.cpu, pfns)
    out[: len(pfns)] = pfns
    return len(pfns)


def end_read(mem: MemMap, pfns: NDArray[np.uint32], ok: bool) -> None:
    """mpage_read_end_io(): the contents are there, and the pages are unlocked; after an error they are not uptodate."""
    m = View(mem)
    for pfn in pfns.tolist():
        if ok:
            mapping = page_mapping(m, pfn)
            assert mapping is not None
            block = mapping.block(m.cold.index[pfn])
            m.page_bytes(pfn)[:] = m.bdi(mapping.bdi).bytes_of(block) if block else 0  # a hole
            m.hot.flags[pfn] |= c.PG_uptodate
        m.hot.flags[pfn] &= ~c.PG_locked
