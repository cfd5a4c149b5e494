"""Moving pages of hugetlb: to a free huge page of the target, or a new one that takes the old one's place in the pool.

Mirrors migrate_hugetlbs() and unmap_and_move_huge_page() of mm/migrate.c, and hugetlb's part of
alloc_migration_target(). Nobody runs between the unmapping and the end, so there are no migration entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._pagetable import PTE_ADDR_MASK, PTE_DIRTY
from numalab.arch.errno import ENOMEM
from numalab.mm import _constants as c
from numalab.mm._migrate import Target
from numalab.mm.hugetlb import huge_node, mapped_at
from numalab.mm.migrate.ledger import Fate, Pass, Reason
from numalab.mm.migrate.passes import wait_for_pages
from numalab.mm.vm_flags import PAGE_SHIFT

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemMap
    from numalab.mm._page_list import PageList
    from numalab.mm.migrate.ledger import Ledger

__all__ = ["migrate_hugetlbs", "putback_hugetlbs"]

NR = c.HPAGE_PMD_NR
_ISOLATED = np.uint32(c.PG_isolated)
#: What a page takes along.
_STATE = np.uint32(c.PG_uptodate | c.PG_dirty | c.PG_anon | c.PG_anon_exclusive)


def putback_hugetlbs(mem: MemMap, pages: PageList) -> None:
    """folio_putback_active_hugetlb() for all in the list: they are as before."""
    while pages.hugetlbs:
        _putback(mem, pages.hugetlbs.pop())


def _putback(mem: MemMap, head: int) -> None:
    mem.hot["flags"][head : head + NR] &= ~_ISOLATED
    mem.hstate.put_page(head)


def migrate_hugetlbs(
    mem: MemMap, ctx: AllocCtx, pages: PageList, target: Target, ledger: Ledger
) -> tuple[int, int]:
    """Move the pages of hugetlb in a list. Returns (how many moved, how many did not or -ENOMEM: no room for one).

    Those that stay are in the list.
    """
    ledger.begin(len(ledger.passes))
    done = Pass("hugetlb", 0, 0, {}, mem.hw.now)
    ledger.passes.append(done)
    moved = 0
    stay: list[int] = []
    while pages.hugetlbs:
        src = pages.hugetlbs[0]
        dst = _alloc_target(mem, ctx, src, target)
        why = Reason.TARGET_FULL if dst is None else _why_busy(mem, src)
        if dst is not None and why == Reason.LOCKED:
            mem.hstate.free_huge_folio(dst)
            done.waited += wait_for_pages(mem, np.arange(src, src + NR, dtype=np.uint32))
            continue
        pages.hugetlbs.pop(0)
        done.tried += NR
        if dst is not None and why == Reason.NONE:
            _note(ledger, Fate.MOVED, src, dst)
            _move(mem, src, dst)
            moved += 1
            done.moved += NR
            continue
        _note(ledger, Fate.LEFT, src, 0, why)
        done.left[why] = done.left.get(why, 0) + NR
        ledger.fail(why, NR)
        stay.append(src)
        if dst is None:
            pages.hugetlbs[:0] = stay
            return moved, -ENOMEM
        mem.hstate.free_huge_folio(dst)
    pages.hugetlbs.extend(stay)
    return moved, len(stay)


def _note(ledger: Ledger, fate: Fate, src: int, dst: int, why: Reason = Reason.NONE) -> None:
    for i in range(NR) if ledger.log is not None else ():
        assert ledger.log is not None
        ledger.log.note(fate, src + i, 0, dst + i if dst else 0, why)


def _alloc_target(mem: MemMap, ctx: AllocCtx, src: int, target: Target) -> int | None:
    if target.nid >= 0:
        return mem.hstate.alloc_for_migration(ctx, target)
    ilx = target.ilx + (int(mem.cold["index"][src]) >> c.HPAGE_PMD_ORDER)
    nid, nodes, _ = huge_node(mem, ctx, target.policy, ilx)
    return mem.hstate.alloc_for_migration(ctx, Target(nid=nid, nodes=nodes or mem.memory_nodes))


def _why_busy(mem: MemMap, src: int) -> Reason:
    """Has somebody locked it, or does somebody hold it who is neither a mapping, nor its file, nor this migration?"""
    page = mem.hot[src : src + NR]
    if (page["flags"] & np.uint32(c.PG_locked)).any():
        return Reason.LOCKED
    cached = int(mem.cold["mapping"][src]) in mem.hstate.files
    known = page["mapcount"].astype(np.int64) + 1 + cached
    return Reason.PINNED if (page["refcount"] != known).any() else Reason.NONE


def _move(mem: MemMap, src: int, dst: int) -> None:
    """Whoever maps the page at src, or has it as a file's, has the one at dst, with the same in it; src is free."""
    k = mem.k.hugetlb
    root = mem.rmap_root(int(mem.cold["mapping"][src]))
    k.copy_user_large_folio(mem, dst, src)
    for vma in root.vmas if root is not None else ():
        va = mapped_at(vma, src)
        if va is not None:
            leaf = k.huge_ptep_get(mem, vma.mm, va)
            if leaf & PTE_DIRTY:
                mem.hot["flags"][src : src + NR] |= np.uint32(c.PG_dirty)
            k.set_huge_pte_at(mem, vma.mm, va, leaf & ~PTE_ADDR_MASK | dst << PAGE_SHIFT)
    old, new = slice(src, src + NR), slice(dst, dst + NR)
    mem.cold[new] = mem.cold[old]
    hot = mem.hot
    hot["flags"][new] |= hot["flags"][old] & _STATE
    hot["mapcount"][new], hot["refcount"][new] = hot["mapcount"][old], hot["refcount"][old] - 1
    hot["mapcount"][old], hot["refcount"][old] = 0, 0
    file = mem.hstate.files.get(int(mem.cold["mapping"][dst]))
    if file is not None:
        file.pages[int(mem.cold["index"][dst]) >> c.HPAGE_PMD_ORDER] = dst
    mem.hstate.move_state(src, dst)
    mem.hstate.free_huge_folio(src)
