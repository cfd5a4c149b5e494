"""Calls that fail on demand: which, with what, and when; and nothing else changes."""

from __future__ import annotations

import errno
import io

import pytest

from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

PAGE = 4096


def errors(sys: Sys, call: str, *args: object, times: int = 1) -> list[str]:
    """What so many calls in a row answer: the names of errors, `-` for none."""
    answers = []
    for _ in range(times):
        try:
            getattr(sys, call)(*args)
            answers.append("-")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    return answers


def test_a_call_that_fails_is_not_carried_out(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        sys.memory.write(addr, b"x")
        with machine.inject("move_pages", "EPERM") as injection:
            assert errors(sys, "move_pages", 0, [addr], [1]) == ["EPERM"]
            assert injection.hits == 1
        assert sys.move_pages(0, [addr], None).status == [0]
        assert errors(sys, "move_pages", 0, [addr], [1]) == ["-"]
        assert sys.move_pages(0, [addr], None).status == [1]
        assert injection.hits == 1

    machine.run(main)


@pytest.mark.parametrize(
    ("when", "seen"),
    [
        (1, "E-----"),
        ("2+", "-EEEEE"),
        ("1+3", "E--E--"),
        ("2..4", "-EEE--"),
        ("2..5+2", "-E-E--"),
        ("3..3+", "--E---"),
    ],
)
def test_when(machine: Machine, when: str | int, seen: str) -> None:
    def main(sys: Sys) -> None:
        answers = errors(sys, "sched_yield", times=6)
        assert "".join("-" if answer == "-" else "E" for answer in answers) == seen

    machine.inject("sched_yield", "ENOSYS", when)
    machine.run(main)


def test_each_task_has_its_own_count(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert errors(sys, "getppid", times=2) == ["EPERM", "-"]
        sys.fork(child)
        assert sys.wait()[1] == 0

    def child(sys: Sys) -> None:
        assert errors(sys, "getppid", times=2) == ["EPERM", "-"]

    machine.inject("getppid", errno.EPERM, when=1)
    machine.run(main)


def test_of_several_the_first_decides_and_all_count(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert errors(sys, "getuid", times=3) == ["EPERM", "ENOMEM", "-"]

    machine.inject("getuid", "EPERM", when=1)
    machine.inject("%creds", "ENOMEM", when="1..2")
    machine.run(main)


def test_fork_can_fail_and_exit_cannot(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(BlockingIOError):
            sys.fork(lambda sys: None)
        sys.exit(3)

    machine.inject("all", "EAGAIN")
    assert machine.run(main) == 3


def test_strace_marks_them(machine: Machine) -> None:
    out = io.StringIO()
    machine.strace(out=out, trace="sched_yield")
    machine.inject("sched_yield", "EINTR", when=1)
    machine.run(lambda sys: errors(sys, "sched_yield", times=2) and None)
    assert "= -1 EINTR (Interrupted system call) (INJECTED)\n" in out.getvalue()
    assert out.getvalue().count("INJECTED") == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("mbnd", "EPERM"), "mbnd"),
        (("mbind", "EFOO"), "EFOO"),
        (("mbind", 0), "0"),
        (("mbind", 4096), "4096"),
        (("mbind", "errorcode"), "errorcode"),
        (("mbind", "EPERM", 0), "when='0'"),
        (("mbind", "EPERM", "4..2"), r"4\.\.2"),
        (("mbind", "EPERM", "1+0"), r"1\+0"),
        (("mbind", "EPERM", "soon"), "soon"),
    ],
)
def test_what_cannot_be_injected(machine: Machine, arguments: tuple[str, str], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        machine.inject(*arguments)
    assert machine.kernel.injections == []
