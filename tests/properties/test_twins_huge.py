"""Huge pages: the compiled kernels and their twins leave the same machine behind, and it is in order.

The steps are those of the tests of _memory and _migrate, at places where 2 MiB begin, end, or are cut.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.huge_memory import DEFRAG
from numalab.mm.madvise import do_madvise
from numalab.mm.mman import MADV_COLD, MADV_COLLAPSE, MADV_HUGEPAGE, MADV_NOHUGEPAGE

from tests.properties.test_twins_migrate import MOVE_ALL, Driver, nids
from tests.strategies import Step, machine, policies
from tests.twin_spaces import PAGE, prots, tune, where, who
from tests.twins import Machine, Pair

ALL = 31
RW = 3
#: The last of the places of twin_spaces is where 2 MiB begin: at their ends, next to these, and in the middle.
places = st.tuples(st.just(2), st.sampled_from((0, 0, 0, 1, 300, 511, 512, 512, 513, 1024)))
counts = st.sampled_from((1, 1, 5, 211, 512, 512, 513, 1024, 1100))
advice = st.sampled_from((MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE, MADV_COLLAPSE, MADV_COLD))

life = (
    st.tuples(st.just("map"), who, places, counts, st.just(RW)),
    st.tuples(st.just("fault"), who, places, counts, st.just(True)),
    st.tuples(st.just("fault"), who, places, counts, st.booleans()),
    st.tuples(st.just("write"), who, places, st.integers(1, 12), st.integers(0, 255)),
    st.tuples(st.just("unmap"), who, places, counts),
    st.tuples(st.just("discard"), who, places, counts),
    st.tuples(st.just("give up"), who, places, counts),
    st.tuples(st.just("protect"), who, places, counts, prots),
    st.tuples(st.just("lock"), who, places, counts, st.booleans()),
    st.tuples(st.just("move"), who, places, places, counts),
    st.tuples(st.just("bind"), who, places, counts, policies),
    st.tuples(st.just("page out"), who, places, st.sampled_from((1, 5, 512))),
    st.tuples(st.just("fork"), who),
    st.tuples(st.just("exit"), who),
    st.tuples(st.just("advise"), who, places, counts, advice),
    st.tuples(st.just("set"), st.sampled_from(("always", "always", "madvise")), st.sampled_from(DEFRAG)),
)
addresses = st.lists(st.tuples(places, st.integers(0, PAGE - 1)), max_size=6)


def fresh(who: int, blocks: int) -> list[Step]:
    """Whole blocks, each mapped by a PMD if there is room."""
    return [
        ("map", who, (2, 0), 512 * blocks + 3, RW),
        ("set", "always", "madvise"),
        ("fault", who, (2, 0), 512 * blocks + 3, True),
        ("write", who, (2, 511), 6, 7),
    ]


def moved(who: int, blocks: int, change: list[Step], queue: Step, nid: int, drawn: Any) -> list[Step]:
    """What there is of some blocks moves, if it may, after this and that."""
    return [
        *fresh(who, blocks),
        *change,
        (queue[0], who, *queue[1:]),
        ("migrate", who, nid, drawn, 1),
        ("put back", who),
    ]


def hindered(who: int, place: tuple[int, int], obstacle: str, nid: int) -> list[Step]:
    return [
        *fresh(who, 2),
        ("hinder", who, place, 3, obstacle),
        ("queue", who, (2, 0), 1027, ALL, False, MOVE_ALL, True),
        ("migrate", who, nid, None, 0),
        ("put back", who),
    ]


def collapsed(who: int, pages: int, change: list[Step]) -> list[Step]:
    """Small pages, and a huge one made of them."""
    return [
        ("map", who, (2, 0), 1027, RW),
        ("set", "madvise", "madvise"),
        ("fault", who, (2, 0), pages, True),
        *change,
        ("advise", who, (2, 0), 1027, MADV_COLLAPSE),
        ("advise", who, (2, 0), 512, MADV_COLLAPSE),
        ("set", "always", "madvise"),
    ]


def given_up(who: int, blocks: int, change: list[Step], place: tuple[int, int]) -> list[Step]:
    """Blocks are given up as a whole, or but for a part; then reclaim has them."""
    return [
        *fresh(who, blocks),
        ("give up", who, place, 512 * blocks),
        *change,
        ("page out", who, (2, 0), 1027),
    ]


blocks = st.integers(1, 2)
changes = st.lists(st.one_of(*life), max_size=2)
queues = st.one_of(
    st.tuples(
        st.just("queue"), places, counts, st.sampled_from((1, 2, ALL)), st.booleans(), st.integers(0, 7),
        st.booleans(),
    ),
    st.tuples(st.just("queue"), st.just((2, 0)), st.just(1027), st.just(ALL), st.just(False), st.just(MOVE_ALL),
              st.just(True)),
    st.tuples(st.just("queue addresses"), addresses, nids, st.booleans(), st.booleans()),
)  # fmt: skip

script = st.lists(
    st.one_of(
        st.one_of(
            *life,
            st.tuples(st.just("status"), who, addresses),
            st.tuples(st.just("fill up"), nids, st.sampled_from((0, 100, 700))),
        ).map(lambda step: [step]),
        st.builds(fresh, who, blocks),
        st.builds(moved, who, blocks, changes, queues, nids, st.one_of(st.none(), policies)),
        st.builds(hindered, who, places, st.sampled_from(("pin", "lock", "writeback")), nids),
        st.builds(collapsed, who, counts, changes),
        st.builds(
            given_up, who, blocks, changes, st.sampled_from(((2, 0), (2, 0), (2, 0), (2, 1), (2, 512)))
        ),
    ),
    min_size=2,
    max_size=8,
).map(lambda lists: [step for steps in lists for step in steps])


class HugeDriver(Driver):
    def advise(self, who: int, place: tuple[int, int], pages: int, advice: int) -> None:
        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            do_madvise(mm, task, where(place), pages * PAGE, advice)

        self.act(who, action, ("advise", who, place, pages, advice))

    def set(self, enabled: str, defrag: str) -> None:
        def action(machine: Machine) -> None:
            machine.mem.thp.enabled, machine.mem.thp.defrag = enabled, defrag

        self.pair.both(action, ("set", enabled, defrag))


@given(
    topology=st.sampled_from((
        machine((0, (6600,), 2), (1, (2600,), 1)),
        machine((0, (2600,), 2), (1, (2600,), 1), (3, (2100,), 0), levels=5),
    )),
    debug=st.booleans(),
    script=script,
)  # fmt: skip
def test_huge_pages(topology: Topology, debug: bool, script: list[Step]) -> None:
    with Pair(topology, tune(31, 60), debug_vm=debug) as pair:
        driver = HugeDriver(pair)
        driver.set("always", "madvise")
        for step in script:
            driver.step(step)
        driver.put_back(0)
        broken = pair.ours.check(held=dict.fromkeys(pair.ours.kept.get("taken", ()), 0))
        assert not broken, "\n".join(map(str, broken))
