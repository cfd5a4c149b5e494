"""The tracer: whose line it is, what is unfinished, what an ending looks like."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from numalab.kernel.machine import Machine
from numalab.kernel.signal import SIGTERM
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

GETPID = BY_NAME["getpid"].number
EXITED = "si_code=CLD_EXITED, si_pid={}, si_uid=0, si_status={}, si_utime=0, si_stime=0"


def traced(machine: Machine, main: Callable[[Sys], object], **options: object) -> list[str]:
    out = io.StringIO()
    machine.strace(out=out, **options)
    machine.run(main)
    machine.strace(False)
    return out.getvalue().splitlines()


def wait(sys: Sys) -> None:
    sys.raw(61, -1, 0, 0, 0)


def test_a_call_that_sleeps_is_unfinished_when_another_task_makes_one(machine: Machine) -> None:
    def parent(sys: Sys) -> None:
        sys.fork(child)
        wait(sys)
        sys.exit(5)

    def child(sys: Sys) -> int:
        sys.raw(GETPID)
        return 3

    assert traced(machine, parent) == [
        "fork()                                  = 101",
        "strace: Process 101 attached",
        "[pid   100] wait4(-1,  <unfinished ...>",
        "[pid   101] getpid()                    = 101",
        "[pid   101] +++ exited with 3 +++",
        "<... wait4 resumed>NULL, 0, NULL)       = 101",
        f"--- SIGCHLD {{si_signo=SIGCHLD, {EXITED.format(101, 3)}}} ---",
        "exit_group(5)                           = ?",
        "+++ exited with 5 +++",
    ]


def test_a_call_that_sleeps_alone_goes_on_on_its_line(machine: Machine) -> None:
    assert traced(machine, lambda sys: sys.sleep(1.0))[-2].endswith(") = 0")


def test_a_call_that_its_task_does_not_survive_has_no_result(machine: Machine) -> None:
    def parent(sys: Sys) -> None:
        pid = sys.fork(lambda sys: sys.sleep(9.0))
        sys.sleep(1.0)
        sys.kill(pid, 9)
        wait(sys)

    lines = traced(machine, parent)
    begun = next(i for i, line in enumerate(lines) if line.startswith("[pid   101] nanosleep({tv_sec=9"))
    assert lines[begun].endswith(" <unfinished ...>")
    assert "[pid   101] <... nanosleep resumed> <unfinished ...>) = ?" in lines
    assert "[pid   101] +++ killed by SIGKILL +++" in lines


def test_what_is_not_traced_is_not_printed_but_signals_and_endings_are(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.getppid()
        sys.raw(999, 1)
        sys.kill(sys.getpid(), SIGTERM)

    assert traced(machine, main, trace="mbind,getpid") == [
        "syscall_0x3e7(0x1, 0, 0, 0, 0, 0)       = -1 ENOSYS (Function not implemented)",
        "getpid()                                = 100",
        "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=100, si_uid=0} ---",
        "+++ killed by SIGTERM +++",
    ]


def test_a_signal_from_outside_says_so(machine: Machine) -> None:
    from numalab.kernel.kill import send_signal  # noqa: PLC0415

    task = machine.spawn(lambda sys: sys.getpid())
    send_signal(machine.kernel, task, SIGTERM)
    out = io.StringIO()
    machine.strace(out=out)
    machine.run()
    assert out.getvalue().splitlines()[0] == "--- SIGTERM {si_signo=SIGTERM, si_code=SI_KERNEL} ---"


def test_in_a_file_every_line_has_a_pid(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    machine.strace(out=file.open("w"), to_file=True)
    machine.run(lambda sys: sys.getpid() and None)
    machine.strace(False)
    assert file.read_text() == (
        "100   getpid()                          = 100\n100   +++ exited with 0 +++\n"
    )  # fmt: skip


def test_the_end_of_tracing_leaves_what_has_not_ended(machine: Machine) -> None:
    out = io.StringIO()
    machine.strace(out=out)
    machine.spawn(lambda sys: sys.sleep(9.0))
    machine.run_until(lambda: "nanosleep" in out.getvalue())
    machine.strace(False)
    machine.run()
    [line] = out.getvalue().splitlines()
    assert line.endswith(" <detached ...>")


def test_a_call_that_began_before_tracing_did_is_not_told_of(machine: Machine) -> None:
    machine.spawn(lambda sys: sys.sleep(1.0))
    machine.run_until(lambda: True)
    machine.run_until(lambda: any(task.waiting_on == "time to pass" for task in machine.tasks))
    out = io.StringIO()
    machine.strace(out=out)
    machine.run()
    assert out.getvalue() == "+++ exited with 0 +++\n"


def test_a_summary_counts_the_time_of_the_cpu_or_that_of_the_clock(machine: Machine) -> None:
    def times(*, wall: bool) -> dict[str, float]:
        lines = traced(
            machine, lambda sys: (sys.sleep(2.0), sys.getpid(), None)[2], lines=False, summary=True, wall=wall
        )
        return {line.split()[-1]: float(line.split()[1]) for line in lines[2:4]}

    assert times(wall=True)["nanosleep"] == pytest.approx(2.0, abs=0.001)
    assert 0 <= times(wall=False)["nanosleep"] < 0.001


def test_a_summary_alone_prints_no_lines_and_both_print_it_last(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.raw(GETPID)
        sys.raw(3, 99)

    assert traced(machine, main, lines=False, summary=True)[0].split() == [
        "%", "time", "seconds", "usecs/call", "calls", "errors", "syscall",
    ]  # fmt: skip
    both = traced(machine, main, summary=True)
    assert both[0].startswith("getpid()")
    assert both[-1].split()[-3:] == ["2", "1", "total"]


def test_a_set_that_is_none_leaves_the_tracer_that_is_there(machine: Machine) -> None:
    out = io.StringIO()
    machine.strace(out=out)
    with pytest.raises(ValueError, match="'nonsense' is no system call"):
        machine.strace(trace="nonsense")
    machine.run(lambda sys: sys.getpid() and None)
    assert out.getvalue().startswith("getpid() ")
