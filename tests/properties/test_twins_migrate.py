"""Finding and moving pages: the compiled migration kernels and their twins leave the same machine behind.

Pages are shared, pinned, locked, under writeback or given up by their owner meanwhile; targets are nodes, policies,
and full. Reasons and counters of every batch are compared too.
"""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats, Target
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm._page_list import PageList, PageLog
from numalab.mm._reference import View
from numalab.mm.steps import migrate_batch

from tests.strategies import Step, policies, policy, small_machines, steps
from tests.twin_spaces import PAGE, Spaces, few, life, pages_of, places, tune, where, who
from tests.twins import Machine, Pair

BATCH = 512
#: What may keep a page where it is.
obstacles = st.sampled_from(("pin", "lock", "writeback", "mapcount"))
addresses = st.lists(st.tuples(places, st.integers(0, PAGE - 1)), max_size=12)
nids = st.integers(0, 4)
ALL = 31
MOVE, MOVE_ALL = 2, 4


def moved_in_spite_of(who: int, place: tuple[int, int], pages: int, obstacle: str, nid: int) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("hinder", who, place, pages, obstacle),
        ("queue", who, place, pages, ALL, False, MOVE_ALL, True),
        ("migrate", who, nid, None, 0),
        ("migrate", who, nid, None, 0),
        ("put back", who),
    ]


def shared(who: int, place: tuple[int, int], pages: int, flags: int, nid: int) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("fork", who),
        ("queue", who, place, pages, ALL, False, flags, True),
        ("migrate", who, nid, None, 0),
    ]


def moved_to_a_full_node(
    who: int, place: tuple[int, int], pages: int, nid: int, left: int, drawn: Any
) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("queue", who, place, pages, ALL, False, MOVE, True),
        ("fill up", nid, left),
        ("migrate", who, nid, drawn, 3),
        ("fill up", nid, left),
        ("migrate", who, nid, drawn, 3),
    ]


def migrating(who: int, place: tuple[int, int], pages: int, flags: int) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("freeze", who, place, pages),
        ("queue", who, place, pages, ALL, False, flags, True),
        ("thaw",),
    ]


script = steps(
    *life,
    st.tuples(
        st.just("queue"),
        who,
        places,
        few,
        st.integers(0, 31),
        st.booleans(),
        st.integers(0, 7),
        st.booleans(),
    ),
    st.tuples(st.just("queue addresses"), who, addresses, nids, st.booleans(), st.booleans()),
    st.tuples(st.just("status"), who, addresses),
    st.tuples(st.just("fill up"), nids, st.integers(0, 20)),
    st.tuples(st.just("migrate"), who, nids, policies, st.integers(0, 9)),
    st.tuples(st.just("put back"), who),
    st.tuples(st.just("freeze"), who, places, few),
    st.tuples(st.just("thaw")),
    stories=(
        st.builds(moved_in_spite_of, who, places, few, obstacles, nids),
        st.builds(shared, who, places, few, st.integers(0, 7), nids),
        st.builds(moved_to_a_full_node, who, places, few, nids, st.integers(0, 20), policies),
        st.builds(migrating, who, places, few, st.integers(0, 7)),
    ),
    least=8,
)


class Driver(Spaces):
    """Programs, and a list of pages on the way. ``kept`` has on each machine: pages, the PageList; stats; undo."""

    def queue(
        self,
        who: int,
        place: tuple[int, int],
        pages: int,
        nodes: int,
        invert: bool,
        flags: int,
        migratable: bool,
    ) -> None:
        """One area of a migrate_pages() or mbind()."""
        start = where(place)

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            machine.k.lru.drain_all(machine.mem)
            pages_on = pagelist(machine)
            answer = machine.k.migrate.queue_range(
                machine.mem, mm, start, start + pages * PAGE, nodes, invert, flags, pages_on, migratable
            )
            return answer, look(pages_on)

        self.act(who, action, ("queue", who, place, pages, nodes, invert, flags, migratable))

    def queue_addresses(self, who: int, drawn: list[Any], node: int, move_all: bool, waiting: bool) -> None:
        """A part of a move_pages()."""
        wanted = np.array([where(place) + offset for place, offset in drawn], np.uint64)

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            machine.k.lru.drain_all(machine.mem)
            status = np.full(len(wanted), 77, np.int32)
            pages_on = pagelist(machine)
            answer = machine.k.migrate.queue_addresses(
                machine.mem, mm, wanted, node, move_all, status, pages_on, waiting
            )
            return answer, status, look(pages_on)

        self.act(who, action, ("queue addresses", who, drawn, node, move_all, waiting))

    def status(self, who: int, drawn: list[Any]) -> None:
        wanted = np.array([where(place) + offset for place, offset in drawn], np.uint64)

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            status = np.full(len(wanted), 77, np.int32)
            machine.k.migrate.pages_status(machine.mem, mm, wanted, status)
            return status

        self.act(who, action, ("status", who, drawn))

    def hinder(self, who: int, place: tuple[int, int], pages: int, obstacle: str) -> None:
        """Give every second page of a range a reason to stay; put_back() takes it away."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            hot = machine.mem.hot
            for pfn in pages_of(View(machine.mem), mm, where(place), where(place) + pages * PAGE)[::2]:
                field, value = {
                    "pin": ("refcount", 1),
                    "lock": ("flags", c.PG_locked),
                    "writeback": ("flags", c.PG_writeback),
                    "mapcount": ("mapcount", 1),
                }[obstacle]
                if field == "flags" and hot[pfn]["flags"] & value:
                    continue
                hot[pfn][field] += value
                if obstacle == "mapcount":
                    hot[pfn]["refcount"] += 1
                machine.kept.setdefault("undo", []).append((pfn, field, value, obstacle))

        # Whoever is hindered stays what it is until put_back(): so nothing else happens in between.
        if not self.pair.ours.kept.get("undo"):
            self.act(who, action, ("hinder", who, place, pages, obstacle))

    def migrate(self, who: int, nid: int, drawn: Any, ilx: int) -> None:
        """Batches until one leaves pages behind; those, and all behind them, stay on the list."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            mem = machine.mem
            todo = pagelist(machine).take()
            if drawn is None:
                target = Target(nid=nid % mem.topology.nr_node_ids)
            else:
                target = Target(policy=policy(drawn, mem.memory_nodes), ilx=ilx)
            left, why = np.zeros(BATCH, np.uint32), np.zeros(BATCH, np.uint8)
            stats = MigrateStats(PageLog())
            at, reason, n = migrate_batch(mem, task, todo, 0, target, stats, left, why)
            pagelist(machine).extend(np.concatenate([left[:n], todo[at:]]))
            counted = stats.moved, stats.freed, stats.batches, stats.reasons, stats.phases
            return (at, reason, n), left[:n], why[:n], counted, noted(stats.log)

        self.act(who, action, ("migrate", who, nid, drawn, ilx))

    def put_back(self, who: int) -> None:
        """Take all obstacles away, and put the pages back on the LRU."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            hot = machine.mem.hot
            for pfn, field, value, obstacle in machine.kept.pop("undo", []):
                if obstacle == "mapcount":
                    hot[pfn]["refcount"] -= 1
                hot[pfn][field] -= value
            machine.k.lru.putback(machine.mem, task.cpu, pagelist(machine).take())

        self.act(who, action, ("put back", who))

    def step(self, step: Step) -> None:
        hindered = bool(self.pair.ours.kept.get("undo"))
        if not hindered or step[0] in (
            "queue",
            "queue addresses",
            "status",
            "migrate",
            "put back",
            "fill up",
        ):
            super().step(step)


def pagelist(machine: Machine) -> PageList:
    found: PageList = machine.kept.setdefault("pages", PageList())
    if found.log is None:
        found.log = PageLog()
    return found


def noted(log: PageLog | None) -> object:
    """What a log says; page by page, for the twin does a table's pages in another order."""
    assert log is not None
    return np.sort(log.notes(), order=["at", "pfn", "fate", "to"])


def look(pages: PageList) -> object:
    """What is on a list, without changing it."""
    on_it = pages.take()
    pages.extend(on_it)
    return on_it, pages.scanned, pages.nr_failed, pages.nr_shared, noted(pages.log)


@given(
    topology=small_machines(most=400),
    sets=st.sampled_from(((1, 4), (7, 9), (31, 60))),
    script=script,
    stepwise=st.booleans(),
)
def test_migrate(topology: Topology, sets: tuple[int, int], script: list[Step], stepwise: bool) -> None:
    with Pair(topology, tune(*sets), stepwise=stepwise) as pair:
        driver = Driver(pair)
        for step in script:
            driver.step(step)
        driver.thaw()
        driver.put_back(0)
        broken = pair.ours.check(held=dict.fromkeys(pair.ours.kept.get("taken", ()), 0))
        assert not broken, "\n".join(map(str, broken))
