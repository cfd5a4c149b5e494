"""Transparent huge pages: who gets one, what maps it, what splits it, how it moves. The real kernel's answers stand in
the recordings thp-*; here is what these do not reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch.errno import EAGAIN, EINVAL, ENOMEM, KernelError
from numalab.mm import _constants as c
from numalab.mm._mm_types import MmStruct
from numalab.mm.huge_memory import ThpSettings
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import read_user, touch_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import MPOL_BIND, MPOL_PREFERRED
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap
from numalab.mm.vmstat import node_meminfo

from tests.mm_machine import PAGE, MmMachine

HUGE = 512 * PAGE
AT = 32 * HUGE
MOVE, MOVE_ALL = 2, 4
RW = PROT_READ | PROT_WRITE


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("2x16M") as machine:
        machine.mem.thp.enabled = "always"
        yield machine
        assert machine.check() == []
        for mm in list(machine.mms):
            machine.exit(mm)
        assert machine.check() == []
        assert machine.mem.node_stat[:, c.NR_ANON_THPS].sum() == 0


def space(m: MmMachine, blocks: int = 2, *, empty: bool = False) -> MmStruct:
    """An address space with some 2 MiB from AT on, the first of which a huge page maps.

    empty: there is something in its first page alone. Else each page ends in something.
    """
    mm = m.new_mm()
    m.map(mm, 512 * blocks, AT)
    if not empty:
        write_user(mm, m.ctx, AT, (bytes(PAGE - 1) + b"x") * 512)
    write_user(mm, m.ctx, AT + 7, b"first")
    return mm


def leaves(m: MmMachine) -> int:
    return int(m.mem.node_stat[:, c.NR_ANON_THPS].sum())


def event(m: MmMachine, name: str) -> int:
    return int(m.mem.event[getattr(c, name)])


def nodes(m: MmMachine, mm: MmStruct, at: int, pages: int) -> set[int]:
    return {m.mem.node_of((int(pte) & 0x000FFFFFFFFFF000) >> 12) for pte in m.ptes(mm, at, pages)}


def full(m: MmMachine, nid: int, left: int) -> dict[int, int]:
    """Take all but so many frames of a node, one here and one there, so that no block of 512 is left."""
    free = int(m.mem.zones["free"][m.mem.zones["node"] == nid].sum())
    out = np.zeros(free, np.uint32)
    task = m.task(nid)
    got = m.mem.k.page_alloc.alloc_bulk(m.mem, task, None, 0, c.GFP_THISNODE | c.GFP_MEMALLOC | 1, out)
    given = out[:got][:: got // left][:left]
    for pfn in given:
        m.mem.k.page_alloc.free_block(m.mem, int(pfn), 0)
    return dict.fromkeys(set(out[:got].tolist()) - set(given.tolist()), 0)


# --- pages that hold nothing --------------------------------------------------------------------------------------


def test_a_split_gives_up_what_holds_nothing(m: MmMachine) -> None:
    mm = space(m, empty=True)
    write_user(mm, m.ctx, AT + 300 * PAGE, b"x")
    free = int(m.mem.zones["free"].sum())
    do_madvise(mm, m.ctx, AT, 4 * PAGE, MADV_COLD)
    assert (event(m, "THP_SPLIT_PAGE"), mm.rss_anon) == (1, 2)
    assert int(m.mem.zones["free"].sum()) == free + 510
    assert read_user(mm, m.ctx, AT, 2 * PAGE) == bytes(7) + b"first" + bytes(2 * PAGE - 12)
    write_user(mm, m.ctx, AT + PAGE, b"new")
    assert (mm.rss_anon, read_user(mm, m.ctx, AT + PAGE, 4)) == (3, b"new\0")


def test_locked_areas_keep_it(m: MmMachine) -> None:
    mm = space(m, empty=True)
    do_mlock(mm, m.ctx, AT + 100 * PAGE, 5 * PAGE, 0)
    do_madvise(mm, m.ctx, AT, 4 * PAGE, MADV_COLD)
    assert mm.rss_anon == 6


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_first_write_gets_one_page_for_2_mib_in_one_fault(m: MmMachine) -> None:
    before = m.ctx.min_flt
    mm = space(m)
    assert (m.ctx.min_flt - before, event(m, "THP_FAULT_ALLOC"), leaves(m)) == (1, 1, 1)
    assert mm.rss_anon == 512
    assert m.pfn(mm, AT) % 512 == 0
    assert m.pfn(mm, AT + 100 * PAGE) == m.pfn(mm, AT) + 100
    assert node_meminfo(m.mem, 0)["AnonHugePages"] == 2048
    assert read_user(mm, m.ctx, AT + 5, 9) == b"\0\0first\0\0"


@pytest.mark.parametrize(
    ("enabled", "advice", "huge"),
    [
        ("never", None, False), ("never", MADV_HUGEPAGE, False), ("madvise", None, False),
        ("madvise", MADV_HUGEPAGE, True), ("always", None, True), ("always", MADV_NOHUGEPAGE, False),
    ],
)  # fmt: skip
def test_who_gets_one(m: MmMachine, enabled: str, advice: int | None, huge: bool) -> None:
    m.mem.thp.enabled = enabled
    mm = m.new_mm()
    m.map(mm, 512, AT)
    if advice is not None:
        do_madvise(mm, m.ctx, AT, HUGE, advice)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    assert (leaves(m), mm.rss_anon) == ((1, 512) if huge else (0, 1))


@pytest.mark.parametrize(("at", "pages"), [(AT + PAGE, 512), (AT, 511), (AT + PAGE, 1022)])
def test_only_2_mib_that_lie_in_the_area_whole(m: MmMachine, at: int, pages: int) -> None:
    mm = m.new_mm()
    m.map(mm, pages, at)
    touch_user(mm, m.ctx, at, PAGE, 1, True)
    assert mm.rss_anon == 1


def test_shared_memory_has_none(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 512, AT, shared=True)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    assert leaves(m) == 0


def test_a_read_finds_zeros_in_all_of_it_and_a_write_then_takes_a_small_page(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 512, AT)
    before = m.ctx.min_flt
    assert read_user(mm, m.ctx, AT, HUGE) == bytes(HUGE)
    assert (m.ctx.min_flt - before, mm.rss_anon) == (1, 0)
    touch_user(mm, m.ctx, AT + 3 * PAGE, PAGE, 1, True)
    assert mm.rss_anon == 1


def test_without_the_zero_page_a_read_is_small(m: MmMachine) -> None:
    m.mem.thp.use_zero_page = False
    mm = m.new_mm()
    m.map(mm, 512, AT)
    touch_user(mm, m.ctx, AT, PAGE, 1, False)
    assert np.count_nonzero(m.ptes(mm, AT, 512)) == 1


def test_where_no_block_is_left_small_pages_do(m: MmMachine) -> None:
    held = full(m, 0, 900) | full(m, 1, 900)
    mm = space(m, empty=True)
    assert (event(m, "THP_FAULT_ALLOC"), event(m, "THP_FAULT_FALLBACK"), mm.rss_anon) == (0, 1, 1)
    assert m.check(held=held) == []
    m.mem.k.page_alloc.free_bulk(m.mem, 0, np.array(sorted(held), np.uint32))


@pytest.mark.parametrize(
    ("defrag", "advised", "elsewhere"),
    [("madvise", False, False), ("madvise", True, True), ("always", False, True), ("never", True, False),
     ("defer", True, False), ("defer+madvise", True, True)],
)  # fmt: skip
def test_the_wanted_node_counts_for_more_than_the_size(
    m: MmMachine, defrag: str, advised: bool, elsewhere: bool
) -> None:
    held = full(m, 1, 900)
    m.mem.thp.defrag = defrag
    mm = m.new_mm()
    m.map(mm, 512, AT)
    if advised:
        do_madvise(mm, m.ctx, AT, HUGE, MADV_HUGEPAGE)
    do_mbind(m.mem, mm, m.ctx, AT, HUGE, MPOL_PREFERRED, 0, 2, 0)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    assert (leaves(m), nodes(m, mm, AT, 1)) == ((1, {0}) if elsewhere else (0, {1}))
    assert m.check(held=held) == []
    m.mem.k.page_alloc.free_bulk(m.mem, 0, np.array(sorted(held), np.uint32))


def test_settings_say_how_hard_a_fault_tries() -> None:
    assert ThpSettings(defrag="madvise").gfp(madvised=True) == c.GFP_DIRECT_RECLAIM
    assert ThpSettings(defrag="defer").gfp(madvised=True) == 0


# --- what splits a mapping, and what does not ----------------------------------------------------------------------


def test_what_goes_by_whole_blocks_splits_nothing(m: MmMachine) -> None:
    mm = space(m)
    do_mprotect(mm, m.ctx, AT, HUGE, PROT_READ)
    do_mprotect(mm, m.ctx, AT, HUGE, RW)
    do_mlock(mm, m.ctx, AT, HUGE, 0)
    do_madvise(mm, m.ctx, AT + HUGE, HUGE, MADV_COLD)
    do_mremap(mm, m.ctx, AT, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8 * HUGE)
    assert (leaves(m), event(m, "THP_SPLIT_PMD")) == (1, 0)
    assert read_user(mm, m.ctx, AT + 8 * HUGE + 7, 5) == b"first"
    assert m.mem.node_stat[0, c.NR_MLOCK] == 512


@pytest.mark.parametrize("what", ["protect", "lock", "unmap", "discard", "bind", "move", "cold"])
def test_what_concerns_a_part_splits(m: MmMachine, what: str) -> None:
    mm = space(m)
    at, length = AT + 10 * PAGE, 3 * PAGE
    if what == "protect":
        do_mprotect(mm, m.ctx, at, length, PROT_READ)
    elif what == "lock":
        do_mlock(mm, m.ctx, at, length, 0)
    elif what == "unmap":
        do_munmap(mm, m.ctx, at, length)
    elif what == "discard":
        do_madvise(mm, m.ctx, at, length, MADV_DONTNEED)
    elif what == "bind":
        do_mbind(m.mem, mm, m.ctx, at, length, MPOL_BIND, 0, 1, 0)
    elif what == "move":
        do_mremap(mm, m.ctx, at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8 * HUGE)
    else:
        do_madvise(mm, m.ctx, at, length, MADV_COLD)
    assert (leaves(m), event(m, "THP_SPLIT_PMD")) == (0, 1)
    assert read_user(mm, m.ctx, AT + 7, 5) == b"first"


def test_a_leaf_that_moves_to_where_none_can_stand_is_split(m: MmMachine) -> None:
    mm = space(m)
    do_mremap(mm, m.ctx, AT, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8 * HUGE + PAGE)
    assert leaves(m) == 0
    assert read_user(mm, m.ctx, AT + 8 * HUGE + PAGE + 7, 5) == b"first"


# --- fork --------------------------------------------------------------------------------------------------------


def test_a_child_shares_it_and_copies_small_pages(m: MmMachine) -> None:
    mm = space(m)
    child = m.fork(mm)
    assert leaves(m) == 1
    write_user(child, m.ctx, AT + 7, b"other")
    assert (read_user(mm, m.ctx, AT + 7, 5), read_user(child, m.ctx, AT + 7, 5)) == (b"first", b"other")
    assert event(m, "THP_SPLIT_PMD") == 1
    assert leaves(m) == 1
    assert m.pfn(child, AT + 5 * PAGE) == m.pfn(mm, AT + 5 * PAGE)


def test_who_is_left_alone_with_it_writes_to_it_as_it_is(m: MmMachine) -> None:
    mm = space(m)
    m.exit(m.fork(mm))
    before = m.pfn(mm, AT)
    write_user(mm, m.ctx, AT + 7, b"again")
    assert (m.pfn(mm, AT), leaves(m)) == (before, 1)


# --- migration ---------------------------------------------------------------------------------------------------


def test_it_moves_as_one_and_counts_in_small_pages(m: MmMachine) -> None:
    mm = space(m)
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL) == 0
    assert (event(m, "THP_MIGRATION_SUCCESS"), event(m, "PGMIGRATE_SUCCESS"), leaves(m)) == (1, 512, 1)
    assert nodes(m, mm, AT, 512) == {1}
    assert read_user(mm, m.ctx, AT + 7, 5) == b"first"


def test_all_who_map_it_find_it_again_by_leaf_or_by_ptes(m: MmMachine) -> None:
    mm = space(m)
    child = m.fork(mm)
    do_mprotect(child, m.ctx, AT + PAGE, PAGE, PROT_READ)
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL) == 0
    assert nodes(m, mm, AT, 512) == nodes(m, child, AT, 512) == {1}
    assert (leaves(m), event(m, "THP_MIGRATION_SUCCESS")) == (1, 1)
    assert read_user(child, m.ctx, AT + 7, 5) == b"first"


def test_what_is_shared_stays_without_move_all(m: MmMachine) -> None:
    mm = space(m)
    m.fork(mm)
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE) == 0
    assert nodes(m, mm, AT, 512) == {0}
    assert m.mem.ledger.shared == 1


def test_where_the_target_has_no_block_it_moves_in_pieces(m: MmMachine) -> None:
    mm = space(m)
    held = full(m, 1, 1500)
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL) == 0
    assert nodes(m, mm, AT, 512) == {1}
    counts = [event(m, f"THP_MIGRATION_{name}") for name in ("SUCCESS", "FAIL", "SPLIT")]
    assert (counts, event(m, "THP_SPLIT_PAGE"), leaves(m)) == ([0, 1, 1], 1, 0)
    assert read_user(mm, m.ctx, AT + 7, 5) == b"first"
    assert m.check(held=held) == []
    m.mem.k.page_alloc.free_bulk(m.mem, 0, np.array(sorted(held), np.uint32))


def test_one_pinned_page_keeps_all_of_it_and_counts_as_one_failure(m: MmMachine) -> None:
    mm = space(m)
    pinned = m.pfn(mm, AT + 9 * PAGE)
    m.page(pinned)["refcount"] += 1
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL) == 1
    assert (event(m, "THP_MIGRATION_FAIL"), event(m, "PGMIGRATE_FAIL"), leaves(m)) == (1, 512, 1)
    assert nodes(m, mm, AT, 512) == {0}
    m.page(pinned)["refcount"] -= 1


def test_what_is_left_of_it_is_split_and_moves_together(m: MmMachine) -> None:
    mm = space(m)
    do_munmap(mm, m.ctx, AT + 20 * PAGE, PAGE)
    do_mbind(m.mem, mm, m.ctx, AT + 30 * PAGE, PAGE, MPOL_BIND, 0, 2, MOVE)
    assert nodes(m, mm, AT, 20) == nodes(m, mm, AT + 21 * PAGE, 491) == {1}
    assert event(m, "THP_MIGRATION_SPLIT") == 1


@pytest.mark.parametrize("engine", ["direct", "swap"])
def test_engines_from_before_split_it_first(m: MmMachine, engine: str) -> None:
    m.mem.engine = engine
    mm = space(m)
    do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL)
    assert (event(m, "THP_SPLIT_PAGE"), event(m, "THP_MIGRATION_SUCCESS"), leaves(m)) == (1, 0, 0)
    assert read_user(mm, m.ctx, AT + 7, 5) == b"first"


# --- collapse ----------------------------------------------------------------------------------------------------


def collapse(m: MmMachine, mm: MmStruct, at: int = AT, length: int = HUGE) -> int:
    """The errno of a collapse, 0 if it went well."""
    try:
        do_madvise(mm, m.ctx, at, length, MADV_COLLAPSE)
    except KernelError as error:
        return error.errno
    return 0


def small(m: MmMachine, pages: int = 512) -> MmStruct:
    m.mem.thp.enabled = "never"
    mm = m.new_mm()
    m.map(mm, 1024, AT)
    touch_user(mm, m.ctx, AT, PAGE, pages, True, 5)
    return mm


def test_small_pages_become_a_huge_one_on_the_node_that_has_most(m: MmMachine) -> None:
    mm = small(m, 100)
    do_mbind(m.mem, mm, m.ctx, AT, 60 * PAGE, MPOL_BIND, 0, 2, MOVE)
    do_mbind(m.mem, mm, m.ctx, AT, 60 * PAGE, 0, 0, 0, 0)
    assert collapse(m, mm) == 0
    assert (leaves(m), mm.rss_anon, nodes(m, mm, AT, 512)) == (1, 512, {1})
    assert read_user(mm, m.ctx, AT + 99 * PAGE, 1) + read_user(mm, m.ctx, AT + 100 * PAGE, 1) == b"\5\0"
    assert event(m, "THP_COLLAPSE_ALLOC") == 1


def test_collapse_says_why_not(m: MmMachine) -> None:
    mm = small(m)
    held = full(m, 0, 300) | full(m, 1, 300)
    assert collapse(m, mm) == ENOMEM
    assert event(m, "THP_COLLAPSE_ALLOC_FAILED") == 1
    m.mem.k.page_alloc.free_bulk(m.mem, 0, np.array(sorted(held), np.uint32))
    m.page(m.pfn(mm, AT))["refcount"] += 1
    assert collapse(m, mm) == EAGAIN
    m.page(m.pfn(mm, AT))["refcount"] -= 1
    m.page(m.pfn(mm, AT))["flags"] |= c.PG_locked
    assert collapse(m, mm) == EAGAIN
    m.page(m.pfn(mm, AT))["flags"] &= ~np.uint32(c.PG_locked)
    assert collapse(m, mm, AT + HUGE) == EINVAL
    assert collapse(m, mm) == 0
