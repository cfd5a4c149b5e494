"""``numalab demo``: memory follows its process, told in half a minute.

Plays the recorded scenario ``migrate-follow-task`` on the machine ``quad``: a user's program fills memory on
node 0, a scheduling daemon (root) moves the process to node 2 and its memory after it, then between
overlapping sets of nodes.  Each step is shown as the system calls it makes, with the answer of this
machine beside the one that was recorded from a real kernel; around each migration stand a picture of the
nodes and the ledger of what was done and what it cost.  Then the story of 2005 (``seed``).  Nothing shown is written
down in this file.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from importlib import resources
from typing import TextIO

from numalab.kernel.machine import Machine
from numalab.mm.nodemask import nodelist
from numalab.tools.conform import parse_answers
from numalab.tools.picture import bar_character, node_bars, side_by_side, time_text
from numalab.tools.run import boot
from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops.identity import CPU_SET, set_affinity
from numalab.tools.scn.ops.migration import pages_per_node
from numalab.tools.scn.parse import Span, script_lines, split
from numalab.tools.scn.runner import Runner
from numalab.tools.seed import story

__all__ = ["Demo", "main"]

SCENARIO = "migrate-follow-task"
MACHINE = "quad"
PROGRAM = "job"  # the actor whose memory is moved
WIDTH = 100

# Reading a file of /sys is not what this is about.
_QUIET = frozenset({"open", "openat", "read", "close"})
_BAR = 24
_OPERATION, _ANSWER = 33, 28  # widths of the columns


class Style:
    """Bold, dim, green and red for a terminal; nothing for anything else, or with NO_COLOR set."""

    def __init__(self, stream: TextIO) -> None:
        self.on = stream.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.on else text


class Demo:
    """The scenario, its recording, and a machine to play it on."""

    def __init__(self, machine: Machine, stream: TextIO) -> None:
        self.machine = machine
        self.stream = stream
        self.style = Style(stream)
        self.mark = bar_character(stream)
        files = resources.files("numalab.tools") / "recorded"
        self.script = (files / f"{SCENARIO}.scn").read_bytes()
        self.recorded = parse_answers((files / f"{SCENARIO}.out").read_text())
        self.runner = Runner(machine)
        self.trace = io.StringIO()
        machine.strace(True, self.trace)
        self.same = self.different = self.verified = 0

    def print(self, text: str = "") -> None:
        """One line of output."""
        print(text.rstrip(), file=self.stream)

    def play(self) -> bool:
        """All of it; whether every answer was the recorded one."""
        topology = self.machine.topology
        self.print(self.style("1", "numalab: memory follows its process"))
        self.print(
            f"Machine {topology.name}, {len(topology.nodes)} nodes. System calls, and what they say here and on Linux:"
        )
        self.print()
        columns = f"{'operation':<{_OPERATION}}{'this machine':<{_ANSWER}} real Linux 6.12, recorded"
        self.print("        " + self.style("4", columns))
        headings = self._headings()
        for number, text in script_lines(self.script):
            for heading in headings.pop(number, ()):
                self.print()
                self.print(self.style("1", heading[0].upper() + heading[1:]))
            self._step(number, text)
        self.print()
        heading = (
            "How it began, in October 2005: pages forced out to swap, in passes (engine swap, a slow disk)"
        )
        self.print(self.style("1", heading))
        for line in story(MACHINE):
            self.print(f"        {line}")
        self._close()
        return self.different == 0

    def _headings(self) -> dict[int, list[str]]:
        """The comments of the script, by the number of the operation that follows."""
        operations = {number for number, _ in script_lines(self.script)}
        headings: dict[int, list[str]] = {}
        waiting: list[str] = []
        for number, line in enumerate(self.script.decode().splitlines(), 1):
            if line.startswith("# "):
                waiting.append(line[2:])
            elif number in operations and waiting:
                headings[number], waiting = waiting, []
        return headings

    # One step.

    def _step(self, number: int, text: str) -> None:
        """Carry out one line; show its calls, both answers, and for a migration what it did.

        The picture asks the machine too (move_pages), so the calls are taken out of the trace before and after.
        """
        migration = text.startswith("migrate_pages ")
        before = self._pages() if migration else {}
        self._take_calls()
        answer = self._by_daemon(text) or self.runner.line(text)
        for actor, call in self._take_calls():
            self.print(f"  {actor:<5} {self.style('36', call)}")
        self._compare(number, text, answer)
        if split(text.partition(": ")[2] or text).pos[:1] == ["verify"]:
            self.verified += self._verified_pages(text)
        if migration and answer == "ret=0":
            self._show_migration(before)

    def _take_calls(self) -> list[tuple[str, str]]:
        """Who made which system call since the last time, without those that only read files."""
        lines = self.trace.getvalue().splitlines()
        self.trace.seek(0)
        self.trace.truncate()
        names = {slot.pid: slot.name for slot in self.runner.table.slots if slot.pid}
        calls = []
        for line in lines:
            if line.startswith("strace: "):  # there is a new process
                continue
            # strace names the process once there are several.
            found = re.match(r"\[pid +(\d+)\] ", line)
            call = line[found.end() :] if found else line
            if call.partition("(")[0] not in _QUIET:
                calls.append((names.get(int(found[1]), "?") if found else "main", _cut_call(call)))
        return calls

    def _by_daemon(self, text: str) -> str | None:
        """Where the recorded process moved itself, the daemon moves it: the recorder has no word for that."""
        operation = text.removeprefix(f"{PROGRAM}: ")
        if operation == text or not operation.startswith("setaffinity "):
            return None
        daemon = self.runner.actor("main")
        assert daemon is not None
        node = int(split(operation).opt("node", "0"))
        cpus = next(n.cpus for n in self.machine.topology.nodes if n.id == node)

        def move(actor: Actor) -> str:
            mask = sum(1 << cpu for cpu in cpus).to_bytes(CPU_SET, "little")
            return set_affinity(actor, actor.target(PROGRAM), mask)

        return self.runner.inside("main", move)

    def _compare(self, number: int, text: str, answer: str) -> None:
        """The operation, the answer of this machine and the recorded one."""
        real = self.recorded[number][1]
        verdict = self.style("32", "=") if answer == real else self.style("1;31", "DIFFERENT")
        self.same += answer == real
        self.different += answer != real
        if max(len(answer), len(real)) <= _ANSWER:
            self.print(f"        {text:<{_OPERATION}}{answer:<{_ANSWER}} {real:<{_ANSWER}} {verdict}")
        else:
            # Long answers stand below each other, so that they can be compared by eye.
            self.print(f"        {text}")
            for title, long in (("here", answer), ("Linux", real)):
                self.print(f"          {title:<6}{long}")
            self.print(f"          {verdict}")

    # Migrations.

    def _pages(self) -> dict[int, int]:
        """Pages of the program per node, all its regions together."""
        actor = self.runner.actor(PROGRAM)
        if actor is None:
            return {}

        def ask(actor: Actor) -> dict[int, int]:
            total: dict[int, int] = {}
            for region in actor.regions:
                for node, count in pages_per_node(actor, Span(region.base, region.length, region))[1].items():
                    total[node] = total.get(node, 0) + count
            return total

        return self.runner.inside(PROGRAM, ask)

    def _show_migration(self, before: dict[int, int]) -> None:
        """The nodes before and after, and the ledger of the call."""
        after = self._pages()
        nodes = self.machine.topology.node_ids
        top = max(1, *before.values(), *after.values())
        left = node_bars(before, nodes, top=top, width=_BAR, mark=self.mark)
        right = node_bars(after, nodes, top=top, width=_BAR, mark=self.mark)
        self.print(f"        {f'pages of {PROGRAM}, before':<{_BAR + 18}}after")
        for line in side_by_side(left, right):
            self.print("        " + self.style("33", line))
        for line in ledger_lines(self.machine):
            self.print("        " + line)

    # Checks.

    def _verified_pages(self, text: str) -> int:
        """Pages that a verify line looked at."""
        actor = self.runner.actor(PROGRAM)
        return actor.span(split(text.partition(": ")[2]), 1).pages if actor else 0

    def _close(self) -> None:
        """What all of it came to."""
        broken = self.machine.check_invariants()
        self.print()
        total = self.same + self.different
        self.print(self.style("1", f"{self.same} of {total} answers are those of the real kernel."))
        self.print(
            f"Every byte of {self.verified} pages was read back and compared; "
            f"{len(broken) or 'no'} invariant{'' if len(broken) == 1 else 's'} of the kernel's state broken."
        )
        self.print("Try it yourself: `numalab` opens a shell on this machine; `help` says what it knows.")


def _cut_call(call: str) -> str:
    """A call that fits the line: of long arguments only the beginning, the result always."""
    call = re.sub(r"(, 0{16})+(?=\])", "", call)  # words of a mask that are zero say nothing
    head, equals, result = call.rpartition(" = ")
    head = head.rstrip()
    room = WIDTH - 8 - len(equals) - len(result)
    return (head if len(head) <= room else head[: room - 4] + "...)") + equals + result


def ledger_lines(machine: Machine) -> Iterator[str]:
    """What the last migration did and cost, as its ledger has it."""
    ledger = machine.mem.ledger
    failed = sum(ledger.failed.values())
    reasons = ", ".join(f"{reason.name.lower().replace('_', '-')} {n}" for reason, n in ledger.failed.items())
    yield (
        f"ledger  scanned {ledger.scanned}, isolated {ledger.isolated}, moved {ledger.moved}, "
        f"retried {ledger.retried}, failed {failed}" + (f" ({reasons})" if reasons else "")
    )
    if ledger.pairs:
        yield "pairs   " + ", ".join(
            f"node {nodelist(a)} to {b}: {moved} pages" for a, b, moved in ledger.pairs
        )
    total = sum(ledger.cost.values())
    phases = ", ".join(f"{phase.name.lower()} {time_text(ns)}" for phase, ns in ledger.cost.items() if ns)
    yield f"time    {time_text(total)} (virtual)".replace(" us", "us").replace(" ms", "ms")
    yield f"phases  {phases}".replace(" us", "us").replace(" ms", "ms")


def main() -> int:
    """Play the demo: 0 if every answer was the recorded one."""
    with boot(MACHINE) as machine:
        return 0 if Demo(machine, sys.stdout).play() else 1
