"""Where the pages of a range are, and if that is wrong, why: the message of `assert_on_node()`.

The kernel's own page tables are read, not move_pages(2): a test may have made that fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from numalab.mm.mpol import mpol_to_str
from numalab.mm.nodemask import nodelist
from numalab.mm.shared_policy import get_vma_policy
from numalab.mm.task_mmu import pagemap
from numalab.mm.vma_tree import vma_lookup

if TYPE_CHECKING:
    from numalab.kernel.task import Task
    from numalab.mm._mm_types import MmStruct
    from numalab.syscalls.explain import Explanation

__all__ = ["Place", "misplaced", "places", "shortened"]

PAGE_SIZE = 4096
_PRESENT, _SWAPPED, _PFN = 1 << 63, 1 << 62, (1 << 55) - 1
_MOST_LINES, _LONG = 12, 240
_NOTHING, _UNTOUCHED = "nothing is mapped here", "never touched"


@dataclass(frozen=True)
class Place:
    """Where a page is. node: None if it is on none, and `words` say why."""

    node: int | None
    words: str


def places(task: Task, addr: int, length: int) -> Iterator[Place]:
    """The place of each page that [addr, addr + length) touches. Raises ValueError if there is none to ask for."""
    mm = task.mm
    if mm is None:
        raise ValueError(f"process {task.pid} has no memory any more")
    if length <= 0:
        raise ValueError(f"a range of {length} bytes has no pages")
    start = addr & -PAGE_SIZE
    for n, word in enumerate(pagemap(mm, start, -(-(addr + length - start) // PAGE_SIZE)).tolist()):
        yield _place(mm, start + n * PAGE_SIZE, word)


def _place(mm: MmStruct, page: int, word: int) -> Place:
    if word & _PRESENT:
        pfn = word & _PFN
        if pfn == mm.mem.zero_pfn:
            return Place(None, "the page of zeros that all share: it was read, and never written")
        node = mm.mem.node_of(pfn)
        return Place(node, f"on node {node}")
    if word & _SWAPPED:
        return Place(None, "in swap")
    return Place(None, _NOTHING if vma_lookup(mm, page) is None else _UNTOUCHED)


def misplaced(
    task: Task, nodes: Collection[int], addr: int, length: int, calls: Iterable[Explanation]
) -> str:
    """What to say of the pages of a range that are on none of the nodes; nothing if there are none.

    calls: those that are known, in their order; the last that met a page is quoted.
    """
    found = list(places(task, addr, length))
    wrong = [(n, place) for n, place in enumerate(found) if place.node not in nodes]
    if not wrong:
        return ""
    wanted = f"node{'s' * (len(nodes) != 1)} {nodelist(sum(1 << node for node in nodes))}"
    are = "are" if len(wrong) != 1 else "is"
    spans = list(_spans(addr & -PAGE_SIZE, wrong))
    lines = [f"{len(wrong)} of {len(found)} pages {are} not on {wanted} ({_summary(found)})"]
    lines += [f"  {_name(start, end)}  {words}" for start, end, words in spans[:_MOST_LINES]]
    if len(spans) > _MOST_LINES:
        lines.append(f"  and so on, {len(spans)} pieces in all")
    met = [(start, end) for start, end, words in spans[:_MOST_LINES] if words not in (_UNTOUCHED, _NOTHING)]
    lines += _why(task, met, list(calls))
    return "\n".join(lines)


def shortened(call: str) -> str:
    """A call as strace prints it; of a long one the beginning and the result."""
    return call if len(call) <= _LONG else f"{call[: _LONG * 2 // 3]} ... {call[-_LONG // 3 :]}"


def _summary(found: list[Place]) -> str:
    """`N0=3 N1=5, 2 on none`."""
    counts = Counter(place.node for place in found)
    absent = counts.pop(None, 0)
    there = " ".join(f"N{node}={n}" for node, n in sorted(counts.items(), key=lambda item: item[0] or 0))
    return ", ".join(filter(None, [there, f"{absent} on none" if absent else ""]))


def _spans(start: int, pages: list[tuple[int, Place]]) -> Iterator[tuple[int, int, str]]:
    """(start, end, words) of neighbours that are in the same place."""
    for (_, words), group in groupby(
        enumerate(pages), key=lambda item: (item[1][0] - item[0], item[1][1].words)
    ):
        numbers = [n for _, (n, _) in group]
        yield start + numbers[0] * PAGE_SIZE, start + (numbers[-1] + 1) * PAGE_SIZE, words


def _name(start: int, end: int) -> str:
    pages = (end - start) // PAGE_SIZE
    return f"{start:#x}" + (f":{pages}" if pages > 1 else "")


def _why(task: Task, spans: list[tuple[int, int]], calls: list[Explanation]) -> Iterator[str]:
    """The last call that met these pages, for each; and what policy has those that no call met."""
    told: list[Explanation] = []
    for call in reversed([call for call in calls if call.pid == task.tgid]):
        parts = [call.within(*span) for span in spans]
        met = [
            [*((run.start, run.end) for run in part.runs), *(area[:2] for area in part.areas)]
            for part in parts
        ]
        if any(met):
            told.append(_together([part for part, pieces in zip(parts, met, strict=True) if pieces]))
            spans = [rest for span, pieces in zip(spans, met, strict=True) for rest in _without(span, pieces)]
    for part in reversed(told):
        yield from replace(part, text=shortened(part.text)).lines()
    for start, end in spans:
        yield f"{_name(start, end)} was met by no call; {_policy(task, start)}"


def _together(parts: list[Explanation]) -> Explanation:
    """Several parts of one call as one."""
    [first, *_] = parts
    ledger = first.ledger
    if ledger is not None:
        ledger = replace(ledger, areas=[area for part in parts for area in part.areas])
    return replace(first, runs=[run for part in parts for run in part.runs], ledger=ledger)


def _without(span: tuple[int, int], pieces: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left of a span without these pieces."""
    at, end = span
    for first, last in sorted(pieces):
        if first > at:
            yield at, min(first, end)
        at = max(at, last)
    if at < end:
        yield at, end


def _policy(task: Task, addr: int) -> str:
    vma = vma_lookup(task.mm, addr) if task.mm is not None else None
    if vma is None:
        return "there is no memory"
    policy = get_vma_policy(vma, addr)
    if policy is not None:
        return f"the policy there is {mpol_to_str(policy)}"
    if task.ctx.policy is not None:
        return f"the policy of its task is {mpol_to_str(task.ctx.policy)}"
    return "there is no policy: a page comes from the node of the CPU that touches it first"
