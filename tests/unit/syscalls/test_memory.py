"""`sys.memory`: what may be passed to it. What an access does is asked in the conformance tests."""

from collections.abc import Callable
from typing import Any

import pytest

from numalab import abi
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

HUGE = 1 << 70


@pytest.mark.parametrize(
    "access",
    [
        lambda m: m.read(1.5, 1),
        lambda m: m.read("a", 1),
        lambda m: m.read(0, 1.5),
        lambda m: m.write(1.5, b"a"),
        lambda m: m.write(0, "text"),
        lambda m: m.touch(1.5),
        lambda m: m.touch(0, 1.5),
        lambda m: m.touch(0, 1, 1.5),
        lambda m: m.touch(0, 1, 1, True, 1.5),
    ],
)
def test_what_is_no_number_is_a_typeerror(machine: Machine, access: Callable[[Any], object]) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(TypeError):
            access(sys.memory)

    assert machine.run(main) == 0


@pytest.mark.parametrize(
    "access",
    [
        lambda m: m.read(0, HUGE),
        lambda m: m.read(HUGE, HUGE),
        lambda m: m.touch(0, HUGE, HUGE),
        lambda m: m.touch(0, HUGE, 0),
        lambda m: m.touch(-1, HUGE, 1),
        lambda m: m.touch(1 << 56, 2, HUGE),
    ],
)
def test_a_number_may_be_any(machine: Machine, access: Callable[[Any], object]) -> None:
    assert machine.run(lambda sys: access(sys.memory)) == -abi.SIGSEGV
