"""What tests/interleave and tests/attack show when they are run for the page: interleavings, and hostile calls."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numalab

from tests.attack.test_calls import Attack
from tests.interleave.bugs import BUGS
from tests.interleave.cases import CASES
from tests.interleave.run import told
from tests.interleave.search import Found, systematic

__all__ = ["Attacked", "Explored", "Planted", "attack", "attacks", "explore", "explored_page", "plant"]

ENGINES = ("batched", "direct", "swap")
#: Hostile calls on one machine.
CALLS = 25_000


@dataclass(frozen=True)
class Explored:
    """Schedules of a program. runs: by preemptions; whole: with two preemptions there are no more."""

    name: str
    runs: tuple[int, ...] = ()
    whole: bool = False
    failure: str = ""


@dataclass(frozen=True)
class Planted:
    """A mistake that was planted. schedule: under which it was found, None = it was not; runs, seconds: until then."""

    name: str
    schedule: str | None
    runs: int
    seconds: float


@dataclass(frozen=True)
class Attacked:
    """Hostile calls on a machine. programs: that made them; answers: results that were errors, each once."""

    engine: str
    seed: int
    calls: int
    programs: int
    answers: frozenset[int]
    failure: str = ""


def explore(name: str, most: int) -> Explored:
    """All schedules of a program with one preemption, and the first ones with two."""
    found = systematic(CASES[name], 2, most=most)
    if isinstance(found, Found):
        return Explored(name, failure=f"{found.failure} under '{told(found.schedule)}'")
    return Explored(name, found.runs, found.whole)


def plant(name: str) -> Planted:
    """Plant a mistake, and look for it."""
    bug, began = BUGS[name], time.monotonic()
    with bug.planted():
        found = systematic(CASES[bug.case], 1, twins=True)
    seconds = time.monotonic() - began
    if isinstance(found, Found):
        return Planted(name, told(found.schedule), found.runs, seconds)
    return Planted(name, None, sum(found.runs), seconds)


def attacks(seed: int, calls: int) -> Iterator[tuple[str, int, int]]:
    """(engine, seed, calls) of the machines on which so many calls are made."""
    for number, at in enumerate(range(0, calls, CALLS)):
        yield ENGINES[number % len(ENGINES)], seed + number, min(CALLS, calls - at)


def attack(engine: str, seed: int, calls: int) -> Attacked:
    """Let programs make hostile calls on a machine, and look whether it is still in order."""
    failure = ""
    with numalab.boot("quad", seed=seed, migration=engine) as machine:
        attacker = Attack(machine, seed, calls)
        try:
            attacker.run()
            machine.check_invariants()
        except Exception as error:  # noqa: BLE001 - whatever it is, no call may bring it about
            failure = f"{type(error).__name__}: {error}"
    made = calls - max(attacker.left, 0)
    return Attacked(engine, seed, made, attacker.programs, frozenset(attacker.answers - {0}), failure)


INTERLEAVINGS = """
## Interleavings

On real machines what goes wrong goes wrong between two tasks. {programs} small programs of `tests/interleave/`, two or
three tasks over a few pages, were run under schedules: at every point where Linux could be preempted in migration,
reclaim, faults and fork, somebody else goes on. All schedules with one such surprise were run, and of those with two
{some}. After each the invariants were checked, and what each task had written was read back.
"""

PLANTED = """
That the search finds what there is to be found is shown by mistakes that kernels of this kind have had. Each was
planted, and all schedules with one preemption were tried, the shortest first, until it showed (on the plain-Python
kernels; the times are those of the host).
"""

HOSTILE = """
## Hostile calls

Programs of several users, which fork and exec, made system calls with arguments that nobody means well with
(`tests/attack/`): {calls:,} calls on {machines} machines with four nodes, {each:,} on each, under all three engines,
seeds {first} to {last}. An exception is one that comes out of the kernel instead of an error number.
"""


def explored_page(
    explored: Sequence[Explored], planted: Sequence[Planted], attacked: Sequence[Attacked]
) -> str:
    """The two sections."""
    return "\n".join([*_interleavings(explored, planted), *_hostile(attacked), ""])


def _interleavings(explored: Sequence[Explored], planted: Sequence[Planted]) -> Iterator[str]:
    whole = sum(each.whole for each in explored)
    most = max((each.runs[2] for each in explored if each.runs and not each.whole), default=0)
    some = "all as well" if whole == len(explored) else f"the first {most:,} of each program"
    yield INTERLEAVINGS.format(programs=len(explored), some=some)
    yield "| | |"
    yield "| --- | --- |"
    names = (
        "without preemption, but who goes on when somebody sleeps is tried",
        "with one preemption",
        "with two",
    )
    for number, name in enumerate(names):
        yield f"| schedules {name} | {sum(each.runs[number] for each in explored if each.runs):,} |"
    yield f"| programs of which these are all schedules with two | {whole} of {len(explored)} |"
    yield f"| programs that failed | **{sum(bool(each.failure) for each in explored)}** |"
    yield PLANTED
    yield "| planted | shows under | schedules tried | time |"
    yield "| --- | --- | --- | --- |"
    for each in planted:
        under = "**not found**" if each.schedule is None else f"`{each.schedule}`" if each.schedule else "any"
        yield f"| {each.name.replace('_', ' ')} | {under} | {each.runs} | {each.seconds:.1f} s |"


def _hostile(attacked: Sequence[Attacked]) -> Iterator[str]:
    yield HOSTILE.format(
        calls=sum(each.calls for each in attacked),
        machines=len(attacked),
        each=attacked[0].calls,
        first=attacked[0].seed,
        last=attacked[-1].seed,
    )
    yield "| | |"
    yield "| --- | --- |"
    yield f"| calls made | {sum(each.calls for each in attacked):,} |"
    yield f"| different errors that they got | {len(frozenset().union(*(each.answers for each in attacked)))} |"
    yield f"| exceptions, invariants broken | **{sum(bool(each.failure) for each in attacked)}** |"
