"""The OOM killer: who dies, who goes on, and what becomes of one that cannot die at once."""

from collections.abc import Callable, Iterator

import pytest

import numalab
from numalab import abi
from numalab.kernel.machine import Machine
from numalab.kernel.task import State, Task
from numalab.mm.vmstat import vmstat
from numalab.syscalls.sys import Sys

PAGE = 4096
MIB = 256  # pages
GREEDY = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE
KILLED = -abi.SIGKILL


@pytest.fixture
def small() -> Iterator[Machine]:
    """64 MiB, and no swap."""
    with numalab.boot("4x16M swap=0") as machine:
        yield machine
        machine.check_invariants()


def kills(machine: Machine) -> int:
    return vmstat(machine.mem)["oom_kill"]


def take(sys: Sys, pages: int) -> int:
    """Have so many pages; their address."""
    addr = sys.mmap(pages * PAGE, flags=GREEDY)
    sys.memory.touch(addr, pages)
    return addr


def holding(
    pages: int, then: Callable[[Sys], object] = lambda sys: sys.sleep(1_000_000)
) -> Callable[[Sys], None]:
    """A process that has so many pages, and then waits."""

    def child(sys: Sys) -> None:
        take(sys, pages)
        then(sys)

    return child


def process(machine: Machine, pid: int) -> Task:
    task = machine.kernel.pids.find(pid)
    assert task is not None
    return task


def until_it_waits(sys: Sys, machine: Machine, pid: int) -> Task:
    task = process(machine, pid)
    while task.state is State.RUNNING:
        sys.sched_yield()
    return task


def test_the_largest_dies_and_the_asker_goes_on(small: Machine) -> None:
    def main(sys: Sys) -> None:
        large, little = sys.fork(holding(32 * MIB)), sys.fork(holding(MIB))
        for pid in (large, little):
            until_it_waits(sys, small, pid)
        addr = take(sys, 30 * MIB)
        sys.memory.read(addr, 30 * MIB * PAGE)
        assert sys.wait() == (large, KILLED)
        assert process(small, little).alive
        sys.kill(little, abi.SIGKILL)

    assert small.run(main) == 0
    assert kills(small) == 1


def test_of_equals_the_last(small: Machine) -> None:
    def main(sys: Sys) -> None:
        pids = [sys.fork(holding(25 * MIB)) for _ in range(2)]
        for pid in pids:
            until_it_waits(sys, small, pid)
        take(sys, 20 * MIB)
        assert sys.wait() == (pids[1], KILLED)
        sys.kill(pids[0], abi.SIGKILL)

    assert small.run(main) == 0
    assert kills(small) == 1


def test_all_that_use_its_memory_die_with_it(small: Machine) -> None:
    def main(sys: Sys) -> None:
        large = sys.fork(holding(1, with_a_twin))
        until_it_waits(sys, small, large)
        take(sys, 40 * MIB)
        assert sys.wait() == (large, KILLED)
        assert [task.comm for task in small.tasks if task.pid >= 100 and task.alive] == ["main"]

    def with_a_twin(sys: Sys) -> None:
        sys.clone(lambda twin: twin.sleep(1_000_000), flags=abi.CLONE_VM)
        take(sys, 32 * MIB)
        sys.sleep(1_000_000)

    assert small.run(main) == 0
    assert kills(small) == 1


def stuck(machine: Machine, released: list[bool]) -> Callable[[Sys], object]:
    """Wait deaf to signals, as for a lock that somebody has, until there is something in the list."""

    def wait(sys: Sys) -> None:
        machine.sched.wait("somebody's lock", lambda: bool(released))
        sys.getpid()

    return wait


def test_one_that_cannot_end_loses_its_memory_after_two_seconds(small: Machine) -> None:
    released: list[bool] = []

    def main(sys: Sys) -> None:
        large = sys.fork(holding(32 * MIB, stuck(small, released)))
        victim = until_it_waits(sys, small, large)
        assert victim.mm is not None
        began = small.now
        take(sys, 40 * MIB)
        assert small.now - began > 2_000_000_000
        assert (victim.alive, victim.mm.rss_anon) == (True, 0)
        released.append(True)
        assert sys.wait() == (large, KILLED)

    assert small.run(main) == 0
    assert kills(small) == 1


def test_who_asks_meanwhile_waits_for_the_same_end(small: Machine) -> None:
    released: list[bool] = []

    def main(sys: Sys) -> None:
        large = sys.fork(holding(32 * MIB, stuck(small, released)))
        until_it_waits(sys, small, large)
        askers = [sys.fork(holding(20 * MIB, lambda sys: None)) for _ in range(2)]
        assert {sys.wait() for _ in askers} == {(pid, 0) for pid in askers}
        released.append(True)
        assert sys.wait() == (large, KILLED)

    assert small.run(main) == 0
    assert kills(small) == 1


def test_a_process_that_has_nothing_left_is_not_asked_again(small: Machine) -> None:
    released: list[bool] = []

    def main(sys: Sys) -> None:
        large = sys.fork(holding(32 * MIB, stuck(small, released)))
        until_it_waits(sys, small, large)
        asker = sys.fork(holding(80 * MIB))
        assert sys.wait() == (asker, KILLED)
        released.append(True)
        assert sys.wait() == (large, KILLED)

    assert small.run(main) == 0
    assert kills(small) == 2


def write(sys: Sys, path: str, text: str) -> None:
    fd = sys.open(path, abi.O_WRONLY)
    sys.write(fd, text.encode())
    sys.close(fd)


def test_oom_score_adj_comes_from_the_parent_and_holds_for_all_threads(small: Machine) -> None:
    def main(sys: Sys) -> None:
        write(sys, "/proc/self/oom_score_adj", "250\n")
        pid = sys.fork(holding(1))
        assert process(small, pid).signal.oom_score_adj == 250
        sys.clone(
            lambda thread: write(thread, "/proc/self/oom_score_adj", "300"),
            flags=abi.CLONE_VM | abi.CLONE_SIGHAND | abi.CLONE_THREAD | abi.CLONE_FILES,
        )
        while sys.task.signal.oom_score_adj == 250:
            sys.sched_yield()
        assert sys.task.signal.oom_score_adj == 300
        assert process(small, pid).signal.oom_score_adj == 250
        sys.kill(pid, abi.SIGKILL)

    assert small.run(main) == 0


def test_nobody_is_left_who_may_die(small: Machine) -> None:
    """Linux would panic."""

    def main(sys: Sys) -> None:
        write(sys, "/proc/self/oom_score_adj", "-1000")
        take(sys, 80 * MIB)

    assert small.run(main) == KILLED


def test_with_oom_kill_allocating_task_it_is_the_asker(small: Machine) -> None:
    def main(sys: Sys) -> None:
        write(sys, "/proc/sys/vm/oom_kill_allocating_task", "1")
        large = sys.fork(holding(32 * MIB))
        until_it_waits(sys, small, large)
        asker = sys.fork(holding(40 * MIB))
        assert sys.wait() == (asker, KILLED)
        sys.kill(large, abi.SIGKILL)

    assert small.run(main) == 0


def test_an_asker_whose_own_policy_binds_it_elsewhere_is_spared_even_then(small: Machine) -> None:
    def bound_to_1(sys: Sys, pages: int) -> None:
        addr = sys.mmap(pages * PAGE, flags=GREEDY)
        sys.mbind(addr, pages * PAGE, abi.MPOL_BIND, {1})
        sys.memory.touch(addr, pages)

    def first(sys: Sys) -> None:
        bound_to_1(sys, 10 * MIB)
        sys.sleep(1_000_000)

    def asker(sys: Sys) -> None:
        sys.set_mempolicy(abi.MPOL_BIND, {0})
        bound_to_1(sys, 12 * MIB)

    def main(sys: Sys) -> None:
        write(sys, "/proc/sys/vm/oom_kill_allocating_task", "1")
        pids = [sys.fork(first)]
        until_it_waits(sys, small, pids[0])
        pids.append(sys.fork(asker))
        assert {sys.wait() for _ in pids} == {(pids[0], KILLED), (pids[1], 0)}

    assert small.run(main) == 0
    assert kills(small) == 1


def test_swapoff_without_room_ends_who_asked_for_it() -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(12 * MIB * PAGE)
        sys.memory.touch(addr, 12 * MIB)
        sys.madvise(addr, 12 * MIB * PAGE, abi.MADV_PAGEOUT)
        large = sys.fork(lambda child: (child.munmap(addr, 12 * MIB * PAGE), locking(child)))
        until_it_waits(sys, machine, large)
        asker = sys.fork(lambda child: child.swapoff("/dev/ram0"))
        assert sys.wait() == (asker, KILLED)
        sys.memory.read(addr, PAGE)
        sys.kill(large, abi.SIGKILL)

    def locking(sys: Sys) -> None:
        addr = sys.mmap(54 * MIB * PAGE, flags=GREEDY)
        sys.mlock(addr, 54 * MIB * PAGE)
        sys.sleep(1_000_000)

    with numalab.boot("4x16M swap=32M") as machine:
        assert machine.run(main) == 0
        assert kills(machine) == 1
        machine.check_invariants()


def test_what_is_traced_of_it(small: Machine) -> None:
    def main(sys: Sys) -> None:
        write(sys, "/proc/self/oom_score_adj", "-7")
        large = sys.fork(holding(32 * MIB))
        until_it_waits(sys, small, large)
        take(sys, 40 * MIB)

    with small.trace("oom") as trace:
        assert small.run(main) == 0
    [record] = trace
    assert record.name == "mark_victim"
    assert record.args["anon_rss"] >= 32 << 10
    assert record.text().endswith("kB oom_score_adj=-7")
