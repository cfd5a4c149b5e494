"""The engines of 2005, 2006 and today: their pairing, and what the ledger says of each obstacle.

The golden ledgers of the swap engine follow "Swap Migration V5" step by step: which pass does what to which page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import numalab
from numalab import Sys, abi
from numalab.arch.disk import Disk
from numalab.mm._constants import NR_WRITEBACK, PSWPOUT
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import read_user, touch_user, write_user
from numalab.mm.migrate.engine import ENGINES
from numalab.mm.migrate.ledger import Pass, Reason
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MLOCK_ONFAULT
from numalab.mm.mmap import do_munmap
from numalab.mm.nodemask import nodelist_parse, nodes_in
from numalab.mm.obstacles import Obstacles
from numalab.mm.swapfile import swap_areas, swapoff, swapon

from tests.mm_machine import PAGE, DiskFile, MmMachine

MOVE = 2
CONTENT = b"".join(bytes([i + 1]) * PAGE for i in range(8))


# --- pairing ---------------------------------------------------------------------------------------------------

#: From, to; pairs of 2.6.16, of today (None: the same), and what V5 evicts from.
VECTORS = [
    ("2-4", "3-5", "4>5 3>4 2>3", None, "2"),
    ("0-7", "3-5", "7>4 6>3 2>5 1>4 0>3", None, "0-2,6-7"),
    ("0-2", "1-2", "2>1 1>2 0>1", "0>1", "0"),
    ("0", "0-1", "", None, ""),
    ("0-3", "4-5", "0>4 1>5 2>4 3>5", None, "0-3"),
    ("0-1", "2-4", "0>2 1>3", None, "0-1"),
    ("1-3", "0-2", "1>0 2>1 3>2", None, "3"),
    ("0,2", "1,3", "0>1 2>3", None, "0,2"),
    ("0-1", "0-1", "", None, ""),
]


@pytest.mark.parametrize(
    ("old", "new", "then", "now", "evicted"), VECTORS, ids=[f"{v[0]}to{v[1]}" for v in VECTORS]
)
def test_node_pairs(old: str, new: str, then: str, now: str | None, evicted: str) -> None:
    def pairs(engine: str) -> str:
        found = ENGINES[engine].pairs(nodelist_parse(old), nodelist_parse(new))
        return " ".join(f"{next(nodes_in(sources))}>{dest}" for sources, dest in found)

    assert pairs("direct") == then
    assert pairs("batched") == (then if now is None else now)
    assert list(ENGINES["swap"].pairs(nodelist_parse(old), nodelist_parse(new))) == (
        [(nodelist_parse(evicted), -1)] if evicted else []
    )


# --- golden ledgers --------------------------------------------------------------------------------------------


class Bench(MmMachine):
    """Two nodes, swap, and a program with 8 dirty pages on node 0."""

    def __init__(self, engine: str = "swap", *, quirks: bool = False) -> None:
        super().__init__("2x16M")
        self.mem.engine, self.mem.v5_quirks = engine, quirks
        self.area = swapon(self.mem, Disk(self.hw, self.mem.timers, "disk", 64))
        self.mm: MmStruct = self.new_mm()
        self.data = self.map(self.mm, 8)
        write_user(self.mm, self.ctx, self.data, CONTENT)
        self.obstacles = Obstacles(self.mem)

    def frame(self, page: int = 0) -> int:
        return self.pfn(self.mm, self.data + page * PAGE)

    def vacate(self) -> int:
        """migrate_pages() from node 0 to node 1."""
        return do_migrate_pages(self.mem, self.mm, self.ctx, 1, 2, MOVE)

    @property
    def passes(self) -> list[Pass]:
        return self.mem.ledger.passes

    def left(self) -> list[dict[Reason, int]]:
        """Why pages were left, pass by pass."""
        return [p.left for p in self.passes]

    def intact(self) -> bool:
        return read_user(self.mm, self.ctx, self.data, 8 * PAGE) == CONTENT

    def faults(self) -> tuple[int, int]:
        """(minor, major) faults that reading everything takes."""
        before = self.ctx.min_flt, self.ctx.maj_flt
        touch_user(self.mm, self.ctx, self.data, PAGE, 8, False)
        return self.ctx.min_flt - before[0], self.ctx.maj_flt - before[1]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as m:
        yield m
        assert m.check() == []


def test_a_dirty_page_is_written_in_pass_0_and_reaped_in_pass_1(bench: Bench) -> None:
    assert bench.vacate() == 0
    assert [(p.tried, p.moved, p.left) for p in bench.passes] == [(8, 0, {Reason.WRITING: 8}), (8, 8, {})]
    assert bench.area.used == 8
    assert bench.faults() == (0, 8)
    assert bench.intact()


def test_pages_come_back_where_the_program_runs(bench: Bench) -> None:
    bench.vacate()
    far = bench.task(1)
    touch_user(bench.mm, far, bench.data, PAGE, 8, False)
    assert {bench.mem.node_of(bench.frame(i)) for i in range(8)} == {1}


def test_a_lock_released_before_pass_2_costs_no_wait(bench: Bench) -> None:
    with Bench() as other:  # the same once more, to learn when its pass 2 begins
        other.obstacles.lock_page(other.frame(3), ns=10**9)
        start = other.hw.now
        other.vacate()
        begin = other.passes[2].began - start
    bench.obstacles.lock_page(bench.frame(3), ns=begin)
    assert bench.vacate() == 0
    assert bench.left() == [
        {Reason.WRITING: 7, Reason.LOCKED: 1},
        {Reason.LOCKED: 1},
        {Reason.WRITING: 1},
        {},
    ]
    assert [p.waited for p in bench.passes] == [0, 0, 0, 0]


def test_pass_3_sleeps_until_the_lock_is_released(bench: Bench) -> None:
    bench.obstacles.lock_page(bench.frame(3), ns=10**6)
    start = bench.hw.now
    assert bench.vacate() == 0
    assert bench.left() == [
        {Reason.WRITING: 7, Reason.LOCKED: 1},
        {Reason.LOCKED: 1},
        {Reason.LOCKED: 1},
        {Reason.WRITING: 1},
        {},
    ]
    assert [p.waited > 0 for p in bench.passes] == [False, False, False, True, False]
    # Asleep until the release, but for the moment it took to find the page locked.
    assert 0 <= start + 10**6 - bench.passes[3].began - bench.passes[3].waited < 1000
    assert bench.intact()


def test_writeback_that_outlasts_pass_0_is_waited_for_in_pass_1(bench: Bench) -> None:
    bench.obstacles.writeback(bench.frame(5), ns=10**6)
    assert bench.vacate() == 0
    assert bench.left() == [{Reason.WRITING: 7, Reason.WRITEBACK: 1}, {Reason.WRITING: 1}, {}]
    assert bench.passes[1].waited > 0
    assert [p.waited for p in bench.passes[::2]] == [0, 0]


def test_a_slow_disk_is_waited_for_in_pass_1(bench: Bench) -> None:
    bench.area.disk.latency = 8_000_000
    bench.area.sync()
    assert bench.vacate() == 0
    assert bench.left() == [{Reason.WRITING: 8}, {}]
    assert bench.passes[1].waited > 7_000_000
    assert bench.intact()


def test_an_extra_reference_is_counted_once_and_the_page_comes_back_by_a_minor_fault(bench: Bench) -> None:
    release = bench.obstacles.hold(bench.frame(2))
    assert bench.vacate() == 1
    assert bench.left()[0] == {Reason.WRITING: 7, Reason.PINNED: 1}
    assert bench.left()[1:] == [{Reason.PINNED: 1}] * 10
    assert bench.mem.ledger.failed == {Reason.PINNED: 1}
    assert bench.faults() == (1, 7)
    assert bench.intact()
    release()


def test_without_a_free_slot_pages_stay_for_good_in_pass_0(bench: Bench) -> None:
    swapoff(bench.mem, bench.area, lambda: [bench.mm], bench.ctx)
    bench.area = swapon(bench.mem, Disk(bench.hw, bench.mem.timers, "small", 6))
    assert bench.vacate() == 3
    assert bench.left() == [{Reason.WRITING: 5, Reason.NO_SWAP: 3}, {}]
    assert bench.mem.ledger.failed == {Reason.NO_SWAP: 3}
    swapoff(bench.mem, bench.area, lambda: [bench.mm], bench.ctx)
    assert bench.vacate() == 8
    assert bench.left() == [{Reason.NO_SWAP: 8}]
    assert bench.intact()


def test_a_page_that_is_used_between_passes_needs_another_round() -> None:
    """It is mapped again from the swap cache while pass 1 sleeps, and written, so that it is dirty once more."""
    with numalab.boot("2x16M", migration="swap") as machine:
        [area] = swap_areas(machine.mem)
        area.disk.latency = 1_000_000
        area.sync()

        def main(sys: Sys) -> None:
            data = sys.mmap(2 * PAGE)
            sys.memory.write(data, b"before")

            def other(sys: Sys) -> None:
                while not machine.mem.page_lists:
                    sys.sched_yield()
                sys.memory.write(data, b"after!")

            sys.clone(other, flags=abi.CLONE_VM | abi.SIGCHLD)
            assert sys.migrate_pages(0, {0}, {1}) == 0
            assert sys.memory.read(data, 6) == b"after!"

        assert machine.run(main) == 0
        assert len(machine.mem.ledger.passes) > 2
        assert int(machine.mem.event[PSWPOUT]) > 2
        machine.check_invariants()


def test_a_lock_that_is_never_released_is_a_deadlock_with_a_name() -> None:
    with numalab.boot("2x16M", migration="swap") as machine:
        seen: list[int] = []

        def main(sys: Sys) -> None:
            data = sys.mmap(4 * PAGE)
            sys.memory.write(data, b"x" * 4 * PAGE)
            seen.append(machine.page_of(machine.sched.current, data))  # type: ignore[arg-type]
            machine.obstacles.lock_page(seen[0], owner="a driver")
            sys.migrate_pages(0, {0}, {1})

        with pytest.raises(
            numalab.Deadlock, match=r"waits for the lock of page 0x[0-9a-f]+, held by a driver"
        ) as caught:
            machine.run(main)
        assert f"waits for the lock of page {seen[0]:#x}, held by a driver" in str(caught.value)
        [task] = [task for task in machine.tasks if not task.unkillable]
        assert task.state.value == "D (disk sleep)"
        machine.check_invariants()


def test_a_locked_area_is_passed_over_in_silence(bench: Bench) -> None:
    do_mlock(bench.mm, bench.ctx, bench.data, 4 * PAGE, 0)
    assert bench.vacate() == 0
    assert bench.passes[0].tried == 4
    assert bench.faults() == (0, 4)


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("locker", ["parent", "child"])
def test_a_page_that_another_process_has_locked_stays(locker: str, quirks: bool) -> None:
    """It cannot be foreseen: where the walk meets the locked area after another, that one is unmapped already."""
    with Bench(quirks=quirks) as m:
        if locker == "parent":
            do_mlock(m.mm, m.ctx, m.data, 4 * PAGE, 0)
            m.fork(m.mm)
            mover, holder = m.mms[1], m.mm
        else:
            m.fork(m.mm)
            do_mlock(m.mms[1], m.ctx, m.data, 4 * PAGE, MLOCK_ONFAULT)
            mover, holder = m.mm, m.mms[1]
        locked = [m.pfn(holder, m.data + i * PAGE) for i in range(4)]
        assert do_migrate_pages(m.mem, mover, m.ctx, 1, 2, MOVE) == (8 if quirks else 4)
        assert m.mem.ledger.failed == {Reason.MLOCKED: 4}
        assert len(m.passes) == 11
        assert [m.pfn(holder, m.data + i * PAGE) for i in range(4)] == locked
        assert [bool(pte & 1) for pte in m.ptes(mover, m.data, 4)] == [locker == "parent"] * 4
        assert m.check() == []
        for mm in (mover, holder):
            assert read_user(mm, m.ctx, m.data, 8 * PAGE) == CONTENT
        assert m.check() == []


def test_a_page_that_is_locked_while_a_pass_sleeps_stays() -> None:
    with numalab.boot("2x16M", migration="swap") as machine:

        def main(sys: Sys) -> None:
            data = sys.mmap(2 * PAGE)
            sys.memory.write(data, b"x" * 2 * PAGE)
            machine.obstacles.writeback(machine.page_of(machine.sched.current, data), ns=10**6)  # type: ignore[arg-type]

            def other(sys: Sys) -> None:
                while not machine.mem.page_lists:
                    sys.sched_yield()
                sys.mlock(data, PAGE)

            sys.clone(other, flags=abi.CLONE_VM | abi.SIGCHLD)
            assert sys.migrate_pages(0, {0}, {1}) == 1

        assert machine.run(main) == 0
        assert machine.mem.ledger.failed == {Reason.MLOCKED: 1}
        machine.check_invariants()


def test_pages_shared_after_fork_go_too(bench: Bench) -> None:
    child = bench.fork(bench.mm)
    assert bench.vacate() == 0
    assert bench.passes[-1].moved == 8
    assert read_user(child, bench.ctx, bench.data, 8 * PAGE) == CONTENT
    assert bench.intact()


FILE_AT = 0x20000000


def map_whole_file(bench: Bench, mm: MmStruct, file: DiskFile, *, shared: bool) -> None:
    bench.map_file(mm, file, 8, FILE_AT, shared=shared)


def on_node_0(bench: Bench, file: DiskFile) -> int:
    return sum(bench.mem.node_of(entry >> 1) == 0 for _, entry in file.mapping.entries())


def test_a_clean_page_of_a_file_is_gone_in_pass_0(bench: Bench) -> None:
    do_munmap(bench.mm, bench.ctx, bench.data, 8 * PAGE)
    file = DiskFile(bench, 8, blocks=10)
    map_whole_file(bench, bench.mm, file, shared=True)
    touch_user(bench.mm, bench.ctx, FILE_AT, PAGE, 8, False)
    assert bench.vacate() == 0
    assert [(p.moved, p.left) for p in bench.passes] == [(8, {})]
    assert file.mapping.nrpages == 0
    assert file.disk.writes == 0
    assert [read_user(bench.mm, bench.ctx, FILE_AT + i * PAGE, 1)[0] for i in range(8)] == list(range(8))


def test_a_dirty_page_of_a_file_is_written_in_pass_0_and_reaped_in_pass_1(bench: Bench) -> None:
    do_munmap(bench.mm, bench.ctx, bench.data, 8 * PAGE)
    file = DiskFile(bench, 8, blocks=10)
    map_whole_file(bench, bench.mm, file, shared=True)
    touch_user(bench.mm, bench.ctx, FILE_AT, PAGE, 8, True, 99)
    assert bench.vacate() == 0
    assert [(p.moved, p.left) for p in bench.passes] == [(0, {Reason.WRITING: 8}), (8, {})]
    assert file.disk.writes == 8
    assert [read_user(bench.mm, bench.ctx, FILE_AT + i * PAGE, 1)[0] for i in range(8)] == [99] * 8


def test_a_page_of_a_shared_library_is_neither_collected_nor_counted(bench: Bench) -> None:
    """In 2005 it mattered who maps the file, not who maps the page."""
    other = bench.new_mm()
    file = DiskFile(bench, 8, blocks=10)
    for mm in (bench.mm, other):
        map_whole_file(bench, mm, file, shared=False)
    touch_user(bench.mm, bench.ctx, FILE_AT, PAGE, 8, False)
    assert bench.vacate() == 0
    assert bench.mem.ledger.isolated == 8  # the anonymous ones
    assert bench.mem.ledger.shared == 8
    assert bench.mem.ledger.failed == {}
    assert on_node_0(bench, file) == 8
    do_munmap(other, bench.ctx, FILE_AT, 8 * PAGE)  # nobody else has the library any more
    assert bench.vacate() == 0
    assert on_node_0(bench, file) == 0


def test_a_file_that_somebody_may_write_is_collected_from_all(bench: Bench) -> None:
    other = bench.new_mm()
    file = DiskFile(bench, 8, blocks=10)
    map_whole_file(bench, bench.mm, file, shared=False)
    map_whole_file(bench, other, file, shared=True)
    for mm in (bench.mm, other):
        touch_user(mm, bench.ctx, FILE_AT, PAGE, 8, False)
    assert bench.vacate() == 0
    assert on_node_0(bench, file) == 0
    assert bench.mem.ledger.shared == 0


# --- V5's own mistakes -----------------------------------------------------------------------------------------


def test_quirk_a_page_in_use_survives_a_pass_and_the_count_is_too_high() -> None:
    with Bench(quirks=True) as m:
        assert m.vacate() == 8, "pages that went are counted as left behind"
        assert m.left() == [{Reason.ACCESSED: 8}, {Reason.WRITING: 8}, {}]
        assert m.faults() == (0, 8)
        assert m.intact()
        assert m.check() == []


def test_quirk_a_slot_is_written_twice() -> None:
    """As long as another page keeps the loop going, an evicted page looks like one that was never in swap."""
    with Bench(quirks=True) as m:
        release = m.obstacles.hold(m.frame(0))
        m.vacate()
        assert len(m.passes) == 11
        written = int(m.mem.event[PSWPOUT])
        assert written > 2 * 7
        assert m.intact()
        release()
        assert m.check() == []


# --- direct ----------------------------------------------------------------------------------------------------


def test_direct_moves_at_once_and_waits_for_locks_from_its_fourth_pass() -> None:
    with Bench("direct") as m:
        m.obstacles.lock_page(m.frame(1), ns=10**7)
        assert m.vacate() == 0
        assert m.left() == [{Reason.LOCKED: 1}] * 3 + [{}]
        assert [p.waited > 0 for p in m.passes] == [False, False, False, True]
        assert {m.mem.node_of(m.frame(i)) for i in range(8)} == {1}
        assert m.intact()
        assert m.check() == []


@pytest.mark.parametrize("obstacle", ["lock_page", "writeback"])
def test_batched_sleeps_for_a_page_in_its_first_synchronous_pass(obstacle: str) -> None:
    with Bench("batched") as m:
        getattr(m.obstacles, obstacle)(m.frame(1), ns=10**7)
        assert m.vacate() == 0
        why = Reason.LOCKED if obstacle == "lock_page" else Reason.WRITEBACK
        assert m.left() == [{why: 1}] * 3 + [{}]
        assert [p.waited > 0 for p in m.passes] == [False, False, False, True]
        assert {m.mem.node_of(m.frame(i)) for i in range(8)} == {1}
        assert m.intact()
        assert m.check() == []


def test_direct_counts_what_is_pinned_after_ten_passes() -> None:
    with Bench("direct") as m:
        release = m.obstacles.pin(m.frame(1))
        assert m.vacate() == 1
        assert m.left() == [{Reason.PINNED: 1}] * 10
        release()
        assert m.vacate() == 0
        assert m.check() == []


def test_obstacles_refuse_what_cannot_be() -> None:
    with Bench() as m:
        m.obstacles.lock_page(m.frame(0), owner="me")
        with pytest.raises(ValueError, match="is locked by me"):
            m.obstacles.lock_page(m.frame(0))
        m.obstacles.writeback(m.frame(1))
        with pytest.raises(ValueError, match="is being written"):
            m.obstacles.writeback(m.frame(1))


@pytest.mark.parametrize("obstacle", ["lock_page", "writeback", "hold", "pin"])
def test_a_page_with_an_obstacle_is_not_freed_before_that_has_gone(obstacle: str) -> None:
    with Bench() as m:
        pfn = m.frame(0)
        release = getattr(m.obstacles, obstacle)(pfn)
        late = getattr(m.obstacles, obstacle)(m.frame(1), ns=1000)
        m.exit(m.mm)
        assert m.check() == []
        assert int(m.page(pfn)["refcount"]) == 1
        release()
        release()  # once more does no harm
        assert int(m.page(pfn)["refcount"]) == 0
        assert m.mem.timers.skip()
        late()
        assert m.check() == []
        assert not m.mem.node_stat[:, NR_WRITEBACK].any()


def test_every_engine_can_be_booted_and_no_other() -> None:
    assert set(numalab.ENGINES) == set(ENGINES)
    for name in ENGINES:
        with numalab.boot("1x16M", migration=name) as machine:
            assert machine.engine == name
            with pytest.raises(ValueError, match="engine 'fast' is unknown"):
                machine.engine = "fast"
    with pytest.raises(ValueError, match="engine 'fast' is unknown"):
        numalab.boot("1x16M", migration="fast")
