"""Memory areas end up as on a real kernel: every operation of areas/answers.txt, line by line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.mm_machine import MmMachine
from tests.unit.mm.areas.replay import Replay, operations

ANSWERS = Path(__file__).with_name("areas").joinpath("answers.txt").read_text()


@pytest.mark.parametrize("twins", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_areas_as_recorded(twins: bool) -> None:
    """Merging, splitting, policies, locking, forks: 600 operations, and after each 20 the invariants hold."""
    count = itertools.count(1)
    with MmMachine("4x16M", twins=twins) as m:

        def check_now_and_then() -> None:
            if next(count) % 20 == 0:
                assert m.check() == []

        replay = Replay(m, operations(ANSWERS), check_now_and_then)
        replay.run()
        assert m.check() == []
    recorded = [line for line in ANSWERS.splitlines() if not line.startswith("#")]
    assert "\n".join(replay.text).splitlines() == recorded
