"""The largest machine, with many tasks and with many areas: all of it works, and host memory follows what is used."""

from __future__ import annotations

from pathlib import Path

import pytest

import numalab
from numalab.syscalls.sys import Sys

TERABYTE = "64x16G"
NODES, TASKS, AREAS = 64, 1000, 100_000
PAGE, PROT_READ, PROT_WRITE = 4096, 1, 2


def resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE >> 20


@pytest.mark.slow
def test_a_thousand_tasks_on_all_nodes_of_a_terabyte() -> None:
    places: set[int] = set()

    def child(sys: Sys, node: int) -> None:
        sys.sched_setaffinity(0, mask={node})
        addr = sys.mmap(PAGE)
        for turn in range(3):
            sys.memory.write(addr, bytes([turn]))
            sys.sched_yield()
        places.add(sys.move_pages(0, [addr]).status[0])

    def main(sys: Sys) -> None:
        pids = [sys.fork(child, number % NODES) for number in range(TASKS)]
        assert sorted(sys.wait()[0] for _ in pids) == pids

    before = resident_mib()
    with numalab.boot(TERABYTE) as machine:
        assert machine.hw.nr_frames * PAGE == 1 << 40
        machine.run(main)
        machine.check_invariants()
        assert places == set(range(NODES))
        assert resident_mib() - before < 1024


@pytest.mark.long
def test_a_hundred_thousand_areas_in_one_program() -> None:
    def main(sys: Sys) -> None:
        sys.write_file("/proc/sys/vm/max_map_count", str(2 * AREAS))
        addrs = [sys.mmap(PAGE, PROT_READ | (PROT_WRITE if i & 1 else 0)) for i in range(AREAS)]
        assert len(sys.read_file("/proc/self/maps").splitlines()) >= AREAS
        for addr in addrs[1::2]:
            sys.memory.write(addr, b"x")
        assert sys.fork(lambda child: int(child.memory.read(addrs[-1], 1) != b"x"))
        assert sys.wait()[1] == 0
        assert sys.migrate_pages(0, [0], [NODES - 1]) == 0
        assert sys.memory.read(addrs[1], 1) == b"x"
        sys.munmap(min(addrs), max(addrs) - min(addrs) + PAGE)
        assert len(sys.read_file("/proc/self/maps").splitlines()) < 10

    with numalab.boot(TERABYTE) as machine:
        machine.run(main)
        machine.check_invariants()
