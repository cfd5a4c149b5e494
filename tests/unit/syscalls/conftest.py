"""A machine for each test, whose memory must be consistent when the test is over."""

from collections.abc import Iterator

import pytest

import numalab
from numalab.kernel.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("quad") as machine:
        yield machine
        machine.check_invariants()
