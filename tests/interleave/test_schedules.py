"""Schedules that showed a bug once, and bugs that are planted: quick, as nothing is searched."""

from __future__ import annotations

import pytest

from numalab.mm.preempt import Point

from tests.interleave.bugs import BUGS
from tests.interleave.cases import CASES
from tests.interleave.run import NoSuchTurn, read, run, told
from tests.interleave.search import Found, Searched, at_random, systematic

#: What the explorer has found in this kernel: case, schedule, and what went wrong under it.
MENDED = [
    ("migrate_fork", "a.user.3>b", "threads wrote over each other's arguments in one scratch area"),
    ("migrate_munmap", "a.unmap.2>b", "munmap did not flush for a migration that was about to"),
    ("migrate_discard", "a.unmap.2>b", "nor did MADV_DONTNEED"),
]


@pytest.mark.parametrize(
    "twins", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["compiled", "twins"]
)
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_wrong_without_preemption(case: str, twins: bool) -> None:
    """Invariants hold at every point, though nobody runs there."""
    assert run(CASES[case], twins=twins).failure == ""


@pytest.mark.parametrize("twins", [False, True], ids=["compiled", "twins"])
@pytest.mark.parametrize(("case", "schedule"), [row[:2] for row in MENDED])
def test_what_was_mended(case: str, schedule: str, twins: bool) -> None:
    assert run(CASES[case], schedule, twins=twins).failure == ""


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_shows_under_its_schedule_and_only_the_bug_does(name: str) -> None:
    bug = BUGS[name]
    with bug.planted():
        assert run(CASES[bug.case], bug.schedule, twins=True).failure != ""
    assert run(CASES[bug.case], bug.schedule, twins=True).failure == ""
    assert run(CASES[bug.case], bug.schedule).failure == ""


def test_a_bug_is_found_by_chance_and_its_schedule_cut_short() -> None:
    bug = BUGS["the_copy_comes_before_the_unmapping"]
    with bug.planted():
        found = at_random(CASES[bug.case], 0, 30, twins=True)
        assert isinstance(found, Found)
        assert len(found.schedule) == 1
        assert run(CASES[bug.case], told(found.schedule), twins=True).failure == found.failure


def test_a_run_can_be_repeated() -> None:
    first, second = (run(CASES["reclaim_touch"], "a.flush.1>b b.user.1>a") for _ in range(2))
    assert first.decisions == second.decisions
    assert first.schedule == read("a.flush.1>b b.user.1>a")


def test_a_schedule_that_does_not_fit_is_said_to() -> None:
    for schedule in ("a.copy.99>b", "a.copy.1>c"):
        with pytest.raises(NoSuchTurn):
            run(CASES["migrate_touch"], schedule)


def test_every_point_is_reached() -> None:
    runs = [
        run(CASES["migrate_fork"], "main.sleep.1>b"),
        run(CASES["reclaim_touch"]),
        run(CASES["migrate_touch"]),
    ]
    turns = {decision.turn.split(".")[1] for outcome in runs for decision in outcome.decisions}
    assert turns >= set(Point)


def test_a_search_can_be_cut_short() -> None:
    case = CASES["migrate_exit"]
    whole, part = systematic(case, 1), systematic(case, 1, most=3)
    assert isinstance(whole, Searched)
    assert whole.whole
    assert part == Searched((whole.runs[0], 3), whole=False)


# --- searches --------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_one_preemption(case: str) -> None:
    found = systematic(CASES[case], 1)
    assert not isinstance(found, Found), f"{told(found.schedule)}: {found.failure}"


@pytest.mark.long
@pytest.mark.parametrize("case", ["migrate_exit", "swapin_migrate", "lock_reclaim"])
def test_two_preemptions(case: str) -> None:
    found = systematic(CASES[case], 2)
    assert not isinstance(found, Found), f"{told(found.schedule)}: {found.failure}"


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_at_random(case: str) -> None:
    found = at_random(CASES[case], 1, 30)
    assert not isinstance(found, Found), f"{told(found.schedule)}: {found.failure}"


@pytest.mark.long
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    bug = BUGS[name]
    with bug.planted():
        found = systematic(CASES[bug.case], 1, twins=True)
    assert isinstance(found, Found)
    assert told(found.schedule) == bug.schedule, "a shorter one: store it"
