"""``step``: one operation that stops before each page, so that a person can look at the machine in between.

The kernel offers the points (``mm.preempt``): there it works page by page and lets somebody else go on, in this case
whoever types. Everything shown is read off page tables and the ledger at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numalab.mm.migrate.ledger import Fate, Reason
from numalab.mm.migrate.reasons import word
from numalab.mm.preempt import Point
from numalab.tools.compare import pass_lines
from numalab.tools.errors import UsageError
from numalab.tools.explain import region_label
from numalab.tools.scn.parse import PAGE, ScriptError
from numalab.tools.walk import entry_text, frame_of, frame_text

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.mm._mm_types import MmStruct
    from numalab.mm.migrate.ledger import Ledger
    from numalab.tools.scn.runner import Runner

__all__ = ["UNTIL", "Stepper"]

#: How far a step goes: before the next page; behind the pass; to the end of the operation.
UNTIL = ("page", "pass", "end")

_BY_ADDRESS = (Point.QUEUE, Point.FAULT, Point.FORK)


@dataclass(frozen=True)
class _Place:
    """Where a page is mapped, and what people call it: `a+3`."""

    mm: MmStruct | None
    va: int
    name: str


class Stepper:
    """One operation on its way.

    text: the line that was typed; answer: what it ended with, None as long as it has not.
    """

    def __init__(self, machine: Machine, runner: Runner, text: str) -> None:
        """Nothing happens before the first ``step()``. Raises UsageError: no such actor, or a key that is none."""
        try:
            asked = runner.begin(text)
        except ScriptError as error:
            raise UsageError(f"script-error={error}") from None
        if asked is None or asked.seat.task is None:
            raise UsageError(
                f"{text.partition(':')[0]}: no such process (there are {', '.join(runner.actors)})"
            )
        self.text = text
        self.answer: str | None = None
        self._machine, self._runner, self._asked, self._task = machine, runner, asked, asked.seat.task
        self._going = True
        self._point, self._at = Point.QUEUE, 0
        self._places: dict[int, _Place] = {}  # by frame
        self._label = region_label(runner)
        self._before = self._task.ctx.ledger
        self._told = 0  # passes of the ledger that have been told of
        machine.mem.preempt = self._stop

    # The side of the kernel.

    def _stop(self, point: Point, at: int) -> None:
        """The task comes to a point: it sleeps there until the next step."""
        sched = self._machine.sched
        if sched.current is self._task:
            self._point, self._at, self._going = point, at, False
            sched.wait("the next step", lambda: self._going)

    # The side of whoever looks.

    @property
    def next(self) -> str:
        """What comes next, for a prompt: `copy a+3`."""
        return f"{self._point} {self._place(self._point, self._at).name}".rstrip()

    def step(self, until: str) -> Iterator[str]:
        """Go on, as far as UNTIL says; tells what was done, a line a page, and at the end the answer."""
        mem, passes = self._machine.mem, self._told
        if until == "end":
            mem.preempt = None
        while self.answer is None:
            point, at = self._point, self._at
            self._going = True
            self.answer = self._runner.go_on(self._asked, lambda: not self._going)
            if mem.preempt is not None and self._seen(point, at):
                yield self._outcome(point, at)
            if until != "end":
                yield from self._passes()
            if self.answer is None and not self._seen(self._point, self._at):
                continue
            if until == "page" or (until == "pass" and self._told > passes):
                break
        if self.answer is not None:
            mem.preempt = None
            yield self.answer

    def _seen(self, point: Point, at: int) -> bool:
        """Whether there is anything to look at: not at a search, nor where no region is."""
        return point is Point.FLUSH or (point is not Point.QUEUE and self._place(point, at).name != "")

    def _passes(self) -> Iterator[str]:
        """The passes that have ended since the last look, and the pages that they left."""
        ledger = self._task.ctx.ledger
        if ledger is None or ledger is self._before:
            return
        for line in pass_lines(ledger, self._told):
            yield from self._left(ledger, self._told)
            yield line.strip()
            self._told += 1

    def _left(self, ledger: Ledger, stage: int) -> Iterator[str]:
        notes = ledger.log.notes().tolist() if ledger.log is not None else []
        for _, pfn, _, noted, fate, why in notes:
            if noted == stage and fate == Fate.LEFT:
                yield f"{'stays':6} {self._place(Point.UNMAP, pfn).name:8} {word(Reason(why))}"

    def _outcome(self, point: Point, at: int) -> str:
        """What became of a page at a point that lies behind it now, by its page table."""
        place, text = self._place(point, at), ""
        if point is Point.FLUSH:
            text = "the TLBs that may have them"
        elif point is Point.COPY:
            copied = self._point is Point.REMAP and self.answer is None
            text = f"{frame_text(self._machine, at)} -> {frame_text(self._machine, self._at) if copied else 'stays'}"
            if copied:
                self._places[self._at] = place
        elif place.mm is not None:
            text = entry_text(
                self._machine, self._machine.mem.k.pagetable.walk(self._machine.hw, place.mm.pgd, place.va)
            )
        return f"{point:6} {place.name:8} {text}".rstrip()

    def _place(self, point: Point, at: int) -> _Place:
        """Whose page it is."""
        if point in _BY_ADDRESS:
            return _Place(self._task.mm, at, self._named(self._task.pid, at))
        if at not in self._places:
            self._places |= self._search()
        # A frame that no region has is not looked for again: others' pages may be many.
        return self._places.setdefault(at, _Place(None, 0, ""))

    def _search(self) -> dict[int, _Place]:
        """All pages of regions that are mapped, or on their way, by frame."""
        found: dict[int, _Place] = {}
        for name in self._runner.actors:
            actor, task = self._runner.actor(name), self._runner.task(name)
            if actor is None or task is None or task.mm is None:
                continue
            for region in actor.regions:
                ptes = np.zeros(-(-region.length // PAGE), np.uint64)
                self._machine.mem.k.pagetable.walk_range(
                    self._machine.hw, task.mm.pgd, region.base, region.base + region.length, ptes
                )
                for i in np.flatnonzero(ptes).tolist():
                    va = region.base + i * PAGE
                    if pfn := frame_of(int(ptes[i])):
                        found.setdefault(pfn, _Place(task.mm, va, self._named(task.pid, va)))
        return found

    def _named(self, pid: int, va: int) -> str:
        """What a region calls a page; nothing for the memory that actors have for themselves."""
        name = self._label(pid, va, 1)[0]
        return "" if name.startswith("0x") else name
