"""The controller: reads a scenario, lets one actor after the other carry out one operation at a time.

Mirrors the controlling half of the recorder.  Actors are tasks of the machine; ``main`` is started here
as root on CPU 0, the others are forked from actors by ``spawn``.  Between operations every actor sleeps,
so a scenario has no races of its own.

An actor's place is a *seat*, numbered like the recorder's sockets: messages for an actor that has died
stay in its seat, and the next actor that gets the seat answers them first.  What a script sees of that
(an answer that belongs to an earlier line) is recorded behaviour, so it is kept.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from numalab.arch.errno import KernelError
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SIGINT, SIGKILL
from numalab.kernel.wait import WaitQueue
from numalab.tools.scn.actor import Actor, Slot, Table
from numalab.tools.scn.ops import OPERATIONS
from numalab.tools.scn.ops.identity import CPU_SET, set_affinity
from numalab.tools.scn.ops.look import TimedOut
from numalab.tools.scn.ops.registry import check_words
from numalab.tools.scn.parse import ScriptError, script_lines, split
from numalab.tools.scn.process import Process, Unsupported

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.kernel.task import Task
    from numalab.syscalls.sys import Sys

__all__ = ["ActorDied", "Asked", "Runner", "perform"]

T = TypeVar("T")

_ROOM = 59999  # characters of an answer that the recorder's buffer holds
_WHY_ROOM = 127  # and of the reason after script-error=


class ActorDied(LookupError):
    """There is nobody of that name, or there is nobody any more."""


def perform(actor: Actor, text: str) -> str:
    """Carry out one operation; the text behind ``=>``, empty for a line of nothing but ``key=value``."""
    line = split(text)
    if not line.pos:
        return ""
    name = line.pos[0]
    try:
        if name not in OPERATIONS:
            raise ScriptError(f"unknown-op:{name[:60]}")
        return OPERATIONS[name].perform(actor, line)[:_ROOM]
    except ScriptError as error:
        return "script-error=" + str(error)[:_WHY_ROOM]
    except Unsupported:
        return "script-error=unsupported"
    except TimedOut:
        return "timeout"
    except Exception as error:  # noqa: BLE001
        # A mistake of ours must not end the scenario, nor pass for an answer of the kernel.
        if os.environ.get("NUMALAB_TRACEBACK"):
            traceback.print_exc()
        return f"script-error=internal:{type(error).__name__}"


class Seat:
    """Where one actor sits: messages to it, its answers, and the task that serves the seat now.

    A message is an operation's text, or a function that is called with the actor, in its process.
    """

    def __init__(self) -> None:
        self.inbox: deque[str | Callable[[Actor], None]] = deque()
        self.outbox: deque[str] = deque()
        self.bell: WaitQueue[Task] = WaitQueue("its next operation")
        self.task: Task | None = None
        self.actor: Actor | None = None

    @property
    def alive(self) -> bool:
        """Somebody sits here."""
        return self.task is not None and self.task.alive


@dataclass(frozen=True)
class Asked:
    """A line that an actor works at: the number of its seat, and the line without the actor's name."""

    number: int
    body: str
    seat: Seat


class Runner:
    """One scenario on one machine.

    over: ``main`` has ended, and nothing is carried out after that.  strict: a line with a word that its
    operation does not have is refused, which is for people; recorded scenarios have some, and answers to them.
    """

    def __init__(self, machine: Machine, *, strict: bool = False) -> None:
        self.kernel = machine.kernel
        self.strict = strict
        self.table = Table()
        self.seats = [Seat() for _ in self.table.slots]
        self.start_main(machine)

    def start_main(self, machine: Machine) -> None:
        """Start ``main``, in place of one that was there. Raises KernelError when there is no room for it."""
        seat = Seat()

        def scn(sys: Sys) -> None:  # its name becomes the process's: the recorder is called so
            self._main(sys)

        seat.task = machine.spawn(scn)
        self.seats[0] = seat
        self.table.slots[0] = Slot(used=True, pid=seat.task.pid, name="main")
        self.over = False
        self._run_until_idle(seat)

    # What the outside asks for.

    @property
    def main(self) -> Task:
        """The process of ``main``, also when it has ended."""
        task = self.seats[0].task
        assert task is not None
        return task

    def script(self, data: bytes) -> Iterator[tuple[int, str, str]]:
        """Number, text and answer of each operation of a script."""
        for number, text in script_lines(data):
            if self.over:
                return
            yield number, text, self.line(text)

    def line(self, text: str) -> str:
        """The answer to one line, ``[ACTOR:] OP ARG..``, without blanks around it."""
        try:
            asked = self.begin(text)
        except ScriptError as error:
            return f"script-error={error}"
        return "script-error=no-such-actor" if asked is None else self.go_on(asked, lambda: False) or ""

    def begin(self, text: str) -> Asked | None:
        """Give a line to its actor, who does not begin before ``go_on()``; None: there is no such actor.

        Raises ScriptError for a line that is refused.
        """
        first = text.replace("\t", " ").partition(" ")[0]
        number: int | None = 0
        body = text
        if first.endswith(":"):
            number, body = self._seat_of(first[:-1]), text[len(first) :].lstrip(" \t")
        if number is None:
            return None
        if self.strict:
            check_words(split(body))
        seat = self.seats[number]
        seat.inbox.append(self._reserve_slot(body) if body.startswith("spawn ") else body)
        return Asked(number, body, seat)

    def go_on(self, asked: Asked, stop: Callable[[], bool]) -> str | None:
        """The answer to a line that was given to its actor; None if ``stop()`` held first, and it is not there yet."""
        seat, number, body = asked.seat, asked.number, asked.body
        self._run_until_idle(seat, stop)
        if seat.alive and stop():
            return None
        died = not seat.outbox
        answer = self._epitaph(seat) if died else seat.outbox.popleft()
        if died or body == "exit" or answer == "timeout":
            self.table.slots[number].used = False
            self.over = self.over or number == 0
        return answer

    def inside(self, name: str, function: Callable[[Actor], T]) -> T:
        """Call a function in the process of an actor, and return or raise what it does.

        One that waits for what can never happen is interrupted, and killed if it goes on. Raises ActorDied.
        """
        number = self._seat_of(name)
        seat = self.seats[number] if number is not None else None
        if number is None or seat is None or seat.task is None or not seat.alive:
            raise ActorDied(f"no actor {name}")
        results: list[T] = []
        errors: list[Exception] = []

        def call(actor: Actor) -> None:
            try:
                results.append(function(actor))
            except Exception as error:  # noqa: BLE001 - handed to whoever asked
                errors.append(error)

        seat.inbox.append(call)
        for sig in (SIGINT, SIGKILL):
            if self._run_until_idle(seat):
                break
            send_signal(self.kernel, seat.task, sig)
        else:
            self._run_until_idle(seat)
        if not seat.task.alive:
            self.table.slots[number].used = False
            self.over = self.over or number == 0
        if not results:
            raise errors[0] if errors else ActorDied(f"actor {name} has died")
        return results[0]

    @property
    def actors(self) -> list[str]:
        """Names of the actors that can be spoken to."""
        return [
            slot.name
            for slot, seat in zip(self.table.slots, self.seats, strict=True)
            if slot.used and seat.alive
        ]

    def actor(self, name: str) -> Actor | None:
        """The actor of that name, if there is one."""
        number = self._seat_of(name)
        return self.seats[number].actor if number is not None and self.seats[number].alive else None

    def task(self, name: str) -> Task | None:
        """The process of the actor of that name, if there is one."""
        number = self._seat_of(name)
        return self.seats[number].task if number is not None and self.seats[number].alive else None

    # The controller's side.

    def _seat_of(self, name: str) -> int | None:
        """The seat of an actor; of several with one name the last is meant."""
        named = [number for number, slot in enumerate(self.table.slots) if slot.used and slot.name == name]
        return named[-1] if named else None

    def _reserve_slot(self, body: str) -> str:
        """Name the new actor's slot before it exists, and tell the parent which one it is."""
        slots = self.table.slots
        free = next((number for number, slot in enumerate(slots) if not slot.used), len(slots))
        if free < len(slots):
            # All that follows the blank is the name; one with blanks in it can never be spoken to.
            slots[free].used, slots[free].name = True, body[len("spawn ") :][:31]
        return f"{body} slot={free}"

    def _run_until_idle(self, seat: Seat, stop: Callable[[], bool] = lambda: False) -> bool:
        """Let the machine run until the seat's task sleeps with an empty inbox, or has died, or ``stop()`` holds.

        False if that will never be.
        """
        sched, task = self.kernel.sched, seat.task
        if task is None:
            return True  # nobody has ever sat here

        def idle() -> bool:
            # A Ctrl-C makes a signal pending at any moment; only between two tasks may it wake whom it is for.
            if task.signal.pending:
                sched.signal_wake_up(task)
            return not task.alive or stop() or (not seat.inbox and bool(seat.bell.tasks))

        sched.wake_up(seat.bell)
        return sched.run(idle)

    def _epitaph(self, seat: Seat) -> str:
        """Why nobody answered: the process has ended, or the kernel itself failed while it worked for it."""
        failure = seat.task.exception if seat.task is not None else None
        if failure is None:
            return "actor-died"
        if isinstance(failure, KeyboardInterrupt):
            raise failure
        if os.environ.get("NUMALAB_TRACEBACK"):
            traceback.print_exception(failure)
        return f"script-error=internal:{type(failure.__cause__ or failure).__name__}"

    # The actors' side.

    def _main(self, sys: Sys) -> None:
        actor = Actor(Process(sys), self.table, self)
        actor.start()
        set_affinity(actor, 0, (1).to_bytes(CPU_SET, "little"))
        self._serve(actor, self.seats[0])

    def spawn(self, parent: Actor, seat: int) -> int:
        """Fork a child that takes the numbered seat: its pid or a negative errno."""
        child = parent.forked()
        # A number that is no seat (there are 16), or one that is taken, leaves the child with nothing to do.
        place = self.seats[seat] if seat < len(self.seats) and not self.seats[seat].alive else None

        def main(sys: Sys) -> None:
            child.process = Process(sys)
            if place is not None:
                self._serve(child, place)

        pid = parent.process.fork(main)
        if place is not None and pid > 0:
            place.task = self.kernel.pids.find(pid)
        return pid

    def execute(self, actor: Actor) -> int:
        """Start the actor's program anew: nothing is left of it but what the kernel keeps of a task."""
        seat = next(seat for seat in self.seats if seat.actor is actor)

        def scn(sys: Sys) -> None:
            new = Actor(Process(sys), self.table, self)
            new.start()
            seat.outbox.append("ret=0")
            self._serve(new, seat)

        return actor.process.execute(scn)

    def _serve(self, actor: Actor, seat: Seat) -> None:
        """The loop of one actor: an empty message or ``exit`` ends it."""
        seat.actor = actor
        while True:
            try:
                self.kernel.sched.wait_event(seat.bell, lambda: bool(seat.inbox))
            except KernelError:
                # A signal: it is acted on, and may be the end, when a process returns from any call.
                actor.process.call("getpid")
                continue
            message = seat.inbox.popleft()
            if callable(message):
                message(actor)
                continue
            if not message:
                return
            seat.outbox.append(perform(actor, message))
            if split(message).pos[:1] == ["exit"]:
                return
