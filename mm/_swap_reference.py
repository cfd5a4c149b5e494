"""Plain-Python twin of _swap: slots and their counts, the swap cache, the way of a page back in.

Mirrors mm/swapfile.c, mm/swap_state.c and do_swap_page() of mm/memory.c. A swap entry is a swap PTE without marks:
area and slot. A slot counts who refers to it:

    swap PTEs that name it  +  1 if the swap cache has its page

and is free when that is nothing. While both exist, slot and page are one: whoever faults finds the page in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._lru_reference import free_page, lru_cache_add, mlock_page, mlock_wait
from numalab.mm._mempolicy_reference import alloc_pages_mpol
from numalab.mm._reference import View, pte_tables, ptes, tlb_flush_page, tlb_insert
from numalab.mm.kernels import Why
from numalab.mm.vm_flags import VM_LOCKED, VM_WRITE
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MemPolicy, MmStruct

SWP_EXCLUSIVE = 0x8
"""In a swap PTE: the page is its owner's alone."""


def entry_of(pte: int) -> int:
    """The swap entry in a PTE, without the marks beside it."""
    return pt.swp_entry(pt.swp_type(pte), pt.swp_offset(pte))


# ---------------------------------------------------------------- slots


def slot_alloc(m: View) -> int:
    """folio_alloc_swap(): a free slot, with one reference for whoever asked; 0 = swap is full.

    The area with the highest priority of those with room; equal ones take turns.
    """
    swap = m.swap
    room = [
        type_
        for type_ in range(c.NR_SWAP_AREAS)
        if swap.pages[type_]
        and swap.flags[type_] & c.SWP_WRITEOK
        and swap.used[type_] < swap.pages[type_] - 1
    ]
    if not room:
        return 0
    type_ = min(room, key=lambda t: (-swap.prio[t], swap.turn[t]))
    counts, slot = m.swap_map(type_), swap.next[type_]
    while counts[slot]:
        slot = next_slot(m, type_, slot)
    counts[slot] = 1
    swap.used[type_] += 1
    swap.next[type_] = next_slot(m, type_, slot)
    swap.turn[type_] += 1
    return pt.swp_entry(type_, slot)


def next_slot(m: View, type_: int, slot: int) -> int:
    """The slot behind one, going round past the header."""
    return slot + 1 if slot + 1 < m.swap.pages[type_] else 1


def swap_count(m: View, entry: int) -> int:
    count: int = m.swap_map(pt.swp_type(entry))[pt.swp_offset(entry)]
    return count


def swap_dup(m: View, entry: int) -> None:
    """swap_duplicate(): one swap PTE more."""
    m.swap_map(pt.swp_type(entry))[pt.swp_offset(entry)] += 1


def swap_put(m: View, entry: int) -> None:
    """swap_free(): one reference less; the last one frees the slot."""
    counts, slot = m.swap_map(pt.swp_type(entry)), pt.swp_offset(entry)
    counts[slot] -= 1
    if not counts[slot]:
        m.swap.used[pt.swp_type(entry)] -= 1


# ---------------------------------------------------------------- the swap cache


def swap_cache_page(m: View, entry: int) -> int:
    """The frame that holds the slot's page, 0 = none."""
    pfn: int = m.swap_cache(pt.swp_type(entry))[pt.swp_offset(entry)]
    return pfn


def set_cache(m: View, entry: int, pfn: int) -> None:
    m.swap_cache(pt.swp_type(entry))[pt.swp_offset(entry)] = pfn


def count_swap_cache(m: View, pfn: int, n: int) -> None:
    """NR_SWAPCACHE, and NR_FILE_PAGES, in which the swap cache is too."""
    m.node_stat[m.node(pfn), c.NR_SWAPCACHE] += n
    m.node_stat[m.node(pfn), c.NR_FILE_PAGES] += n


def add_to_swap_cache(m: View, pfn: int, entry: int) -> None:
    """add_to_swap_cache(): from now on the slot's page is this one. The slot's reference is the caller's to give."""
    set_cache(m, entry, pfn)
    m.hot.flags[pfn] |= c.PG_swapcache
    m.hot.refcount[pfn] += 1
    m.cold.private[pfn] = entry
    count_swap_cache(m, pfn, 1)


def leave_swap_cache(m: View, pfn: int) -> int:
    """The page is not in the cache any more; its slot, of which the cache still holds a reference, is returned."""
    entry: int = m.cold.private[pfn]
    m.hot.flags[pfn] &= ~c.PG_swapcache
    m.hot.refcount[pfn] -= 1
    m.cold.private[pfn] = 0
    count_swap_cache(m, pfn, -1)
    return entry


def delete_from_swap_cache(m: View, pfn: int) -> None:
    """delete_from_swap_cache(): page and slot part, and the slot loses the cache's reference."""
    entry = leave_swap_cache(m, pfn)
    set_cache(m, entry, 0)
    swap_put(m, entry)


def replace_in_swap_cache(m: View, src: int, dst: int) -> None:
    """folio_migrate_mapping() for a page in the swap cache: the slot's page is another one from now on."""
    add_to_swap_cache(m, dst, leave_swap_cache(m, src))


def try_to_free_swap(m: View, pfn: int) -> bool:
    """folio_free_swap(): let go of the slot if no swap PTE names it; the page is then the only copy, so it is dirty."""
    if m.hot.flags[pfn] & c.PG_writeback or swap_count(m, m.cold.private[pfn]) > 1:
        return False
    delete_from_swap_cache(m, pfn)
    m.hot.flags[pfn] |= c.PG_dirty
    return True


def free_swap_cache(m: View, pfn: int) -> bool:
    """free_swap_cache(): a page that nobody maps gives up a slot that no PTE names; whether nobody holds it then."""
    if not m.hot.flags[pfn] & c.PG_swapcache or m.hot.mapcount[pfn] or m.hot.flags[pfn] & c.PG_locked:
        return False
    return try_to_free_swap(m, pfn) and not m.hot.refcount[pfn]


def free_swap_and_cache(m: View, cpu: int, entry: int) -> None:
    """free_swap_and_cache(): a swap PTE goes, and with the last one the page that the cache kept for it."""
    pfn = swap_cache_page(m, entry)
    swap_put(m, entry)
    if pfn and not m.hot.flags[pfn] & c.PG_writeback and free_swap_cache(m, pfn):
        free_page(m, cpu, pfn)


# ---------------------------------------------------------------- in


def swap_full(m: View) -> bool:
    """vm_swap_full(): more than half of all slots are in use, so those that are not needed are given back."""
    areas = [type_ for type_ in range(c.NR_SWAP_AREAS) if m.swap.pages[type_]]
    return 2 * sum(m.swap.used[t] for t in areas) > sum(m.swap.pages[t] - 1 for t in areas)


def new_page(m: View, pfn: int, flags: int) -> None:
    """A frame that will hold the page of a slot: nobody maps or holds it yet."""
    m.hot.flags[pfn] |= c.PG_swapbacked | flags
    m.hot.refcount[pfn] = m.hot.mapcount[pfn] = m.hot.pincount[pfn] = m.hot.rmap[pfn] = 0
    m.cold.mlock_count[pfn] = 0


def swapin_new(m: View, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, entry: int) -> int:
    """A new page with the slot's contents, 0 = no frame. In the swap cache if other PTEs name the slot as well."""
    policy = policy if policy is not None else ctx.policy
    got = alloc_pages_mpol(m, ctx, policy, ilx, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM, 1)
    if not got:
        return 0
    [pfn] = got
    if m.read_slot(pfn, entry):
        m.charge(m.cost["swap_page"])
    new_page(m, pfn, c.PG_uptodate)
    m.cold.private[pfn] = 0
    if swap_count(m, entry) > 1:
        swap_dup(m, entry)
        add_to_swap_cache(m, pfn, entry)
    return pfn


def slot_not_needed(m: View, vma: VMA, pfn: int, write: bool) -> bool:
    """should_try_to_free_swap()."""
    alone = m.hot.refcount[pfn] == 1 + (m.hot.flags[pfn] & c.PG_lru_batch != 0)
    locked = vma.flags & VM_LOCKED or m.hot.flags[pfn] & c.PG_mlocked
    return bool(swap_full(m) or locked or (write and alone))


def swapin_pte(m: View, ctx: AllocCtx, vma: VMA, at: int, va: int, write: bool) -> tuple[Why, bool]:
    """do_swap_page(): map the page that a swap PTE stands for. Returns why it stopped, and whether it had to be read.

    A page that is found to be its owner's alone may be written at once, even if this fault only reads. WAIT_IO: the
    slot's page must be read into the swap cache first, or reading it has failed; WAIT_LOCK: it is there, and locked.
    """
    entry, exclusive = entry_of(m.ram[at]), m.ram[at] & SWP_EXCLUSIVE != 0
    index = linear_page_index(vma, va)
    pfn = swap_cache_page(m, entry)
    major = not pfn
    if major:
        if not m.swap.flags[pt.swp_type(entry)] & c.SWP_SYNCHRONOUS_IO:
            return Why.WAIT_IO, major
        pfn = swapin_new(m, ctx, vma.policy, index, entry)
        if not pfn:
            return Why.NEED_RECLAIM, major
    elif m.hot.flags[pfn] & c.PG_locked:
        return Why.WAIT_LOCK, major
    elif not m.hot.flags[pfn] & c.PG_uptodate:  # it could not be read: nobody may see what is there instead
        return Why.WAIT_IO, major
    swap_put(m, entry)
    if m.hot.flags[pfn] & c.PG_swapcache and slot_not_needed(m, vma, pfn, write):
        try_to_free_swap(m, pfn)
    bits = vma.prot
    if exclusive or not m.hot.refcount[pfn]:
        m.hot.flags[pfn] |= c.PG_anon_exclusive
        if vma.flags & VM_WRITE:
            bits |= pt.PTE_RW | (pt.PTE_DIRTY if write else 0)
    if not m.hot.flags[pfn] & c.PG_anon:  # nobody has mapped it since it was read
        m.hot.flags[pfn] |= c.PG_anon
        assert vma.anon_vma is not None
        # Others may come and map it too: all whom a fork has related stand in the oldest anon_vma.
        own = m.hot.flags[pfn] & c.PG_anon_exclusive
        m.cold.mapping[pfn] = vma.anon_vma.id if own else vma.anon_vma.root.id
        m.cold.index[pfn] = index
    m.hot.refcount[pfn] += 1
    m.hot.mapcount[pfn] += 1
    m.hot.rmap[pfn] = at * 8 if m.hot.mapcount[pfn] == 1 else 0
    m.node_stat[m.node(pfn), c.NR_ANON_MAPPED] += m.hot.mapcount[pfn] == 1
    m.ram[at] = pfn << pt.PAGE_SHIFT | bits
    vma.mm.rss_anon += 1
    vma.mm.rss_swap -= 1
    if vma.flags & VM_LOCKED:
        mlock_page(m, pfn)
        mlock_wait(m, ctx.cpu, pfn)
    if major:
        lru_cache_add(m, ctx.cpu, [pfn])
    tlb_insert(m, ctx.cpu, vma.mm.asid, va, m.ram[at])
    return Why.DONE, major


# ---------------------------------------------------------------- what drivers call


def read_into_cache(mem: MemMap, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, entry: int) -> int:
    """read_swap_cache_async(): a new, locked page in the swap cache for a slot in use; its contents are still to come.

    Returns its frame, NO_PFN if there is none, 0 if nothing is to be read: the slot is free, has a page already, or is
    of zeros, and has its page now.
    """
    m = View(mem)
    if not swap_count(m, entry) or swap_cache_page(m, entry):
        return 0
    got = alloc_pages_mpol(m, ctx, policy, ilx, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM, 1)
    if not got:
        return c.NO_PFN
    [pfn] = got
    new_page(m, pfn, c.PG_locked)
    m.cold.mapping[pfn] = 0
    swap_dup(m, entry)
    add_to_swap_cache(m, pfn, entry)
    lru_cache_add(m, ctx.cpu, [pfn])
    if m.slot_zero(entry):
        end_read(mem, pfn, True)
        return 0
    return pfn


def end_read(mem: MemMap, pfn: int, ok: bool) -> None:
    """end_swap_bio_read(): the contents are there, and the page is unlocked; if the read failed it is not uptodate."""
    m = View(mem)
    if ok:
        m.read_slot(pfn, m.cold.private[pfn])
        m.hot.flags[pfn] |= c.PG_uptodate
    m.hot.flags[pfn] &= ~c.PG_locked


def drop_cache(mem: MemMap, cpu: int, entry: int) -> bool:
    """Take the page of a slot out of the swap cache, for swapoff(); False while it is locked or being written.

    No swap PTE may name the slot any more. The page is dirty afterwards; one that nobody maps is freed.
    """
    m = View(mem)
    pfn = swap_cache_page(m, entry)
    if not pfn:
        return True
    if m.hot.flags[pfn] & c.PG_locked or not try_to_free_swap(m, pfn):
        return False
    if not m.hot.refcount[pfn]:
        free_page(m, cpu, pfn)
    return True


def unuse_range(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int, type: int
) -> tuple[int, int, int]:
    """unuse_vma(): map again what of [start, end) is in one swap area, as nobody's use. Returns (next, why, entry) as
    fault_range().
    """
    m = View(mem)
    for table, first, stop in pte_tables(m, mm.pgd, start, end):
        for va, at in ptes(table, first, stop) if table >= 0 else ():
            pte = m.ram[at]
            if pt.pte_swaplike(pte) and pt.swp_type(pte) == type:
                why, _ = swapin_pte(m, ctx, vma, at, va, False)
                if why != Why.DONE:
                    return va, why, entry_of(pte)
                m.ram[at] &= ~(pt.PTE_ACCESSED | pt.PTE_RW)
                tlb_flush_page(m, mm.asid, va)
                pfn = pt.pte_pfn(m.ram[at])
                if not m.hot.flags[pfn] & c.PG_swapcache:  # the page is the only copy now
                    m.hot.flags[pfn] |= c.PG_dirty
    return end, Why.DONE, 0
