"""The run queue: a set of tasks from which one can be drawn, in the same time however many there are."""

import random
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

import numalab
from numalab.kernel.rq import RunQueue
from numalab.kernel.task import PidMap
from numalab.syscalls.sys import Sys


class _Task:
    def __init__(self) -> None:
        self.ctx = SimpleNamespace(cpu=0)

    @property
    def cpu(self) -> int:
        return int(self.ctx.cpu)


CPUS = range(3)


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", *CPUS]), st.integers(0, 9)), max_size=60))
def test_it_is_a_set_and_counts_by_cpu(steps: list[tuple[str | int, int]]) -> None:
    tasks: list[Any] = [_Task() for _ in range(10)]
    rq, there = RunQueue(), set()
    for what, i in steps:
        if what == "enter":
            rq.enqueue(tasks[i])
            there.add(tasks[i])
        elif what == "leave":
            rq.dequeue(tasks[i])
            there.discard(tasks[i])
        else:
            rq.migrate(tasks[i], int(what))
            assert tasks[i].cpu == what
        assert set(rq) == there
        assert len(rq) == len(there)
        assert [rq.nr_running[cpu] for cpu in CPUS] == [sum(t.cpu == cpu for t in there) for cpu in CPUS]


@pytest.mark.parametrize("previous", [None, 0, 2, 4, "gone"])
def test_all_but_the_previous_are_drawn_alike(previous: object) -> None:
    tasks: list[Any] = [_Task() for _ in range(5)]
    rq = RunQueue()
    for task in tasks:
        rq.enqueue(task)
    last: Any = tasks[previous] if isinstance(previous, int) else _Task() if previous else None
    rng = random.Random(1)
    drawn = [rq.draw(rng, last) for _ in range(4000)]
    counts = [drawn.count(task) for task in tasks if task is not last]
    assert sum(counts) == 4000
    assert min(counts) > 4000 / len(counts) * 0.85


def test_where_there_is_no_choice_the_seed_is_not_asked() -> None:
    one, two = [_Task() for _ in range(2)]  # type: Any, Any
    rq, rng = RunQueue(), random.Random(1)
    before = rng.getstate()
    rq.enqueue(one)
    assert rq.draw(rng, one) is one
    rq.enqueue(two)
    assert rq.draw(rng, one) is two
    assert rng.getstate() == before


def test_a_switch_does_not_look_at_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def looking(pids: PidMap) -> NoReturn:
        raise AssertionError("a look at all tasks")

    def main(sys: Sys) -> None:
        for _ in range(200):
            sys.sched_yield()

    with numalab.boot("quad", debug_vm=False) as machine:  # the invariants do look at all
        for _ in range(5):
            machine.spawn(main)
        with monkeypatch.context() as patch:
            patch.setattr(PidMap, "__iter__", looking)
            machine.run()


def test_the_same_seed_gives_the_same_order() -> None:
    def order(seed: int) -> list[int]:
        seen: list[int] = []

        def main(sys: Sys) -> None:
            for _ in range(20):
                seen.append(sys.getpid())
                sys.sched_yield()

        with numalab.boot("quad", seed=seed) as machine:
            for _ in range(4):
                machine.spawn(main)
            machine.run()
        return seen

    assert order(1) == order(1)
    assert order(1) != order(2)
