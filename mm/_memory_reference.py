"""Plain-Python twin of _memory: what happens to the page tables of programs.

Mirrors mm/memory.c, mm/mprotect.c and mm/mremap.c, for anonymous memory and files. Every kernel takes a range and goes
through it table by table; what it meets in a PTE is one of four things:

    0                  nothing was ever touched there
    a page             present, or PROT_NONE; the zero page is marked SPECIAL and counts for nobody
    a migration entry  the page is on its way to another frame
    a swap entry       the page is in a slot of a swap area, perhaps in the swap cache as well

They never wait: a range that cannot be finished is left at the page where it stopped, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import free_pages_bulk
from numalab.mm._fault_reference import count_faults, fault_table, flush_range, put_mapping
from numalab.mm._filemap_reference import add_rss, unmap_file_page
from numalab.mm._huge_memory_reference import SIZE as HPAGE_PMD_SIZE
from numalab.mm._huge_memory_reference import (
    change_huge_pmd,
    copy_huge_pmd,
    move_huge_pmd,
    reuse_huge_pmd,
    split_huge_pmd,
    split_huge_table,
    zap_huge_pmd,
)
from numalab.mm._lru_chunks_reference import lru_check_holes
from numalab.mm._lru_reference import lru_drain_cpu, munlock_page, page_free_prepare
from numalab.mm._migrate_entry_reference import mig_entry_pfn, mig_entry_protect, mig_entry_to_read
from numalab.mm._page_alloc_reference import free_table, pte_alloc
from numalab.mm._reference import View, huge_pmd, is_page, pte_table, pte_tables, ptes, table_end
from numalab.mm._swap_reference import entry_of, free_swap_and_cache, swap_dup
from numalab.mm.kernels import Why
from numalab.mm.vm_flags import VM_WRITE

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct


# ---------------------------------------------------------------- faults


def fault_leaf(m: View, ctx: AllocCtx, vma: VMA, va: int, write: bool) -> bool:
    """Whether va is mapped by a 2 MiB leaf that allows the access. What others have too must be copied, a small page
    at a time: the leaf is split.
    """
    pmd = huge_pmd(m, vma.mm.pgd, va)
    if pmd < 0:
        return False
    if not write or m.ram[pmd] & pt.PTE_RW:
        return True
    if not reuse_huge_pmd(m, vma, pmd):
        split_huge_pmd(m, pmd)
        return False
    count_faults(m, ctx, va, 1, write, present=True)
    return True


def fault_range(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int, write: bool
) -> tuple[int, int, int]:
    """Fault [start, end) of one VMA that allows the access: handle_mm_fault() for a range.

    Returns (next, why, entry): how far it came, ``Why``; for WAIT_IO and WAIT_LOCK the swap entry, for MIGRATION_ENTRY
    and WAIT_PAGE the page; FILE: beyond the end of the file, or no room for a page of it. A private write needs
    ``vma.anon_vma``.
    """
    m = View(mem)
    va, why, stopped = start, Why.DONE, 0
    while va < end and why == Why.DONE:
        if fault_leaf(m, ctx, vma, va, write):
            va = min(table_end(va), end)
            continue
        table = pte_alloc(m, ctx, mm, va)
        if table < 0:
            return va, Why.NEED_RECLAIM, 0
        va, why, stopped = fault_table(m, ctx, vma, table, va, min(table_end(va), end), write)
    return va, why, stopped


# ---------------------------------------------------------------- unmapping


def zap_table(m: View, mm: MmStruct, cpu: int, table: int, start: int, end: int, locked: bool) -> None:
    """zap_pte_range(): empty the PTEs of [start, end)."""
    gone: list[int] = []  # mmu_gather: frames to free once no TLB can name them
    late: list[int] = []  # those of a file that were cut off while they were mapped
    touched = False
    for _, at in ptes(table, start, end):
        pte = m.ram[at]
        if pt.pte_swaplike(pte) and not pt.is_migration_entry(pte):
            free_swap_and_cache(m, cpu, entry_of(pte))
            mm.rss_swap -= 1
        elif is_page(pte) or pt.is_migration_entry(pte):
            pfn = mig_entry_pfn(pte) if pt.is_migration_entry(pte) else pt.pte_pfn(pte)
            if locked:
                munlock_page(m, pfn)
            if is_page(pte) and not m.hot.flags[pfn] & c.PG_anon:
                unmap_file_page(m, mm, pfn, pte)
                if not m.hot.refcount[pfn]:
                    page_free_prepare(m, pfn)
                    late.append(pfn)
            else:
                add_rss(m, mm, pfn, -1)
                if is_page(pte) and put_mapping(m, pfn):
                    page_free_prepare(m, pfn)
                    gone.append(pfn)
        touched = touched or pt.pte_mapped(pte)
        m.ram[at] = 0
    if touched:
        flush_range(m, mm, start, end)
        free_pages_bulk(m, cpu, gone + late)
        m.charge(len(gone + late) * m.cost["free_page"])


def zap_range(
    mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, locked: bool = False, file: bool = False
) -> None:
    """Unmap every page of [start, end) and free those that nobody else holds: unmap_page_range().

    locked: the range lies in a VM_LOCKED VMA; file: in one of a file. Page tables stay.
    """
    m = View(mem)
    lru_drain_cpu(m, cpu)
    for _, va, to in pte_tables(m, mm.pgd, start, end):
        if zap_huge_pmd(m, mm, cpu, va, to, locked):
            continue
        table, _ = pte_table(m, mm.pgd, va)
        if table >= 0:
            zap_table(m, mm, cpu, table, va, to, locked)
    lru_check_holes(m)


def free_level(
    m: View, cpu: int, mm: MmStruct, table: int, level: int, base: int, within: tuple[int, int, int, int]
) -> None:
    """free_pgd_range() at one level: free the lower tables whose whole reach lies in [floor, ceiling).

    base: the first address that ``table`` maps; within: start, end, floor, ceiling of free_tables().
    """
    start, end, floor, ceiling = within
    size = 1 << pt.PAGE_SHIFT + 9 * level
    first, last = max(0, (start - base) // size), min(511, (end - 1 - base) // size)
    for i in range(first, last + 1):
        entry = m.ram[table + i]
        if not entry & pt.PTE_PRESENT:
            continue
        at = base + i * size
        if level > 1:
            free_level(m, cpu, mm, pt.table_at(entry), level - 1, at, within)
        if at >= floor and (not ceiling or at + size <= ceiling):
            free_table(m, cpu, mm, entry & pt.PTE_ADDR_MASK)
            m.ram[table + i] = 0


def free_tables(mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, floor: int, ceiling: int) -> None:
    """free_pgtables(): give back the page tables of [start, end) that no VMA needs any more.

    floor: end of the VMA before (0 = none), ceiling: start of the next one (0 = none).
    """
    free_level(View(mem), cpu, mm, pt.table_at(mm.pgd), mem.hw.levels - 1, 0, (start, end, floor, ceiling))


# ---------------------------------------------------------------- fork


def copy_pte(m: View, dst: MmStruct, to: int, frm: int) -> None:
    """copy_present_pte() and copy_nonpresent_pte(): the child's PTE, which neither side may write through any more."""
    pte = m.ram[frm]
    if pt.pte_mapped(pte):
        if not pte & pt.PTE_SPECIAL:
            pfn = pt.pte_pfn(pte)
            m.hot.mapcount[pfn] += 1
            m.hot.refcount[pfn] += 1
            m.hot.rmap[pfn] = 0
            m.hot.flags[pfn] &= ~c.PG_anon_exclusive
            add_rss(m, dst, pfn, 1)
            m.charge(m.cost["fork_page"])
        m.ram[frm] = pte & ~pt.PTE_RW
        m.ram[to] = pte & ~(pt.PTE_RW | pt.PTE_ACCESSED)
    elif pt.is_migration_entry(pte):
        pfn = mig_entry_pfn(pte)
        m.hot.flags[pfn] = (m.hot.flags[pfn] | c.PG_migration_shared) & ~c.PG_anon_exclusive
        m.ram[frm] = m.ram[to] = mig_entry_to_read(pte)
        add_rss(m, dst, pfn, 1)
        m.charge(m.cost["fork_page"])
    elif pte:  # neither side has it for itself any more
        swap_dup(m, entry_of(pte))
        m.ram[frm] = m.ram[to] = entry_of(pte)
        dst.rss_swap += 1


def copy_range(
    mem: MemMap,
    dst: MmStruct,
    src: MmStruct,
    dst_vma: VMA,
    src_vma: VMA,
    ctx: AllocCtx,
    start: int,
    end: int,
) -> tuple[int, int, int]:
    """copy_page_range() for [start, end) of a private anonymous VMA; returns (next, why, 0)."""
    m = View(mem)
    reached, why = max(start, end), Why.DONE
    for table, va, stop in pte_tables(m, src.pgd, start, end):
        if table < 0:
            pmd = huge_pmd(m, src.pgd, va)
            if pmd >= 0 and copy_huge_pmd(m, ctx, dst, pmd, va) != Why.DONE:
                reached, why = va, Why.NEED_RECLAIM
                break
            continue
        to = pte_alloc(m, ctx, dst, va)
        if to < 0:
            reached, why = va, Why.NEED_RECLAIM
            break
        for _, at in ptes(table, va, stop):
            copy_pte(m, dst, to + at - table, at)
    flush_range(m, src, start, reached)
    return reached, why, 0


# ---------------------------------------------------------------- protection, moving


def protect_range(mem: MemMap, mm: MmStruct, vma: VMA, start: int, end: int) -> None:
    """change_protection(): bring the PTEs of [start, end) in line with ``vma.flags``.

    Frame, accessed and dirty stay as they are. can_change_pte_writable(): a page that is ours alone need not fault to
    become writable again.
    """
    m = View(mem)
    may_write = vma.flags & VM_WRITE != 0
    keep = pt.PTE_ADDR_MASK | pt.PTE_ACCESSED | pt.PTE_DIRTY | pt.PTE_SPECIAL
    for _, va, stop in pte_tables(m, mm.pgd, start, end):
        pmd = huge_pmd(m, mm.pgd, va)
        if pmd >= 0 and stop - va == HPAGE_PMD_SIZE:
            change_huge_pmd(m, vma, pmd)
            continue
        table = pte_table(m, mm.pgd, va)[0] if pmd < 0 else split_huge_table(m, mm, va)
        for _, at in ptes(table, va, stop) if table >= 0 else ():
            pte = m.ram[at]
            if pt.pte_mapped(pte):
                m.ram[at] = pte & keep | vma.prot & ~pt.PTE_ACCESSED
                if may_write and is_page(pte) and m.hot.flags[pt.pte_pfn(pte)] & c.PG_anon_exclusive:
                    m.ram[at] |= pt.PTE_RW
            elif pt.is_migration_entry(pte):
                m.ram[at] = mig_entry_protect(pte, vma.prot, may_write)
    flush_range(m, mm, start, end)


def move_range(
    mem: MemMap, mm: MmStruct, ctx: AllocCtx, old: int, new: int, length: int
) -> tuple[int, int, int]:
    """move_page_tables(): move every PTE of [old, old + length) to ``new``; returns (bytes done, why, 0)."""
    m = View(mem)
    done, why = 0, Why.DONE
    while done < length:
        frm, stop = pte_table(m, mm.pgd, old + done)
        if frm < 0 and (pmd := huge_pmd(m, mm.pgd, old + done)) >= 0:
            if not (old + done | new + done) % HPAGE_PMD_SIZE and length - done >= HPAGE_PMD_SIZE:
                why = move_huge_pmd(m, ctx, mm, pmd, new + done)
                if why == Why.NEED_RECLAIM:
                    break
                if why == Why.DONE:
                    done += HPAGE_PMD_SIZE
                    continue
                why = Why.DONE
            frm = split_huge_table(m, mm, old + done)
        if frm < 0:
            done = min(stop - old, length)
            continue
        at = frm + (old + done >> pt.PAGE_SHIFT & 511)
        if m.ram[at]:
            table = pte_alloc(m, ctx, mm, new + done)
            if table < 0:
                why = Why.NEED_RECLAIM
                break
            move_pte(m, at, table + (new + done >> pt.PAGE_SHIFT & 511))
        done += pt.PAGE_SIZE
    flush_range(m, mm, old, old + done)
    return done, why, 0


def move_pte(m: View, frm: int, to: int) -> None:
    """Move one PTE, and tell whoever knew where it was."""
    pte = m.ram[frm]
    m.ram[to], m.ram[frm] = pte, 0
    if is_page(pte):
        pfn = pt.pte_pfn(pte)
        if m.hot.mapcount[pfn] == 1:
            m.hot.rmap[pfn] = to * 8
    elif pt.is_migration_entry(pte):
        m.hot.flags[mig_entry_pfn(pte)] |= c.PG_migration_shared
