"""The scheduler: CPUs, time slices, sleeping, deadlocks, and that all of it can be repeated."""

from collections.abc import Callable, Sequence

import pytest

import numalab
from numalab.arch import events
from numalab.kernel.machine import Machine
from numalab.kernel.task import Task
from numalab.kernel.wait import WaitQueue
from numalab.syscalls.sys import Sys

PAGE = 4096


def test_a_task_stays_on_its_cpu_if_it_may_and_else_goes_to_the_least_loaded(machine: Machine) -> None:
    def sitting(sys: Sys, cpu: int) -> None:
        sys.sched_setaffinity(0, mask={cpu})
        for _ in range(20):
            sys.sched_yield()

    def main(sys: Sys) -> None:
        assert sys.getcpu().cpu == 0
        sys.fork(sitting, 1)
        sys.fork(sitting, 2)
        for _ in range(6):
            sys.sched_yield()
        sys.sched_setaffinity(0, mask={0, 1})
        assert sys.getcpu().cpu == 0, "it may stay"
        sys.sched_setaffinity(0, mask={1, 2, 3})
        assert sys.getcpu().cpu == 3, "the others have somebody"
        sys.sched_setaffinity(0, mask={1, 2})
        assert sys.getcpu().cpu == 1, "of equals the lowest"
        assert sys.task.ctx.nid == 1

    assert machine.run(main) == 0


def test_memory_comes_from_the_node_of_the_cpu(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 * PAGE)
        for cpu in range(4):
            sys.sched_setaffinity(0, mask={cpu})
            sys.memory.touch(addr + cpu * PAGE)
        assert sys.move_pages(0, [addr + i * PAGE for i in range(4)]).status == [0, 1, 2, 3]

    assert machine.run(main) == 0


def test_affinity_of_another_task_and_masks_beyond_the_machine(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        pid = sys.fork(lambda child: child.sched_yield())
        sys.sched_setaffinity(pid, mask=range(2, 100))
        assert sys.sched_getaffinity(pid).mask == {2, 3}
        assert sys.sched_getaffinity(pid) == 8, "bytes that the kernel stores"
        with pytest.raises(OSError, match="Invalid argument"):
            sys.sched_setaffinity(pid, mask={4, 63})
        with pytest.raises(ProcessLookupError):
            sys.sched_getaffinity(4190000)

    assert machine.run(main) == 0


@pytest.mark.parametrize(
    "act", [lambda sys, addr: sys.getpid(), lambda sys, addr: sys.memory.touch(addr, 512)]
)
def test_a_slice_of_virtual_time_ends_a_turn(machine: Machine, act: Callable[[Sys, int], object]) -> None:
    """Programs that never yield take turns all the same: after system calls, and after accesses that take time."""
    turns: list[int] = []

    def main(sys: Sys) -> None:
        me, addr = sys.getpid(), sys.mmap(512 * PAGE)
        for _ in range(200_000):
            if turns[-1:] != [me]:
                turns.append(me)
            if len(turns) >= 6:
                return
            act(sys, addr)
        pytest.fail("the other one got no turn")

    machine.spawn(main)
    machine.spawn(main)
    machine.run()
    assert machine.sched.slice_ns == 750_000 * 3


def test_sleep_is_virtual_and_in_order(machine: Machine) -> None:
    woken: list[int] = []

    def sleeper(sys: Sys, seconds: int) -> None:
        sys.sleep(seconds)
        woken.append(seconds)

    def main(sys: Sys) -> None:
        for seconds in (300, 100, 200):
            sys.fork(sleeper, seconds)
        before = machine.now
        for _ in range(3):
            sys.wait()
        assert woken == [100, 200, 300]
        assert 300 <= (machine.now - before) / 1e9 < 300.1

    assert machine.run(main) == 0


def test_a_sleep_to_the_end_of_time(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.nanosleep(((1 << 62), 0))
        assert machine.now >= (1 << 63) - 1
        sys.sleep(1)

    assert machine.run(main) == 0


def test_a_deadlock_says_who_waits_for_what() -> None:
    machine = numalab.boot("quad")
    queue: WaitQueue[Task] = WaitQueue("a letter")

    def waiting(sys: Sys) -> None:
        machine.sched.wait_event(queue, lambda: False)

    def main(sys: Sys) -> None:
        sys.fork(waiting)
        sys.wait()

    with pytest.raises(numalab.Deadlock) as caught:
        machine.run(main)
    assert str(caught.value) == (
        "nothing can run any more: task 100 (main) waits for a child to end; task 101 (main) waits for a letter"
    )
    machine.close()


def test_waking_and_waiting(machine: Machine) -> None:
    """wait_event() returns when its condition holds, whoever wakes it before that."""
    queue: WaitQueue[Task] = WaitQueue("a letter")
    letters: list[str] = []

    def reader(sys: Sys) -> int:
        assert machine.sched.wait_event(queue, lambda: len(letters) == 2)
        assert not machine.sched.wait_event(queue, lambda: False, deadline=machine.now + 1000)
        return len(letters)

    def writer(sys: Sys) -> None:
        for text in ("one", "two"):
            letters.append(text)
            machine.sched.wake_up(queue)
            sys.sched_yield()

    task = machine.spawn(reader)
    machine.spawn(writer)
    machine.run()
    assert task.exit_status == 2
    assert queue.tasks == []


def test_a_test_can_choose_who_goes_next(machine: Machine) -> None:
    order: list[int] = []

    def main(sys: Sys) -> None:
        for _ in range(3):
            order.append(sys.getpid())
            sys.sched_yield()

    def last(tasks: Sequence[Task]) -> Task:
        return tasks[-1]

    machine.sched.choose = last
    pids = [machine.spawn(main).pid for _ in range(3)]
    machine.run()
    assert order == [pid for pid in reversed(pids) for _ in range(3)]


def test_run_until_stops_between_two_turns(machine: Machine) -> None:
    count: list[int] = []

    def main(sys: Sys) -> None:
        for _ in range(10):
            count.append(1)
            sys.sched_yield()

    machine.spawn(main)
    other = machine.spawn(main)
    assert machine.run_until(lambda: len(count) >= 4)
    assert len(count) == 4
    assert machine.run_until(lambda: not other.alive)
    assert not machine.run_until(lambda: False), "nothing is left to run"


def test_run_until_stops_a_program_that_is_alone(machine: Machine) -> None:
    """At the end of its slice, though there is nobody to switch to."""

    def main(sys: Sys) -> None:
        for _ in range(200_000):
            sys.getpid()

    machine.spawn(main)
    assert machine.run_until(lambda: machine.now > 0)
    assert machine.now < 3 * machine.sched.slice_ns


def test_system_calls_and_switches_are_events(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.getpid()
        sys.sched_yield()

    machine.hw.trace_mask = events.select(["raw_syscalls", "sched_switch"])
    machine.spawn(main)
    machine.spawn(main)
    machine.run()
    records = list(events.decode(machine.hw, machine.hw.ring[: machine.hw.ring_head], 0))
    assert {r.args["ret"] for r in records if r.name == "sys_exit" and r.args["NR"] == 39} == {100, 101}
    assert {r.args["NR"] for r in records if r.name == "sys_enter"} == {24, 39}
    switches = [(r.args["prev_pid"], r.args["next_pid"]) for r in records if r.name == "sched_switch"]
    assert (100, 101) in switches or (101, 100) in switches


def test_system_calls_cost_time(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        before = machine.now
        for _ in range(10):
            sys.getpid()
        assert machine.now - before == 10 * machine.hw.cost["syscall"]

    assert machine.run(main) == 0
