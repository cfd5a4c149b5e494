"""Cpusets: what tasks may use, and what becomes of their pages, policies and CPUs when that changes.

The rules are recorded (cpuset-*.scn); here is what scenarios cannot say: threads, sleeping, the reserves of the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import numalab
from numalab import abi
from numalab.kernel.machine import Machine
from numalab.mm.obstacles import Obstacles
from numalab.mm.task_mmu import pagemap
from numalab.syscalls.sys import Sys

from tests.driven import Program
from tests.unit.kernel.test_files import errno_of

ROOT = "/sys/fs/cgroup"
PAGE = 4096


def group(sys: Sys, name: str, mems: str = "", cpus: str = "") -> str:
    """A new group that allows these."""
    path = f"{ROOT}/{name}"
    sys.mkdir(path, 0o755)
    for file, text in (("mems", mems), ("cpus", cpus)):
        if text:
            sys.write_file(f"{path}/cpuset.{file}", text)
    return path


def join(sys: Sys, path: str) -> None:
    sys.write_file(f"{path}/cgroup.procs", "0")


def nodes(sys: Sys, addr: int, pages: int) -> list[int]:
    return list(sys.move_pages(0, [addr + i * PAGE for i in range(pages)]).status)


def allowed(sys: Sys) -> set[int]:
    return set(sys.get_mempolicy(flags=abi.MPOL_F_MEMS_ALLOWED).nodemask)


def prepare(sys: Sys) -> int:
    """Four pages on node 0, to which the process is confined."""
    join(sys, group(sys, "t", mems="0"))
    addr = int(sys.mmap(4 * PAGE))
    sys.memory.touch(addr, 4)
    return addr


def pfn_of(program: Program, addr: int) -> int:
    return int(pagemap(program.mm, addr, 1)[0]) & (1 << 55) - 1


def test_all_threads_obey_and_the_memory_that_they_share_moves_once(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        path = group(sys, "t", mems="0", cpus="0")
        addr = sys.mmap(4 * PAGE)
        sys.memory.touch(addr, 4)
        sys.set_mempolicy(abi.MPOL_BIND, {0})
        seen: list[object] = []

        def thread(sys: Sys) -> None:
            sys.sleep(1)
            seen.extend((allowed(sys), sys.getcpu().cpu, set(sys.get_mempolicy().nodemask)))

        sys.clone(thread)
        join(sys, path)
        sys.write_file(f"{path}/cpuset.mems", "2")
        sys.write_file(f"{path}/cpuset.cpus", "2")
        sys.sleep(2)
        assert seen == [{2}, 2, {2}]
        assert nodes(sys, addr, 4) == [2] * 4

    assert machine.run(main) == 0


def test_a_child_inherits_and_keeps_the_wish_for_cpus(machine: Machine) -> None:
    def child(sys: Sys, path: str) -> int:
        assert (allowed(sys), sys.getcpu().cpu) == ({1}, 1)
        sys.write_file(f"{path}/cpuset.cpus", "1,3")
        return int(sys.getcpu().cpu)

    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, mask={3})
        path = group(sys, "t", mems="1", cpus="1")
        join(sys, path)
        sys.fork(child, path)
        assert sys.wait()[1] == 3, "parent and child asked for CPU 3"
        assert sys.getcpu().cpu == 3

    assert machine.run(main) == 0


def test_a_page_that_is_held_stays_behind_and_the_rest_moves(machine: Machine) -> None:
    program = Program.start(machine)
    addr = program.do(prepare)
    release = Obstacles(machine.mem).hold(pfn_of(program, addr + PAGE))
    program.do(lambda sys: sys.write_file(f"{ROOT}/t/cpuset.mems", "3"))
    release()
    assert program.do(lambda sys: nodes(sys, addr, 4)) == [3, 0, 3, 3]
    program.do(lambda sys: sys.write_file(f"{ROOT}/t/cpuset.mems", "1"))
    assert program.do(lambda sys: nodes(sys, addr, 4)) == [1, 0, 1, 1], "only what is on the old nodes moves"
    program.end()


def test_changes_wait_for_each_other(machine: Machine) -> None:
    """Whoever moves pages may sleep, and holds cgroup_mutex meanwhile."""
    machine.mem.engine = "direct"
    owner, writer = Program.start(machine), Program.start(machine)
    addr = owner.do(prepare)
    Obstacles(machine.mem).lock_page(pfn_of(owner, addr), ns=10**9)
    done: list[str] = []

    def later(sys: Sys) -> None:
        sys.write_file(f"{ROOT}/t/cpuset.mems", "1")
        done.append("later")

    def main(sys: Sys) -> None:
        sys.fork(later)
        sys.write_file(f"{ROOT}/t/cpuset.mems", "3")
        done.append("first")
        sys.sleep(2)

    writer.do(main)
    assert done == ["first", "later"]
    assert owner.do(lambda sys: nodes(sys, addr, 4)) == [1] * 4
    owner.end()
    writer.end()


@pytest.mark.parametrize("twins", [False, True])
def test_page_tables_leave_a_full_cpuset(twins: bool) -> None:
    """GFP_KERNEL obeys above the low watermark only; what programs get obeys always."""
    with numalab.boot("2x16M", twins=twins) as machine:

        def main(sys: Sys) -> None:
            join(sys, group(sys, "t", mems="1"))
            hog = sys.mmap(16 << 20)
            zone = next(zone for zone in machine.mem.zones if zone["node"] == 1)
            machine.mem.zones["watermark"][1, 1] = zone["free"]
            before = machine.mem.zones["free"][0]
            sys.memory.touch(hog, 1)
            assert nodes(sys, hog, 1) == [1]
            assert machine.mem.zones["free"][0] < before, "the table of that page came from the other node"

        assert machine.run(main) == 0


def test_a_policy_whose_nodes_are_not_allowed_does_not_keep_a_full_node_from_being_reclaimed() -> None:
    """Shared memory stays bound to where the cpuset does not reach: then the cpuset alone decides."""
    with numalab.boot("2x16M") as machine:

        def main(sys: Sys) -> None:
            shared = sys.mmap(4 << 20, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS)
            sys.mbind(shared, 4 << 20, abi.MPOL_BIND, {1})
            fd = sys.open("/mnt/f", os.O_CREAT | os.O_RDWR)
            join(sys, group(sys, "t", mems="0"))
            piece = b"x" * (1 << 20)
            for _ in range(20):
                sys.write(fd, piece)
            sys.fsync(fd)
            sys.memory.touch(shared, 1024)
            assert set(nodes(sys, shared, 1024)) == {0}

        assert machine.run(main) == 0


def test_a_greedy_task_dies_in_its_cpuset_though_there_is_memory_elsewhere() -> None:
    with numalab.boot("2x16M") as machine:

        def greedy(sys: Sys) -> None:
            join(sys, group(sys, "t", mems="1"))
            sys.memory.touch(sys.mmap(20 << 20), 20 << 8)

        def main(sys: Sys) -> None:
            sys.swapoff("/dev/ram0")
            sys.fork(greedy)
            assert sys.wait()[1] == -9
            sys.rmdir(f"{ROOT}/t")

        assert machine.run(main) == 0
        assert machine.mem.zones["free"][0] > 2000


Check = Callable[[Sys], object]


@pytest.mark.parametrize(
    ("act", "errno"),
    [
        (lambda sys: sys.set_mempolicy(abi.MPOL_BIND, {0}), "EINVAL"),
        (lambda sys: sys.sched_setaffinity(0, mask={0}), "EINVAL"),
        (lambda sys: sys.migrate_pages(0, {1}, {0}), "EINVAL"),
        (lambda sys: sys.sched_setaffinity(0, mask={0, 1}), ""),
        (lambda sys: sys.set_mempolicy(abi.MPOL_BIND, {0, 1}), ""),
    ],
)
def test_what_a_task_asks_for_outside(machine: Machine, act: Check, errno: str) -> None:
    def main(sys: Sys) -> None:
        join(sys, group(sys, "t", mems="1", cpus="1"))
        assert errno_of(lambda: act(sys)) == errno

    assert machine.run(main) == 0
