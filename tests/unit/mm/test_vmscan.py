"""Reclaim: which pages it may take, and when it gives up."""

from __future__ import annotations

import numpy as np
import pytest

from numalab.arch.disk import Disk
from numalab.mm._constants import LRU_INACTIVE_ANON, PGACTIVATE
from numalab.mm._migrate import MigrateStats
from numalab.mm.memory import write_user
from numalab.mm.migrate.ledger import Reason
from numalab.mm.mlock import do_mlock
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swapon
from numalab.mm.vmscan import PAGEOUT_AGE, shrink_folio_list

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
