"""The kernel's walk of the mappings of pages, by batches of any size."""

from libc.stdint cimport uint32_t, uint64_t

from numalab.mm._mm_types cimport MemMap, memmap
from numalab.mm._rmap cimport mig_item, rmap_remap, rmap_unmap


def unmap_and_remap(MemMap mem, uint32_t[::1] pfns, uint32_t size) -> int:
    """Turn every PTE of these pages into a migration entry and back, `size` pages at a time, 512 at most.

    Returns how many PTEs that were.
    """
    cdef mig_item items[512]
    cdef mig_item *batch[512]
    cdef uint32_t at = 0, total = <uint32_t>pfns.shape[0], n, i
    cdef uint64_t ptes = 0
    cdef memmap *m = &mem.m
    with nogil:
        while at < total:
            n = size if total - at > size else total - at
            for i in range(n):
                items[i].src = pfns[at + i]
                items[i].anon = m.cold[pfns[at + i]].mapping
                items[i].index = m.cold[pfns[at + i]].index
                batch[i] = &items[i]
                ptes += m.hot[pfns[at + i]].mapcount
            rmap_unmap(m, batch, n, False)
            rmap_remap(m, batch, n, False)
            at += n
    return ptes
