"""docs/reliability.md, from what runs have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tests.reliability.load import Load, Outcome
from tests.reliability.many import Part

__all__ = ["page"]

HEAD = """\
# How reliably migration empties a node

In October 2005, when migration was discussed for the kernel, Andrew Morton asked how it could be made to work with near
complete reliability. Taking memory away is the hard case, for one page that stays is enough to fail. This page is
written by `make reliability` from runs on simulated machines; all times are virtual, and the same seeds give the same
figures.

A byte counts as lost if its owner reads something else than he wrote. Every process knows every byte of its memory, and
looks at all of it when the node has been emptied; afterwards all invariants of `mm/invariants.py` are checked.
"""

LOADED = """
## A full node, in use, taken away

Node 1 has {size}, all of it in ZONE_MOVABLE, and no CPU. {processes} processes work there, and go on working while a
daemon takes its {blocks} memory blocks offline, one after the other. Seed {seed}.

| of the node's {frames} pages | |
| --- | --- |
| in use | {used:.1%} |
| locked by `mlock` | {locked:.1%} |
| under writeback at that moment, to a slow disk; {writers} processes write a file every second | {writeback:.1%} |
| shared: half of it by `MAP_SHARED`, half as private pages since `fork`, mapped by all | {shared:.1%} |
| under direct I/O, each for a time of up to {io:g} s | {held:.1%} |
"""

PINNED = """
## The same with one page that is never let go

Somebody holds one page for good. Linux goes on trying to empty that block until a signal ends it; here one comes after
{patience} s at the same block. The other blocks, which had gone, are brought back: the node is as it was.
"""

VACATED = """
## The same by migrate_pages alone

What 2005 had was `migrate_pages(2)`, one call for each process, and no second try. The node stays online. The table has
the pages that were on it afterwards, each with the reason that the kernel wrote down when it left it
(`docs/explain.md`). The engine `swap` of October 2005 forces pages out instead of moving them; it and `direct` pass
over what is locked by `mlock`.
"""

STORMS = """
## {machines:,} small machines on which everything goes wrong

Each is drawn from its seed, {first} to {last}: engine, size of swap or
none, slow or fast disks, disks that fail meanwhile (a fifth of the machines), programs with private, shared,
locked, paged-out and file memory that they use all the time, page locks, writeback, pins and direct I/O in their
way (of the last two one in ten never ends), a target that is nearly full. On half of them tasks also change in the
middle of migration, page by page. Half of the nodes are taken away, with a signal if that lasts; from the others
`migrate_pages(2)` sends everything elsewhere, one process after the other. Either is a vacate: {vacates:,} in all.

A program that needs a page from a disk that cannot read it is ended by SIGBUS, as on Linux; its memory has no owner any
more who could find it lost, and it is counted on its own.
"""


def page(
    load: Load,
    seed: int,
    removed: Sequence[Outcome],
    pinned: Sequence[Outcome],
    vacated: Sequence[Outcome],
    small: Part,
) -> str:
    """The whole page."""
    one = removed[0]
    loaded = LOADED.format(
        size=f"{load.frames >> 8} MiB",
        processes=load.workers + load.writers,
        blocks=len(one.answers),
        seed=seed,
        frames=f"{load.frames:,}",
        used=one.taken / load.frames,
        locked=one.locked / load.frames,
        writeback=one.writeback / load.frames,
        writers=load.writers,
        shared=load.shared,
        io=load.io_ns / 1e9,
        held=one.held / load.frames,
    )
    vacates = sum(n for kind, n in small.tally.items() if kind.startswith(("removal: ", "migrate_pages: ")))
    last = small.seed + small.count - 1
    storms = STORMS.format(machines=small.count, vacates=vacates, first=small.seed, last=last)
    parts = [
        HEAD,
        loaded,
        *_table(removed, REMOVAL),
        PINNED.format(patience=load.patience),
        *_table(pinned, REMOVAL),
        VACATED,
        *_table(vacated, VACATION),
        storms,
        *_storms(small.tally),
    ]
    return "\n".join(part.strip("\n") + ("\n" if part and part[0] != "|" else "") for part in parts) + "\n"


def _reasons(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {pages:,}" for reason, pages in counts.most_common()) or "none"


def _answers(out: Outcome) -> str:
    counts = Counter(answer or "offline" for answer in out.answers)
    return ", ".join(f"{n} {answer}" for answer, n in counts.items())


Row = Callable[[Outcome], str]

_ALL: dict[str, Row] = {
    "moved": lambda out: f"{out.moved:,}",
    "time": lambda out: f"{out.ns / 1e9:.2f} s",
    "rounds of the processes' work meanwhile": lambda out: f"{out.rounds:,}",
    "tries that left a page for later": lambda out: _reasons(out.tries),
}
_END: dict[str, Row] = {
    "pages looked at by their owners": lambda out: f"{out.verified:,}",
    "bytes lost": lambda out: f"**{out.lost}**",
    "processes that ended ill, invariants broken": lambda out: f"{out.died}, {out.broken}",
}
REMOVAL: dict[str, Row] = {
    "blocks": _answers,
    **_ALL,
    "pages of the node at the end": lambda out: f"{out.managed:,}",
    **_END,
}
VACATION: dict[str, Row] = {
    **_ALL,
    "still on the node": lambda out: f"{out.left.total():,} of {out.taken:,}",
    "why": lambda out: _reasons(out.left),
    **_END,
}


def _table(outcomes: Sequence[Outcome], rows: dict[str, Row]) -> Iterator[str]:
    yield "| | " + " | ".join(f"`{out.engine}`" for out in outcomes) + " |"
    yield "| --- |" + " --- |" * len(outcomes)
    for name, row in rows.items():
        yield f"| {name} | " + " | ".join(row(out) for out in outcomes) + " |"
    yield ""


def _storms(tally: Counter[str]) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    for kind in ("moved", *sorted(kind for kind in tally if ": " in kind), "preempted"):
        if kind != "left: no reason":
            yield f"| {kind} | {tally[kind]:,} |"
    yield f"| pages looked at by their owners | {tally['verified']:,} |"
    yield f"| bytes lost | **{tally['lost']}** |"
    yield f"| pages left without a reason | **{tally['left: no reason']}** |"
    yield f"| invariants broken | **{tally['broken']}** |"
    yield f"| programs that ended for no reason | **{tally['died']}** |"
    yield f"| machines whose kernel failed | **{tally['failed']}** |"
