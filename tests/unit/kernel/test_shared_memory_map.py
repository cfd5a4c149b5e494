"""Threads that change the address space they share while one of them sleeps in the kernel."""

from collections.abc import Callable, Iterator

import pytest

import numalab
from numalab import Machine, Sys, abi
from numalab.kernel.fs.block import BlockDevice
from numalab.kernel.fs.namei import resolve
from numalab.kernel.fs.path import Path

PAGE = 4096
SHARED = abi.MAP_SHARED | abi.MAP_ANONYMOUS
RW = abi.PROT_READ | abi.PROT_WRITE
NS = 1_000_000
SIGSEGV = 11


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("2x16M", debug_vm=True) as machine:
        yield machine
        machine.check_invariants()


def run(machine: Machine, main: Callable[[Sys], object]) -> int:
    """Run a program of its own, so that a signal ends that one only; returns how it ended."""
    ends: list[int] = []

    def parent(sys: Sys) -> None:
        sys.fork(main)
        ends.append(sys.wait()[1])

    machine.run(parent)
    return ends[0]


def make_disk_slow(machine: Machine) -> None:
    device = resolve(Path(machine.kernel.root), "dev/vda", machine.kernel.init.cred).inode
    assert isinstance(device, BlockDevice)
    device.disk.latency = NS


def locked_shared(machine: Machine, sys: Sys) -> int:
    """Four pages of shared memory, the first locked for a while: they cannot be given up before that is over."""
    data = sys.mmap(4 * PAGE, RW, SHARED)
    sys.memory.write(data, b"x" * 4 * PAGE)
    machine.obstacles.lock_page(machine.page_of(sys.task, data), ns=NS)
    return data


def while_unmapped(machine: Machine, sys: Sys) -> int:
    """Shared memory that another thread is unmapping, asleep; it is no longer in the address space."""
    data = locked_shared(machine, sys)
    sys.clone(lambda thread: thread.munmap(data, 4 * PAGE))
    sys.sleep(NS / 10 / 1e9)
    machine.check_invariants()
    return data


def uncached_file(machine: Machine, sys: Sys) -> int:
    """A mapping of eight pages of a file, which nothing else refers to and whose pages are on a slow disk."""
    fd = sys.open("/mnt/file", abi.O_RDWR | abi.O_CREAT, 0o600)
    sys.write(fd, b"a" * 8 * PAGE)
    sys.fsync(fd)
    data = sys.mmap(8 * PAGE, RW, abi.MAP_SHARED, fd)
    sys.memory.touch(data, 8, write=False)
    sys.madvise(data, 8 * PAGE, abi.MADV_PAGEOUT)
    assert not any(sys.mincore(data, 8 * PAGE).vec)
    sys.unlink("/mnt/file")
    sys.close(fd)
    make_disk_slow(machine)
    return data


def later(sys: Sys, act: Callable[[Sys], object]) -> None:
    """Let another thread act while this one sleeps for the disk."""

    def thread(sys: Sys) -> None:
        sys.sleep(NS / 10 / 1e9)
        act(sys)

    sys.clone(thread)


def test_unmapped_twice(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        data = while_unmapped(machine, sys)
        assert sys.munmap(data, 4 * PAGE) == 0

    assert run(machine, main) == 0


def test_touched_while_it_is_unmapped(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.memory.write(while_unmapped(machine, sys), b"x")

    assert run(machine, main) == -SIGSEGV


def test_mapped_over_while_it_is_unmapped(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        data = while_unmapped(machine, sys)
        anonymous = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        assert sys.mmap(4 * PAGE, RW, anonymous, addr=data) == data
        sys.memory.write(data, b"new")
        sys.sleep(2 * NS / 1e9)
        assert sys.memory.read(data, 4) == b"new\0"
        machine.check_invariants()

    assert run(machine, main) == 0


@pytest.mark.parametrize("replace", [False, True], ids=["munmap", "MAP_FIXED"])
def test_unmapped_while_a_fault_reads_it(machine: Machine, replace: bool) -> None:
    """The fault looks again when the page has come, and finds nothing, or something else."""

    def main(sys: Sys) -> None:
        data = uncached_file(machine, sys)
        if replace:
            flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
            later(sys, lambda thread: thread.mmap(8 * PAGE, RW, flags, addr=data))
        else:
            later(sys, lambda thread: thread.munmap(data, 8 * PAGE))
        assert sys.memory.read(data, 1) == b"\0"

    assert run(machine, main) == (0 if replace else -SIGSEGV)


@pytest.mark.parametrize("advice", [abi.MADV_POPULATE_READ, abi.MADV_POPULATE_WRITE])
def test_unmapped_while_it_is_populated(machine: Machine, advice: int) -> None:
    def main(sys: Sys) -> None:
        data = uncached_file(machine, sys)
        later(sys, lambda thread: thread.munmap(data, 8 * PAGE))
        with pytest.raises(OSError, match="Cannot allocate memory"):
            sys.madvise(data, 8 * PAGE, advice)
        machine.check_invariants()

    assert run(machine, main) == 0


def test_unmapped_while_mlock_makes_it_present(machine: Machine) -> None:
    """mm_populate() passes over what is not there any more."""

    def main(sys: Sys) -> None:
        data = uncached_file(machine, sys)
        later(sys, lambda thread: thread.munmap(data, 8 * PAGE))
        assert sys.mlock(data, 8 * PAGE) == 0

    assert run(machine, main) == 0


def test_unmapped_while_msync_writes_it(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        data = uncached_file(machine, sys)
        sys.memory.write(data, b"b" * 2 * PAGE)
        later(sys, lambda thread: thread.munmap(data, 8 * PAGE))
        with pytest.raises(OSError, match="Cannot allocate memory"):
            sys.msync(data, 16 * PAGE, abi.MS_SYNC)
        machine.check_invariants()

    assert run(machine, main) == 0


def test_unmapped_while_a_hole_is_punched(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        data = locked_shared(machine, sys)
        later(sys, lambda thread: thread.munmap(data, 4 * PAGE))
        assert sys.madvise(data, 4 * PAGE, abi.MADV_REMOVE) == 0
        machine.check_invariants()

    assert run(machine, main) == 0


def test_the_whole_is_consistent_while_a_process_ends(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.fork(lambda child: locked_shared(machine, child))
        sys.sleep(NS / 2 / 1e9)
        machine.check_invariants()
        assert sys.wait()[1] == 0

    assert run(machine, main) == 0


def test_the_whole_is_consistent_while_another_program_begins(machine: Machine) -> None:
    def child(sys: Sys) -> None:
        locked_shared(machine, sys)
        sys.execve(lambda sys: 7)

    def main(sys: Sys) -> None:
        sys.fork(child)
        sys.sleep(NS / 2 / 1e9)
        machine.check_invariants()
        assert sys.wait()[1] == 7

    assert run(machine, main) == 0
