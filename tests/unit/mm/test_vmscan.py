"""Reclaim: which pages it may take, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGKILL

import numpy as np
import pytest

import numalab
from numalab import Sys
from numalab.arch.disk import Disk
from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm import page_alloc
from numalab.mm._constants import LRU_INACTIVE_ANON, PGACTIVATE
from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import read_user, touch_user, write_user
from numalab.mm.migrate.engine import ENGINES
from numalab.mm.migrate.ledger import Reason
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MADV_PAGEOUT
from numalab.mm.obstacles import Obstacles
from numalab.mm.page_alloc import MAX_RECLAIM_RETRIES, OutOfMemory, Slowpath
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swap_areas, swapon
from numalab.mm.vmscan import PAGEOUT_AGE, THROTTLE_NS, shrink_folio_list
from numalab.mm.waits import ClockWaits

from tests.mm_machine import PAGE, MmMachine


@pytest.mark.parametrize("flags", [0, PAGEOUT_AGE])
def test_a_page_that_is_locked_when_its_turn_comes_is_left_alone(flags: int) -> None:
    """It is not even given a slot, and it is not active: it goes where the unevictable pages are."""
    with MmMachine("1x16M") as m:
        area = swapon(m.mem, Disk(m.hw, m.mem.timers, "disk", 64))
        mm = m.new_mm()
        data = m.map(mm, 4)
        write_user(mm, m.ctx, data, b"x" * 4 * PAGE)
        lru_add_drain_all(m.mem)
        out = np.zeros(4, np.uint32)
        assert m.mem.k.vmscan.isolate_lru(m.mem, 0, LRU_INACTIVE_ANON, out) == (4, 4)
        do_mlock(mm, m.ctx, data, 4 * PAGE, 0)
        left, why = shrink_folio_list(m.mem, 0, out, flags, MigrateStats())
        assert sorted(left) == sorted(out)
        assert set(why) == {Reason.MLOCKED}
        assert area.used == 0
        assert int(m.mem.event[PGACTIVATE]) == 0
        m.mem.k.lru.putback(m.mem, 0, left)
        lru_add_drain_all(m.mem)
        assert m.check() == []


def exit_status(engine: str, disk: Callable[[Disk], object], pages: int, tasks: int = 1) -> set[int]:
    """What becomes of programs that together have more memory than the machine has."""
    with numalab.boot("1x4M", migration=engine, debug_vm=True) as machine:
        for area in swap_areas(machine.mem):
            disk(area.disk)
            area.sync()

        def main(sys: Sys) -> None:
            data = sys.mmap(pages * PAGE)
            for page in range(0, pages, 10):
                sys.memory.write(
                    data + page * PAGE, b"".join(bytes([(page + i) % 251]) * PAGE for i in range(10))
                )
                sys.sched_yield()
            sys.migrate_pages(0, {0}, {0})
            for page in range(pages):
                assert sys.memory.read(data + page * PAGE, 8) == bytes([page % 251]) * 8

        programs = [machine.spawn(main) for _ in range(tasks)]
        machine.run()
        return {program.exit_status for program in programs}


@pytest.mark.parametrize("latency", [15_000, 8_000_000, 300_000_000])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_larger_than_memory_waits_for_the_disk(engine: str, latency: int) -> None:
    assert exit_status(engine, lambda disk: setattr(disk, "latency", latency), 1500) == {0}


def test_several_programs_wait_for_the_disk() -> None:
    assert exit_status("batched", lambda disk: setattr(disk, "latency", 15_000), 200, tasks=8) == {0}


def test_a_disk_that_fails_is_no_swap() -> None:
    assert exit_status("batched", lambda disk: setattr(disk, "failing", True), 1500) == {-SIGKILL}


def for_ever(act: Callable[[], object]) -> None:
    while True:
        act()


class Full(MmMachine):
    """A machine whose memory is all in use by one program, with swap or without."""

    def __init__(self, swap: int) -> None:
        super().__init__("1x1M")
        self.disk = Disk(self.hw, self.mem.timers, "disk", 512)
        if swap:
            self.area = swapon(self.mem, self.disk)
        self.mm: MmStruct = self.new_mm()
        self.data = self.map(self.mm, 512)
        self.pages = 0
        while int(self.mem.zones["free"].sum()) > int(self.mem.zones["watermark"][:, 0].sum()):
            touch_user(self.mm, self.ctx, self.data + self.pages * PAGE, PAGE, 1, True)
            self.pages += 1


@pytest.mark.parametrize(("swap", "attempts"), [(False, 1), (True, MAX_RECLAIM_RETRIES + 1)])
def test_reclaim_in_vain_is_repeated_while_there_is_hope(
    swap: bool, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without swap, not even all that could be reclaimed would be enough."""
    tried: list[int] = []
    monkeypatch.setattr(page_alloc, "try_to_free_pages", lambda mem, cpu, nodes: tried.append(nodes) or 0)
    with Full(swap) as m:
        slow = Slowpath(m.mem, m.ctx)
        slow.reclaim()  # the per-CPU sets come first
        with pytest.raises(OutOfMemory):
            for_ever(slow.reclaim)
        assert tried == [1] * attempts


def test_attempts_count_from_the_last_that_freed_something(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [0] * MAX_RECLAIM_RETRIES + [1] + [0] * (MAX_RECLAIM_RETRIES + 1)
    monkeypatch.setattr(page_alloc, "try_to_free_pages", lambda mem, cpu, nodes: answers.pop(0))
    with Full(True) as m:
        slow = Slowpath(m.mem, m.ctx)
        with pytest.raises(OutOfMemory):
            for_ever(slow.reclaim)
        assert answers == []


def test_a_write_that_never_ends_is_not_waited_for_for_ever() -> None:
    with Full(True) as m:
        for page in range(m.pages):
            Obstacles(m.mem).writeback(m.pfn(m.mm, m.data + page * PAGE))
        with pytest.raises(OutOfMemory):
            touch_user(m.mm, m.ctx, m.data + m.pages * PAGE, PAGE, 4, True)
        assert m.hw.now > THROTTLE_NS


def test_a_root_table_is_worth_reclaiming_for() -> None:
    with Full(True) as m:
        m.new_mm()
        assert m.area.used
        assert m.check() == []
    with Full(False) as m, pytest.raises(KernelError) as error:
        for_ever(m.new_mm)
    assert error.value.errno == ENOMEM


def test_a_page_that_has_been_read_is_there_when_its_reader_wakes() -> None:
    """Others run between the end of the read and the reader's turn, and take what nobody holds."""
    with MmMachine("1x16M") as m:
        area = swapon(m.mem, Disk(m.hw, m.mem.timers, "disk", 64))
        mm = m.new_mm()
        data = m.map(mm, 1)
        write_user(mm, m.ctx, data, b"x" * PAGE)
        do_madvise(mm, m.ctx, data, PAGE, MADV_PAGEOUT)
        area.disk.latency = 1000
        area.sync()

        class Crowd(ClockWaits):
            def wait(self, what: str, done: Callable[[], bool]) -> None:
                super().wait(what, done)
                lru_add_drain_all(m.mem)
                out = np.zeros(1, np.uint32)
                assert m.mem.k.vmscan.isolate_lru(m.mem, 0, LRU_INACTIVE_ANON, out) == (1, 1)
                left, _ = shrink_folio_list(m.mem, 0, out, 0, MigrateStats())
                m.mem.k.lru.putback(m.mem, 0, left)

        m.mem.waits = Crowd(m.mem.timers)
        assert read_user(mm, m.ctx, data, PAGE) == b"x" * PAGE
        assert not +m.mem.held
        assert m.check() == []
