"""Plain-Python twin of _lru: which pages stand on which list, per-CPU add batches, isolation, mlock.

Mirrors mm/swap.c, mm/mlock.c and the list half of mm/vmscan.c. A node has five lists, inactive and active ones for
anonymous and for file pages, and one for unevictable pages; how a list is stored stands in ``_lru_chunks_reference``.

A CPU collects 31 pages before it adds them. A page that waits there holds a reference and cannot be isolated. Those
that MADV_COLD and MADV_FREE name, and those that are locked or unlocked, it collects in batches of their own; they stay
on their lists meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import free_pages_bulk
from numalab.mm._lru_chunks_reference import lru_check_holes, lru_push, lru_remove
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm._reference import FolioBatch, View, is_page, mapped_ptes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numalab.mm._mm_types import MemMap, MmStruct


# ---------------------------------------------------------------- pages on lists


def page_lru(flags: int) -> int:
    """folio_lru_list(): which of the node's lists a page with these flags belongs on."""
    if flags & c.PG_unevictable:
        return c.LRU_UNEVICTABLE
    base = c.LRU_INACTIVE_ANON if flags & c.PG_swapbacked else c.LRU_INACTIVE_FILE
    return base + (1 if flags & c.PG_active else 0)


def lru_add_batch(m: View, pfns: Sequence[int]) -> None:
    """lru_add(): put pages on the hot end of the lists that their flags name, and mark them PG_lru."""
    for pfn in pfns:
        node, kind = m.node(pfn), page_lru(m.hot.flags[pfn])
        lru_push(m, node * c.NR_LRU_LISTS + kind, pfn)
        m.node_stat[node, kind] += 1
        m.hot.flags[pfn] |= c.PG_lru


def lru_del(m: View, pfn: int) -> None:
    """lruvec_del_folio(): off its list."""
    node, kind = m.node(pfn), page_lru(m.hot.flags[pfn])
    lru_remove(m, node * c.NR_LRU_LISTS + kind, pfn)
    m.node_stat[node, kind] -= 1
    m.hot.flags[pfn] &= ~c.PG_lru


def page_free_prepare(m: View, pfn: int) -> None:
    """free_pages_prepare(): off the LRU, and nothing left in struct page but its place."""
    if m.hot.flags[pfn] & c.PG_lru:
        lru_del(m, pfn)
    if m.hot.flags[pfn] & c.PG_mlocked:
        m.node_stat[m.node(pfn), c.NR_MLOCK] -= 1
        m.event[c.UNEVICTABLE_PGCLEARED] += 1
        m.cold.mlock_count[pfn] = 0
    m.hot.flags[pfn] = m.hot.flags[pfn] >> c.PG_ZONE_SHIFT << c.PG_ZONE_SHIFT
    m.hot.refcount[pfn] = m.hot.mapcount[pfn] = m.hot.pincount[pfn] = m.hot.rmap[pfn] = 0


def free_page(m: View, cpu: int, pfn: int) -> None:
    """Nobody holds the page any more."""
    page_free_prepare(m, pfn)
    free_pages_bulk(m, cpu, [pfn])


def drain_lru_add(m: View, cpu: int) -> None:
    """Empty the CPU's add batch onto the lists; a page that only the batch still holds is freed.

    What can be reclaimed begins there as not referenced.
    """
    waiting = m.lru_add.take(cpu)
    for pfn in waiting:
        m.hot.flags[pfn] &= ~c.PG_lru_batch
        if not m.hot.flags[pfn] & c.PG_unevictable:
            m.hot.flags[pfn] &= ~c.PG_referenced
        m.hot.refcount[pfn] -= 1
    gone = [pfn for pfn in waiting if not m.hot.refcount[pfn]]
    for pfn in gone:
        page_free_prepare(m, pfn)
    lru_add_batch(m, [pfn for pfn in waiting if m.hot.refcount[pfn]])
    free_pages_bulk(m, cpu, gone)


def lru_cache_add(m: View, cpu: int, pfns: Sequence[int]) -> None:
    """folio_add_lru() for each page: into the CPU's batch, which goes to the lists each time it is full.

    Pages that would be in a full batch go to the lists at once: the result is the same.
    """
    waiting = m.lru_add.count[cpu]
    rest = (waiting + len(pfns)) % c.LRU_BATCH
    if waiting + len(pfns) >= c.LRU_BATCH:
        drain_lru_add(m, cpu)
        lru_add_batch(m, pfns[: len(pfns) - rest])
        pfns = pfns[len(pfns) - rest :]
    for pfn in pfns:
        m.hot.flags[pfn] |= c.PG_lru_batch
        m.hot.refcount[pfn] += 1
        m.lru_add.append(cpu, pfn)


# ---------------------------------------------------------------- batches of pages that are on lists


def set_flags(m: View, pfn: int, flags: int) -> None:
    """Give a page new flags and, if it stands on a list, a place on the list that they name."""
    listed = m.hot.flags[pfn] & c.PG_lru
    if listed:
        lru_del(m, pfn)
    m.hot.flags[pfn] = flags & ~c.PG_lru
    if listed:
        lru_add_batch(m, [pfn])


def folio_batch_add(m: View, cpu: int, batch: FolioBatch, pfn: int) -> int:
    """One page more waits, with a reference; how many could come yet. 0 for part of a huge page, which never waits."""
    m.hot.refcount[pfn] += 1
    room = batch.append(cpu, pfn)
    return 0 if m.hot.flags[pfn] & (c.PG_head | c.PG_tail) else room


def folios_put(m: View, cpu: int, pfns: Sequence[int]) -> None:
    """What a batch held goes, and is freed if nobody else has it."""
    for pfn in pfns:
        m.hot.refcount[pfn] -= 1
    gone = [pfn for pfn in pfns if not m.hot.refcount[pfn]]
    for pfn in gone:
        page_free_prepare(m, pfn)
    free_pages_bulk(m, cpu, gone)


def drain_lru_deactivate(m: View, cpu: int) -> None:
    """Pages are forgotten to be in use, and go to the inactive lists."""
    waiting = m.lru_deactivate.take(cpu)
    for pfn in waiting:
        flags = m.hot.flags[pfn]
        if flags & (c.PG_lru | c.PG_unevictable) != c.PG_lru:
            continue
        m.hot.flags[pfn] = flags = flags & ~c.PG_referenced
        if flags & c.PG_active:
            set_flags(m, pfn, flags & ~c.PG_active)
            m.event[c.PGDEACTIVATE] += 1
    folios_put(m, cpu, waiting)


def folio_deactivate(m: View, cpu: int, pfn: int) -> None:
    """folio_deactivate(), of any page that is on a list and can be reclaimed."""
    listed = m.hot.flags[pfn] & (c.PG_lru | c.PG_unevictable) == c.PG_lru
    if listed and not folio_batch_add(m, cpu, m.lru_deactivate, pfn):
        drain_lru_deactivate(m, cpu)


# ---------------------------------------------------------------- pages that nobody wants


def is_lazyfree(m: View, pfn: int) -> bool:
    """Anonymous, and no swap stands behind it: its contents may be lost (MADV_FREE)."""
    return bool(m.hot.flags[pfn] & (c.PG_anon | c.PG_swapbacked) == c.PG_anon)


def may_be_lazyfree(m: View, pfn: int) -> bool:
    """An anonymous page on the LRU that swap does not have, and that is not lazyfree already."""
    wanted, unwanted = c.PG_lru | c.PG_anon | c.PG_swapbacked, c.PG_swapcache | c.PG_unevictable
    return bool(m.hot.flags[pfn] & (wanted | unwanted) == wanted)


def lru_lazyfree(m: View, pfns: Sequence[int]) -> None:
    """lru_lazyfree(): pages lose the mark that swap stands behind them, and go to the inactive list of files.

    Those that have changed since they were named stay.
    """
    moved = [pfn for pfn in pfns if may_be_lazyfree(m, pfn)]
    for pfn in moved:
        lru_del(m, pfn)
        m.hot.flags[pfn] &= ~(c.PG_active | c.PG_referenced | c.PG_swapbacked)
    lru_add_batch(m, moved)
    m.event[c.PGLAZYFREE] += len(moved)


def drain_lru_lazyfree(m: View, cpu: int) -> None:
    """Empty the CPU's batch of pages that MADV_FREE was told of; a page that only the batch still holds is freed."""
    waiting = m.lru_lazyfree.take(cpu)
    lru_lazyfree(m, waiting)
    folios_put(m, cpu, waiting)


def folio_mark_lazyfree(m: View, cpu: int, pfn: int) -> None:
    """folio_mark_lazyfree(): as soon as the CPU's batch is full, or drained."""
    if may_be_lazyfree(m, pfn) and not folio_batch_add(m, cpu, m.lru_lazyfree, pfn):
        drain_lru_lazyfree(m, cpu)


def mark_huge_lazyfree(m: View, cpu: int, head: int) -> None:
    """The same for all of a huge page, which does not wait, and neither do those before it."""
    drain_lru_lazyfree(m, cpu)
    lru_lazyfree(m, range(head, head + c.HPAGE_PMD_NR))


def lru_drain_cpu(m: View, cpu: int) -> None:
    """lru_add_drain(): no page waits in this CPU's batches any more."""
    drain_lru_add(m, cpu)
    drain_lru_deactivate(m, cpu)
    drain_lru_lazyfree(m, cpu)
    drain_mlock(m, cpu)


# ---------------------------------------------------------------- isolating and putting back


def count_isolated(m: View, pfn: int, n: int) -> None:
    """One page more (or less) is off the lists and will come back."""
    kind = c.NR_ISOLATED_ANON if m.hot.flags[pfn] & c.PG_swapbacked else c.NR_ISOLATED_FILE
    m.node_stat[m.node(pfn), kind] += n


def folio_set_swapbacked(m: View, pfn: int) -> None:
    """An isolated page that was lazyfree is an anonymous page like others again."""
    count_isolated(m, pfn, -1)
    m.hot.flags[pfn] |= c.PG_swapbacked
    count_isolated(m, pfn, 1)


def isolate_batch(m: View, pfns: Sequence[int]) -> list[int]:
    """folio_isolate_lru() for each page: off the LRU, one more reference. Returns those taken, in order.

    Not taken: what is on no list, and what is being freed.
    """
    taken = []
    for pfn in pfns:
        if m.hot.flags[pfn] & c.PG_lru and m.hot.refcount[pfn] > 0:
            lru_del(m, pfn)
            m.hot.flags[pfn] |= c.PG_isolated
            m.hot.refcount[pfn] += 1
            count_isolated(m, pfn, 1)
            taken.append(pfn)
    m.charge(len(pfns) * m.cost["isolate_page"])
    return taken


def putback_batch(m: View, cpu: int, pfns: Sequence[int]) -> None:
    """putback_movable_pages(): isolated pages back on their lists, their extra reference dropped.

    Straight onto the lists: the callers run between lru_cache_disable() and lru_cache_enable().
    """
    back = []
    for pfn in pfns:
        count_isolated(m, pfn, -1)
        m.hot.flags[pfn] &= ~c.PG_isolated
        m.hot.refcount[pfn] -= 1
        if m.hot.refcount[pfn]:
            back.append(pfn)
        else:
            free_page(m, cpu, pfn)
    lru_add_batch(m, back)


# ---------------------------------------------------------------- mlock


def mark_page_accessed(m: View, pfn: int) -> None:
    """folio_mark_accessed(): the second use makes an inactive page active, if it stands on a list already.

    As with CONFIG_LRU_GEN_ENABLED it stays referenced then, and what cannot be reclaimed is not marked.
    """
    flags = m.hot.flags[pfn]
    if flags & c.PG_unevictable and not flags & c.PG_lru_batch:
        return
    if not flags & c.PG_referenced:
        m.hot.flags[pfn] = flags | c.PG_referenced
    elif flags & c.PG_lru and not flags & c.PG_active:
        m.event[c.PGACTIVATE] += 1
        set_flags(m, pfn, flags | c.PG_active)


def mlock_page(m: View, pfn: int) -> None:
    """mlock_folio(): count one locked mapping more; the first makes the page unevictable."""
    m.cold.mlock_count[pfn] += 1
    flags = m.hot.flags[pfn]
    if flags & c.PG_mlocked:
        return
    m.node_stat[m.node(pfn), c.NR_MLOCK] += 1
    m.event[c.UNEVICTABLE_PGMLOCKED] += 1
    m.event[c.UNEVICTABLE_PGCULLED] += 1
    set_flags(m, pfn, (flags | c.PG_mlocked | c.PG_unevictable) & ~c.PG_active)


def munlock_page(m: View, pfn: int) -> None:
    """munlock_folio(): one locked mapping less; the last lets the page age again."""
    flags = m.hot.flags[pfn]
    if not flags & c.PG_mlocked:
        return
    if m.cold.mlock_count[pfn]:
        m.cold.mlock_count[pfn] -= 1
    if m.cold.mlock_count[pfn]:
        return
    m.node_stat[m.node(pfn), c.NR_MLOCK] -= 1
    m.event[c.UNEVICTABLE_PGMUNLOCKED] += 1
    m.event[c.UNEVICTABLE_PGRESCUED] += 1
    set_flags(m, pfn, flags & ~(c.PG_mlocked | c.PG_unevictable))


def drain_mlock(m: View, cpu: int) -> None:
    """mlock_folio_batch(): new pages go to their lists. All else was done when they were locked; Linux moves and counts
    only here, where nobody can tell the difference.
    """
    new, waiting = m.mlock_new[cpu], m.mlock.take(cpu)
    m.mlock_new[cpu] = 0
    for i, pfn in enumerate(waiting):
        if new >> i & 1:
            m.hot.flags[pfn] &= ~c.PG_lru_batch
            lru_add_batch(m, [pfn])
    folios_put(m, cpu, waiting)


def mlock_wait(m: View, cpu: int, pfn: int) -> None:
    """A page that was locked or unlocked waits in the CPU's batch, which is emptied each time it is full."""
    if not folio_batch_add(m, cpu, m.mlock, pfn):
        drain_mlock(m, cpu)


def mlock_new_folios(m: View, cpu: int, pfns: Sequence[int]) -> None:
    """mlock_new_folio() for pages that are on no list yet, and marked as locked by one mapping."""
    for pfn in pfns:
        m.node_stat[m.node(pfn), c.NR_MLOCK] += 1
        m.hot.flags[pfn] |= c.PG_lru_batch
        m.mlock_new[cpu] |= 1 << m.mlock.count[cpu]
        mlock_wait(m, cpu, pfn)
    m.event[c.UNEVICTABLE_PGMLOCKED] += len(pfns)
    m.event[c.UNEVICTABLE_PGCULLED] += len(pfns)


# ---------------------------------------------------------------- what drivers call


def add(mem: MemMap, cpu: int, pfns: NDArray[np.uint32]) -> None:
    """folio_add_lru() for each frame of ``pfns``, through the batch of ``cpu``."""
    lru_cache_add(View(mem), cpu, pfns.tolist())


def drain(mem: MemMap, cpu: int) -> None:
    """lru_add_drain() on one CPU."""
    lru_drain_cpu(View(mem), cpu)


def drain_all(mem: MemMap) -> None:
    """lru_add_drain_all(): every CPU."""
    m = View(mem)
    for cpu in range(m.nr_cpus):
        lru_drain_cpu(m, cpu)


def isolate_pfns(mem: MemMap, pfns: NDArray[np.uint32]) -> int:
    """Isolate the pages of ``pfns``; those taken come to stand in front, in order. Returns how many."""
    taken = isolate_batch(View(mem), pfns.tolist())
    pfns[: len(taken)] = taken
    return len(taken)


def putback(mem: MemMap, cpu: int, pfns: NDArray[np.uint32]) -> None:
    """Put isolated pages back on the LRU."""
    putback_batch(View(mem), cpu, pfns.tolist())


def put_page(mem: MemMap, cpu: int, pfn: int) -> None:
    """folio_put(): one reference less; the last one frees the page."""
    m = View(mem)
    m.hot.refcount[pfn] -= 1
    if not m.hot.refcount[pfn]:
        free_page(m, cpu, pfn)


def compact(mem: MemMap) -> None:
    """Close the holes of every list that is mostly holes (done by the kernels that remove many pages)."""
    lru_check_holes(View(mem))


def mlock_range(mem: MemMap, mm: MmStruct, start: int, end: int) -> None:
    """mlock_pte_range(): the pages of [start, end) are mapped by one VM_LOCKED VMA more."""
    m = View(mem)
    for pfn in mapped_pages(m, mm, start, end):
        mlock_page(m, pfn)


def munlock_range(mem: MemMap, mm: MmStruct, start: int, end: int) -> None:
    """The same for a VMA that is no longer VM_LOCKED."""
    m = View(mem)
    for pfn in mapped_pages(m, mm, start, end):
        munlock_page(m, pfn)


def mapped_pages(m: View, mm: MmStruct, start: int, end: int) -> Iterator[int]:
    """Pages that a range maps. One under migration is among them: what it is goes along to where it will lie."""
    for _, pte in mapped_ptes(m, mm.pgd, start, end):
        if pt.is_migration_entry(pte):
            yield mig_entry_pfn(pte)
        elif is_page(pte):
            yield pt.pte_pfn(pte)
