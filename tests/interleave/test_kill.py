"""A task is killed at each point where tasks could change: what it was about ends in order, and others lose nothing."""

from __future__ import annotations

import pytest

from tests.interleave.cases import CASES
from tests.interleave.run import Outcome, run

#: Killed in these, a leaves memory as a run without it would: it only moves pages, or writes them to swap.
ONLY_MOVES = frozenset(
    name
    for name in CASES
    if name.startswith(("migrate_", "reclaim_", "direct_", "evict_touch", "move_", "swapoff_"))
    and name not in {"migrate_exit", "reclaim_shared"}
)
QUICK = ("migrate_exit", "mbind_fault", "reclaim_touch_slow", "swapin_migrate")


def killed_everywhere(case: str) -> tuple[int, list[str]]:
    """How many kills were tried, and what went wrong after which."""
    whole = run(CASES[case])
    assert whole.failure == ""
    wrong = []
    turns = [turn for turn in whole.turns if turn[:2] in {"a.", "b.", "c."} and ".exit." not in turn]
    for turn in turns:
        outcome: Outcome = run(CASES[case], kill=turn, look=turn.startswith("a.") and case in ONLY_MOVES)
        if outcome.failure:
            wrong.append(f"{turn}: {outcome.failure}")
        elif outcome.left != whole.left:
            wrong.append(f"{turn}: {outcome.left} are left, not {whole.left}")
    return len(turns), wrong


@pytest.mark.slow
@pytest.mark.parametrize("case", QUICK)
def test_a_task_is_killed_at_each_point(case: str) -> None:
    tried, wrong = killed_everywhere(case)
    assert tried > 5
    assert not wrong


@pytest.mark.long
@pytest.mark.parametrize("case", [name for name in CASES if name not in QUICK])
def test_a_task_is_killed_at_each_point_of_all_cases(case: str) -> None:
    tried, wrong = killed_everywhere(case)
    assert tried > 2
    assert not wrong
