"""Operations that touch memory: touch, fill and verify, with the fault of a bad access caught.

The recorder catches SIGSEGV and SIGBUS and says at which page they struck; so the accesses below raise
``Fault`` instead of killing the actor.  Ranges go through the memory in one crossing, or in a few
large pieces, and stop at the first fault like a loop of single accesses would.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import PAGE, Line, Span, num
from numalab.tools.scn.pattern import WORDS, pattern
from numalab.tools.scn.process import Fault

__all__: list[str] = []

_PIECE = 256  # pages in one crossing of fill and verify: pattern and copy stay in the cache
_TOUCHED = PAGE - 8  # where "touch w" stores, out of verify's sight


@operation("touch", "RANGE r|w [faults=1]")
def touch(actor: Actor, line: Line) -> str:
    """One access a page: read its first byte, or store a byte near its end.

    With ``faults=1`` the page faults that this took, as getrusage(2) counts them.  A bad access answers with its
    signal and the number of the page whose turn it was.
    """
    span = actor.span(line, 1)
    line.need(3)
    write = line.pos[2].startswith("w")
    first = (span.addr & -PAGE) + _TOUCHED if write else span.addr
    asked = line.given("faults") is not None
    # Asked twice, so that the pages which the answer goes to are there before it counts.
    before = (_faults(actor), _faults(actor))[1] if asked else (0, 0)
    try:
        actor.process.touch(first, PAGE, span.pages, write)
    except Fault as fault:
        return _signal(span, (fault.addr - first) // PAGE, fault)
    if not asked:
        return "ret=0"
    minor, major = _faults(actor)
    return f"ret=0 minflt={minor - before[0]} majflt={major - before[1]}"


def _faults(actor: Actor) -> tuple[int, int]:
    """Minor and major page faults of the process so far."""
    actor.process.call("getrusage", 0, Memory.WORDS)
    usage = actor.load_words("<18q")  # struct rusage
    return usage[8], usage[9]


@operation("fill", "RANGE [SEED]")
def fill(actor: Actor, line: Line) -> str:
    """Write a pattern into every page, whole pages even where the range ends inside one."""
    span, seed = actor.span(line, 1), _seed(line)
    try:
        for page, count in _pieces(span):
            data = pattern(seed, span.page_index(span.addr) + page, count)
            actor.process.store(span.addr + page * PAGE, data.tobytes())
    except Fault as fault:
        return _signal(span, (fault.addr - span.addr) // PAGE, fault)
    return "ret=0"


@operation("verify", "RANGE [SEED]")
def verify(actor: Actor, line: Line) -> str:
    """Count the pages that do not hold the pattern any more.

    The last word of each page is not looked at: ``touch w`` stores there.
    """
    span, seed, bad = actor.span(line, 1), _seed(line), 0
    try:
        for page, count in _pieces(span):
            # The last word of a page is not looked at, so it is not read where nothing follows it.
            size = count * PAGE - 8
            data = actor.process.load(span.addr + page * PAGE, size) + bytes(8)
            words = np.frombuffer(data, np.uint64).reshape(count, WORDS)
            differ = words != pattern(seed, span.page_index(span.addr) + page, count)
            bad += int(differ[:, : WORDS - 1].any(axis=1).sum())
    except Fault as fault:
        return _signal(span, (fault.addr - span.addr) // PAGE, fault)
    return f"ret=0 bad_pages={bad}"


def _seed(line: Line) -> int:
    return num(line.pos[2]) if len(line.pos) > 2 else 1


def _pieces(span: Span) -> Iterator[tuple[int, int]]:
    """(first page, pages) of each piece; whole pages always, as the last one is filled to its end."""
    return ((page, min(_PIECE, span.pages - page)) for page in range(0, span.pages, _PIECE))


def _signal(span: Span, page: int, fault: Fault) -> str:
    """The answer for a signal that struck when it was the turn of the span's page number ``page``."""
    return f"ret=-1 sig={fault.signal} page={span.page_index(span.addr + page * PAGE)}"
