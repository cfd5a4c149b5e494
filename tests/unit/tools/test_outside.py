"""A process that is told from outside what to do: it acts as a program does, and ends as one."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator

import pytest

import numalab
from numalab import Deadlock
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys, current
from numalab.tools.outside import Process, ProcessEnded

PAGE = 4096


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("2x64M") as machine:
        yield machine
        machine.check_invariants()


def test_calls_are_made_by_the_process(machine: Machine) -> None:
    one, two = Process(machine), Process(machine, uid=1000, name="other")
    assert (one.sys.getpid(), two.sys.getpid()) == (one.pid, two.pid)
    assert (one.sys.getuid(), two.sys.getuid()) == (0, 1000)
    assert two.task.comm == "other"
    addr = one.sys.mmap(PAGE)
    one.memory.write(addr, b"mine")
    assert one.memory.read(addr, 4) == one.sys.memory.read(addr, 4) == b"mine"
    assert one.sys.libc.getpid() == one.libc.getpid() == one.pid
    assert one.sys.argv == []
    assert "migrate_pages" in dir(one.sys)
    with pytest.raises(PermissionError):
        two.sys.migrate_pages(one.pid, {0}, {1})


def test_work_is_done_in_one_go(machine: Machine) -> None:
    process = Process(machine)
    assert current() is None

    def work(sys: Sys) -> tuple[bool, int]:
        return current() is sys, process.do(lambda sys: sys.getpid())

    assert process.do(work) == (True, process.pid)
    with pytest.raises(ZeroDivisionError):
        process.do(lambda sys: 1 // 0)
    assert process.sys.getpid() == process.pid


def test_others_run_meanwhile_and_to_the_end(machine: Machine) -> None:
    process = Process(machine)
    assert machine.run(lambda sys: 3) == 3  # a process that waits for us is not waited for
    child = process.sys.fork(lambda sys: sys.exit(4))
    assert process.sys.wait(child) == (child, 4)
    process.sys.fork(lambda sys: sys.sleep(1))
    before = machine.now
    machine.run()
    assert machine.now - before >= 10**9


def test_what_another_program_raises_comes_out_and_nothing_is_done_twice(machine: Machine) -> None:
    process = Process(machine)
    machine.spawn(lambda sys: 1 // 0)
    done: list[int] = []
    with pytest.raises(ZeroDivisionError):
        process.do(lambda sys: sys.sleep(1) or done.append(1))
    process.do(lambda sys: done.append(2))
    assert done in ([2], [1, 2])


def test_the_end_of_the_process(machine: Machine) -> None:
    process = Process(machine)
    with pytest.raises(ProcessEnded, match="killed by SIGSEGV"):
        process.memory.read(PAGE, 1)
    with pytest.raises(ProcessEnded, match="killed by SIGSEGV"):
        process.sys.getpid()
    process = Process(machine)
    with pytest.raises(ProcessEnded, match="ended with status 7"):
        process.sys.exit(7)
    process.end()
    process = Process(machine)
    process.end()
    assert not process.task.alive


def test_a_signal_wakes_it(machine: Machine) -> None:
    process, other = Process(machine), Process(machine)
    seen: list[int] = []
    process.sys.signal(10, lambda signo, info: seen.append(signo))
    other.sys.kill(process.pid, 10)
    assert process.sys.getpid() == process.pid
    assert seen == [10]
    other.sys.kill(process.pid, 9)
    with pytest.raises(ProcessEnded, match="SIGKILL"):
        process.sys.getpid()


def test_waiting_for_what_cannot_happen(machine: Machine) -> None:
    process = Process(machine)
    with pytest.raises(Deadlock, match="task 100"):
        process.sys.read(process.sys.pipe().fds[0], 1)


def test_another_thread_cannot_act(machine: Machine) -> None:
    process = Process(machine)
    caught: list[str] = []

    def act() -> None:
        try:
            process.sys.getpid()
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert "belongs to the thread that booted it" in caught[0]
    assert process.sys.getpid() == process.pid


def test_errno_of_the_c_library(machine: Machine) -> None:
    process = Process(machine)
    assert process.libc.munmap(1, 1) == -1
    assert ctypes.get_errno() == 22
