"""How a program's Python frames end: by any exception, by its own end, or never having begun."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import greenlet
import pytest

import numalab
from numalab.kernel.machine import Machine
from numalab.kernel.task import TaskExit
from numalab.syscalls.sys import Sys


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("error", [Unusual, GeneratorExit, greenlet.GreenletExit, TaskExit])
def test_any_exception_ends_the_program_and_comes_out(machine: Machine, error: type[BaseException]) -> None:
    def main(sys: Sys) -> None:
        raise error

    with pytest.raises(error):
        machine.run(main)
    assert all(task.unkillable for task in machine.tasks)
    assert machine.run(lambda sys: 6) == 6


def test_a_program_that_catches_its_own_end_has_ended_all_the_same(machine: Machine) -> None:
    def main(sys: Sys) -> int:
        with contextlib.suppress(BaseException):
            sys.exit(3)
        with contextlib.suppress(BaseException):
            sys.getpid()
        return 4

    assert machine.run(main) == 3


async def coroutine(sys: Sys) -> None:
    pass


def generator(sys: Sys) -> Iterator[int]:
    yield 1


class Generating:
    def __call__(self, sys: Sys) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize("main", [coroutine, generator, functools.partial(coroutine), Generating(), 3])
def test_what_would_run_nothing_is_no_program(machine: Machine, main: Any) -> None:
    with pytest.raises(TypeError):
        machine.run(main)

    def forking(sys: Sys) -> None:
        for make in (sys.fork, sys.clone, sys.execve):
            with pytest.raises(TypeError):
                make(main)

    assert machine.run(forking) == 0
    assert all(task.unkillable for task in machine.tasks)


def test_close_is_not_stopped_by_a_program_that_catches_everything() -> None:
    caught: list[str] = []

    def main(sys: Sys) -> int:
        for _ in range(2):
            try:
                while True:
                    sys.sched_yield()
            except BaseException as error:  # noqa: BLE001
                caught.append(type(error).__name__)
        return 3

    machine = numalab.boot("dual")
    machine.spawn(main)
    machine.spawn(main)
    machine.run_until(lambda: machine.now > 100_000)
    machine.close()
    assert caught == ["GreenletExit", "TaskExit"] * 2
