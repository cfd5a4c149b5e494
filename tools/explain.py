"""``explain``: what the last calls did to each page, behind ``run --explain`` and in the shell.

The machine keeps the calls (`machine.explain_calls`); here pages get the names of a scenario's regions, and people
choose what they want to hear about.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from numalab.syscalls.explain import CALLS, Explanation, Label, address_label
from numalab.tools.errors import UsageError
from numalab.tools.report import Report
from numalab.tools.scn.parse import PAGE, Region, ScriptError, Span, parse_range

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.tools.scn.runner import Runner

__all__ = ["USAGE", "answer", "place", "region_label", "telling"]

USAGE = "explain [CALL | [ACTOR:] RANGE]"


def region_label(runner: Runner) -> Label:
    """Names pages by the regions of the actor whose they are: `a+3:5`."""

    def label(pid: int, start: int, pages: int) -> tuple[str, int]:
        regions = _regions(runner, pid)
        for region in regions:
            first = (start - region.base) // PAGE
            n = min(pages, -(-region.length // PAGE) - first)
            if first >= 0 and n > 0:
                return f"{region.name}+{first}" + (f":{n}" if n > 1 else ""), n
        # Up to the next region it has no name.
        ahead = [(region.base - start) // PAGE for region in regions if region.base > start]
        return address_label(pid, start, min([pages, *ahead]))

    return label


def _regions(runner: Runner, pid: int) -> list[Region]:
    for slot in runner.table.slots:
        actor = runner.actor(slot.name) if slot.used and slot.pid == pid else None
        if actor is not None:
            return actor.regions
    return []


@contextlib.contextmanager
def telling(machine: Machine, label: Label = address_label) -> Iterator[None]:
    """Explain each call on standard error when it has ended. Raises OSError at the end if that could not be written."""
    report = Report(sys.stderr)

    def print_it(told: Explanation) -> None:
        with contextlib.suppress(OSError):  # it is the program's output, and the program will hear of it
            sys.stdout.flush()
        report.write("".join(f"{line}\n" for line in told.lines(label)))

    machine.explain_calls(tell=print_it)
    yield
    report.flush()


def answer(machine: Machine, runner: Runner, text: str) -> Iterator[str]:
    """What the shell's ``explain`` prints: the last call, the last one of a name, or the history of some pages.

    Raises UsageError.
    """
    words = text.split()
    calls: list[Explanation] = machine.explanations
    label = region_label(runner)
    if not words or words[0] in CALLS:
        if len(words) > 1:
            raise UsageError(f"usage: {USAGE}")
        calls = [told for told in calls if not words or told.call == words[0]]
        if not calls:
            raise UsageError(
                f"no {words[0] if words else 'call'} has moved pages, set a policy or failed yet"
            )
        yield from calls[-1].lines(label)
        return
    yield from _history(calls, label, runner, " ".join(words))


def place(runner: Runner, text: str, usage: str) -> tuple[str, Span]:
    """An actor and a range of his: `[ACTOR:] RANGE`. Raises UsageError."""
    words = text.split()
    name = words.pop(0)[:-1] if words and words[0].endswith(":") else "main"
    if len(words) != 1:
        raise UsageError(f"usage: {usage}")
    actor = runner.actor(name)
    if actor is None:
        raise UsageError(f"{name}: no such process (there are {', '.join(runner.actors)})")
    try:
        return name, parse_range(words[0], actor.regions)
    except ScriptError:
        names = ", ".join(region.name for region in actor.regions) or "none yet"
        raise UsageError(f"{words[0]}: neither an address (0x..), nor a region of {name} ({names})") from None


def _history(calls: list[Explanation], label: Label, runner: Runner, text: str) -> Iterator[str]:
    name, span = place(runner, text, USAGE)
    text = text.rpartition(" ")[2]
    alone = ":" not in text and (
        "+" in text or "." in text or span.region is None
    )  # as in a list of move_pages
    end = span.addr + 1 if alone else span.end
    pids = [slot.pid for slot in runner.table.slots if slot.used and slot.name == name]
    parts = [told.within(span.addr, end) for told in calls if told.pid in pids]
    parts = [told for told in parts if told.runs or told.areas]
    if not parts:
        raise UsageError(f"{text}: no call that is kept has met these pages (kept: {len(calls)})")
    for told in parts:
        yield from told.lines(label)
