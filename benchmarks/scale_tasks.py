"""What scale.py measures of many tasks and files: forks, switches, signals, waiting, control groups, sync."""

from __future__ import annotations

from collections.abc import Callable

import numalab
from numalab.syscalls.sys import Sys

from benchmarks.clock import Stopwatch
from benchmarks.scale_areas import BIG, Operation

__all__ = ["TASKS"]

GROUP = "/sys/fs/cgroup/g"
SIGKILL, O_RDWR, O_CREAT = 9, 2, 0o100


def _on_a_machine(program: Callable[[Sys, int, Stopwatch], None]) -> Operation:
    """A program with so many children, as an operation."""

    def operation(n: int, watch: Stopwatch) -> None:
        with numalab.boot(BIG, debug_vm=False) as machine:
            machine.run(lambda sys: program(sys, n, watch))

    return operation


def _sleeper(sys: Sys) -> None:
    sys.sleep(10**6)


def _sleepers(sys: Sys, n: int) -> list[int]:
    pids = [sys.fork(_sleeper) for _ in range(n)]
    sys.sleep(1)  # they run until they sleep
    return pids


def _end(sys: Sys, pids: list[int]) -> None:
    for pid in pids:
        sys.kill(pid, SIGKILL)
    for _ in pids:
        sys.wait()


def fork_wait(sys: Sys, n: int, watch: Stopwatch) -> None:
    with watch:
        for _ in range(n):
            sys.fork(lambda sys: None)
        for _ in range(n):
            sys.wait()


def wait_by_pid(sys: Sys, n: int, watch: Stopwatch) -> None:
    pids = [sys.fork(lambda sys: None) for _ in range(n)]
    with watch:
        for pid in pids:
            sys.wait(pid)


def kill_wait(sys: Sys, n: int, watch: Stopwatch) -> None:
    pids = _sleepers(sys, n)
    with watch:
        _end(sys, pids)


def kill_wait_each(sys: Sys, n: int, watch: Stopwatch) -> None:
    """The youngest first: whoever waits for any child passes all others."""
    pids = _sleepers(sys, n)
    with watch:
        for pid in reversed(pids):
            sys.kill(pid, SIGKILL)
            sys.wait()


def switches(sys: Sys, n: int, watch: Stopwatch) -> None:
    def spin(sys: Sys) -> None:
        for _ in range(10):
            sys.sched_yield()

    pids = [sys.fork(spin) for _ in range(n)]
    with watch:
        for pid in pids:
            sys.wait(pid)


def affinity(sys: Sys, n: int, watch: Stopwatch) -> None:
    """All are runnable when each of them is sent to other CPUs."""
    over = False

    def spin(sys: Sys) -> None:
        while not over:
            sys.sched_yield()

    pids = [sys.fork(spin) for _ in range(n)]
    with watch:
        for pid in pids:
            sys.sched_setaffinity(pid, mask={2, 3})
    over = True
    _end(sys, pids)


def _group(sys: Sys) -> None:
    sys.mkdir(GROUP, 0o755)
    sys.write_file(f"{GROUP}/cpuset.mems", "3")


def cgroup_moves(sys: Sys, n: int, watch: Stopwatch) -> None:
    pids = _sleepers(sys, n)
    _group(sys)
    with watch:
        for pid in pids:
            sys.write_file(f"{GROUP}/cgroup.procs", str(pid))
    _end(sys, pids)


def cpuset_mems(sys: Sys, n: int, watch: Stopwatch) -> None:
    pids = _sleepers(sys, n)
    _group(sys)
    for pid in pids:
        sys.write_file(f"{GROUP}/cgroup.procs", str(pid))
    with watch:
        sys.write_file(f"{GROUP}/cpuset.mems", "5")
    _end(sys, pids)


def sync_clean(sys: Sys, n: int, watch: Stopwatch) -> None:
    for i in range(n):
        fd = sys.open(f"/mnt/{i}", O_CREAT | O_RDWR)
        sys.write(fd, b"x")
        sys.close(fd)
    sys.sync()
    with watch:
        sys.sync()


#: By name: the smallest size, and the operation.
TASKS: dict[str, tuple[int, Operation]] = {
    "fork and wait: children that end": (125, _on_a_machine(fork_wait)),
    "wait: each by its pid": (125, _on_a_machine(wait_by_pid)),
    "kill and wait: all, then any": (125, _on_a_machine(kill_wait)),
    "kill and wait: one by one, youngest first": (125, _on_a_machine(kill_wait_each)),
    "switches: ten of each task": (125, _on_a_machine(switches)),
    "sched_setaffinity: of runnable tasks": (125, _on_a_machine(affinity)),
    "cgroup.procs: task by task": (125, _on_a_machine(cgroup_moves)),
    "cpuset.mems: of a group of tasks": (125, _on_a_machine(cpuset_mems)),
    "sync: clean files": (125, _on_a_machine(sync_clean)),
}
