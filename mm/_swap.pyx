"""Swap: slots and their counts, the swap cache, writing pages out and reading them back.

Mirrors mm/swapfile.c, mm/swap_state.c, mm/page_io.c and do_swap_page() of mm/memory.c. A swap area is three flat arrays
by slot: how many swap PTEs name it (the swap cache counts as one more), the frame that the swap cache holds for it, and
its contents. A slot whose count falls to zero is free.

Deliberately different: the swap cache is an array and not a tree; slots come from a search that goes on where the last
one ended (clusters of 256 only matter where CPUs compete). What is read or written lies in host memory; how long that
takes is the disk's affair (arch/disk.py), and a kernel that would have to wait for it returns WAIT_IO.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.arch._mmu cimport tlb_flush_page, tlb_insert
from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_DIRTY, PTE_RW, pte_address, pte_mapped, pte_pfn, pte_table, swp_entry, swp_offset, swp_type,
)
from numalab.mm._lru cimport lru_cache_add, mlock_page, mlock_wait, page_free_prepare
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, MemMap, MemPolicy, MmStruct, NO_PFN, NR_ANON_MAPPED,
    NR_FILE_PAGES, NR_NODE_STATS, NR_SWAPCACHE, NR_SWAP_AREAS, PG_NODE_SHIFT, PG_anon, PG_anon_exclusive, PG_dirty,
    PG_locked, PG_lru_batch, PG_mlocked, PG_swapbacked, PG_swapcache, PG_uptodate, PG_writeback, PSWPIN,
    SWP_SYNCHRONOUS_IO, SWP_WRITEOK, VMA, VM_LOCKED, VM_WRITE, WHY_DONE, WHY_NEED_RECLAIM, WHY_WAIT_IO, WHY_WAIT_LOCK,
    alloc_ctx, memmap, mpol, page, swap_info, vma_c,
)
from numalab.mm._page_alloc cimport alloc_pages_mpol, free_pages_bulk

# ---------------------------------------------------------------- slots

cdef swap_info *next_area(memmap *m) noexcept nogil:
    """The area that gives out the next slot: of those with room the highest priority; equal ones take turns."""
    cdef swap_info *best = NULL
    cdef swap_info *si
    cdef int i
    for i in range(NR_SWAP_AREAS):
        si = &m.swap[i]
        if si.pages == 0 or not si.flags & SWP_WRITEOK or si.used == si.pages - 1:
            continue
        if best == NULL or si.prio > best.prio or (si.prio == best.prio and si.turn < best.turn):
            best = si
    return best


cdef uint64_t slot_alloc(memmap *m) noexcept nogil:
    """folio_alloc_swap(): a free slot, with one reference for whoever asked; 0 = swap is full."""
    cdef swap_info *si = next_area(m)
    cdef uint32_t slot
    if si == NULL:
        return 0
    slot = si.next
    while si.map[slot]:
        slot = slot + 1 if slot + 1 < si.pages else 1
    si.map[slot] = 1
    si.used += 1
    si.next = slot + 1 if slot + 1 < si.pages else 1
    si.turn += 1
    return swp_entry(si - m.swap, slot)


cdef void swap_put(memmap *m, uint64_t entry) noexcept nogil:
    """swap_free(): one reference less; the last one frees the slot."""
    cdef swap_info *si = area_of(m, entry)
    cdef uint64_t slot = swp_offset(entry)
    VM_BUG_ON(si.map[slot] == 0)
    si.map[slot] -= 1
    if si.map[slot] == 0:
        si.used -= 1


# ---------------------------------------------------------------- the swap cache

cdef inline void count_swap_cache(memmap *m, const page *p, int n) noexcept nogil:
    """NR_SWAPCACHE, and NR_FILE_PAGES, in which the swap cache is too."""
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_SWAPCACHE] += n
    m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_FILE_PAGES] += n


cdef void add_to_swap_cache(memmap *m, uint32_t pfn, uint64_t entry) noexcept nogil:
    """add_to_swap_cache(): from now on the slot's page is this one. The slot's reference is the caller's to give."""
    cdef page *p = &m.hot[pfn]
    VM_BUG_ON_PAGE(p.flags & PG_swapcache or swap_cache_page(m, entry), pfn)
    area_of(m, entry).cache[swp_offset(entry)] = pfn
    p.flags |= PG_swapcache
    p.refcount += 1
    m.cold[pfn].private = entry
    count_swap_cache(m, p, 1)


cdef void delete_from_swap_cache(memmap *m, uint32_t pfn) noexcept nogil:
    """delete_from_swap_cache(): page and slot part, and the slot loses the cache's reference."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t entry = m.cold[pfn].private
    VM_BUG_ON_PAGE(not p.flags & PG_swapcache or swap_cache_page(m, entry) != pfn, pfn)
    area_of(m, entry).cache[swp_offset(entry)] = 0
    p.flags &= ~<uint32_t>PG_swapcache
    p.refcount -= 1
    m.cold[pfn].private = 0
    count_swap_cache(m, p, -1)
    swap_put(m, entry)


cdef void replace_in_swap_cache(memmap *m, uint32_t src, uint32_t dst) noexcept nogil:
    """folio_migrate_mapping() for a page in the swap cache: the slot's page is another one from now on."""
    cdef page *s = &m.hot[src]
    cdef page *d = &m.hot[dst]
    cdef uint64_t entry = m.cold[src].private
    area_of(m, entry).cache[swp_offset(entry)] = dst
    s.flags &= ~<uint32_t>PG_swapcache
    s.refcount -= 1
    m.cold[src].private = 0
    d.flags |= PG_swapcache
    d.refcount += 1
    count_swap_cache(m, s, -1)
    count_swap_cache(m, d, 1)


cdef bint try_to_free_swap(memmap *m, uint32_t pfn) noexcept nogil:
    """folio_free_swap(): let go of the slot if no swap PTE names it; the page is then the only copy, so it is dirty."""
    cdef page *p = &m.hot[pfn]
    cdef uint64_t entry = m.cold[pfn].private
    if p.flags & PG_writeback or area_of(m, entry).map[swp_offset(entry)] > 1:
        return False
    delete_from_swap_cache(m, pfn)
    p.flags |= PG_dirty
    return True


cdef void free_swap_and_cache(memmap *m, uint32_t cpu, uint64_t entry) noexcept nogil:
    """free_swap_and_cache(): a swap PTE goes, and with the last one the page that the cache kept for it."""
    cdef uint32_t pfn = swap_cache_page(m, entry)
    cdef page *p = &m.hot[pfn]
    swap_put(m, entry)
    if pfn == 0 or p.mapcount or p.flags & (PG_locked | PG_writeback):
        return
    if try_to_free_swap(m, pfn) and p.refcount == 0:
        page_free_prepare(m, pfn)
        free_pages_bulk(m, cpu, &pfn, 1)


# ---------------------------------------------------------------- in

cdef inline bint swap_full(memmap *m) noexcept nogil:
    """vm_swap_full(): more than half of all slots are in use, so those that are not needed are given back."""
    cdef uint64_t used = 0, total = 0
    cdef int i
    for i in range(NR_SWAP_AREAS):
        if m.swap[i].pages:
            used += m.swap[i].used
            total += m.swap[i].pages - 1
    return 2 * used > total


cdef void new_page(memmap *m, uint32_t pfn, uint32_t flags) noexcept nogil:
    """A frame that will hold the page of a slot: nobody maps or holds it yet."""
    cdef page *p = &m.hot[pfn]
    p.flags |= PG_swapbacked | flags
    p.refcount = 0
    p.mapcount = 0
    p.pincount = 0
    p.rmap = 0
    m.cold[pfn].mlock_count = 0


cdef bint read_slot(memmap *m, uint32_t pfn, uint64_t entry) noexcept nogil:
    """swap_read_folio(): what is in a slot goes to a frame. Whether it had to be read: a page of zeros was never
    written.
    """
    cdef uint8_t *bytes = m.h.ram + (<uint64_t>pfn << PAGE_SHIFT)
    if slot_zero(m, entry)[0]:
        memset(bytes, 0, PAGE_SIZE)
        return False
    memcpy(bytes, slot_bytes(m, entry), PAGE_SIZE)
    m.event[PSWPIN] += 1
    return True


cdef uint32_t swapin_new(memmap *m, alloc_ctx *ctx, mpol *policy, uint64_t ilx, uint64_t entry) noexcept nogil:
    """A new page with the slot's contents, 0 = no frame. In the swap cache if other PTEs name the slot as well."""
    cdef uint32_t pfn
    cdef hw *h = m.h
    if alloc_pages_mpol(m, ctx, policy if policy != NULL else ctx.policy, True, ilx,
                        GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, 1, &pfn) == 0:
        return 0
    if read_slot(m, pfn, entry):
        h.now += h.cost.swap_page
    new_page(m, pfn, PG_uptodate)
    m.cold[pfn].private = 0
    if area_of(m, entry).map[swp_offset(entry)] > 1:
        swap_dup(m, entry)
        add_to_swap_cache(m, pfn, entry)
    return pfn


cdef int swapin_pte(memmap *m, alloc_ctx *ctx, vma_c *v, uint64_t *pte, uint64_t va, bint write, bint *major
                    ) noexcept nogil:
    """do_swap_page(): map the page that a swap PTE stands for. major: it had to be read.

    A page that is found to be its owner's alone may be written at once, even if this fault only reads. WAIT_IO: the
    slot's page must be read into the swap cache first, or reading it has failed; WAIT_LOCK: it is there, and locked.
    """
    cdef uint64_t entry = entry_of(pte[0]), index = v.pgoff + ((va - v.start) >> PAGE_SHIFT), bits
    cdef uint32_t pfn = swap_cache_page(m, entry)
    cdef bint exclusive = (pte[0] & SWP_EXCLUSIVE) != 0, fresh = pfn == 0
    cdef page *p = &m.hot[pfn]
    major[0] = fresh
    if fresh:
        if not area_of(m, entry).flags & SWP_SYNCHRONOUS_IO:
            return WHY_WAIT_IO
        pfn = swapin_new(m, ctx, v.policy, index, entry)
        if pfn == 0:
            return WHY_NEED_RECLAIM
        p = &m.hot[pfn]
    elif p.flags & PG_locked:
        return WHY_WAIT_LOCK
    elif not p.flags & PG_uptodate:             # it could not be read: nobody may see what is there instead
        return WHY_WAIT_IO
    swap_put(m, entry)
    if p.flags & PG_swapcache and (swap_full(m) or v.flags & VM_LOCKED or p.flags & PG_mlocked
                                   or (write and p.refcount == 1 + ((p.flags & PG_lru_batch) != 0))):
        try_to_free_swap(m, pfn)
    bits = v.prot
    if exclusive or p.refcount == 0:
        p.flags |= PG_anon_exclusive
        if v.flags & VM_WRITE:
            bits |= PTE_RW
            if write:
                bits |= PTE_DIRTY
    if not p.flags & PG_anon:                   # nobody has mapped it since it was read
        p.flags |= PG_anon
        # Others may come and map it too: all whom a fork has related stand in the oldest anon_vma.
        m.cold[pfn].mapping = v.anon_id if p.flags & PG_anon_exclusive else m.anon[v.anon_id].root
        m.cold[pfn].index = index
    p.refcount += 1
    p.mapcount += 1
    if p.mapcount == 1:
        p.rmap = pte_address(m.h, pte)
        m.node_stat[(p.flags >> PG_NODE_SHIFT) * NR_NODE_STATS + NR_ANON_MAPPED] += 1
    else:
        p.rmap = 0
    pte[0] = <uint64_t>pfn << PAGE_SHIFT | bits
    v.mm.rss_anon += 1
    v.mm.rss_swap -= 1
    if v.flags & VM_LOCKED:
        mlock_page(m, pfn)
        mlock_wait(m, ctx.cpu, pfn)
    if fresh:
        lru_cache_add(m, ctx.cpu, &pfn, 1)
    tlb_insert(m.h, ctx.cpu, v.mm.asid, va, pte[0])
    return WHY_DONE


# ---------------------------------------------------------------- Python face

def read_into_cache(MemMap mem, AllocCtx ctx, MemPolicy policy, uint64_t ilx, uint64_t entry) -> int:
    """read_swap_cache_async(): a new, locked page in the swap cache for a slot in use; its contents are still to come.

    Returns its frame, NO_PFN if there is none, 0 if nothing is to be read: the slot is free, has a page already, or is
    of zeros, and has its page now.
    """
    cdef uint32_t pfn
    cdef memmap *m = &mem.m
    if area_of(m, entry).map[swp_offset(entry)] == 0 or swap_cache_page(m, entry):
        return 0
    if alloc_pages_mpol(m, &ctx.c, NULL if policy is None else &policy.p, True, ilx,
                        GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM, 1, &pfn) == 0:
        return <uint32_t>NO_PFN
    new_page(m, pfn, PG_locked)
    m.cold[pfn].mapping = 0
    swap_dup(m, entry)
    add_to_swap_cache(m, pfn, entry)
    lru_cache_add(m, ctx.c.cpu, &pfn, 1)
    if slot_zero(m, entry)[0]:
        end_read(mem, pfn, True)
        return 0
    return pfn


def end_read(MemMap mem, uint32_t pfn, bint ok) -> None:
    """end_swap_bio_read(): the contents are there, and the page is unlocked; if the read failed it is not uptodate."""
    cdef memmap *m = &mem.m
    cdef page *p = &m.hot[pfn]
    if ok:
        read_slot(m, pfn, m.cold[pfn].private)
        p.flags |= PG_uptodate
    p.flags &= ~<uint32_t>PG_locked


def drop_cache(MemMap mem, uint32_t cpu, uint64_t entry) -> bool:
    """Take the page of a slot out of the swap cache, for swapoff(); False while it is locked or being written.

    No swap PTE may name the slot any more. The page is dirty afterwards; one that nobody maps is freed.
    """
    cdef memmap *m = &mem.m
    cdef uint32_t pfn = swap_cache_page(m, entry)
    cdef page *p = &m.hot[pfn]
    if pfn == 0:
        return True
    if p.flags & PG_locked or not try_to_free_swap(m, pfn):
        return False
    if p.refcount == 0:
        page_free_prepare(m, pfn)
        free_pages_bulk(m, cpu, &pfn, 1)
    return True


def unuse_range(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t start, uint64_t end, uint32_t type) -> tuple:
    """unuse_vma(): map again what of [start, end) is in one swap area, as nobody's use. Returns (next, why, entry) as
    fault_range().
    """
    cdef uint64_t va = start, next
    cdef uint64_t *table
    cdef uint64_t *pte = NULL
    cdef bint major
    cdef int why = WHY_DONE
    cdef memmap *m = &mem.m
    with nogil:
        while va < end and why == WHY_DONE:
            table = pte_table(m.h, mm.c.pgd, va, &next)
            if next > end or next <= va:
                next = end
            if table == NULL:
                va = next
                continue
            while va < next:
                pte = &table[(va >> PAGE_SHIFT) & 511]
                if pte[0] and not pte_mapped(pte[0]) and swp_type(pte[0]) == type:
                    why = swapin_pte(m, &ctx.c, &vma.v, pte, va, False, &major)
                    if why != WHY_DONE:
                        break
                    pte[0] &= ~<uint64_t>(PTE_ACCESSED | PTE_RW)
                    tlb_flush_page(m.h, mm.c.asid, va)
                    if not m.hot[pte_pfn(pte[0])].flags & PG_swapcache:     # the page is the only copy now
                        m.hot[pte_pfn(pte[0])].flags |= PG_dirty
                va += PAGE_SIZE
    return va, why, entry_of(pte[0]) if why != WHY_DONE else 0
