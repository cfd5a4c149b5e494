"""Random scenarios that a real kernel has answered."""

from __future__ import annotations

import pytest

from numalab.tools.conform import compare

from tests.fuzz.alone import answers
from tests.fuzz.store import load, script_of
from tests.fuzz.world import MACHINES

PARTS = 5


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("machine", MACHINES)
def test_answers_are_those_of_the_real_kernel(machine: str, part: int) -> None:
    recorded = load(machine)
    assert len(recorded) == 75
    for name in list(recorded)[part::PARTS]:
        found = compare(
            machine, name, recorded[name], answers(machine, script_of(recorded[name]))
        ).differences
        assert not found, name
