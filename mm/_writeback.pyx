"""Dirty pages of files on a disk: becoming dirty, and being written.

Mirrors mm/page-writeback.c (folio_mark_dirty, folio_clear_dirty_for_io, write_cache_pages) and page_mkwrite(). A page
that is clean is mapped read-only everywhere, so that its first write is a fault, which finds it a block on the disk and
counts it as dirty; writing it makes all its PTEs read-only again. So no write is lost, and none finds the disk full
when it is too late to say so.

Deliberately different: the file system under it knows blocks and nothing else. A block is a page, block 0 is never
given out, and a search goes on where the last one ended. Bytes go to the store at once; how long that takes is the
disk's affair (arch/disk.py), and the page is under writeback until then.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport PTE_DIRTY, PTE_RW, pte_at
from numalab.mm._filemap cimport count_dirty, folio_mark_dirty
from numalab.mm._mm_types cimport (
    AddressSpace, MemMap, NR_NODE_STATS, NR_WRITEBACK, PG_NODE_SHIFT, PG_dirty, PG_locked, PG_writeback, backing_dev,
    mapping_c, memmap, page, page_mapping,
)
from numalab.mm._rmap cimport mig_item, rmap_mkclean
from numalab.mm._tlbbatch cimport set_tlb_ubc_flush_pending, tlb_batch_begin, tlbflush_unmap_batch, try_to_unmap_flush
from numalab.mm._xarray cimport xa_load, xa_pfn, xa_find, xa_reserve, xa_slot


cdef uint64_t get_block(memmap *m, mapping_c *mapping, uint64_t index) noexcept nogil:
    """The block of a page of a file, a new one full of zeros if it has none; 0: the disk is full."""
    cdef backing_dev *disk = &m.bdi[mapping.bdi]
    cdef uint64_t block = xa_load(&mapping.i_blocks, index)
    cdef uint64_t *slot
    if block or disk.nr_used + 1 >= disk.blocks:
        return block
    slot = xa_reserve(&mapping.i_blocks, index)
    if slot == NULL:
        return 0
    while disk.used[disk.next]:
        disk.next = disk.next + 1 if disk.next + 1 < disk.blocks else 1
    block = disk.next
    disk.used[block] = 1
    disk.nr_used += 1
    memset(disk.store + (block << PAGE_SHIFT), 0, PAGE_SIZE)
    slot[0] = block
    return block


cdef bint page_mkwrite(memmap *m, uint32_t pfn) noexcept nogil:
    """A page of a file is about to be written; False: the disk has no room for it."""
    cdef mapping_c *mapping = page_mapping(m, pfn)
    if mapping.bdi and get_block(m, mapping, m.cold[pfn].index) == 0:
        return False
    folio_mark_dirty(m, &m.hot[pfn])
    return True


cdef bint folio_mkclean(memmap *m, uint32_t pfn, tlbflush_unmap_batch *tlb) noexcept nogil:
    """The next write to a page will be a fault again. Returns whether a TLB must be flushed."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t *pte
    cdef mig_item item
    if p.mapcount == 0:
        return False
    if p.mapcount == 1 and p.rmap:
        pte = pte_at(m.h, p.rmap)
        if not pte[0] & (PTE_RW | PTE_DIRTY):
            return False
        pte[0] &= ~<uint64_t>(PTE_RW | PTE_DIRTY)
        set_tlb_ubc_flush_pending(tlb, <uint32_t>m.cold[p.rmap >> PAGE_SHIFT].mapping)
        return True
    item.src = pfn
    item.anon = <uint32_t>m.cold[pfn].mapping
    item.index = m.cold[pfn].index
    rmap_mkclean(m, &item)
    tlb.all = True
    return True


cdef bint write_page(memmap *m, uint32_t pfn) noexcept nogil:
    """writepage() of a dirty page whose PTEs are clean: it is under writeback now; False: the disk is full."""
    cdef page *p = &m.hot[pfn]
    cdef mapping_c *mapping = page_mapping(m, pfn)
    cdef uint64_t block = get_block(m, mapping, m.cold[pfn].index), tail
    if block == 0:
        return False
    # What was stored behind the end of the file through a mapping is not the file's.
    if m.cold[pfn].index == mapping.i_size >> PAGE_SHIFT and mapping.i_size & (PAGE_SIZE - 1):
        tail = mapping.i_size & (PAGE_SIZE - 1)
        memset(m.h.ram + (<uint64_t>pfn << PAGE_SHIFT) + tail, 0, PAGE_SIZE - tail)
    p.flags = (p.flags & ~<uint32_t>PG_dirty) | PG_writeback
    count_dirty(m, p, -1)
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_WRITEBACK] += 1
    memcpy(m.bdi[mapping.bdi].store + (block << PAGE_SHIFT), m.h.ram + (<uint64_t>pfn << PAGE_SHIFT), PAGE_SIZE)
    return True


# ---------------------------------------------------------------- Python face

def write_cache_pages(MemMap mem, AddressSpace mapping, uint64_t start, uint64_t end, uint32_t[::1] out) -> tuple:
    """Begin to write the dirty pages [start, end) of a file that nobody locks or writes, as many as ``out`` holds.

    They are under writeback until the driver has handed them to the disk, and it is done. Returns (next, how many).
    """
    cdef memmap *m = &mem.m
    cdef uint64_t index = start
    cdef uint64_t *slot
    cdef uint32_t n = 0, pfn, most = <uint32_t>out.shape[0]
    cdef bint stale = False
    cdef tlbflush_unmap_batch tlb
    with nogil:
        tlb_batch_begin(&tlb)
        while index < end and n < most:
            slot = xa_find(&mapping.c.i_pages, &index, end)
            if slot == NULL:
                index = end
                break
            pfn = xa_pfn(slot[0])
            index += 1
            if pfn and m.hot[pfn].flags & (PG_dirty | PG_writeback | PG_locked) == PG_dirty:
                stale |= folio_mkclean(m, pfn, &tlb)
                if write_page(m, pfn):
                    out[n] = pfn
                    n += 1
        if stale:
            try_to_unmap_flush(m, &tlb)
        m.h.now += n * m.h.cost.swap_page
    return index, n


def free_blocks(MemMap mem, AddressSpace mapping, uint64_t start) -> None:
    """ext2_truncate(): the pages of a file from ``start`` on have no place on the disk any more."""
    cdef backing_dev *disk = &mem.m.bdi[mapping.c.bdi]
    cdef uint64_t *slot
    for index, block in mapping.blocks(start):
        disk.used[<uint32_t>block] = 0
        disk.nr_used -= 1
        slot = xa_slot(&mapping.c.i_blocks, index)
        slot[0] = 0
