"""One run of a program whose tasks change when a schedule says so, checked wherever they could.

A schedule is a line of text. `a.copy.2>b` says: when task a comes to its second point COPY, b goes on instead. Where it
says nothing, whoever runs goes on, and when he sleeps or ends, the next by pid. So the empty schedule is a run without
preemption, and a schedule is as long as it has surprises. Beside the points of ``mm.preempt`` there are three: `user`
(on the way back to the program from a call or an access), `sleep` and `exit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import numalab
from numalab.kernel.kill import send_signal
from numalab.kernel.machine import Machine
from numalab.kernel.task import Task
from numalab.mm.preempt import Point
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swap_areas
from numalab.syscalls import abi
from numalab.syscalls.sys import Sys

__all__ = ["Case", "Decision", "Lab", "NoSuchTurn", "Outcome", "Schedule", "run", "told"]

Schedule = dict[str, str]
Body = Callable[[Sys], object]

#: The machine: two nodes with a CPU each.
SPEC = "2x4M"
#: A run passes a few dozen points; one that passes so many goes round in circles.
MOST_TURNS = 2000


def told(schedule: Schedule) -> str:
    """A schedule as text."""
    return " ".join(f"{turn}>{task}" for turn, task in schedule.items())


def read(text: str) -> Schedule:
    """The schedule that a text says. Raises ValueError: it says none."""
    turns = [turn.partition(">") for turn in text.split()]
    if not all(task for _, _, task in turns):
        raise ValueError(f"a schedule is made of TURN>TASK: {text}")
    return {turn: task for turn, _, task in turns}


class NoSuchTurn(Exception):
    """A run did not come where its schedule wanted to change tasks: it is one of another kernel or program."""


class Livelock(Exception):
    """Tasks go round in circles."""


class SleptInKernel(Exception):
    """Somebody slept inside a kernel, where Linux would hold a PTE lock."""


@dataclass(frozen=True)
class Case:
    """A small program. main(sys, lab) makes ready, lets its tasks run with lab.threads() or lab.forks(), and looks."""

    main: Callable[[Sys, Lab], object]
    engine: str = "batched"


@dataclass(frozen=True)
class Decision:
    """A moment at which somebody else could have gone on. free: nobody had to be interrupted for it."""

    turn: str
    others: tuple[str, ...]
    free: bool


@dataclass
class Outcome:
    """What became of a run. failure: "" if nothing was wrong.

    turns: all moments at which tasks could change.  left: when all have ended, frames that are free or only in the
    swap cache, and swap slots taken otherwise.
    """

    failure: str = ""
    turns: list[str] = field(default_factory=list)
    left: tuple[int, int] = (0, 0)
    decisions: list[Decision] = field(default_factory=list)
    schedule: Schedule = field(default_factory=dict)


class Lab:
    """What a case asks for: its tasks, named a, b, c, each on a CPU of its own where there are so many."""

    def __init__(self, machine: Machine, referee: Referee) -> None:
        self.machine = machine
        self._referee = referee

    def threads(self, sys: Sys, *bodies: Body) -> None:
        """Run these side by side in one address space, until all have ended."""
        flags = abi.CLONE_VM | abi.SIGCHLD
        self._side_by_side(sys, bodies, lambda body: sys.clone(body, flags=flags))

    def forks(self, sys: Sys, *bodies: Body) -> None:
        """Run these side by side, each in a copy of the address space, until all have ended."""
        self._side_by_side(sys, bodies, sys.fork)

    def watched(self, body: Body) -> Body:
        """The same, but what goes wrong in it is heard of."""

        def main(sys: Sys) -> None:
            try:
                body(sys)
            except Exception as error:  # noqa: BLE001 - whatever it is, the run has failed
                self._referee.errors.append(error)

        return main

    def _side_by_side(self, sys: Sys, bodies: Sequence[Body], start: Callable[[Body], int]) -> None:
        referee, nr_cpus = self._referee, self.machine.hw.nr_cpus
        pids = [start(self.watched(body)) for body in bodies]
        for number, pid in enumerate(pids):
            referee.names[pid] = "abc"[number]
            sys.sched_setaffinity(pid, {number % nr_cpus})
        referee.begin(self.machine.sched.current)
        for pid in pids:
            _, status = sys.wait(pid)
            name = referee.names[pid]
            assert status in {0, -abi.SIGKILL if name == referee.killed else 0}, (
                f"task {name}: status {status}"
            )
        referee.end()
        if referee.killed and not referee.look:
            sys.exit(0)


class Referee:
    """Who decides whose turn it is: the scheduler's ``choose`` and mm's ``preempt``.

    otherwise: asked where the schedule says nothing, with the decision; None goes on as usual.
    kill: at this turn whoever runs is killed.  look: main looks at memory all the same.
    """

    def __init__(
        self,
        machine: Machine,
        schedule: Schedule,
        otherwise: Callable[[Decision], str | None] | None,
        strict: bool,
        kill: str = "",
        look: bool = True,
    ) -> None:
        self.kill = kill
        self.look = look
        self.killed = ""
        self.names: dict[int, str] = {}
        self.errors: list[Exception] = []
        self.outcome = Outcome()
        self.taken: Schedule = {}
        self._machine = machine
        self._left = dict(schedule)
        self._otherwise = otherwise
        self._strict = strict
        self._on = False
        self._waiter: Task | None = None
        self._turns: Counter[str] = Counter()
        self._running: Task | None = None
        self._point = "user"
        machine.sched.choose = self._choose
        machine.sched.slice_ns = -1  # every way back to the program is one past the hub

    def begin(self, waiter: Task | None) -> None:
        """From now on it is decided; waiter: who only waits for the others, and so is in nobody's way."""
        self._waiter = waiter
        self._on = True
        self._machine.mem.preempt = self._preempt

    def end(self) -> None:
        self._on = False
        self._machine.mem.preempt = None

    @property
    def unused(self) -> Schedule:
        return self._left

    def _preempt(self, point: Point, at: int) -> None:
        if self._machine.sched.current is not None:
            self._point = point
            self._machine.sched.resched()
            self._point = "user"

    def _choose(self, tasks: Sequence[Task]) -> Task:
        before, point = self._running, self._point
        self._point = "user"
        goes_on = before in tasks
        usual = before if before is not None and goes_on else tasks[0]
        self._running = usual
        if not self._on or before is None:
            return usual
        if not goes_on:
            point = "sleep" if before.alive else "exit"
        turn = f"{self._name(before)}.{point}"
        self._turns[turn] += 1
        turn = f"{turn}.{self._turns[turn]}"
        if self._turns.total() > MOST_TURNS:
            raise Livelock(turn)
        self.outcome.turns.append(turn)
        if turn == self.kill and before is not self._waiter and before.alive:
            self.killed = self._name(before)
            send_signal(self._machine.kernel, before, abi.SIGKILL)
        others = {self._name(task): task for task in tasks if task is not usual and task is not self._waiter}
        if before is self._waiter and goes_on:
            others = {}
        if not self._left:
            self._check()
        if not others:
            return usual
        decision = Decision(turn, tuple(others), not goes_on)
        self.outcome.decisions.append(decision)
        wanted = self._left.pop(turn, None)
        if wanted is None and self._otherwise is not None:
            wanted = self._otherwise(decision)
        if wanted not in others:
            if wanted is not None and self._strict:
                raise NoSuchTurn(f"{turn}: {wanted} cannot run")
            return usual
        self.taken[turn] = wanted
        self._running = others[wanted]
        return others[wanted]

    def _name(self, task: Task) -> str:
        return self.names.get(task.pid, task.comm)

    def _check(self) -> None:
        """Before the last change of tasks there is nothing to see that a shorter schedule has not seen."""
        self._machine.check_invariants()


def _guard_kernels(machine: Machine) -> None:
    """Kernels never wait. Linux's would with a PTE lock in their hands, which lockdep complains about."""
    mem, depth = machine.mem, 0

    def outside(act: Callable[..., Any], what: str) -> Callable[..., Any]:
        def guarded(*args: Any) -> Any:
            if depth:
                raise SleptInKernel(what)
            return act(*args)

        return guarded

    def inside(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                return kernel(*args, **named)
            finally:
                depth -= 1

        return guarded

    def module(kernels: ModuleType) -> SimpleNamespace:
        return SimpleNamespace(
            **{
                name: inside(k) if callable(k) and not isinstance(k, type) else k
                for name, k in vars(kernels).items()
            }
        )

    guarded: dict[str, Any] = {name: module(kernels) for name, kernels in vars(mem.k).items()}
    mem.k = type(mem.k)(**guarded)
    machine.sched.wait = outside(machine.sched.wait, "wait")  # type: ignore[method-assign]


def _left(machine: Machine) -> tuple[int, int]:
    """Outcome.left. A page under writeback stays in the swap cache when its task ends, as on Linux."""
    lru_add_drain_all(machine.mem)
    free = sum(machine.node_pages(nid)[1] for nid in machine.topology.node_ids)
    areas = list(swap_areas(machine.mem))
    cached = sum(int(np.count_nonzero(area.cache)) for area in areas)
    return free + cached, sum(int(np.count_nonzero(area.map)) for area in areas) - cached


def run(
    case: Case,
    schedule: Schedule | str = "",
    *,
    twins: bool = False,
    otherwise: Callable[[Decision], str | None] | None = None,
    strict: bool = True,
    kill: str = "",
    look: bool = True,
) -> Outcome:
    """Run a case under a schedule. strict: raise NoSuchTurn if it does not fit; else go on as usual there.

    kill, look: as Referee has them.
    """
    schedule = read(schedule) if isinstance(schedule, str) else schedule
    with numalab.boot(SPEC, migration=case.engine, twins=twins) as machine:
        _guard_kernels(machine)
        referee = Referee(machine, schedule, otherwise, strict, kill, look)
        lab = Lab(machine, referee)

        def main(sys: Sys) -> None:
            case.main(sys, lab)

        try:
            status = machine.run(main)
            if referee.errors:
                raise referee.errors[0]
            assert status == 0, f"main ended with status {status}"
            machine.check_invariants()
            referee.outcome.left = _left(machine)
        except NoSuchTurn:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has failed
            error = referee.errors[0] if referee.errors else error
            referee.outcome.failure = f"{type(error).__name__}: {error}"
        else:
            if referee.unused and strict:
                raise NoSuchTurn(told(referee.unused))
        referee.outcome.schedule = referee.taken
        return referee.outcome
