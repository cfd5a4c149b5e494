"""Faults: first touch of anonymous memory and of files, and copy on write. A part of the twin of _memory.

Mirrors do_anonymous_page(), do_fault() and do_wp_page() of mm/memory.c. An anonymous page that was never touched reads
as the zero page, which all programs share; the first write gets a page of its own. After a fork both sides share their
pages read-only; who writes first gets a copy, and whoever is alone with a page at last may simply write. A page of a
file is the file's: who maps it privately and writes gets a copy, who shares it writes into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_PAGE_FAULT_USER
from numalab.mm import _constants as c
from numalab.mm._filemap_reference import (
    FAULT_AROUND,
    add_rss,
    get_vma_policy,
    map_file_page,
    map_pages,
    shmem_alloc,
    shmem_full,
)
from numalab.mm._lru_reference import (
    free_page,
    lru_cache_add,
    lru_drain_cpu,
    mlock_new_folios,
    mlock_wait,
    munlock_page,
)
from numalab.mm._mempolicy_reference import alloc_pages_mpol
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import View, flush_mm, is_page, shootdown, tlb_flush_page, tlb_insert
from numalab.mm._rmap_reference import mapped_item
from numalab.mm._shmem_reference import shmem_swapin
from numalab.mm._swap_reference import entry_of, free_swap_cache, swapin_pte, try_to_free_swap
from numalab.mm._writeback_reference import page_mkwrite
from numalab.mm.kernels import Why
from numalab.mm.vm_flags import VM_LOCKED, VM_SHARED, VM_WRITE
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, MmStruct

__all__ = ["count_faults", "fault_table", "flush_range", "put_mapping"]

FLUSH_CEILING = 33
"""tlb_single_page_flush_ceiling: above so many pages, flush the whole address space."""
TLB_REFILL = 8
"""Translations that a range fault leaves in the TLB: the last ones."""
TOUCH_RUN = 256
"""Pages mapped per step."""


def flush_range(m: View, mm: MmStruct, start: int, end: int) -> None:
    """flush_tlb_mm_range(): page by page for a short range, everything for a long one; one shootdown either way."""
    if end - start > FLUSH_CEILING * pt.PAGE_SIZE:
        flush_mm(m, mm.asid)
    else:
        shootdown(m, end - start >> pt.PAGE_SHIFT)
        for va in range(start, end, pt.PAGE_SIZE):
            tlb_flush_page(m, mm.asid, va)


def put_mapping(m: View, pfn: int) -> bool:
    """page_remove_rmap() and folio_put() for one PTE of a page; whether nobody holds the page any more."""
    m.hot.rmap[pfn] = 0
    m.hot.mapcount[pfn] -= 1
    if not m.hot.mapcount[pfn]:
        m.node_stat[m.node(pfn), mapped_item(m, pfn)] -= 1
    m.hot.refcount[pfn] -= 1
    return not m.hot.refcount[pfn] or free_swap_cache(m, pfn)


def write_bits(vma: VMA) -> int:
    """maybe_mkwrite(pte_mkdirty(pte)) for a new page of this VMA."""
    return vma.prot | pt.PTE_DIRTY | (pt.PTE_RW if vma.flags & VM_WRITE else 0)


def new_anon_pages(m: View, ctx: AllocCtx, vma: VMA, va: int, at: int, n: int) -> list[int]:
    """Up to ``n`` frames for the pages from ``va`` on, whose PTEs will be those from ``at`` on; they go to the LRU."""
    index = linear_page_index(vma, va)
    ilx = index if vma.file is None or vma.file.mapping.bdi else vma.file.mapping.id + index
    pfns = alloc_pages_mpol(
        m, ctx, get_vma_policy(ctx, vma, index), ilx, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM, n
    )
    locked = 1 if vma.flags & VM_LOCKED else 0
    flags = c.PG_uptodate | c.PG_swapbacked | c.PG_anon | c.PG_anon_exclusive
    if locked:
        flags |= c.PG_mlocked | c.PG_unevictable
    for i, pfn in enumerate(pfns):
        m.hot.flags[pfn] |= flags
        m.hot.refcount[pfn] = m.hot.mapcount[pfn] = 1
        m.hot.pincount[pfn] = 0
        m.hot.rmap[pfn] = (at + i) * 8
        m.cold.mapping[pfn] = vma.anon_vma.id if vma.anon_vma is not None else 0
        m.cold.index[pfn] = index + i
        m.cold.private[pfn] = 0
        m.cold.mlock_count[pfn] = locked
        m.node_stat[m.node(pfn), c.NR_ANON_MAPPED] += 1
    if locked:
        mlock_new_folios(m, ctx.cpu, pfns)
    else:
        lru_cache_add(m, ctx.cpu, pfns)
    vma.mm.rss_anon += len(pfns)
    return pfns


def map_zeroed(m: View, ctx: AllocCtx, vma: VMA, va: int, at: int, n: int) -> int:
    """Map ``n`` new pages of zeros from ``va`` on; returns how many frames could be had."""
    pfns = new_anon_pages(m, ctx, vma, va, at, n)
    for i, pfn in enumerate(pfns):
        m.fill_page(pfn, 0)
        m.ram[at + i] = pfn << pt.PAGE_SHIFT | write_bits(vma)
    # The CPU touched them all; its small TLB remembers the last ones.
    for i in range(max(0, len(pfns) - TLB_REFILL), len(pfns)):
        tlb_insert(m, ctx.cpu, vma.mm.asid, va + i * pt.PAGE_SIZE, m.ram[at + i])
    return len(pfns)


def wp_page(m: View, ctx: AllocCtx, vma: VMA, at: int, va: int) -> Why:
    """do_wp_page(): a write to a page that is mapped read-only: reuse it when nobody else has it, else copy."""
    old = m.ram[at]
    pfn = pt.pte_pfn(old)
    if old & pt.PTE_SPECIAL:  # the zero page: a new page of zeros is a copy of it
        if not map_zeroed(m, ctx, vma, va, at, 1):
            return Why.NEED_RECLAIM
        m.charge(m.cost["zero_page"])
        flush_range(m, vma.mm, va, va + pt.PAGE_SIZE)
        return Why.DONE
    if not m.hot.flags[pfn] & c.PG_anon and vma.flags & VM_SHARED:
        if not page_mkwrite(m, pfn):
            return Why.FILE
        m.ram[at] = old | pt.PTE_RW | pt.PTE_DIRTY | pt.PTE_ACCESSED
        tlb_flush_page(m, vma.mm.asid, va)
        return Why.DONE
    if not m.hot.flags[pfn] & (c.PG_anon_exclusive | c.PG_lru) and m.hot.refcount[pfn] <= 3:
        lru_drain_cpu(m, ctx.cpu)  # its other reference may be the CPU's own batch
    if m.hot.flags[pfn] & c.PG_swapcache and m.hot.refcount[pfn] == 2 and not m.hot.flags[pfn] & c.PG_locked:
        try_to_free_swap(m, pfn)  # or the swap cache's, for a slot that nobody needs
    flags = m.hot.flags[pfn]
    # A part of a huge page is not taken over (wp_can_reuse_anon_folio()).
    ours = flags & c.PG_anon and m.hot.refcount[pfn] == 1 and not flags & (c.PG_head | c.PG_tail)
    if flags & c.PG_anon_exclusive or ours:
        reuse_page(m, vma, at, va, pfn)
        return Why.DONE
    return copy_page(m, ctx, vma, at, va, pfn)


def reuse_page(m: View, vma: VMA, at: int, va: int, pfn: int) -> None:
    """wp_page_reuse() and folio_move_anon_rmap(): the page is ours alone from now on."""
    m.hot.flags[pfn] |= c.PG_anon_exclusive
    m.cold.mapping[pfn] = vma.anon_vma.id if vma.anon_vma is not None else 0
    m.cold.index[pfn] = linear_page_index(vma, va)
    m.hot.rmap[pfn] = at * 8
    m.ram[at] |= pt.PTE_RW | pt.PTE_DIRTY | pt.PTE_ACCESSED
    tlb_flush_page(m, vma.mm.asid, va)
    m.event[c.PGREUSE] += 1


def cow_page(m: View, ctx: AllocCtx, vma: VMA, at: int, va: int, pfn: int) -> Why:
    """A page of our own with the contents of another; the PTE names it from now on."""
    fresh = new_anon_pages(m, ctx, vma, va, at, 1)
    if not fresh:
        return Why.NEED_RECLAIM
    m.copy_page(fresh[0], pfn)
    m.charge(m.cost["zero_page"])
    m.ram[at] = fresh[0] << pt.PAGE_SHIFT | write_bits(vma)
    tlb_insert(m, ctx.cpu, vma.mm.asid, va, m.ram[at])
    return Why.DONE


def copy_page(m: View, ctx: AllocCtx, vma: VMA, at: int, va: int, pfn: int) -> Why:
    """wp_page_copy(): a page of our own with the same content; the others keep the old one."""
    if cow_page(m, ctx, vma, at, va, pfn) != Why.DONE:
        return Why.NEED_RECLAIM
    flush_range(m, vma.mm, va, va + pt.PAGE_SIZE)
    tlb_insert(m, ctx.cpu, vma.mm.asid, va, m.ram[at])
    if vma.flags & VM_LOCKED:
        munlock_page(m, pfn)
        mlock_wait(m, ctx.cpu, pfn)
    add_rss(m, vma.mm, pfn, -1)
    if put_mapping(m, pfn):
        free_page(m, ctx.cpu, pfn)
    return Why.DONE


def fault_table(
    m: View, ctx: AllocCtx, vma: VMA, table: int, start: int, end: int, write: bool
) -> tuple[int, Why, int]:
    """Fault [start, end), which one PTE table covers. Returns where it stopped, why, and at which entry or page."""
    why, stopped, va = Why.DONE, 0, start
    while va < end and why == Why.DONE:
        at = table + (va >> pt.PAGE_SHIFT & 511)
        pte = m.ram[at]
        if not pte and vma.file is not None:
            why, n, stopped = file_fault(m, ctx, vma, table, va, end, write)
            count_faults(m, ctx, va, n, write)
            va += n * pt.PAGE_SIZE
        elif not pte:
            n = 1  # as many pages in a row as were never touched, in one step
            while n < TOUCH_RUN and va + n * pt.PAGE_SIZE < end and not m.ram[at + n]:
                n += 1
            got = first_touch(m, ctx, vma, va, at, n, write)
            count_faults(m, ctx, va, got, write)
            va += got * pt.PAGE_SIZE
            if got < n:
                why = Why.NEED_RECLAIM
        elif pt.is_migration_entry(pte):
            why, stopped = Why.MIGRATION_ENTRY, mig_entry_pfn(pte)
        elif not pt.pte_mapped(pte):
            why = swap_in(m, ctx, vma, at, va, write)
            if why == Why.DONE:
                va += pt.PAGE_SIZE
            elif why != Why.NEED_RECLAIM:
                stopped = entry_of(pte)
            elif pt.pte_mapped(m.ram[at]):
                stopped = pt.pte_pfn(m.ram[at])
        elif write and not pte & pt.PTE_RW:
            why = wp_page(m, ctx, vma, at, va)
            if why == Why.DONE:
                count_faults(m, ctx, va, 1, write, present=True)
                va += pt.PAGE_SIZE
            elif why == Why.NEED_RECLAIM and is_page(pte):
                stopped = pt.pte_pfn(pte)
        else:
            va += pt.PAGE_SIZE  # it is there already
    return va, why, stopped


def missing_pages(
    m: View,
    ctx: AllocCtx,
    mapping: AddressSpace,
    at: int,
    va: int,
    index: int,
    end: int,
    write: bool,
    cow: bool,
) -> tuple[Why, list[int]]:
    """Shared memory gets new pages from ``index`` on: as many as a write needs, or one for a copy, or those of a read
    that a fault maps in one go.
    """
    most = end - va + pt.PAGE_SIZE - 1 >> pt.PAGE_SHIFT
    if not write:
        most = min(most, FAULT_AROUND - (va >> pt.PAGE_SHIFT) % FAULT_AROUND)
    most, n = min(1 if cow else most, mapping.size - index), 1
    while n < most and not m.ram[at + n] and not mapping.load(index + n):
        n += 1
    if shmem_full(mapping):
        return Why.FILE, []
    pfns = shmem_alloc(m, ctx, mapping, index, n)
    return (Why.DONE if pfns else Why.NEED_RECLAIM), pfns


def file_fault(
    m: View, ctx: AllocCtx, vma: VMA, table: int, va: int, end: int, write: bool
) -> tuple[Why, int, int]:
    """do_fault() for empty PTEs of a file, from va on: the page that the cache has; of shared memory as many new ones
    as are missing.

    A private write gets a copy. FILE: somebody must read the page, or it is beyond the end of the file, or the disk is
    full. Returns (why, pages in a row that are mapped now, the page that is locked).
    """
    assert vma.file is not None
    mapping, index = vma.file.mapping, linear_page_index(vma, va)
    at = table + (va >> pt.PAGE_SHIFT & 511)
    cow = write and not vma.flags & VM_SHARED
    if not write:  # also beyond the end of the file, of the pages before it
        map_pages(m, ctx.cpu, vma, table, va)
        if m.ram[at]:
            return Why.DONE, 1, 0
    if index >= mapping.size:
        return Why.FILE, 0, 0
    entry = mapping.load(index)
    pfns = [entry >> 1]
    if entry & 1:
        why, stopped = shmem_swapin(m, ctx, mapping, index)
        if why != Why.DONE:
            return why, 0, stopped
        pfns = [stopped]
    elif not entry and mapping.bdi:
        return Why.FILE, 0, 0
    elif not entry:
        why, pfns = missing_pages(m, ctx, mapping, at, va, index, end, write, cow)
        if why != Why.DONE:
            return why, 0, 0
    elif m.hot.flags[pfns[0]] & c.PG_locked:
        return Why.WAIT_PAGE, 0, pfns[0]
    elif mapping.bdi and not m.hot.flags[pfns[0]] & c.PG_uptodate:
        return Why.FILE, 0, 0
    else:
        m.hot.flags[pfns[0]] |= c.PG_uptodate  # it may be from fallocate(): zeros
    if cow:
        why = cow_page(m, ctx, vma, at, va, pfns[0])
        return why, int(why == Why.DONE), pfns[0] if why == Why.NEED_RECLAIM else 0
    if write and not page_mkwrite(m, pfns[0]):
        return Why.FILE, 0, 0
    for i, pfn in enumerate(pfns):
        map_file_page(m, ctx.cpu, vma, pfn, at + i, write)
    return Why.DONE, len(pfns), 0


def swap_in(m: View, ctx: AllocCtx, vma: VMA, at: int, va: int, write: bool) -> Why:
    """do_swap_page(), and do_wp_page() after it where others have the page too. One fault, major if it had to read."""
    why, major = swapin_pte(m, ctx, vma, at, va, write)
    if why != Why.DONE:
        return why
    count_faults(m, ctx, va, 1, write)
    if major:
        ctx.min_flt -= 1
        ctx.maj_flt += 1
        m.event[c.PGMAJFAULT] += 1
    return wp_page(m, ctx, vma, at, va) if write and not m.ram[at] & pt.PTE_RW else Why.DONE


def first_touch(m: View, ctx: AllocCtx, vma: VMA, va: int, at: int, n: int, write: bool) -> int:
    """do_anonymous_page() for ``n`` empty PTEs: the zero page for a read, pages of zeros for a write."""
    if write:
        got = map_zeroed(m, ctx, vma, va, at, n)
        m.charge(got * m.cost["zero_page"])
        return got
    for i in range(at, at + n):
        m.ram[i] = m.mem.zero_pfn << pt.PAGE_SHIFT | pt.PTE_SPECIAL | vma.prot
    return n


def count_faults(m: View, ctx: AllocCtx, va: int, n: int, write: bool, *, present: bool = False) -> None:
    """Every page of the range is a fault of its own in Linux, so it is one here."""
    ctx.min_flt += n
    m.event[c.PGFAULT] += n
    m.charge(n * m.cost["fault"])
    for at in range(va, va + n * pt.PAGE_SIZE, pt.PAGE_SIZE):
        m.hw.trace(EV_PAGE_FAULT_USER, at, 0, 4 | write << 1 | present)
