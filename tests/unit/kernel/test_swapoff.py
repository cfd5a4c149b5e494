"""Swap areas that are switched off while somebody sleeps."""

from collections.abc import Iterator

import pytest

import numalab
from numalab import Machine, Sys, abi

from tests.unit.kernel.test_files import errno_of

PAGE = 4096


@pytest.fixture(params=[False, True], ids=["compiled", "twins"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with numalab.boot("2x16M", twins=request.param, debug_vm=True) as m:
        yield m


def slow_swap(machine: Machine) -> None:
    [area] = filter(None, machine.mem.swap_areas)
    area.disk.latency = 1_000_000
    area.sync()


def test_one_at_a_time_switches_an_area_off(machine: Machine) -> None:
    answers = []

    def off_and_on(sys: Sys) -> None:
        answers.append(errno_of(lambda: sys.swapoff("/dev/ram0")))
        if answers[-1] == "":
            sys.swapon("/dev/ram0", 0)

    def main(sys: Sys) -> None:
        slow_swap(machine)
        at = sys.mmap(PAGE)
        sys.memory.write(at, b"x")
        sys.madvise(at, PAGE, abi.MADV_PAGEOUT)
        sys.munmap(at, PAGE)  # its page is under writeback, and in the swap cache only
        for _ in range(4):
            sys.fork(off_and_on)
        sys.sleep(0.0005)
        assert errno_of(lambda: sys.swapon("/dev/ram0", 0)) == "EBUSY"
        for _ in range(4):
            sys.wait()
        assert answers == ["EINVAL", "EINVAL", "EINVAL", ""]

    assert machine.run(main) == 0
    machine.check_invariants()


def test_those_who_are_born_or_die_meanwhile(machine: Machine) -> None:
    def die(sys: Sys) -> None:
        sys.sleep(0.0002)

    def look_later(sys: Sys) -> None:
        sys.sleep(0.1)
        assert sys.memory.read(at, 64 * PAGE) == b"data" * (16 * PAGE)

    def swapoff(sys: Sys) -> None:
        assert errno_of(lambda: sys.swapoff("/dev/ram0")) == ""

    at = 0

    def main(sys: Sys) -> None:
        nonlocal at
        at = sys.mmap(64 * PAGE)
        sys.memory.write(at, b"data" * (16 * PAGE))
        sys.madvise(at, 64 * PAGE, abi.MADV_PAGEOUT)
        slow_swap(machine)
        sys.fork(die)
        off = sys.fork(swapoff)
        sys.sleep(0.0015)
        for _ in range(3):
            sys.fork(look_later)
            sys.sleep(0.001)
        assert {sys.wait() for _ in range(5)} >= {(off, 0)}
        assert sys.memory.read(at, 64 * PAGE) == b"data" * (16 * PAGE)

    assert machine.run(main) == 0
    machine.check_invariants()
