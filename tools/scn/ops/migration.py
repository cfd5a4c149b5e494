"""Operations that move pages, and those that ask move_pages where pages are."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np

from numalab.tools.scn.actor import MAX_PAGES, Actor, Memory
from numalab.tools.scn.cnum import to_int32, to_ulong
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import (
    BADPTR,
    MBIND_FLAGS,
    PAGE,
    Line,
    Span,
    flags_of,
    int_list,
    num,
    parse_range,
    split_list,
)  # fmt: skip
from numalab.tools.scn.text import SENTINEL, mask_text, result, rle, status_text

__all__ = ["pages_per_node"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Pages = NDArray[np.uint64]
    _Statuses = NDArray[np.int32]


@operation("migrate_pages", "TARGET FROM TO [maxnode=N] [coarse=1]")
def migrate_pages(actor: Actor, line: Line) -> str:
    """Move all pages of a process from some nodes to others.

    The answer is the number of pages that could not be moved; ``coarse=1`` says only that there were some.
    """
    line.need(4)
    new = actor.mask(line.pos[3], Memory.M2)  # of two wrong masks the second one is named
    old = actor.mask(line.pos[2], Memory.M1)
    pid, maxnode = actor.target(line.pos[1]), num(line.opt("maxnode", "65"))
    ret = actor.process.call("migrate_pages", pid, maxnode, old, new)
    coarse = line.given("coarse") is not None and ret > 0
    return "ret=positive" if coarse else result(ret)


@operation("move_pages", "TARGET PAGES NODES [flags=MOVE|MOVE_ALL] [count=N] [status=bad|null|ro]")
def move_pages(actor: Actor, line: Line) -> str:
    """Move single pages to nodes, or ask where they are (NODES = query).

    PAGES is a list of addresses, each ``:LEN`` standing for one entry a page; the last of NODES repeats, or with
    ``cycle:`` before them all of them.  ``status`` holds a node or an errno for each entry, ``?`` where the kernel
    wrote nothing.  ``count`` is passed as it is, so it may be larger than the list: the kernel then reads on behind it.
    """
    line.need(4)
    pages_ptr, pages = _pages_argument(actor, line.pos[2])
    count = len(pages) if pages is not None else 1
    nodes_ptr = _nodes_argument(actor, line.pos[3], count)
    status = line.given("status")
    status_ptr = Memory.STATUS if status is None else {"null": 0, "ro": Memory.READ_ONLY}.get(status, BADPTR)
    _store_pages(actor, pages)
    _clear_statuses(actor, count)
    pid = actor.target(line.pos[1])
    asked = line.given("count")
    flags = flags_of(line.opt("flags", "MOVE" if nodes_ptr else "0"), MBIND_FLAGS)
    answer = result(
        actor.process.call(
            "move_pages", pid, count if asked is None else num(asked), pages_ptr, nodes_ptr, status_ptr, flags
        )
    )
    if status is None:
        answer += " status=" + rle(map(status_text, _statuses(actor, count).tolist()))
    return answer


@operation("nodes", "RANGE")
def nodes(actor: Actor, line: Line) -> str:
    """The node of each page, by move_pages(2) on oneself."""
    ret, found = _ask(actor, actor.span(line, 1))
    return result(ret) if ret else "ret=0 nodes=" + rle(map(status_text, found.tolist()))


@operation("nodeset", "RANGE")
def nodeset(actor: Actor, line: Line) -> str:
    """On which nodes the pages of a range are; how many are absent (ENOENT), how many something else."""
    ret, found = _ask(actor, actor.span(line, 1))
    if ret:
        return result(ret)
    present = found[(found >= 0) & (found < 512)]
    mask = sum(1 << node for node in np.unique(present).tolist())
    absent = int((found == -errno.ENOENT).sum())
    other = len(found) - len(present) - absent
    return f"ret=0 set={mask_text(mask.to_bytes(64, 'little'))} absent={absent} other={other}"


@operation("count", "RANGE")
def count(actor: Actor, line: Line) -> str:
    """How many pages of a range are on each node."""
    span = actor.span(line, 1)
    ret, per_node = pages_per_node(actor, span)
    if ret:
        return result(ret)
    other = min(span.pages, MAX_PAGES) - sum(per_node.values())
    return "ret=0" + "".join(f" N{node}={n}" for node, n in per_node.items()) + f" other={other}"


def pages_per_node(actor: Actor, span: Span) -> tuple[int, dict[int, int]]:
    """What move_pages returned when asked about a span, and how many pages it found on each node."""
    ret, found = _ask(actor, span)
    present = found[(found >= 0) & (found < 64)]
    return ret, {node: n for node, n in enumerate(np.bincount(present).tolist()) if n}


# Arguments and results in the actor's arrays.


def _pages_argument(actor: Actor, text: str) -> tuple[int, _Pages | None]:
    """Pointer and contents of the page array; no contents behind a pointer that is not ours."""
    if text in ("bad", "null"):
        return (BADPTR if text == "bad" else 0), None
    if text == "none":
        return Memory.PAGES, np.empty(0, np.uint64)
    pieces, room = [], MAX_PAGES
    for word in split_list(text, ",", 2048):
        span = parse_range(word, actor.regions)
        single = ":" not in word and ("+" in word or "." in word or span.region is None)
        piece = _addresses(Span(span.addr, 1, span.region) if single else span, room)
        pieces.append(piece)
        room -= len(piece)
    return Memory.PAGES, np.concatenate([np.empty(0, np.uint64), *pieces])


def _nodes_argument(actor: Actor, text: str, count: int) -> int:
    """Pointer to the node array; its last entry repeats to the end, or with ``cycle:`` all of them."""
    if text in ("null", "query"):
        return 0
    if text == "bad":
        return BADPTR
    cycle = text.startswith("cycle:")
    values = [to_int32(v) for v in int_list(text.removeprefix("cycle:"), MAX_PAGES)] or [0]
    more = max(0, count - len(values))
    values += (values * (more // len(values) + 1))[:more] if cycle else [values[-1]] * more
    actor.process.store(Memory.NODES, np.array(values, np.int32).tobytes())
    return Memory.NODES


def _addresses(span: Span, room: int) -> _Pages:
    """One address a page of the span, at most ``room``."""
    steps = np.arange(min(span.pages, room), dtype=np.uint64)
    return steps * np.uint64(PAGE) + np.uint64(to_ulong(span.addr))


def _store_pages(actor: Actor, pages: _Pages | None) -> None:
    if pages is not None and len(pages):
        actor.process.store(Memory.PAGES, pages.tobytes())


def _clear_statuses(actor: Actor, count: int) -> None:
    if count:
        actor.process.store(Memory.STATUS, np.full(count, SENTINEL, np.int32).tobytes())


def _statuses(actor: Actor, count: int) -> _Statuses:
    return np.frombuffer(actor.process.load(Memory.STATUS, 4 * count), np.int32)


def _ask(actor: Actor, span: Span) -> tuple[int, _Statuses]:
    """Ask move_pages about every page of the span: what it returned, and the statuses."""
    pages = _addresses(span, MAX_PAGES)
    _store_pages(actor, pages)
    _clear_statuses(actor, len(pages))
    ret = actor.process.call("move_pages", 0, len(pages), Memory.PAGES, 0, Memory.STATUS, 0)
    return ret, _statuses(actor, len(pages))
