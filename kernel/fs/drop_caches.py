"""/proc/sys/vm/drop_caches: what is cached of files on disks, and clean and unused, goes.

Mirrors fs/drop_caches.c. Deliberately different: there are no slabs, so that bit 2 only counts; pages that stay because
they are dirty or mapped do not become the next ones to be reclaimed.
"""

from __future__ import annotations

from numalab.kernel.state import Kernel
from numalab.mm._constants import DROP_PAGECACHE, DROP_SLAB
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.truncate import invalidate_mapping_pages

__all__ = ["drop_caches"]

_PAGECACHE, _SLAB = 1, 2


def drop_caches(k: Kernel, what: int) -> None:
    """What has been written, a sum of 1 (pages of files), 2 (slabs) and 4 (say no word of it)."""
    if what & _PAGECACHE:
        lru_add_drain_all(k.mem)
        for mapping in k.mem.mappings():
            invalidate_mapping_pages(mapping, k.current_ctx.cpu)
        k.mem.event[DROP_PAGECACHE] += 1
    if what & _SLAB:
        k.mem.event[DROP_SLAB] += 1
