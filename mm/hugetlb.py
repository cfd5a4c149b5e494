"""Areas of hugetlb: faults, copies, reservations. What fits the pages of such an area fits whole huge pages only.

A mapping reserves its pages when it is made, unless MAP_NORESERVE: a private one for itself, a shared one for its file.
A fault takes a page from the pool, of the node that the policy wants or else of another that it allows; whoever has
nothing reserved and finds none gets SIGBUS. A copy on write is such a fault, but for the process that reserved: if
there is no page for its copy, its children lose theirs.

Mirrors the other half of mm/hugetlb.c. ``vma.vm_private_data`` of a private area is the set of indexes for which its
reservation has been used; of one that a child inherited, None; or UNMAPPED, when pages were taken away from it.
Indexes count huge pages from the beginning of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from numalab.arch._hw import EV_PAGE_FAULT_USER
from numalab.arch._pagetable import PTE_ACCESSED, PTE_ADDR_MASK, PTE_DIRTY, PTE_PSE, PTE_RW
from numalab.mm import _constants as c
from numalab.mm.kernels import Why
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_INTERLEAVE,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
)
from numalab.mm.nodemask import first_node
from numalab.mm.page_alloc import Slowpath
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vm_flags import (
    PAGE_SHIFT,
    PMD_SIZE,
    VM_HUGETLB,
    VM_MAYSHARE,
    VM_NORESERVE,
    VM_SHARED,
    VM_WRITE,
)

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, MemMap, MemPolicy, MmStruct
    from numalab.mm.hugetlbfs import HugetlbFile

__all__ = [
    "copy_hugetlb_page_range", "huge_node", "hugetlb_change_protection", "hugetlb_fault", "hugetlb_index",
    "hugetlb_reserve_pages", "hugetlb_total_pages", "hugetlb_vm_op_close", "mapped_at", "move_hugetlb_page_tables",
    "unmap_hugepage_range", "unmap_shared",
]  # fmt: skip

#: HPAGE_RESV_UNMAPPED: its data were given up for another process; what is gone stays gone.
UNMAPPED = "unmapped"
NR = c.HPAGE_PMD_NR
_ORDER = c.HPAGE_PMD_ORDER
_ANON = np.uint32(c.PG_anon | c.PG_anon_exclusive)
_EXCLUSIVE = np.uint32(c.PG_anon_exclusive)


def hugetlb_index(vma: VMA, addr: int) -> int:
    """vma_hugecache_offset(): which huge page of its file is at ``addr``."""
    return (vma.pgoff >> _ORDER) + (addr - vma.start) // PMD_SIZE


def hugetlb_cached(vma: VMA, addr: int) -> bool:
    """mincore() where no page table is: whether the file has the page. Where there is a table, it alone counts."""
    walked = vma.mm.mem.k.hugetlb.hugetlb_walk(vma.mm.mem, vma.mm, addr)
    return not walked and hugetlb_index(vma, addr) in _file(vma).pages


def _file(vma: VMA) -> HugetlbFile:
    return cast("HugetlbFile", vma.file)


def _page(head: int) -> slice:
    return slice(head, head + NR)


def _head(leaf: int) -> int:
    return (leaf & PTE_ADDR_MASK) >> PAGE_SHIFT


def _leaves(vma: VMA, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(address, leaf) of each page that is mapped in a part of an area."""
    mem = vma.mm.mem
    for va in range(start & -PMD_SIZE, end, PMD_SIZE):
        leaf = mem.k.hugetlb.huge_ptep_get(mem, vma.mm, va)
        if leaf:
            yield va, leaf


def mapped_at(vma: VMA, head: int) -> int | None:
    """Where an area maps a page, None = nowhere."""
    mem = vma.mm.mem
    va = vma.start + (int(mem.cold["index"][head]) - vma.pgoff << PAGE_SHIFT)
    if not vma.start <= va < vma.end:
        return None
    leaf = mem.k.hugetlb.huge_ptep_get(mem, vma.mm, va)
    return va if leaf and _head(leaf) == head else None


def hugetlb_total_pages(mm: MmStruct) -> int:
    """Huge pages that an address space maps (mm->hugetlb_usage)."""
    areas = (vma for vma in mm.vmas.values() if vma.flags & VM_HUGETLB)
    return sum(1 for vma in areas for _ in _leaves(vma, vma.start, vma.end))


# ---------------------------------------------------------------- reservations


def _owner(vma: VMA) -> set[int] | None:
    """Of a private area with reservations, the indexes for which they have been used (HPAGE_RESV_OWNER)."""
    return vma.vm_private_data if isinstance(vma.vm_private_data, set) else None


def hugetlb_reserve_pages(vma: VMA, ctx: AllocCtx) -> None:
    """Promise a new mapping its pages. Raises KernelError(ENOMEM)."""
    if vma.flags & VM_NORESERVE:
        return
    hstate, file = vma.mm.mem.hstate, _file(vma)
    pages = set(range(hugetlb_index(vma, vma.start), hugetlb_index(vma, vma.end)))
    shared = vma.flags & VM_MAYSHARE
    hstate.acct_memory(ctx, len(pages - file.resv_map if shared else pages))
    if shared:
        file.resv_map |= pages
    else:
        vma.vm_private_data = set()


def hugetlb_vm_op_close(vma: VMA) -> None:
    """An area goes: what it had reserved and not used is free for others."""
    used = _owner(vma)
    if used is not None:
        pages = range(hugetlb_index(vma, vma.start), hugetlb_index(vma, vma.end))
        vma.mm.mem.hstate.unreserve(len(pages) - len(used.intersection(pages)))
        vma.vm_private_data = None


def _is_reserved(vma: VMA, index: int) -> bool:
    """vma_needs_reservation(), the other way round: is a page promised for this place?"""
    used = _owner(vma)
    return index in _file(vma).resv_map if vma.flags & VM_MAYSHARE else used is not None and index not in used


def _commit_reservation(vma: VMA, index: int) -> None:
    used = _file(vma).resv_map if vma.flags & VM_MAYSHARE else _owner(vma)
    if used is not None:
        used.add(index)


# ---------------------------------------------------------------- allocation


def huge_node(
    mem: MemMap, ctx: AllocCtx, policy: MemPolicy | None, ilx: int
) -> tuple[int, int, MemPolicy | None]:
    """Where a policy wants a huge page: (node tried first, nodes it may be on or 0 = all, the policy that says so).

    policy: of the area; None: the task's decides. ilx: the turn of the page for interleaving.
    """
    policy = ctx.policy if policy is None else policy
    nid, nodes = ctx.nid, 0
    if policy is None:
        return nid, nodes, policy
    if policy.mode in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        nid = mem.k.page_alloc.interleave_node(mem, ctx, policy, ilx)
    elif policy.mode == MPOL_PREFERRED:
        nid = first_node(policy.nodes)
    elif policy.mode in (MPOL_BIND, MPOL_PREFERRED_MANY):
        # If the cpuset has moved away from what is bound, it wins.
        nodes = policy.nodes if policy.mode != MPOL_BIND or policy.nodes & ctx.mems_allowed else 0
        nid = policy.home_node if policy.home_node >= 0 else nid
    return nid, nodes, policy


def _alloc_hugetlb_folio(vma: VMA, ctx: AllocCtx, addr: int, *, avoid_reserve: bool = False) -> int | None:
    """A page for ``addr``, without contents, that nobody holds yet; None: there is none that it may have.

    avoid_reserve: only of what nobody has been promised.
    """
    mem, hstate = vma.mm.mem, vma.mm.mem.hstate
    index = hugetlb_index(vma, addr)
    reserved = _is_reserved(vma, index) and not avoid_reserve
    nid, nodes, policy = huge_node(mem, ctx, vma.policy, index)
    tries = [nodes, 0] if policy is not None and policy.mode == MPOL_PREFERRED_MANY else [nodes]
    head = None
    if reserved or hstate.available_huge_pages > 0:
        head = next((got for some in tries if (got := hstate.dequeue(ctx, nid, some)) is not None), None)
    if head is None:
        head = next(
            (got for some in tries if (got := hstate.alloc_surplus(ctx, nid, some)) is not None), None
        )
    if head is None:
        return None
    if reserved:
        hstate.resv_huge_pages -= 1
    _commit_reservation(vma, index)
    return head


# ---------------------------------------------------------------- faults


def hugetlb_fault(vma: VMA, ctx: AllocCtx, addr: int, write: bool) -> Why:
    """Make the page at ``addr`` accessible: DONE; NEED_RECLAIM: no frame for a table; FILE: the page cannot be had."""
    mm, mem = vma.mm, vma.mm.mem
    va = addr & -PMD_SIZE
    leaf = mem.k.hugetlb.huge_ptep_get(mem, mm, va)
    if leaf and (leaf & PTE_RW or not write):
        return Why.DONE
    why = _wp(vma, ctx, va, leaf) if leaf else _no_page(vma, ctx, va, write)
    if why == Why.DONE:
        ctx.min_flt += 1
        mem.event[c.PGFAULT] += 1
        mem.hw.advance(mem.hw.cost["fault"])
        mem.hw.trace(EV_PAGE_FAULT_USER, va, 0, 4 | write << 1 | bool(leaf))
    return why


def _no_page(vma: VMA, ctx: AllocCtx, va: int, write: bool) -> Why:
    """hugetlb_no_page(): nothing is mapped there. There is no page of zeros: a read gets one of its own as well."""
    mem, file, index = vma.mm.mem, _file(vma), hugetlb_index(vma, va)
    if not mem.k.hugetlb.huge_pte_alloc(mem, ctx, vma.mm, va):
        return Why.NEED_RECLAIM
    if vma.vm_private_data == UNMAPPED:
        return Why.FILE
    shared = vma.flags & VM_MAYSHARE
    head = file.pages.get(index) if shared else None
    if head is None:
        head = _alloc_hugetlb_folio(vma, ctx, va)
        if head is None:
            return Why.FILE
        mem.k.hugetlb.folio_zero_user(mem, head)
        mem.hot["flags"][_page(head)] |= np.uint32(c.PG_uptodate)
        if shared:
            file.add_to_page_cache(index, head)
        else:
            _add_new_anon_rmap(vma, va, head)
    _map(vma, va, head, bool(write or shared))
    return Why.DONE


def _add_new_anon_rmap(vma: VMA, va: int, head: int) -> None:
    """hugetlb_add_new_anon_rmap(): a new page is this area's alone."""
    mem = vma.mm.mem
    anon_vma_prepare(vma.mm, vma)
    assert vma.anon_vma is not None
    mem.hot["flags"][_page(head)] |= _ANON
    mem.cold["mapping"][_page(head)] = vma.anon_vma.id
    first = vma.pgoff + (va - vma.start >> PAGE_SHIFT)
    mem.cold["index"][_page(head)] = range(first, first + NR)


def _map(vma: VMA, va: int, head: int, writable: bool) -> None:
    """make_huge_pte(), and the mapping is counted."""
    mem = vma.mm.mem
    leaf = head << PAGE_SHIFT | vma.prot & ~PTE_RW | PTE_PSE
    if writable and vma.flags & VM_WRITE:
        leaf |= PTE_RW | PTE_DIRTY
    mem.k.hugetlb.set_huge_pte_at(mem, vma.mm, va, leaf)
    mem.hot["mapcount"][_page(head)] += 1
    mem.hot["refcount"][_page(head)] += 1


def _wp(vma: VMA, ctx: AllocCtx, va: int, leaf: int) -> Why:
    """hugetlb_wp(): a write to a page mapped read-only; it is taken over if nobody else has it, else copied."""
    mem, head = vma.mm.mem, _head(leaf)
    if not vma.flags & VM_SHARED:
        if mem.hot["mapcount"][head] > 1:
            new = _alloc_hugetlb_folio(vma, ctx, va, avoid_reserve=_owner(vma) is not None)
            if new is not None:
                _cow(vma, va, head, new)
                return Why.DONE
            if _owner(vma) is None:
                return Why.FILE
            _unmap_ref_private(vma, head)
        anon_vma_prepare(vma.mm, vma)
        assert vma.anon_vma is not None
        mem.hot["flags"][_page(head)] |= _EXCLUSIVE
        mem.cold["mapping"][_page(head)] = vma.anon_vma.id
    mem.k.hugetlb.set_huge_pte_at(mem, vma.mm, va, leaf | PTE_RW | PTE_DIRTY | PTE_ACCESSED)
    return Why.DONE


def _cow(vma: VMA, va: int, old: int, new: int) -> None:
    mem = vma.mm.mem
    mem.k.hugetlb.copy_user_large_folio(mem, new, old)
    mem.hot["flags"][_page(new)] |= np.uint32(c.PG_uptodate)
    _add_new_anon_rmap(vma, va, new)
    _unmap(vma, va, old)
    _map(vma, va, new, True)


def _unmap_ref_private(vma: VMA, head: int) -> None:
    """There is no page for the copy of the process that reserved: its children do without."""
    for other in list(_file(vma).mapping.vmas):
        if other is vma or other.flags & VM_MAYSHARE or _owner(other) is not None:
            continue
        va = mapped_at(other, head)
        if va is not None:
            other.vm_private_data = UNMAPPED
            _unmap(other, va, head)


# ---------------------------------------------------------------- ranges


def _unmap(vma: VMA, va: int, head: int) -> None:
    """One mapping less of a page; the last one frees it."""
    mem = vma.mm.mem
    mem.k.hugetlb.set_huge_pte_at(mem, vma.mm, va, 0)
    mem.hot["mapcount"][_page(head)] -= 1
    mem.hstate.put_page(head)


def unmap_hugepage_range(vma: VMA, start: int, end: int) -> None:
    """Drop what is mapped in a part of an area. A page of its own leaves its reservation behind, unless there is
    surplus.

    Deliberately different: not if somebody else has the page too; there Linux counts below zero until that one goes.
    """
    mem, used = vma.mm.mem, _owner(vma)
    for va, leaf in _leaves(vma, start, end):
        head, index = _head(leaf), hugetlb_index(vma, va)
        alone = bool((mem.hot["refcount"][_page(head)] == 1).all())
        restore = alone and used is not None and index in used and not mem.hstate.surplus_huge_pages
        if leaf & PTE_DIRTY:
            mem.hot["flags"][_page(head)] |= np.uint32(c.PG_dirty)
        _unmap(vma, va, head)
        if restore and used is not None:
            used.remove(index)
            mem.hstate.resv_huge_pages += 1


def unmap_shared(mapping: AddressSpace, head: int) -> None:
    """hugetlb_vmdelete_list(): nobody maps a page of a file any more."""
    for vma in mapping.vmas:
        va = mapped_at(vma, head)
        if va is not None:
            _unmap(vma, va, head)


def copy_hugetlb_page_range(dst_vma: VMA, src_vma: VMA, ctx: AllocCtx) -> None:
    """fork(): both map the pages of a private area, and neither may write. Raises OutOfMemory."""
    mem = src_vma.mm.mem
    slow = Slowpath(mem, ctx)
    for va, leaf in _leaves(src_vma, src_vma.start, src_vma.end):
        while not mem.k.hugetlb.huge_pte_alloc(mem, ctx, dst_vma.mm, va):
            slow.reclaim()
        page = _page(_head(leaf))
        mem.k.hugetlb.set_huge_pte_at(mem, src_vma.mm, va, leaf & ~PTE_RW)
        mem.k.hugetlb.set_huge_pte_at(mem, dst_vma.mm, va, leaf & ~(PTE_RW | PTE_ACCESSED))
        mem.hot["flags"][page] &= ~_EXCLUSIVE
        mem.hot["mapcount"][page] += 1
        mem.hot["refcount"][page] += 1
        mem.hw.advance(mem.hw.cost["fork_page"])


def hugetlb_change_protection(vma: VMA, start: int, end: int) -> None:
    """mprotect(): the leaves get the rights of their area; a private one never becomes writable by this."""
    mem = vma.mm.mem
    for va, leaf in _leaves(vma, start, end):
        kept = leaf & (PTE_ADDR_MASK | PTE_ACCESSED | PTE_DIRTY)
        mem.k.hugetlb.set_huge_pte_at(mem, vma.mm, va, kept | vma.prot & ~PTE_ACCESSED | PTE_PSE)


def move_hugetlb_page_tables(vma: VMA, ctx: AllocCtx, old: int, new: int, length: int) -> None:
    """mremap(): the leaves of a range go elsewhere. Raises OutOfMemory, with a part moved."""
    mem, mm = vma.mm.mem, vma.mm
    slow = Slowpath(mem, ctx)
    for va, leaf in list(_leaves(vma, old, old + length)):
        while not mem.k.hugetlb.huge_pte_alloc(mem, ctx, mm, va - old + new):
            slow.reclaim()
        mem.k.hugetlb.set_huge_pte_at(mem, mm, va, 0)
        mem.k.hugetlb.set_huge_pte_at(mem, mm, va - old + new, leaf)
