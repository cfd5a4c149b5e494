"""Plain-Python twin of _huge_memory: 512 frames in one block that a single PMD entry can map.

Mirrors mm/huge_memory.c; docs/adr/0008 says what is different. struct page knows which frames are one huge page
(PG_head, PG_tail), and everything else page by page: a PMD that maps the block counts as a mapping of each of its 512
pages, which have their own references, rights, and places on the LRU. When one of them is freed, the others are still
parts of the huge page, though no PMD can map them any more, and move together, until it is split.

The PTE table that splitting a mapping needs is taken when the PMD is set, so that splitting cannot fail. Until then it
lies in reserve: struct page of the PMD table has the first such table in ``link``, each of these the next. In the first
page of a huge page ``link`` is the number of PMDs that map it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_PAGE_FAULT_USER
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import free_pages_block
from numalab.mm._fault_reference import flush_range
from numalab.mm._filemap_reference import get_vma_policy
from numalab.mm._lru_reference import (
    drain_lru_add,
    folio_set_swapbacked,
    free_page,
    is_lazyfree,
    lru_add_batch,
    munlock_page,
    page_free_prepare,
)
from numalab.mm._mempolicy_reference import alloc_huge_mpol
from numalab.mm._page_alloc_reference import alloc_table, free_table, pmd_alloc, pte_alloc
from numalab.mm._reference import View, huge_pmd, is_page, tlb_flush_mm
from numalab.mm._rmap_reference import try_to_unmap_one
from numalab.mm.kernels import Why
from numalab.mm.vm_flags import VM_LOCKED, VM_WRITE
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct

NR = c.HPAGE_PMD_NR
SIZE = NR * pt.PAGE_SIZE


# ---------------------------------------------------------------- tables in reserve, PMDs that map a page


def table_of(at: int) -> int:
    """Frame of the table that an entry stands in."""
    return at >> 9


def deposit(m: View, pmd: int, table: int) -> None:
    """pgtable_trans_huge_deposit(); table: its frame."""
    owner = table_of(pmd)
    m.hot.link[table], m.hot.link[owner] = m.hot.link[owner], table


def withdraw(m: View, pmd: int) -> int:
    """pgtable_trans_huge_withdraw(): the frame of an empty table, which belongs under this PMD now."""
    owner = table_of(pmd)
    table: int = m.hot.link[owner]
    m.hot.link[owner], m.hot.link[table] = m.hot.link[table], 0
    m.cold.index[table] = m.cold.index[owner] << 9 | pmd & 511
    return table


def count_pmd(m: View, head: int, n: int) -> None:
    """One PMD more or less maps a huge page."""
    before = m.hot.link[head] != 0
    m.hot.link[head] += n
    m.node_stat[m.node(head), c.NR_ANON_THPS] += (m.hot.link[head] != 0) - before


def set_huge_pmd(m: View, pmd: int, leaf: int, table: int) -> None:
    """Map a huge page. The caller counts the mapping in each of its pages."""
    deposit(m, pmd, table)
    m.ram[pmd] = leaf | pt.PTE_PSE
    count_pmd(m, pt.pte_pfn(leaf), 1)


# ---------------------------------------------------------------- a whole page


def new_huge_page(m: View, vma: VMA, va: int, head: int) -> None:
    """A block of frames becomes an anonymous huge page, mapped once at va, 2 MiB aligned. It is on no list yet."""
    locked = 1 if vma.flags & VM_LOCKED else 0
    flags = c.PG_uptodate | c.PG_swapbacked | c.PG_anon | c.PG_anon_exclusive
    if locked:
        flags |= c.PG_mlocked | c.PG_unevictable
    for i in range(NR):
        pfn = head + i
        m.hot.flags[pfn] |= flags | (c.PG_tail if i else c.PG_head)
        m.hot.refcount[pfn] = m.hot.mapcount[pfn] = 1
        m.hot.pincount[pfn] = m.hot.rmap[pfn] = 0
        m.cold.mapping[pfn] = vma.anon_vma.id if vma.anon_vma is not None else 0
        m.cold.index[pfn] = linear_page_index(vma, va) + i
        m.cold.private[pfn] = 0
        m.cold.mlock_count[pfn] = locked
    m.hot.link[head] = 0
    m.node_stat[m.node(head), c.NR_ANON_MAPPED] += NR
    m.node_stat[m.node(head), c.NR_MLOCK] += locked * NR
    m.event[c.UNEVICTABLE_PGMLOCKED] += locked * NR
    m.event[c.UNEVICTABLE_PGCULLED] += locked * NR
    vma.mm.rss_anon += NR


def add_huge_to_lru(m: View, cpu: int, head: int) -> None:
    """folio_add_lru(): a large page does not wait in the CPU's batch, and neither do those before it."""
    drain_lru_add(m, cpu)
    lru_add_batch(m, range(head, head + NR))


def free_huge_page(m: View, head: int) -> None:
    """A block that nobody holds goes back as one."""
    for pfn in range(head, head + NR):
        page_free_prepare(m, pfn)
    free_pages_block(m, head, c.HPAGE_PMD_ORDER)


def put_huge_page(m: View, cpu: int, head: int) -> bool:
    """One mapping less of each page; frees those that nobody holds. Whether that were all."""
    gone = []
    for pfn in range(head, head + NR):
        m.hot.rmap[pfn] = 0
        m.hot.mapcount[pfn] -= 1
        m.hot.refcount[pfn] -= 1
        m.node_stat[m.node(pfn), c.NR_ANON_MAPPED] -= not m.hot.mapcount[pfn]
        if not m.hot.refcount[pfn]:
            gone.append(pfn)
    if len(gone) == NR:
        free_huge_page(m, head)
        return True
    for pfn in gone:
        free_page(m, cpu, pfn)
    return False


def mapping_pmd(m: View, vma: VMA, head: int) -> int:
    """The leaf by which an area maps a huge page, or -1."""
    index = m.cold.index[head]
    if not vma.pgoff <= index < vma.pgoff + (vma.end - vma.start >> pt.PAGE_SHIFT):
        return -1
    pmd = huge_pmd(m, vma.mm.pgd, vma.start + (index - vma.pgoff << pt.PAGE_SHIFT))
    return pmd if pmd >= 0 and pt.pte_pfn(m.ram[pmd]) == head else -1


def is_huge(m: View, pfn: int) -> bool:
    """Whether a page is a part of a huge page."""
    return m.hot.flags[pfn] & (c.PG_head | c.PG_tail) != 0


def huge_head(pfn: int) -> int:
    """Where the huge page begins that a page is a part of."""
    return pfn & -NR


def parts(m: View, pfn: int) -> list[int]:
    """What there is of the huge page that a page is a part of."""
    head = huge_head(pfn)
    return [part for part in range(head, head + NR) if is_huge(m, part)]


def try_to_map_to_zeropage(m: View, pfn: int) -> None:
    """try_to_map_unused_to_zeropage(): what was never written goes, and who maps it maps the zero page, but for locked
    areas.
    """
    first = pfn << pt.PAGE_SHIFT - 3
    if (
        not m.hot.mapcount[pfn]
        or m.hot.flags[pfn] & c.PG_mlocked
        or any(m.ram[first : first + pt.PAGE_SIZE // 8])
    ):
        return
    anon_vma, index = m.mem.rmap_root(m.cold.mapping[pfn]), m.cold.index[pfn]
    for vma in anon_vma.vmas if anon_vma is not None else ():
        va = vma.start + (index - vma.pgoff << pt.PAGE_SHIFT)
        if vma.flags & VM_LOCKED or not vma.start <= va < vma.end:
            continue
        at = pt.pte_index(m.ram, m.hw.levels, vma.mm.pgd, va)
        if at >= 0 and is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == pfn:
            m.ram[at] = m.mem.zero_pfn << pt.PAGE_SHIFT | pt.PTE_SPECIAL | vma.prot
            tlb_flush_mm(m, vma.mm.asid)
            vma.mm.rss_anon -= 1
            m.hot.mapcount[pfn] -= 1
            m.hot.refcount[pfn] -= 1
            m.hot.rmap[pfn] = 0
    m.node_stat[m.node(pfn), c.NR_ANON_MAPPED] -= not m.hot.mapcount[pfn]
    if not m.hot.refcount[pfn]:
        page_free_prepare(m, pfn)
        free_pages_block(m, pfn, 0)


def maps_whole(m: View, table: int, pfn: int) -> bool:
    """Does a PTE table map all of the huge page of ``pfn``, and nothing else?"""
    entries = [m.ram[table + i] for i in range(c.HPAGE_PMD_NR)]
    return all(is_page(pte) and pt.pte_pfn(pte) == huge_head(pfn) + i for i, pte in enumerate(entries))


def split_folio(m: View, pfn: int, *, zeros: bool) -> None:
    """split_huge_page(): the pages go their own ways. Nobody need be asked: each has its own references.

    zeros: those that hold nothing are given up, as RMP_USE_SHARED_ZEROPAGE asks. Who calls looks again what is mapped.
    """
    head = huge_head(pfn)
    anon_vma = m.mem.rmap_root(m.cold.mapping[head]) if m.hot.flags[head] & c.PG_head else None
    for vma in anon_vma.vmas if anon_vma is not None and m.hot.link[head] else ():
        pmd = mapping_pmd(m, vma, head)
        if pmd >= 0:
            split_huge_pmd(m, pmd)
    for part in parts(m, pfn):
        m.hot.flags[part] &= ~(c.PG_head | c.PG_tail | c.PG_partially_mapped)
        if zeros:
            try_to_map_to_zeropage(m, part)
    m.event[c.THP_SPLIT_PAGE] += 1


def partially_mapped(m: View, pfn: int) -> bool:
    """folio_test_partially_mapped(): is there a part of a huge page that nobody maps any more?"""
    present = parts(m, pfn)
    return len(present) < NR or any(not m.hot.mapcount[part] for part in present)


def likely_mapped_shared(m: View, pfn: int) -> bool:
    """folio_likely_mapped_shared(): does somebody else map a page too? Of a huge page Linux knows how many PMDs and
    PTEs map it, and how often its first page is mapped; for the rest it guesses.
    """
    if not is_huge(m, pfn):
        return bool(m.hot.mapcount[pfn] > 1)
    head = huge_head(pfn)
    if m.hot.flags[head] & c.PG_hugetlb:
        return bool(m.hot.mapcount[head] > 1)
    has_head = m.hot.flags[head] & c.PG_head != 0
    pmds = m.hot.link[head] if has_head else 0
    total = sum(m.hot.mapcount[part] for part in parts(m, pfn)) + pmds - pmds * NR
    first = m.hot.mapcount[head] if has_head else 0
    return bool(total > 1 and (pmds > 0 or total > NR or first > 1))


def huge_page_pinned(m: View, pfn: int) -> bool:
    """Whether a page has references that no mapping explains, and no list. Such a huge page cannot be split, in
    Linux.
    """
    return any(
        m.hot.refcount[part] > m.hot.mapcount[part] + (m.hot.flags[part] & c.PG_isolated != 0)
        for part in parts(m, pfn)
    )


def try_split_folio(m: View, pfn: int) -> bool:
    """A huge page that cannot move as a whole goes on in small pages. False: somebody holds a part of it."""
    if huge_page_pinned(m, pfn):
        return False
    split_folio(m, pfn, zeros=True)
    m.event[c.THP_MIGRATION_SPLIT] += 1
    m.event[c.THP_MIGRATION_FAIL] += 1
    return True


# ---------------------------------------------------------------- one PMD


def split_huge_pmd(m: View, pmd: int) -> None:
    """__split_huge_pmd(): 512 PTEs map what the leaf has mapped. What TLBs know stays true. The pages take over its
    dirty bit, as the PTEs do.
    """
    leaf = m.ram[pmd]
    head, table = pt.pte_pfn(leaf), withdraw(m, pmd)
    for i in range(NR):
        at = table * NR + i
        m.ram[at] = pt.leaf_pte(leaf, i * pt.PAGE_SIZE)
        m.hot.flags[head + i] |= c.PG_dirty if leaf & pt.PTE_DIRTY else 0
        if m.hot.mapcount[head + i] == 1:
            m.hot.rmap[head + i] = at * 8
    m.ram[pmd] = table << pt.PAGE_SHIFT | pt.PTE_PRESENT | pt.PTE_RW | pt.PTE_USER
    count_pmd(m, head, -1)
    m.event[c.THP_SPLIT_PMD] += 1


def split_huge_table(m: View, mm: MmStruct, va: int) -> int:
    """Where there is no PTE table: the table of a leaf that had to be split, or -1."""
    pmd = huge_pmd(m, mm.pgd, va)
    if pmd < 0:
        return -1
    split_huge_pmd(m, pmd)
    return pt.table_at(m.ram[pmd])


def zap_huge_pmd(m: View, mm: MmStruct, cpu: int, start: int, end: int, locked: bool) -> bool:
    """Unmap [start, end) if that is all that a leaf maps; else it is split, if it is one: False."""
    pmd = huge_pmd(m, mm.pgd, start)
    if pmd < 0:
        return False
    if end - start < SIZE:
        split_huge_pmd(m, pmd)
        return False
    head, table = pt.pte_pfn(m.ram[pmd]), withdraw(m, pmd)
    m.ram[pmd] = 0
    count_pmd(m, head, -1)
    if locked:
        for pfn in range(head, head + NR):
            munlock_page(m, pfn)
    mm.rss_anon -= NR
    flush_range(m, mm, start, end)
    if put_huge_page(m, cpu, head):
        m.charge(m.cost["free_page"])  # in Linux, one page
    free_table(m, cpu, mm, table << pt.PAGE_SHIFT)
    return True


def copy_huge_pmd(m: View, ctx: AllocCtx, dst: MmStruct, frm: int, va: int) -> Why:
    """fork(): both map the page, and neither may write."""
    to = pmd_alloc(m, ctx, dst, va)
    table = alloc_table(m, ctx, dst.asid, va, 0) if to >= 0 else 0
    if not table:
        return Why.NEED_RECLAIM
    dst.nr_tables += 1
    m.ram[frm] &= ~pt.PTE_RW
    set_huge_pmd(m, to, m.ram[frm] & ~pt.PTE_ACCESSED, table >> pt.PAGE_SHIFT)
    head = pt.pte_pfn(m.ram[frm])
    for pfn in range(head, head + NR):
        m.hot.mapcount[pfn] += 1
        m.hot.refcount[pfn] += 1
        m.hot.rmap[pfn] = 0
        m.hot.flags[pfn] &= ~c.PG_anon_exclusive
    dst.rss_anon += NR
    m.charge(m.cost["fork_page"])
    return Why.DONE


def change_huge_pmd(m: View, vma: VMA, pmd: int) -> None:
    """mprotect(): the leaf gets the protection of its area."""
    leaf = m.ram[pmd]
    head = pt.pte_pfn(leaf)
    new = leaf & (pt.PTE_ADDR_MASK | pt.PTE_ACCESSED | pt.PTE_DIRTY) | vma.prot & ~pt.PTE_ACCESSED
    if vma.flags & VM_WRITE and all(m.hot.flags[pfn] & c.PG_anon_exclusive for pfn in range(head, head + NR)):
        new |= pt.PTE_RW
    m.ram[pmd] = new | pt.PTE_PSE


def move_huge_pmd(m: View, ctx: AllocCtx, mm: MmStruct, frm: int, new: int) -> Why:
    """mremap() of all that a leaf maps, to where a leaf can stand. NO_TARGET: a table is there already."""
    to = pmd_alloc(m, ctx, mm, new)
    if to < 0:
        return Why.NEED_RECLAIM
    if m.ram[to]:
        return Why.NO_TARGET
    deposit(m, to, withdraw(m, frm))
    m.ram[to], m.ram[frm] = m.ram[frm], 0
    return Why.DONE


def reuse_huge_pmd(m: View, vma: VMA, pmd: int) -> bool:
    """do_huge_pmd_wp_page(): a write to a huge page mapped read-only, if nobody else has it. Else it must be split."""
    head = pt.pte_pfn(m.ram[pmd])
    for pfn in range(head, head + NR):
        flags = m.hot.flags[pfn]
        if not flags & c.PG_anon_exclusive and (m.hot.refcount[pfn] != 1 or flags & c.PG_locked):
            return False
    for pfn in range(head, head + NR):
        m.hot.flags[pfn] |= c.PG_anon_exclusive
        m.cold.mapping[pfn] = vma.anon_vma.id if vma.anon_vma is not None else 0
    m.ram[pmd] |= pt.PTE_RW | pt.PTE_DIRTY | pt.PTE_ACCESSED
    tlb_flush_mm(m, vma.mm.asid)
    m.event[c.PGREUSE] += 1
    return True


# ---------------------------------------------------------------- lazyfree


def discard_mappings(m: View, vma: VMA, head: int, keep: bool) -> bool:
    """try_to_unmap_one() for all of a huge page that is lazyfree, in one area; False: it must stay."""
    pmd, index = mapping_pmd(m, vma, head), m.cold.index[head]
    if pmd >= 0:
        split_huge_pmd(m, pmd)
    for i in range(NR):
        va = vma.start + (index + i - vma.pgoff << pt.PAGE_SHIFT)
        if not vma.start <= va < vma.end:
            continue
        at = pt.pte_index(m.ram, m.hw.levels, vma.mm.pgd, va)
        if at >= 0 and is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == head + i:
            if keep or not try_to_unmap_one(m, head + i, at, vma.mm):
                return False
            m.hot.rmap[head + i] = 0
            m.node_stat[m.node(head), c.NR_ANON_MAPPED] -= not m.hot.mapcount[head + i]
    return True


def discard_huge_page(m: View, head: int) -> bool:
    """try_to_unmap() of a huge page that is lazyfree, all of it isolated. Leaves are split first; no TLB is flushed.

    False: somebody has written to a part of it, or holds one. Then it is lazyfree no more, and stays mapped where the
    walk has not been yet.
    """
    anon_vma = m.mem.rmap_root(m.cold.mapping[head])
    pages = range(head, head + NR)
    keep = huge_page_pinned(m, head) or any(m.hot.flags[pfn] & c.PG_dirty for pfn in pages)
    vmas = anon_vma.vmas if anon_vma is not None else []
    if all(discard_mappings(m, vma, head, keep) for vma in vmas):
        return True
    dirty = any(m.hot.flags[pfn] & c.PG_dirty for pfn in pages)
    for pfn in pages:
        m.hot.flags[pfn] |= c.PG_dirty if dirty else 0
        if is_lazyfree(m, pfn):
            folio_set_swapbacked(m, pfn)
    return False


# ---------------------------------------------------------------- migration


def is_huge_list(m: View, pfns: list[int]) -> bool:
    """Do these begin with all pages of a huge page, in order, that somebody maps and one anon_vma leads to? Not if it
    is to be split as soon as it is met.
    """
    head = pfns[0]
    whole = m.hot.flags[head] & (c.PG_head | c.PG_partially_mapped) == c.PG_head
    if not whole or pfns[:NR] != list(range(head, head + NR)):
        return False
    mapping, index = m.cold.mapping[head], m.cold.index[head]
    return m.hot.mapcount[head] > 0 and all(
        is_huge(m, head + i) and m.cold.mapping[head + i] == mapping and m.cold.index[head + i] == index + i
        for i in range(NR)
    )


def change_mapping(m: View, src: int, dst: int, rmap: int) -> None:
    """One mapping of src is one of dst now."""
    m.hot.mapcount[src] -= 1
    m.hot.refcount[src] -= 1
    m.hot.rmap[src] = 0
    m.hot.mapcount[dst] += 1
    m.hot.refcount[dst] += 1
    m.hot.rmap[dst] = rmap if m.hot.mapcount[dst] == 1 else 0


def remap_huge_page(m: View, src: int, dst: int) -> None:
    """Whoever maps the huge page at src, by a leaf or by PTEs, maps the one at dst. No TLB is flushed.

    There is no migration entry: nobody can look between this and the copy before it. Linux, which takes PTEs away one
    by one, sees the page partially mapped meanwhile, and splits it when it meets it next (deferred_split_folio()).
    """
    anon_vma = m.mem.rmap_root(m.cold.mapping[src])
    index, moved = m.cold.index[src], dst - src << pt.PAGE_SHIFT
    for vma in anon_vma.vmas if anon_vma is not None else ():
        pmd = mapping_pmd(m, vma, src)
        if pmd >= 0:
            m.ram[pmd] += moved
            count_pmd(m, src, -1)
            count_pmd(m, dst, 1)
            for i in range(NR):
                change_mapping(m, src + i, dst + i, 0)
            continue
        for i in range(NR):
            va = vma.start + (index + i - vma.pgoff << pt.PAGE_SHIFT)
            if not vma.start <= va < vma.end:
                continue
            at = pt.pte_index(m.ram, m.hw.levels, vma.mm.pgd, va)
            if at >= 0 and is_page(m.ram[at]) and pt.pte_pfn(m.ram[at]) == src + i:
                m.ram[at] += moved
                change_mapping(m, src + i, dst + i, at * 8)
                if m.hot.mapcount[src + i] == 0:
                    m.hot.flags[dst] |= c.PG_partially_mapped


# ---------------------------------------------------------------- what drivers call


def do_huge_pmd_anonymous_page(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, va: int, write: bool, gfp: int
) -> Why:
    """First touch of the 2 MiB at va, of which nothing is mapped: a huge page, or for a read zeros.

    Returns ``Why``: NO_TARGET when there is no huge page, or something is mapped there; NEED_RECLAIM: no frame for a
    table. For reads Linux has one huge page of zeros; here 512 PTEs name the small one, and the PMD is SPECIAL.
    """
    m = View(mem)
    pmd = pmd_alloc(m, ctx, mm, va)
    if pmd < 0:
        return Why.NEED_RECLAIM
    if m.ram[pmd] and not zapped_huge_zero(m, pmd):
        return Why.NO_TARGET
    if not write:
        table = pte_alloc(m, ctx, mm, va)
        if table < 0:
            return Why.NEED_RECLAIM
        for at in range(table, table + NR):
            m.ram[at] = mem.zero_pfn << pt.PAGE_SHIFT | pt.PTE_SPECIAL | vma.prot
        m.ram[pmd] |= pt.PTE_SPECIAL
    else:
        why = map_huge_page(m, mm, vma, ctx, va, pmd, gfp)
        if why != Why.DONE:
            return why
    ctx.min_flt += 1
    m.event[c.PGFAULT] += 1
    m.charge(m.cost["fault"])
    m.hw.trace(EV_PAGE_FAULT_USER, va, 0, 4 | write << 1)
    return Why.DONE


def zapped_huge_zero(m: View, pmd: int) -> bool:
    """Whether nothing is left of a huge page of zeros that was mapped here. Linux, which had no table for it, can map
    another. Once a part of it has become something else, it is a table like others.
    """
    if m.ram[pmd] & (pt.PTE_SPECIAL | pt.PTE_PSE) != pt.PTE_SPECIAL:
        return False
    table = pt.table_at(m.ram[pmd])
    if any(m.ram[at] for at in range(table, table + NR)):
        m.ram[pmd] &= ~pt.PTE_SPECIAL
        return False
    return True


def map_huge_page(m: View, mm: MmStruct, vma: VMA, ctx: AllocCtx, va: int, pmd: int, gfp: int) -> Why:
    """__do_huge_pmd_anonymous_page()."""
    index = linear_page_index(vma, va)
    policy = get_vma_policy(ctx, vma, index)
    head = alloc_huge_mpol(m, ctx, policy, index >> c.HPAGE_PMD_ORDER, c.GFP_USER_MOVABLE | gfp)
    if head == c.NO_PFN:
        m.event[c.THP_FAULT_FALLBACK] += 1
        return Why.NO_TARGET
    table = m.ram[pmd] & pt.PTE_ADDR_MASK
    if not table:
        table = alloc_table(m, ctx, mm.asid, va, 0)
        if not table:
            free_pages_block(m, head, c.HPAGE_PMD_ORDER)
            return Why.NEED_RECLAIM
        mm.nr_tables += 1
    for pfn in range(head, head + NR):
        m.fill_page(pfn, 0)
    new_huge_page(m, vma, va, head)
    rights = vma.prot | pt.PTE_DIRTY | (pt.PTE_RW if vma.flags & VM_WRITE else 0)
    set_huge_pmd(m, pmd, head << pt.PAGE_SHIFT | rights, table >> pt.PAGE_SHIFT)
    add_huge_to_lru(m, ctx.cpu, head)
    m.event[c.THP_FAULT_ALLOC] += 1
    m.charge(NR * m.cost["zero_page"])
    return Why.DONE


def split_pmd(mem: MemMap, mm: MmStruct, va: int) -> None:
    """split_huge_pmd_address(): if a leaf maps va, small pages do so now."""
    split_huge_table(View(mem), mm, va)


def split_pages(mem: MemMap, pfns: NDArray[np.uint32]) -> int:
    """split_folio() for every huge page that has a page in the list; returns how many there were."""
    m = View(mem)
    n = 0
    for pfn in pfns.tolist():
        if is_huge(m, pfn):
            split_folio(m, pfn, zeros=True)
            n += 1
    return n
