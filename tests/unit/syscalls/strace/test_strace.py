"""Calls that our kernel carries out look as on a real kernel: the text and what came of it, byte for byte.

The expected lines are recorded; addresses are those of the recording, so the program maps its memory there.  (Every
form of every argument is in tests/golden/strace.)
"""

import io
from collections.abc import Callable

import pytest

from numalab import abi
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

PAGE = 4096
P = 0x7F64B9912000
M = 0x7FFD78D14310  # masks and arrays: the recorded program's stack
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED

PROT_MODE = abi.MPOL_BIND | abi.MPOL_F_STATIC_NODES


def words(*values: int, size: int = 8) -> bytes:
    return b"".join((value % (1 << 8 * size)).to_bytes(size, "little") for value in values)


def raw(number: int, *args: int) -> Callable[[Sys], object]:
    return lambda sys: sys.raw(number, *args)


# what stands at M, the call, and the line
# ruff: noqa: ISC004
RECORDED = [
    (words(1), raw(237, P, 8192, 2, M, 64, 2),
     "mbind(0x7f64b9912000, 8192, MPOL_BIND, [0x00000000000001], 64, MPOL_MF_MOVE) = 0"),
    (words(1, 0), raw(237, P, 8192, PROT_MODE, M, 65, 3),
     "mbind(0x7f64b9912000, 8192, MPOL_BIND|MPOL_F_STATIC_NODES, [0x00000000000001], 65, "
     "MPOL_MF_STRICT|MPOL_MF_MOVE) = 0"),
    (words(1, 0, 0), raw(237, P, 8192, 2, M, 130, 3),
     "mbind(0x7f64b9912000, 8192, MPOL_BIND, [0x00000000000001, 0000000000000000, 0000000000000000], 130, "
     "MPOL_MF_STRICT|MPOL_MF_MOVE) = 0"),
    (words(1), raw(237, P, 8192, 7, M, 64, 0x103),
     "mbind(0x7f64b9912000, 8192, 0x7 /* MPOL_??? */, [0x00000000000001], 64, MPOL_MF_STRICT|MPOL_MF_MOVE|0x100) "
     "= -1 EINVAL (Invalid argument)"),
    (b"", raw(237, P, 8192, 2, 8, 64, 2),
     "mbind(0x7f64b9912000, 8192, MPOL_BIND, 0x8, 64, MPOL_MF_MOVE) = -1 EFAULT (Bad address)"),
    (b"", raw(237, P, 8192, 2, 0, 0, 0),
     "mbind(0x7f64b9912000, 8192, MPOL_BIND, NULL, 0, 0) = -1 EINVAL (Invalid argument)"),
    (words(1, 0), raw(238, 3, M, 65), "set_mempolicy(MPOL_INTERLEAVE, [0x00000000000001], 65) = 0"),
    (b"", raw(238, 0, 0, 0), "set_mempolicy(MPOL_DEFAULT, NULL, 0)    = 0"),
    (b"", raw(239, 0, 0, 0, 0, 4), "get_mempolicy(NULL, NULL, 0, NULL, MPOL_F_MEMS_ALLOWED) = 0"),
    (words(1, 0), raw(256, 0, 65, M, M), "migrate_pages(0, 65, [0x00000000000001], [0x00000000000001]) = 0"),
    (words(1), raw(256, 4190000, 64, M, M),
     "migrate_pages(4190000, 64, [0x00000000000001], [0x00000000000001]) = -1 ESRCH (No such process)"),
    (words(P, P + PAGE) + words(0, 0, size=4), raw(279, 0, 2, M, M + 16, M + 32, 2),
     "move_pages(0, 2, [0x7f64b9912000, 0x7f64b9913000], [0, 0], [0, -ENOENT], MPOL_MF_MOVE) = 0"),
    (words(P, P + PAGE), raw(279, 0, 2, M, 0, M + 32, 0),
     "move_pages(0, 2, [0x7f64b9912000, 0x7f64b9913000], NULL, [0, -ENOENT], 0) = 0"),
    (b"", raw(279, 0, 0, M, M, M, 6), "move_pages(0, 0, [], [], [], MPOL_MF_MOVE|MPOL_MF_MOVE_ALL) = 0"),
    (words(P, P + PAGE), raw(279, 0, 2, M, 0, 8, 0),
     "move_pages(0, 2, [0x7f64b9912000, 0x7f64b9913000], NULL, 0x8, 0) = -1 EFAULT (Bad address)"),
    (b"", raw(10, P, 8192, 1), "mprotect(0x7f64b9912000, 8192, PROT_READ) = 0"),
    (b"", raw(10, P, 8192, 0), "mprotect(0x7f64b9912000, 8192, PROT_NONE) = 0"),
    (b"", raw(25, P, 8192, 4096, 1), "mremap(0x7f64b9912000, 8192, 4096, MREMAP_MAYMOVE) = 0x7f64b9912000"),
    (b"", raw(25, P, 8192, 8192, 3, 0x7F64B9A12000),
     "mremap(0x7f64b9912000, 8192, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7f64b9a12000) = 0x7f64b9a12000"),
    (b"", raw(27, 0x7F64B9800000, 4096, 0x7FFD78D140EC),
     "mincore(0x7f64b9800000, 4096, 0x7ffd78d140ec) = -1 ENOMEM (Cannot allocate memory)"),
    (b"", raw(28, 0x7F64B9800000, 4096, 4),
     "madvise(0x7f64b9800000, 4096, MADV_DONTNEED) = -1 ENOMEM (Cannot allocate memory)"),
    (b"", raw(28, P, 4096, 99), "madvise(0x7f64b9912000, 4096, 0x63 /* MADV_??? */) = -1 EINVAL (Invalid argument)"),
    (b"", raw(149, 0x7F64B9800000, 4096),
     "mlock(0x7f64b9800000, 4096)             = -1 ENOMEM (Cannot allocate memory)"),
    (b"", raw(325, 0x7F64B9800000, 4096, 1),
     "mlock2(0x7f64b9800000, 4096, MLOCK_ONFAULT) = -1 ENOMEM (Cannot allocate memory)"),
    (b"", raw(151, 1), "mlockall(MCL_CURRENT)                   = 0"),
    (b"", raw(152), "munlockall()                            = 0"),
    (words(3), raw(203, 0, 8, M), "sched_setaffinity(0, 8, [0 1])          = 0"),
    (b"", raw(204, 0, 4, 0x7FFD78D14060), "sched_getaffinity(0, 4, 0x7ffd78d14060) = -1 EINVAL (Invalid argument)"),
    (b"", raw(309, M, M + 4, 0), "getcpu([0], [0], NULL)                  = 0"),
    (b"", raw(24), "sched_yield()                           = 0"),
    (b"", raw(157, 4, 1), "prctl(PR_SET_DUMPABLE, SUID_DUMP_USER)  = 0"),
    (b"abc\0", raw(157, 15, M), 'prctl(PR_SET_NAME, "abc")               = 0'),
    (b"", raw(157, 999, 1, 2, 3, 4), "prctl(0x3e7 /* PR_??? */, 0x1, 0x2, 0x3, 0x4) = -1 EINVAL (Invalid argument)"),
    (b"", raw(105, -1), "setuid(-1)                              = -1 EINVAL (Invalid argument)"),
    (b"", raw(117, 0, -1, 0), "setresuid(0, -1, 0)                     = 0"),
    (b"", raw(118, M, M + 4, M + 8), "getresuid([0], [0], [0])                = 0"),
    (b"", raw(102), "getuid()                                = 0"),
    (words(0, 1000), raw(35, M, 0), "nanosleep({tv_sec=0, tv_nsec=1000}, NULL) = 0"),
    (b"/nonexist\0", raw(2, M, 0o2000002),
     'open("/nonexist", O_RDWR|O_CLOEXEC)     = -1 ENOENT (No such file or directory)'),
    (b"", raw(2, 8, 0), "open(0x8, O_RDONLY)                     = -1 EFAULT (Bad address)"),
    (b"", raw(3, 5), "close(5)                                = -1 EBADF (Bad file descriptor)"),
    (b"x\n", raw(1, 3, M, 2), 'write(3, "x\\n", 2)                      = -1 EBADF (Bad file descriptor)'),
    (b"", raw(62, 4190000, 0), "kill(4190000, 0)                        = -1 ESRCH (No such process)"),
    (b"", raw(62, 4190000, 9), "kill(4190000, SIGKILL)                  = -1 ESRCH (No such process)"),
    (b"", raw(61, -1, 0x7FFD78D13F2C, 1, 0),
     "wait4(-1, 0x7ffd78d13f2c, WNOHANG, NULL) = -1 ECHILD (No child processes)"),
    (b"", raw(999, 1, 2), "syscall_0x3e7(0x1, 0x2, 0, 0, 0, 0)     = -1 ENOSYS (Function not implemented)"),
    (words(8192 << 10, 8192 << 10), raw(302, 0, 8, M, 0),
     "prlimit64(0, RLIMIT_MEMLOCK, {rlim_cur=8192*1024, rlim_max=8192*1024}, NULL) = 0"),
    (b"", raw(302, 0, 8, 0, M), "prlimit64(0, RLIMIT_MEMLOCK, NULL, {rlim_cur=8192*1024, rlim_max=8192*1024}) = 0"),
    (b"", raw(12, 0), "brk(NULL)                               = 0x555555559000"),
]  # fmt: skip


def traced(machine: Machine, memory: bytes, call: Callable[[Sys], object]) -> list[str]:
    """What the tracer prints for one call of a program that has two pages at P, one touched, and `memory` at M."""
    out = io.StringIO()

    def main(sys: Sys) -> None:
        sys.mmap(2 * PAGE, flags=FIXED, addr=P)
        sys.memory.touch(P)
        sys.mmap(PAGE, flags=FIXED, addr=M & -PAGE)
        sys.memory.write(M, memory.ljust(512, b"\0"))
        machine.strace(out=out)
        call(sys)
        machine.strace(False)

    machine.run(main)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("memory", "call", "line"), RECORDED, ids=[line.partition(")")[0][:60] for *_, line in RECORDED]
)
def test_a_call_looks_as_recorded(
    machine: Machine, memory: bytes, call: Callable[[Sys], object], line: str
) -> None:
    assert traced(machine, memory, call) == [line]


def test_what_the_kernel_fills_in_is_shown_after_the_call(machine: Machine) -> None:
    zero = "0000000000000000"
    mask = ", ".join([zero] * 16)
    assert traced(machine, b"", raw(239, M, M + 8, 1024, 0, 0)) == [
        f"get_mempolicy([MPOL_DEFAULT], [{mask}], 1024, NULL, 0) = 0"
    ]
    assert traced(machine, b"", raw(239, M, M + 8, 65, P, 3)) == [
        f"get_mempolicy([MPOL_DEFAULT], [{zero}], 65, 0x7f64b9912000, MPOL_F_NODE|MPOL_F_ADDR) = 0"
    ]


def test_what_a_call_that_failed_did_not_fill_in_is_an_address(machine: Machine) -> None:
    assert traced(machine, b"", raw(239, M, M + 8, 1, P, 2)) == [
        "get_mempolicy(0x7ffd78d14310, 0x7ffd78d14318, 1, 0x7f64b9912000, MPOL_F_ADDR) = -1 EINVAL (Invalid argument)"
    ]


def test_a_home_node(machine: Machine) -> None:
    def call(sys: Sys) -> None:
        sys.raw(237, P, 8192, 2, M, 64, 0)
        sys.raw(450, P, 8192, 0, 0)

    assert traced(machine, words(1), call)[1] == "set_mempolicy_home_node(0x7f64b9912000, 8192, 0, 0) = 0"


def test_long_arrays_end_in_dots(machine: Machine) -> None:
    memory = words(*[P] * 40)
    [line] = traced(machine, memory, raw(279, 0, 40, M, 0, M + 320, 0))
    pages, statuses = ", ".join(["0x7f64b9912000"] * 32), ", ".join(["0"] * 32)
    assert line == f"move_pages(0, 40, [{pages}, ...], NULL, [{statuses}, ...], 0) = 0"


def test_a_file_is_read_in_quotes(machine: Machine) -> None:
    def reading(sys: Sys) -> None:
        sys.raw(257, -100, M, 0)
        sys.raw(0, 0, M + 64, 39)
        sys.raw(17, 0, M + 128, 10, 0)
        sys.raw(8, 0, 0, 0)

    lines = traced(machine, b"/proc/self/status\0", reading)
    assert lines == [
        'openat(AT_FDCWD, "/proc/self/status", O_RDONLY) = 0',
        'read(0, "Name:\\tmain\\nUmask:\\t0022\\nState:\\tR "..., 39) = 39',
        'pread64(0, "Name:\\tmain", 10, 0)        = 10',
        "lseek(0, 0, SEEK_SET)                   = 0",
    ]


def test_a_traced_run_is_the_same_run(machine: Machine) -> None:
    def work(sys: Sys) -> None:
        sys.mbind(P, PAGE, abi.MPOL_BIND, {1}, flags=abi.MPOL_MF_MOVE)
        sys.move_pages(0, [P, P + PAGE, 0])

    def times(traced: bool) -> int:
        def main(sys: Sys) -> None:
            sys.mmap(2 * PAGE, flags=FIXED, addr=P)
            sys.memory.touch(P)
            machine.strace(traced, io.StringIO())
            started = machine.now
            work(sys)
            spent.append((machine.now - started, sys.task.ctx.min_flt))

        spent: list[tuple[int, int]] = []
        machine.run(main)
        machine.strace(False)
        return spent[0]  # type: ignore[return-value]

    assert times(True) == times(False)


def test_strace_prints_to_standard_error_and_can_be_switched_off(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.strace()
    machine.run(lambda sys: sys.getpid())
    machine.strace(False)
    machine.run(lambda sys: sys.getppid())
    assert capsys.readouterr().err.splitlines() == [
        "getpid()                                = 100",
        "+++ exited with 100 +++",
    ]
