"""Which error wins when several apply: the order of Linux's checks, beyond what the recorded scenarios hold."""

import errno
from collections.abc import Callable

import pytest

from numalab import abi
from numalab.kernel.cred import Cap
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

PAGE = 4096
BAD = 0x1_0000_0000
NOBODY = 4190000
NO_NICE = ~(1 << Cap.CAP_SYS_NICE)
ALL = (1 << len(Cap)) - 1


def drop_nice(sys: Sys) -> None:
    sys.capset(data=(ALL & NO_NICE, ALL & NO_NICE, 0))


def become_nobody(sys: Sys) -> None:
    sys.setresuid(1000, 1000, 1000)


def nothing(sys: Sys) -> None:
    pass


CASES: list[tuple[str, Callable[[Sys], None], tuple[int, ...], str]] = [
    ("migrate: a bad mask before a bad pid", nothing, (256, NOBODY, 65, BAD, BAD), "EFAULT"),
    ("migrate: too many bits before a bad pid", nothing, (256, NOBODY, 40000, BAD, BAD), "EINVAL"),
    ("migrate: a bad pid before no target", nothing, (256, NOBODY, 0, 0, 0), "ESRCH"),
    ("migrate: pid -1", nothing, (256, -1, 0, 0, 0), "ESRCH"),
    ("migrate: a pid is 32 bits wide", nothing, (256, 1 << 32, 0, 0, 0), "EINVAL"),
    ("migrate: permission before no target", become_nobody, (256, 1, 0, 0, 0), "EPERM"),
    ("migrate: permission before no memory", become_nobody, (256, 2, 0, 0, 0), "EPERM"),
    ("migrate: no target before no memory", nothing, (256, 2, 0, 0, 0), "EINVAL"),
    ("move: flags before rights", drop_nice, (279, 0, 1, BAD, BAD, BAD, 5), "EINVAL"),
    ("move: rights before pid", drop_nice, (279, NOBODY, 1, BAD, BAD, BAD, 4), "EPERM"),
    ("move: pid before arrays", nothing, (279, NOBODY, 1, BAD, BAD, BAD, 2), "ESRCH"),
    ("move: permission before arrays", become_nobody, (279, 1, 1, BAD, BAD, BAD, 2), "EPERM"),
    ("move: no memory before arrays", nothing, (279, 2, 1, BAD, BAD, BAD, 2), "EINVAL"),
    ("move: no memory before no pages", nothing, (279, 2, 0, 0, 0, 0, 0), "EINVAL"),
    ("mbind: mode before mask", nothing, (237, 1, 1, 7, BAD, 64, 0x100), "EINVAL"),
    ("mbind: mask before flags", nothing, (237, 1, 1, 2, BAD, 64, 0x100), "EFAULT"),
    ("mbind: flags before rights", drop_nice, (237, 1, 1, 2, 0, 0, 0x104), "EINVAL"),
    ("mbind: rights before alignment", drop_nice, (237, 1, 1, 2, 0, 0, 4), "EPERM"),
    ("mbind: the mode is 32 bits wide", nothing, (237, 0, 0, 2**32 + 2, 0, 0, 0), "0"),
    ("set_mempolicy: both kinds of fixed nodes", nothing, (238, 2 | 0xC000, BAD, 64), "EINVAL"),
    ("get_mempolicy: a short mask before flags", nothing, (239, BAD, BAD, 3, 0, 8), "EINVAL"),
    ("get_mempolicy: flags before pointers", nothing, (239, BAD, BAD, 64, 0, 8), "EINVAL"),
    ("get_mempolicy: the mode before the mask", nothing, (239, BAD, BAD, 100000, 0, 0), "EFAULT"),
    ("home node: alignment, flags, node", nothing, (450, 1, 0, 0, 0), "EINVAL"),
    ("home node: a node beyond all", nothing, (450, 0, 0, 1 << 40, 0), "EINVAL"),
    ("setaffinity: the mask before the pid", nothing, (203, NOBODY, 8, BAD), "EFAULT"),
    ("setaffinity: the pid before the CPUs", nothing, (203, NOBODY, 0, 0), "ESRCH"),
    ("setaffinity: no CPU", nothing, (203, 0, 0, 0), "EINVAL"),
    ("setaffinity: another user's task", become_nobody, (203, 1, 0, 0), "EPERM"),
    ("getaffinity: the length before the pid", nothing, (204, NOBODY, 4, BAD), "EINVAL"),
    ("getaffinity: whole words", nothing, (204, 0, 12, BAD), "EINVAL"),
    ("getaffinity: the pid before the pointer", nothing, (204, NOBODY, 8, BAD), "ESRCH"),
    ("mmap: the offset before the descriptor", nothing, (9, 0, 0, 0, 2, -1, 1), "EINVAL"),
    ("mmap: the descriptor before the length", nothing, (9, 0, 0, 0, 2, -1, 0), "EBADF"),
    ("mincore: alignment before all", nothing, (27, 1, 1 << 63, BAD), "EINVAL"),
    ("mincore: the range before the vector", nothing, (27, 0, 1 << 63, 1 << 63), "ENOMEM"),
    ("mincore: the vector before holes", nothing, (27, 0, PAGE, 1 << 63), "EFAULT"),
    ("mincore: no length", nothing, (27, 0, 0, 0), "0"),
    ("kill: nobody there before no such signal", nothing, (62, NOBODY, 1000), "ESRCH"),
    ("kill: no such signal before rights", become_nobody, (62, 1, 1000), "EINVAL"),
    ("kill: rights", become_nobody, (62, 1, 0), "EPERM"),
    ("wait4: options before children", nothing, (61, -1, 0, 0x100, 0), "EINVAL"),
    ("wait4: INT_MIN", nothing, (61, -(1 << 31), 0, 0, 0), "ESRCH"),
    ("wait4: no children", nothing, (61, -1, BAD, 0, 0), "ECHILD"),
    ("nanosleep: the pointer", nothing, (35, BAD, 0), "EFAULT"),
    ("prlimit: the pointer before the pid", nothing, (302, NOBODY, 99, BAD, 0), "EFAULT"),
    ("prlimit: the pid before the resource", nothing, (302, NOBODY, 99, 0, 0), "ESRCH"),
    ("getrlimit: the resource before the pointer", nothing, (97, 99, BAD), "EINVAL"),
    ("getrusage: who before the pointer", nothing, (98, 7, BAD), "EINVAL"),
    ("clock_gettime: the clock before the pointer", nothing, (228, 99, BAD), "EINVAL"),
    ("capset: the header", nothing, (126, BAD, BAD), "EFAULT"),
    ("capget: no data asks for the version", nothing, (125, BAD, 0), "EFAULT"),
    ("read: the descriptor before the buffer", nothing, (0, 5, BAD, 1), "EBADF"),
    ("pread: the position before the descriptor", nothing, (17, 5, BAD, 1, -1), "EINVAL"),
    ("open: the path", nothing, (2, BAD, 0, 0), "EFAULT"),
    ("openat: the descriptor of a relative path", nothing, (257, 5, BAD, 0), "EFAULT"),
    ("prctl: an option that does not exist", nothing, (157, 1000, 0), "EINVAL"),
    ("prctl: dumpable is 0 or 1", nothing, (157, 4, 2), "EINVAL"),
    ("prctl: huge pages are one argument", nothing, (157, 41, 1, 1), "EINVAL"),
    ("prctl: and none to ask", nothing, (157, 42, 1), "EINVAL"),
    ("setresuid: not one of one's own", become_nobody, (117, 0, -1, -1), "EPERM"),
    ("setuid: -1", become_nobody, (105, -1), "EINVAL"),
    ("mlock2: flags before rights", become_nobody, (325, 0, 0, 2), "EINVAL"),
    ("mlockall: flags", nothing, (151, 4), "EINVAL"),
]


@pytest.mark.parametrize(
    ("prepare", "call", "name"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_first_check_that_fails_wins(
    machine: Machine, prepare: Callable[[Sys], None], call: tuple[int, ...], name: str
) -> None:
    def main(sys: Sys) -> None:
        prepare(sys)
        result = sys.raw(*call)
        assert (errno.errorcode[-result] if result < 0 else str(result)) == name

    assert machine.run(main) == 0


def test_getcpu_serves_both_pointers_though_one_is_bad(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, mask={2})
        addr = sys.mmap(PAGE)
        assert sys.raw(309, BAD, addr, 0) == -errno.EFAULT
        assert sys.memory.read(addr, 4) == b"\2\0\0\0"
        assert sys.raw(309, 0, 0, 0) == 0

    assert machine.run(main) == 0


def test_the_mode_is_stored_before_the_mask_fails(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.set_mempolicy(abi.MPOL_PREFERRED, {2})
        addr = sys.mmap(PAGE)
        assert sys.raw(239, addr, BAD, 64, 0, 0) == -errno.EFAULT
        assert sys.memory.read(addr, 4) == b"\1\0\0\0"

    assert machine.run(main) == 0


def test_capget_tells_the_version_it_would_like(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        sys.memory.write(addr, (0x1234).to_bytes(4, "little"))
        assert sys.raw(125, addr, addr + 64) == -errno.EINVAL
        assert sys.memory.read(addr, 4) == (0x20080522).to_bytes(4, "little")
        sys.memory.write(addr, bytes(4))
        assert sys.raw(125, addr, 0) == 0

    assert machine.run(main) == 0
