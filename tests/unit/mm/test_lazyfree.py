"""MADV_FREE: the lists, the counters, and who may lose what. The real kernel's answers stand in the recordings
lazyfree-*; here is what these do not reach.
"""

from __future__ import annotations

import numpy as np
import pytest

from numalab.arch.disk import Disk
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import read_user, touch_user, write_user
from numalab.mm.migrate.ledger import Reason
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mlock import do_mlock, do_munlock
from numalab.mm.mman import MADV_FREE, MADV_PAGEOUT, MADV_POPULATE_WRITE
from numalab.mm.mmap import do_munmap
from numalab.mm.obstacles import Obstacles
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swapon
from numalab.mm.vmscan import PAGEOUT_AGE, shrink_folio_list, try_to_free_pages

from tests.mm_machine import PAGE, MmMachine

HUGE = 512 * PAGE
AT = 32 * HUGE
MOVE_ALL = 4


@pytest.fixture
def m(either: MmMachine) -> MmMachine:
    return either


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    """40 pages of ones."""
    space = m.new_mm()
    m.map(space, 40, AT)
    write_user(space, m.ctx, AT, b"\1" * 40 * PAGE)
    lru_add_drain_all(m.mem)
    return space


def give_up(m: MmMachine, mm: MmStruct, pages: int, first: int = 0, ctx: AllocCtx | None = None) -> None:
    do_madvise(mm, ctx or m.ctx, AT + first * PAGE, pages * PAGE, MADV_FREE)


def page_out(m: MmMachine, mm: MmStruct, pages: int) -> None:
    do_madvise(mm, m.ctx, AT, pages * PAGE, MADV_PAGEOUT)


def stat(m: MmMachine, *items: int) -> list[int]:
    return [int(m.mem.node_stat[:, item].sum()) for item in items]


def first_bytes(m: MmMachine, mm: MmStruct, pages: int) -> bytes:
    return b"".join(read_user(mm, m.ctx, AT + i * PAGE, 1) for i in range(pages))


def test_a_lazyfree_page_is_anonymous_and_stands_where_clean_pages_of_files_do(
    m: MmMachine, mm: MmStruct
) -> None:
    give_up(m, mm, 40)
    assert stat(m, c.NR_INACTIVE_ANON, c.NR_INACTIVE_FILE) == [9, 31]  # the rest waits in the CPU's batch
    lru_add_drain_all(m.mem)
    assert stat(m, c.NR_INACTIVE_ANON, c.NR_INACTIVE_FILE, c.NR_ANON_MAPPED) == [0, 40, 40]
    assert (mm.rss_anon, mm.rss_file) == (40, 0)
    assert int(m.mem.event[c.PGLAZYFREE]) == 40


def test_without_swap_reclaim_has_them_and_nothing_else(m: MmMachine, mm: MmStruct) -> None:
    give_up(m, mm, 8)
    lru_add_drain_all(m.mem)
    assert try_to_free_pages(m.mem, 0, m.mem.memory_nodes) == 8
    assert int(m.mem.event[c.PGLAZYFREED]) == 8
    assert first_bytes(m, mm, 40) == bytes(8) + b"\1" * 32


def test_a_page_used_since_gets_another_round_and_one_written_to_becomes_active(
    m: MmMachine, mm: MmStruct
) -> None:
    give_up(m, mm, 3)
    touch_user(mm, m.ctx, AT, PAGE, 1, False)
    touch_user(mm, m.ctx, AT + PAGE, PAGE, 1, True, 2)
    lru_add_drain_all(m.mem)

    def scan(flags: int) -> list[Reason]:
        out = np.zeros(8, np.uint32)
        taken, _ = m.mem.k.vmscan.isolate_lru(m.mem, 0, c.LRU_INACTIVE_FILE, out)
        left, why = shrink_folio_list(m.mem, 0, out[:taken], flags, MigrateStats())
        m.mem.k.lru.putback(m.mem, 0, left)
        return [Reason(reason) for reason in why.tolist()]

    assert scan(PAGEOUT_AGE) == [Reason.ACCESSED, Reason.ACCESSED]  # the third is gone
    assert scan(PAGEOUT_AGE) == [Reason.MAPPED]
    assert stat(m, c.NR_ACTIVE_ANON, c.NR_INACTIVE_FILE, c.NR_ISOLATED_ANON, c.NR_ISOLATED_FILE) == [
        1,
        0,
        0,
        0,
    ]
    assert first_bytes(m, mm, 3) == b"\0\2\0"


def test_munmap_finds_what_waits_in_the_batch_of_its_own_cpu_only(m: MmMachine, mm: MmStruct) -> None:
    give_up(m, mm, 4, ctx=m.task(1))
    pfn = m.pfn(mm, AT)
    do_munmap(mm, m.ctx, AT, 4 * PAGE)
    assert int(m.mem.hot["refcount"][pfn]) == 1
    assert m.check() == []
    lru_add_drain_all(m.mem)
    assert int(m.mem.hot["refcount"][pfn]) == 0
    assert int(m.mem.event[c.PGLAZYFREE]) == 4


def test_what_changes_while_it_waits_stays_what_it_was(m: MmMachine, mm: MmStruct) -> None:
    """Locked, or named on another CPU before."""
    give_up(m, mm, 4)
    do_mlock(mm, m.task(1), AT, PAGE, 0)
    give_up(m, mm, 2, first=2, ctx=m.task(1))
    lru_add_drain_all(m.mem)
    assert int(m.mem.event[c.PGLAZYFREE]) == 3
    assert stat(m, c.NR_UNEVICTABLE, c.NR_INACTIVE_FILE) == [1, 3]
    do_munlock(mm, m.ctx, AT, PAGE)
    assert stat(m, c.NR_INACTIVE_ANON, c.NR_INACTIVE_FILE) == [37, 3]


def test_a_page_on_no_list_forgets_that_it_was_written_and_is_not_lazyfree(m: MmMachine) -> None:
    """folio_mark_lazyfree() passes it over: it waits in another CPU's batch."""
    mm = m.new_mm()
    m.map(mm, 2, AT)
    touch_user(mm, m.task(1), AT, PAGE, 2, True)
    give_up(m, mm, 2)
    lru_add_drain_all(m.mem)
    assert int(m.mem.event[c.PGLAZYFREE]) == 0
    page_out(m, mm, 2)
    assert mm.rss_anon == 2  # there is no swap for it


@pytest.mark.parametrize("engine", ["batched", "direct"])
def test_migration_takes_along_that_a_page_is_lazyfree_and_whether_it_was_written_to(
    m: MmMachine, mm: MmStruct, engine: str
) -> None:
    m.mem.engine = engine
    give_up(m, mm, 40)
    touch_user(mm, m.ctx, AT, PAGE, 1, True, 2)
    assert do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL) == 0
    assert m.mem.node_stat[1, c.NR_INACTIVE_FILE] == 40
    assert first_bytes(m, mm, 40) == b"\2" + b"\1" * 39
    page_out(m, mm, 40)
    assert first_bytes(m, mm, 40) == b"\2" + bytes(39)


@pytest.mark.parametrize("quirks", [False, True])
def test_the_engine_of_2005_knows_no_lazyfree_pages(m: MmMachine, mm: MmStruct, quirks: bool) -> None:
    """It sends them to swap like others, and what is in them comes back."""
    area = swapon(m.mem, Disk(m.hw, m.mem.timers, "disk", 64))
    m.mem.engine, m.mem.v5_quirks = "swap", quirks
    give_up(m, mm, 40)
    do_migrate_pages(m.mem, mm, m.ctx, 1, 2, MOVE_ALL)
    assert area.used == 40
    assert int(m.mem.event[c.PGLAZYFREED]) == 0
    assert first_bytes(m, mm, 40) == b"\1" * 40


def test_a_page_that_is_locked_or_held_stays(m: MmMachine, mm: MmStruct) -> None:
    """The lock keeps it lazyfree; who holds it makes it an ordinary page."""
    give_up(m, mm, 3)
    obstacles = Obstacles(m.mem)
    undo = [obstacles.lock_page(m.pfn(mm, AT)), obstacles.pin(m.pfn(mm, AT + PAGE))]
    page_out(m, mm, 3)
    assert stat(m, c.NR_INACTIVE_FILE, c.NR_ACTIVE_ANON) == [1, 1]
    for end in undo:
        end()
    page_out(m, mm, 3)
    assert first_bytes(m, mm, 3) == b"\0\1\0"


# ---------------------------------------------------------------- huge pages


@pytest.fixture
def huge(m: MmMachine) -> MmStruct:
    """A huge page of ones at AT."""
    m.mem.thp.enabled = "always"
    space = m.new_mm()
    m.map(space, 512, AT)
    write_user(space, m.ctx, AT, b"\1" * HUGE)
    assert stat(m, c.NR_ANON_THPS) == [1]
    return space


def test_reclaim_from_the_lists_takes_a_huge_page_to_pieces(m: MmMachine, huge: MmStruct) -> None:
    give_up(m, huge, 512)
    freed = try_to_free_pages(m.mem, 0, m.mem.memory_nodes)
    assert 32 <= freed < 64
    assert (int(m.mem.event[c.THP_SPLIT_PAGE]), int(m.mem.event[c.PGLAZYFREED])) == (1, freed)
    assert huge.rss_anon == 512 - freed


def test_a_store_to_one_page_keeps_those_behind_it_too(m: MmMachine, huge: MmStruct) -> None:
    """Once a leaf is split each PTE has its own dirty bit; the walk stops at the first."""
    give_up(m, huge, 512)
    m.mem.k.huge_memory.split_pmd(m.mem, huge, AT)
    touch_user(huge, m.ctx, AT + 100 * PAGE, PAGE, 1, True, 2)
    page_out(m, huge, 512)
    assert huge.rss_anon == 412
    assert first_bytes(m, huge, 103) == bytes(100) + b"\2\1\1"
    assert stat(m, c.NR_ACTIVE_ANON) == [412]


def test_what_is_populated_for_writing_counts_as_written(m: MmMachine, huge: MmStruct) -> None:
    give_up(m, huge, 512)
    do_madvise(huge, m.ctx, AT, PAGE, MADV_POPULATE_WRITE)
    page_out(m, huge, 512)
    assert huge.rss_anon == 512
    assert first_bytes(m, huge, 512) == b"\1" * 512


@pytest.mark.parametrize("what", ["lock_page", "pin"])
def test_an_obstacle_to_one_page_is_one_to_all(m: MmMachine, huge: MmStruct, what: str) -> None:
    give_up(m, huge, 512)
    end = getattr(Obstacles(m.mem), what)(m.pfn(huge, AT + 7 * PAGE))
    page_out(m, huge, 512)
    assert huge.rss_anon == 512
    assert stat(m, c.NR_INACTIVE_FILE) == [512 if what == "lock_page" else 0]
    end()
    page_out(m, huge, 512)
    assert huge.rss_anon == (0 if what == "lock_page" else 512)


def test_a_huge_page_that_two_have_goes_when_nobody_has_written_to_it(m: MmMachine, huge: MmStruct) -> None:
    give_up(m, huge, 512)
    child = m.fork(huge)
    out = np.zeros(512, np.uint32)
    assert m.mem.k.vmscan.isolate_lru(m.mem, 0, c.LRU_INACTIVE_FILE, out) == (512, 512)
    assert len(shrink_folio_list(m.mem, 0, out, 0, MigrateStats())[0]) == 0
    assert (huge.rss_anon, child.rss_anon) == (0, 0)
    assert first_bytes(m, child, 2) == bytes(2)
