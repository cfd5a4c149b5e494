"""When the kernel itself fails: no program can take that for an answer, and whoever runs the machine is told."""

import dataclasses

import pytest

import numalab
from numalab.kernel import mm_release
from numalab.kernel.state import KernelBug
from numalab.syscalls import entry, memory, scratch
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NUMBER


def test_a_handler_that_fails_is_no_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(k: object, task: object) -> int:
        raise IndexError("a bug")

    row = dataclasses.replace(BY_NUMBER[39], handler=failing)
    monkeypatch.setitem(entry.BY_NUMBER, 39, row)
    reached: list[str] = []

    def main(sys: Sys) -> None:
        try:
            sys.getpid()
        except Exception:  # noqa: BLE001
            reached.append("the program saw it")

    with numalab.boot("dual", debug_vm=False) as machine:  # what the task leaves behind breaks the invariants
        with pytest.raises(KernelBug, match=r"task 100 \(main\): IndexError\('a bug'\)") as caught:
            machine.run(main)
        assert isinstance(caught.value.__cause__, IndexError)
        assert reached == []
        assert all(task.unkillable for task in machine.tasks)
        assert machine.run(lambda sys: 3) == 3


def test_a_failing_access_and_a_failing_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    with numalab.boot("dual") as machine:
        with monkeypatch.context() as patch:
            patch.setattr(memory, "read_user", failing)
            with pytest.raises(KernelBug):
                machine.run(lambda sys: sys.memory.read(sys.mmap(4096), 1))
        with monkeypatch.context() as patch:
            patch.setattr(mm_release, "exit_mmap", failing)
            with pytest.raises(KernelBug, match="ZeroDivisionError"):
                machine.run(lambda sys: 0)
        with monkeypatch.context() as patch:
            patch.setattr(scratch, "do_mmap", failing)
            with pytest.raises(KernelBug, match="ZeroDivisionError"):
                machine.run(lambda sys: sys.migrate_pages(0, {0}, {1}))


def test_of_several_failures_each_is_raised_in_its_turn() -> None:
    def failing(word: str) -> object:
        def main(sys: Sys) -> None:
            raise KeyError(word)

        return main

    with numalab.boot("dual") as machine:
        machine.spawn(failing("one"))  # type: ignore[arg-type]
        with pytest.raises(KeyError, match="one"):
            machine.run()
        first, second = machine.spawn(failing("two")), machine.spawn(failing("three"))  # type: ignore[arg-type]
        machine.sched.choose = lambda tasks: tasks[0]
        with pytest.raises(KeyError, match="two"):
            machine.run()
        with pytest.raises(KeyError, match="three"):
            machine.run()
        assert (first.exit_status, second.exit_status) == (1, 1)
