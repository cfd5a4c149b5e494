"""Looking for a schedule under which a case fails: by chance, and all of them with few surprises.

CHESS (Musuvathi and others, 2008) found that bugs of interleaving need two preemptions or fewer. A run says at which
moments somebody else could have gone on; each such moment behind the last change of tasks is one more schedule to try.
Schedules with fewer surprises come first, so the first one that fails is a shortest one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.interleave.run import Case, Decision, Outcome, Schedule, run

__all__ = ["Found", "Searched", "at_random", "shortened", "systematic"]


@dataclass(frozen=True)
class Found:
    """A schedule that fails, how it fails, and how many runs it took to find."""

    schedule: Schedule
    failure: str
    runs: int


@dataclass(frozen=True)
class Searched:
    """Nothing was found. runs: with no preemption, with one...; whole: these are all there are."""

    runs: tuple[int, ...]
    whole: bool = True


def systematic(
    case: Case, preemptions: int = 2, *, twins: bool = False, most: int | None = None
) -> Found | Searched:
    """All schedules with so many preemptions or fewer; most: of those with so many, only the first ones.

    Who goes on when somebody sleeps or ends is tried too, and is no preemption.
    """
    queue: deque[tuple[Schedule, int]] = deque([({}, 0)])
    runs = [0] * (preemptions + 1)
    whole = True
    while queue:
        schedule, used = queue.popleft()
        if used == preemptions and runs[used] == most:
            whole = False
            continue
        outcome = run(case, schedule, twins=twins)
        runs[used] += 1
        if outcome.failure:
            return Found(schedule, outcome.failure, sum(runs))
        queue.extend(_longer(schedule, used, outcome, preemptions))
    return Searched(tuple(runs), whole)


def _longer(schedule: Schedule, used: int, outcome: Outcome, most: int) -> Iterator[tuple[Schedule, int]]:
    """The schedules with one more surprise, behind the last one."""
    turns = [decision.turn for decision in outcome.decisions]
    first = max((turns.index(turn) + 1 for turn in schedule), default=0)
    for decision in outcome.decisions[first:]:
        cost = used + (not decision.free)
        if cost <= most:
            yield from (({**schedule, decision.turn: other}, cost) for other in decision.others)


def at_random(case: Case, seed: int, runs: int, *, twins: bool = False) -> Found | int:
    """Runs with random changes of tasks, of which a failing one is shortened; ``runs`` if none fails."""
    for n in range(runs):
        rng = random.Random(f"{seed} {n}")
        often = rng.choice((0.05, 0.15, 0.4))

        def otherwise(decision: Decision, rng: random.Random = rng, often: float = often) -> str | None:
            return rng.choice(decision.others) if rng.random() < often else None

        outcome = run(case, twins=twins, otherwise=otherwise)
        if outcome.failure:
            schedule = shortened(case, outcome.schedule, twins=twins)
            return Found(schedule, run(case, schedule, twins=twins).failure, n + 1)
    return runs


def shortened(case: Case, schedule: Schedule, *, twins: bool = False) -> Schedule:
    """A failing schedule without the changes of tasks that it fails without."""
    for turn in schedule:
        shorter = {other: task for other, task in schedule.items() if other != turn}
        if run(case, shorter, twins=twins, strict=False).failure:
            return shortened(case, shorter, twins=twins)
    return schedule
