"""A machine of two nodes and several CPUs, once on the compiled kernels and once on their twins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mm_machine import MmMachine


@pytest.fixture(params=[False, True], ids=["compiled", "twins"])
def either(request: pytest.FixtureRequest) -> Iterator[MmMachine]:
    """Its invariants hold at the end, and when everybody has left."""
    with MmMachine("2x16M,cpus=2", twins=request.param) as machine:
        yield machine
        assert machine.check() == []
        for mm in list(machine.mms):
            machine.exit(mm)
        assert machine.check() == []
