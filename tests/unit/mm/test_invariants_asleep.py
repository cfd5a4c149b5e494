"""The invariants hold while somebody sleeps in the middle of something: a fork, a migration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from numalab.arch.disk import Disk
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import touch_user
from numalab.mm.migrate.batched import movable_pages
from numalab.mm.migrate.engine import ENGINES
from numalab.mm.migrate.ledger import new_ledger
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.obstacles import Obstacles
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swapon
from numalab.mm.waits import ClockWaits

from tests.mm_machine import PAGE, MmMachine


class Watched(MmMachine):
    """A machine with a slow disk that is checked whenever somebody sleeps. seen: what was under way then."""

    def __init__(self, spec: str) -> None:
        super().__init__(spec)
        area = swapon(self.mem, Disk(self.hw, self.mem.timers, "disk", 2048))
        area.disk.latency = 10**6
        area.sync()
        self.seen: set[str] = set()
        self.mem.waits = Watch(self)
        self.mm: MmStruct = self.new_mm()

    def use(self, node: int) -> None:
        """Fill a node with pages."""
        task, data, page = self.task(node), self.map(self.mm, 1024), 0
        [zone] = (zone for zone in self.mem.zones if zone["node"] == node)
        while int(zone["free"]) > int(zone["watermark"][1]):
            touch_user(self.mm, task, data + page * PAGE, PAGE, 1, True)
            page += 1


class Watch(ClockWaits):
    def __init__(self, m: Watched) -> None:
        super().__init__(m.mem.timers)
        self.m = m

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        if self.m.mem.taskless:
            self.m.seen.add("fork")
            # Other threads must not change the areas that are being copied.
            assert self.m.mm.mmap_lock.writer is self.m.ctx
        if any(len(pages.frames()) for pages in self.m.mem.page_lists):
            self.m.seen.add("migration")
        assert self.m.check() == []
        super().wait(what, done)
        assert self.m.check() == []


def test_in_fork() -> None:
    """A copy that waits for its tables is somebody's already."""
    with Watched("1x1M") as m:
        m.use(0)
        for i in range(20):  # far apart: a table each
            m.map(m.mm, 1, at=0x100_0000_0000 + (i << 30))
            touch_user(m.mm, m.ctx, 0x100_0000_0000 + (i << 30), PAGE, 1, True)
        for _ in range(3):
            m.fork(m.mm)
        assert "fork" in m.seen
        assert not m.mem.taskless
        assert m.check() == []


def test_in_a_migration_that_needs_room() -> None:
    with Watched("2x1M") as m:
        m.use(1)
        m.use(0)
        do_migrate_pages(m.mem, m.mm, m.ctx, 1, 2, 2)
        assert "migration" in m.seen
        assert not m.mem.page_lists
        assert m.check() == []


@pytest.mark.parametrize("engine", ENGINES)
def test_in_a_migration_that_waits_for_a_page(engine: str) -> None:
    with Watched("2x1M") as m:
        m.mem.engine = ENGINES[engine].name
        data = m.map(m.mm, 4)
        touch_user(m.mm, m.ctx, data, PAGE, 4, True)
        Obstacles(m.mem).lock_page(m.pfn(m.mm, data), ns=10**9)
        assert do_migrate_pages(m.mem, m.mm, m.ctx, 1, 2, 2) == 0
        assert "migration" in m.seen
        assert m.check() == []


def test_a_migration_excuses_its_own_pages_only() -> None:
    with MmMachine("1x16M") as m:
        mm = m.new_mm()
        data = m.map(mm, 2)
        touch_user(mm, m.ctx, data, PAGE, 2, True)
        lru_add_drain_all(m.mem)
        own, lost = (np.array([m.pfn(mm, data + i * PAGE)], np.uint32) for i in range(2))
        with movable_pages(m.mem, m.ctx, new_ledger(m.mem, m.ctx, "batched", "memory_hotplug")) as pages:
            assert m.mem.k.lru.isolate_pfns(m.mem, own) == 1
            pages.extend(own)
            assert m.check() == []
            pages.take()  # an engine tries it
            assert m.check() == []
            assert m.mem.k.lru.isolate_pfns(m.mem, lost) == 1
            assert [(broken.number, broken.pfn) for broken in m.check()] == [(4, int(lost[0]))]
            pages.extend(np.concatenate([own, lost]))
        lru_add_drain_all(m.mem)
        assert m.check() == []
