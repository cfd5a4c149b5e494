"""The log of a migration, told page by page.

The kernels note decisions in the order of time (``_page_list``): the walk finds a page, passes try it, one moves it.
Here the notes of one page are put together, and neighbours with the same story become one run. Nothing is looked up
anew: what is not in the log is not in the story.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from numalab.mm.migrate.ledger import Fate, Ledger, Reason

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["PageRun", "Try", "page_runs"]

PAGE_SIZE = 4096


@dataclass(frozen=True)
class Try:
    """Passes of one kind that left a page for the same reason: `async 1-3`."""

    reason: Reason
    passes: str


@dataclass(frozen=True)
class PageRun:
    """Pages at consecutive addresses that have the same story.

    fate: MOVED, EVICTED or FREED; LEFT (for ``reason``); PASSED (by the walk, for ``reason``); QUEUED: put back
    untried.
    source: their node, -1 = there is no page; target: the node they went to, or should have, -1 = none was named.
    in_pass: the pass that moved them; tries: passes that left them.  whole: passed over with the huge page that they
    are pages of, of which nothing else is told.  frames: old and new frame of each page; the new
    one is the swap entry of an evicted page, 0 if there is none.
    """

    start: int
    pages: int
    fate: Fate
    source: int
    target: int
    in_pass: str
    reason: Reason
    tries: tuple[Try, ...]
    whole: bool
    frames: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        return self.start + self.pages * PAGE_SIZE

    def part(self, start: int, end: int) -> PageRun:
        """Those of its pages that begin in [start, end), of which there must be some."""
        first = max(0, -(-(start - self.start) // PAGE_SIZE))
        frames = self.frames[first : max(0, -(-(end - self.start) // PAGE_SIZE))]
        return replace(self, start=self.start + first * PAGE_SIZE, pages=len(frames), frames=frames)


@dataclass
class _Page:
    """One page while the log is read."""

    va: int
    pfn: int
    walk: int
    fate: Fate = Fate.QUEUED
    reason: Reason = Reason.NONE
    to: int = 0
    whole: bool = False
    stage: int = -1
    tries: list[tuple[int, Reason]] = field(default_factory=list)


def page_runs(mem: MemMap, ledger: Ledger) -> list[PageRun]:
    """The runs of a migration by address; none if it kept no log."""
    if ledger.log is None:
        return []
    groups: list[tuple[PageRun, list[tuple[int, int]]]] = []
    ends: dict[PageRun, list[list[tuple[int, int]]]] = {}  # where a group ends, and its story: its frames
    for page in sorted(_pages(ledger), key=lambda page: page.va):
        run = _run(mem, ledger, page)
        # A page that moved several times is in as many groups, each of which goes on with the next page.
        if open_groups := ends.get(run):
            frames = open_groups.pop(0)
        else:
            groups.append((run, frames := []))
        frames.append((page.pfn, page.to))
        ends.setdefault(replace(run, start=run.end), []).append(frames)
    return [replace(first, pages=len(frames), frames=tuple(frames)) for first, frames in groups]


def _pages(ledger: Ledger) -> Iterator[_Page]:
    """Put the notes of each page together. A page that moves twice has two stories, the second one in its new frame."""
    assert ledger.log is not None
    here: dict[int, _Page] = {}
    for at, pfn, to, stage, fate, why in ledger.log.notes().tolist():
        if fate == Fate.QUEUED:
            here[pfn] = page = _Page(at & -PAGE_SIZE, pfn, stage)
            yield page
        elif fate == Fate.PASSED:
            yield _Page(at & -PAGE_SIZE, pfn, stage, Fate.PASSED, Reason(why), whole=to > 0)
        elif (found := here.get(pfn)) is None:
            continue  # the log was full when the walk came by
        elif fate == Fate.LEFT:
            found.fate, found.reason = Fate.LEFT, Reason(why)
            found.tries.append((stage, Reason(why)))
        else:
            found.fate, found.reason, found.stage = Fate(fate), Reason.NONE, stage
            found.to = to or at
            del here[pfn]


def _run(mem: MemMap, ledger: Ledger, page: _Page) -> PageRun:
    """The story of one page, without its frames."""
    target = ledger.pairs[page.walk][1] if page.walk < len(ledger.pairs) else -1
    if page.fate == Fate.MOVED:
        target = mem.node_of(page.to)
    return PageRun(
        page.va,
        1,
        page.fate,
        mem.node_of(page.pfn) if page.pfn else -1,
        target,
        _name(ledger, page.stage) if page.stage >= 0 else "",
        page.reason,
        tuple(_tries(ledger, page.tries)),
        page.whole,
        (),
    )


def _name(ledger: Ledger, stage: int) -> str:
    """What the pass with this number is called. One that never ended is not in the ledger."""
    return ledger.passes[stage].name if stage < len(ledger.passes) else "the last"


def _tries(ledger: Ledger, tries: list[tuple[int, Reason]]) -> Iterator[Try]:
    """Passes with the same outcome as one: `async 1-3, sync 1-7`."""
    at = 0
    while at < len(tries):
        reason = tries[at][1]
        names = []
        while at < len(tries) and tries[at][1] == reason:
            names.append(_name(ledger, tries[at][0]))
            at += 1
        yield Try(reason, _ranges(names))


def _ranges(names: list[str]) -> str:
    spans: list[tuple[str, int, int]] = []
    for name in names:
        kind, number = re.fullmatch(r"(.*?) ?(\d*)", name).groups()  # type: ignore[union-attr]
        n = int(number) if number else -1
        if spans and spans[-1][0] == kind and n == spans[-1][2] + 1:
            spans[-1] = (kind, spans[-1][1], n)
        elif not spans or spans[-1] != (kind, n, n):
            spans.append((kind, n, n))
    return ", ".join(
        kind if last < 0 else f"{kind} {first}" if first == last else f"{kind} {first}-{last}"
        for kind, first, last in spans
    )
