"""A descriptor that stands for a process; what conformance/scenarios/process-madvise.scn cannot say."""

import struct
from collections.abc import Callable

import numalab
from numalab import abi
from numalab.arch.errno import errno_name
from numalab.syscalls.sys import Sys

PAGE = 4096


def answer(call: Callable[[], object]) -> object:
    try:
        return int(call())  # type: ignore[call-overload]
    except OSError as error:
        return errno_name(error.errno or 0)


def ranges(sys: Sys, *pairs: tuple[int, int]) -> int:
    at = sys.mmap(PAGE)
    sys.memory.write(at, b"".join(struct.pack("<Qq", *pair) for pair in pairs))
    return at


def test_which_descriptors_there_are() -> None:
    def main(sys: Sys) -> None:
        me = sys.getpid()
        fd = sys.pidfd_open(me, abi.PIDFD_NONBLOCK)
        assert (fd, sys.pidfd_open(me, abi.PIDFD_THREAD)) == (0, 1)
        assert answer(lambda: sys.pidfd_open(me, 1)) == "EINVAL"
        assert answer(lambda: sys.pidfd_open(me + 99, 1)) == "EINVAL", "flags first"
        assert answer(lambda: sys.pidfd_open(me + 99, 0)) == "ESRCH"
        assert answer(lambda: sys.read(fd, 1)) == "EINVAL"
        assert answer(lambda: sys.ftruncate(fd, 0)) == "EOPNOTSUPP"
        assert answer(lambda: sys.process_madvise(sys.open("/tmp"), 0, 0, abi.MADV_COLD, 0)) == "EBADF"
        assert answer(lambda: sys.process_madvise(99, 0, 0, abi.MADV_COLD, 0)) == "EBADF"
        assert sys.process_madvise(sys.dup(fd), 0, 0, abi.MADV_COLD, 0) == 0

    with numalab.boot("dual") as machine:
        assert machine.run(main) == 0


def test_a_process_that_has_gone() -> None:
    def main(sys: Sys) -> None:
        child = sys.fork(lambda sys: None)
        fd = sys.pidfd_open(child, 0)
        sys.sched_yield()
        assert answer(lambda: sys.process_madvise(fd, 0, 0, abi.MADV_COLD, 0)) == "ESRCH", (
            "a zombie has no memory"
        )
        sys.wait4(child)
        assert answer(lambda: sys.process_madvise(fd, 0, 0, 99, 0)) == "ESRCH", "nor is it there after that"

    with numalab.boot("dual") as machine:
        assert machine.run(main) == 0


def test_ranges_that_are_none() -> None:
    def main(sys: Sys) -> None:
        fd, at = sys.pidfd_open(sys.getpid(), 0), sys.mmap(4 * PAGE)

        def cold(iov: int, count: int) -> object:
            return answer(lambda: sys.process_madvise(fd, iov, count, abi.MADV_COLD, 0))

        assert cold(ranges(sys, (at, PAGE), (at, -1)), 2) == "EINVAL"
        assert cold(ranges(sys, (at, PAGE), (1 << 63, 0)), 2) == "EFAULT"
        assert cold(1, 1) == "EFAULT"
        assert cold(at, 1025) == "EINVAL"
        assert cold(ranges(sys, (at, PAGE), (at + PAGE, 1)), 2) == PAGE + 1
        assert answer(lambda: sys.process_madvise(99, 1, 1, 99, 0)) == "EFAULT", "the ranges are read first"

    with numalab.boot("dual") as machine:
        assert machine.run(main) == 0


def test_a_call_has_a_longest_transfer() -> None:
    def main(sys: Sys) -> None:
        at = sys.mmap(4 << 30, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_NORESERVE)
        fd, iov = sys.pidfd_open(sys.getpid(), 0), ranges(sys, (at, 1 << 30), (at, 4 << 30), (at, PAGE))
        assert sys.process_madvise(fd, iov, 3, abi.MADV_COLD, 0) == 0x7FFFF000

    with numalab.boot("dual") as machine:
        assert machine.run(main) == 0
