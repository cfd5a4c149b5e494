"""The kernels of swap and reclaim and their twins: equal memory after any life of a few programs under pressure.

Pages age and leave, come back by faults and by swapoff(), from disks that are quick, slow or broken; those in the swap
cache migrate.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.disk import Disk
from numalab.arch.topology import Topology
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm._page_list import PageLog
from numalab.mm.madvise import do_madvise
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mman import MADV_COLD, MADV_WILLNEED
from numalab.mm.swapfile import swap_areas, swapoff, swapon
from numalab.mm.vmscan import shrink_folio_list

from tests.strategies import Step, small_machines, steps
from tests.twin_spaces import PAGE, Spaces, few, life, places, tune, where, who
from tests.twins import Machine, Pair

nids = st.integers(0, 4)
AGE, YOUNG_STAYS = 1, 2


def paged_and_shared(who: int, place: tuple[int, int], pages: int, write: bool) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("page out", who, place, pages),
        ("fork", who),
        ("fault", who, place, pages, write),
        ("page out", who, place, pages),
    ]


def locked_by_one_of_two(who: int, place: tuple[int, int], pages: int, locker: int, nid: int) -> list[Step]:
    """Pages are shared after fork, and locked in the parent only; then one of the two is vacated."""
    return [
        ("fault", who, place, pages, True),
        ("lock", who, place, pages, True),
        ("fork", who),
        ("migrate", locker, nid, nid + 1, "swap"),
    ]


def given_up(who: int, place: tuple[int, int], pages: int, change: list[Step], nid: int) -> list[Step]:
    """Pages are given up; something happens; reclaim looks at them, or an engine of migration does."""
    return [
        ("fault", who, place, pages, True),
        ("give up", who, place, pages),
        *change,
        ("reclaim", nid, c.LRU_INACTIVE_FILE, 90, 0, 3),
    ]


script = steps(
    *life,
    st.tuples(
        st.just("reclaim"), nids, st.integers(0, 3), st.integers(1, 90), st.integers(0, 3), st.integers(0, 3)
    ),
    st.tuples(st.just("refill"), nids, st.integers(1, 90)),
    st.tuples(st.just("advise"), who, places, few, st.sampled_from((MADV_COLD, MADV_WILLNEED))),
    st.tuples(st.just("migrate"), who, nids, nids, st.sampled_from(("batched", "swap"))),
    st.tuples(st.just("disk"), st.sampled_from((0, 0, 1000)), st.sampled_from((False, False, True))),
    st.tuples(st.just("wait")),
    st.tuples(st.just("swap off")),
    stories=(
        st.builds(paged_and_shared, who, places, few, st.booleans()),
        st.builds(locked_by_one_of_two, who, places, few, who, nids),
        st.builds(given_up, who, places, few, st.lists(st.one_of(*life), max_size=2), nids),
    ),
    least=10,
)


class Driver(Spaces):
    """Programs, and what reclaim does to them."""

    def reclaim(self, nid: int, kind: int, n: int, flags: int, highest: int) -> None:
        """A piece of a list is isolated, each of its pages gets one try to leave, and the rest is put back."""

        def action(machine: Machine) -> object:
            node = nid % machine.mem.topology.nr_node_ids
            out = np.zeros(n, np.uint32)
            taken, scanned = machine.k.vmscan.isolate_lru(machine.mem, node, kind, out, highest)
            stats = MigrateStats(PageLog())
            left, why = shrink_folio_list(machine.mem, 0, out[:taken], flags, stats)
            machine.k.lru.putback(machine.mem, 0, left)
            assert stats.log is not None
            notes = stats.log.notes()
            return taken, scanned, left, why, stats.moved, stats.freed, stats.reasons, stats.phases, notes

        self.pair.both(action, ("reclaim", nid, kind, n, flags, highest))

    def refill(self, nid: int, n: int) -> None:
        """Pages of the active list lose their standing."""

        def action(machine: Machine) -> object:
            node = nid % machine.mem.topology.nr_node_ids
            out = np.zeros(n, np.uint32)
            taken, _ = machine.k.vmscan.isolate_lru(machine.mem, node, c.LRU_ACTIVE_ANON, out)
            machine.k.vmscan.deactivate(machine.mem, out[:taken])
            machine.k.lru.putback(machine.mem, 0, out[:taken])
            return taken

        self.pair.both(action, ("refill", nid, n))

    def advise(self, who: int, place: tuple[int, int], pages: int, advice: int) -> None:
        self.act(
            who,
            lambda machine, mm, task: do_madvise(mm, task, where(place), pages * PAGE, advice),
            ("advise", who, place, pages, advice),
        )

    def migrate(self, who: int, source: int, target: int, engine: str) -> None:
        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            machine.mem.engine = engine
            nodes = [n.id for n in machine.mem.topology.nodes if n.ranges]
            masks = [1 << nodes[nid % len(nodes)] for nid in (source, target)]
            return do_migrate_pages(machine.mem, mm, task, *masks, 4)

        self.act(who, action, ("migrate", who, source, target, engine))

    def disk(self, latency: int, failing: bool) -> None:
        """The disk becomes another one."""

        def action(machine: Machine) -> None:
            for area in swap_areas(machine.mem):
                area.disk.latency, area.disk.failing = latency, failing
                area.sync()

        self.pair.both(action, ("disk", latency, failing))

    def wait(self) -> None:
        """Until whatever was asked of the disk is done."""

        def action(machine: Machine) -> None:
            while machine.mem.timers.skip():
                pass

        self.pair.both(action, "wait")

    def swap_off(self) -> None:
        """Everything comes back; if it does, there is new, empty swap."""

        def action(machine: Machine) -> None:
            for area in list(swap_areas(machine.mem)):
                swapoff(machine.mem, area, lambda: machine.mms, machine.ctx)
                swapon(machine.mem, Disk(machine.hw, machine.mem.timers, "disk", 48))

        self.pair.both(action, "swap off")


@given(
    topology=small_machines(most=400),
    sets=st.sampled_from(((1, 4), (7, 9), (31, 60))),
    script=script,
    stepwise=st.booleans(),
)
def test_vmscan(topology: Topology, sets: tuple[int, int], script: list[Step], stepwise: bool) -> None:
    with Pair(topology, tune(*sets), debug_vm=True, stepwise=stepwise) as pair:
        driver = Driver(pair)
        for step in script:
            driver.step(step)
        driver.wait()
        broken = pair.ours.check()
        assert not broken, "\n".join(map(str, broken))
