"""Operations that put something in a page's way. They are this machine's own: the recorder knows no such thing.

On a real machine obstacles are other people's I/O; here they begin when a scenario says so, and end after some virtual
time or when it says so again.
"""

from __future__ import annotations

from numalab.mm.obstacles import KINDS
from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import Line, ScriptError, num

__all__: list[str] = []

_MOST_NS = 10**15


@operation("obstacle", "lock|writeback|pin|hold RANGE [ns=N]")
def obstacle(actor: Actor, line: Line) -> str:
    """Hold the lock of each page of a range, keep it under writeback, pin it, or hold an unexplained reference.

    For so many ns of virtual time, else until ``clear``. The answer counts the pages; those that are not in memory, or
    have that obstacle already, do not count.
    """
    span = actor.span(line, 2)
    if line.pos[1] not in KINDS:
        raise ScriptError("bad-word")
    ns = None if line.given("ns") is None else _ns(line, "ns")
    ends = actor.process.obstruct(line.pos[1], span.addr, span.pages, ns)
    actor.table.obstacles += ends
    return f"ret=0 pages={len(ends)}"


@operation("clear", "")
def clear(actor: Actor, line: Line) -> str:
    """End all obstacles of the scenario."""
    while actor.table.obstacles:
        actor.table.obstacles.pop()()
    return "ret=0"


@operation("disks", "[latency=NS] [page=NS] [failing=0|1]")
def disks(actor: Actor, line: Line) -> str:
    """How long every disk takes for a request and for each page of it, and whether all it does fails."""
    failing = line.opt("failing", "0")
    if failing not in ("0", "1"):
        raise ScriptError("bad-number")
    actor.process.set_disks(_ns(line, "latency"), _ns(line, "page"), failing == "1")
    return "ret=0"


def _ns(line: Line, key: str) -> int:
    """A length of virtual time, 0 if it is not given; from 0 to ten days, so that no sum of some leaves the clock."""
    ns = num(line.opt(key, "0"))
    if not 0 <= ns <= _MOST_NS:
        raise ScriptError("bad-number")
    return ns
