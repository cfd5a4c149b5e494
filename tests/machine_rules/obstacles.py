"""Rules for what stands in the way: locks, pins, references and writeback that end; a disk that is slow or fails."""

from __future__ import annotations

from contextlib import suppress
from signal import SIGBUS

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.mm._constants import PG_locked, PG_writeback
from numalab.mm.mman import MADV_PAGEOUT
from numalab.mm.swapfile import SwapArea, swap_areas

from tests.driven import Died
from tests.machine_rules.base import READABLE, Base, Process, counts, places, who
from tests.memory_model import PAGE

__all__ = ["ObstacleRules"]

obstacles = st.sampled_from(("lock_page", "writeback", "pin", "hold"))
#: ns of virtual time: over before the next call does much, or still there after many.
durations = st.sampled_from((1_000, 100_000, 10_000_000))


class ObstacleRules(Base):
    """Nobody loses a byte by them; only who must have what the disk cannot read dies, by SIGBUS."""

    @rule(number=who, at=places, count=st.integers(1, 4), what=obstacles, ns=durations)
    @precondition(Base.has_processes)
    def obstruct(self, number: int, at: int, count: int, what: str, ns: int) -> None:
        process = self.pick(number)
        vpn = self.place(process, at)
        for page in process.image.mapped(vpn, count):
            pfn = self.frame(process, page)
            if pfn is not None and not int(self.mem.hot["flags"][pfn]) & (PG_locked | PG_writeback):
                with suppress(ValueError):  # a pin on what cannot leave ZONE_MOVABLE
                    getattr(self.machine.obstacles, what)(pfn, ns)

    @rule(ns=durations)
    def time_passes(self, ns: int) -> None:
        self.machine.hw.now += ns
        self.machine.sched.timers.expire()

    def disk(self) -> SwapArea | None:
        return next(swap_areas(self.mem), None)

    @rule(latency=st.sampled_from((0, 15_000, 8_000_000)))
    def disk_speed(self, latency: int) -> None:
        """Requests take time from now on, or none."""
        area = self.disk()
        if area is not None:
            area.disk.latency = latency
            area.sync()

    @rule(number=who, at=places, count=counts)
    @precondition(Base.has_processes)
    def write_error(self, number: int, at: int, count: int) -> None:
        """Pages that cannot be written stay in memory, whoever has them."""
        area = self.disk()
        if area is None:
            return
        process, count = self.pick(number), self.size(count)
        vpn = self.place(process, at)
        self.fails(area, True)
        self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, MADV_PAGEOUT), enomem=True)
        while self.machine.sched.timers.skip():
            pass
        self.fails(area, False)

    @rule(number=who, at=places)
    @precondition(Base.has_processes)
    def read_error(self, number: int, at: int) -> None:
        """Who needs a page that cannot be read dies of it, if only he has it; it is not shown as something else."""
        process = self.pick(number)
        vpn = self.place(process, at)
        area = self.disk()
        self.act(process, lambda sys: sys.madvise(vpn * PAGE, PAGE, MADV_PAGEOUT), enomem=True)
        if area is None or not self.in_swap_alone(process, vpn, area):
            return
        window, self.mem.page_cluster = self.mem.page_cluster, 0
        self.fails(area, True)
        try:
            process.program.do(lambda sys: sys.memory.touch(vpn * PAGE))
        except Died as death:
            self.killed(death.status, SIGBUS)
        else:
            raise AssertionError("a page was read from a disk that fails")
        finally:
            self.fails(area, False)
            self.mem.page_cluster = window

    def in_swap_alone(self, process: Process, vpn: int, area: SwapArea) -> bool:
        """Whether a page may be read, and is nowhere but in swap, for nobody else. One of zeros is not read."""
        if not self.allowed(process, vpn, 1, READABLE):
            return False
        slot = self.slot(self.ptes(process, [vpn]).get(vpn, 0))
        return slot is not None and int(area.map[slot]) == 1 and not area.zeromap[slot]

    def fails(self, area: SwapArea, failing: bool) -> None:
        area.disk.failing = failing
        area.sync()
