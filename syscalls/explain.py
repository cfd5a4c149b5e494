"""explain: what the last calls about memory policy and migration did to each page, and why.

An `Explainer` watches the calls of one machine, as strace does, and keeps those that migrate, change a policy or are
refused; a call that only asks and gets its answer is not kept. It prints what the kernel noted when it decided: the
clause of an error (`KernelError.why`), the log of the ledger (`mm.migrate.story`), and what each of that means
(`mm.migrate.reasons`, `errno_rules`).
"""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from numalab.arch.errno import errno_name
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.migrate.engine import engine_of
from numalab.mm.migrate.ledger import Fate, Ledger, Reason
from numalab.mm.migrate.reasons import FATES, REASONS, Rule, word
from numalab.mm.migrate.story import PageRun, page_runs
from numalab.mm.mpol import mpol_to_str
from numalab.mm.nodemask import nodelist
from numalab.mm.vma_tree import vma_lookup
from numalab.syscalls.abi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from numalab.syscalls.entry import SyscallEvent
from numalab.syscalls.errno_rules import ERRNOS, POSITIVE
from numalab.syscalls.strace.call import CallText

__all__ = ["CALLS", "Explainer", "Explanation", "Label", "address_label"]

CALLS = ("get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node")
PAGE_SIZE = 4096
_WIDTH = 96
_KEPT = 64  # calls
_MOST_NOTES = 1 << 22  # in the logs of all of them

Label = Callable[[int, int, int], tuple[str, int]]
"""(pid, address, pages) -> what people call the first of these pages, and how many of them that name covers."""


def address_label(pid: int, start: int, pages: int) -> tuple[str, int]:
    """`0x7fff00000000:8`: eight pages from there on."""
    return f"{start:#x}" + (f":{pages}" if pages > 1 else ""), pages


@dataclass
class Explanation:
    """One call, and what became of the pages it was about.

    call: its name; text: as strace prints it; caller, pid: who called, and whose pages it was about; result: a number
    or -errno; why: the clause that an error hurt; rule: what the result means; changed: what is different now apart
    from pages; runs: the pages by address; areas: those that were passed over as a whole; lost: decisions that the log
    had no room for.
    """

    call: str
    text: str
    caller: int
    pid: int
    result: int
    why: str
    changed: str
    ledger: Ledger | None
    runs: list[PageRun] = field(default_factory=list)

    @property
    def rule(self) -> Rule | None:
        if self.result > 0:
            return POSITIVE.get(self.call)
        return ERRNOS.get((self.call, -self.result))

    @property
    def areas(self) -> list[tuple[int, int, Reason]]:
        return self.ledger.areas if self.ledger is not None else []

    @property
    def lost(self) -> int:
        return self.ledger.log.lost if self.ledger is not None and self.ledger.log is not None else 0

    def within(self, start: int, end: int) -> Explanation:
        """The same call, with the pages in [start, end) alone; a page that begins before start is its page, too."""
        start &= -PAGE_SIZE
        runs = [run.part(start, end) for run in self.runs if run.start < end and start < run.end]
        ledger = self.ledger
        if ledger is not None:
            areas = [(max(a, start), min(b, end), why) for a, b, why in ledger.areas if a < end and start < b]
            ledger = replace(ledger, areas=areas)
        return replace(self, runs=runs, ledger=ledger)

    def story(self, run: PageRun) -> str:
        """What became of the pages of a run, in one line."""
        return _story(self, run)

    def lines(self, label: Label = address_label) -> Iterator[str]:
        """The whole as text."""
        yield from _wrapped(self.text, 4, first="")
        if self.why:
            yield from _wrapped(f"because {self.why}", 2)
        if self.rule is not None:
            name = errno_name(self.result) if self.result < 0 else str(self.result)
            yield from _wrapped(f"{name}: {self.rule.text}  [{self.rule.where}]", 2)
        if self.changed:
            yield from _wrapped(self.changed, 2)
        if self.ledger is None or not (self.runs or self.areas):
            if self.ledger is not None and self.ledger.log is None:
                yield "  its pages are not kept any more"
            elif self.result >= 0:
                searched = self.ledger is not None and self.ledger.scanned
                yield "  this call moved no pages" + (": it found none to move" if searched else "")
            return
        yield f"  {_summary(self, self.ledger)}"
        yield from _table(self, label)
        yield from _legend(self)
        if self.lost:
            yield f"  {self.lost} decisions more were not kept: there were too many"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _wrapped(text: str, indent: int, first: str | None = None) -> list[str]:
    blank = " " * indent
    return textwrap.wrap(
        text, _WIDTH, initial_indent=blank if first is None else first, subsequent_indent=blank,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _summary(told: Explanation, ledger: Ledger) -> str:
    gone = sum(run.pages for run in told.runs if run.fate in (Fate.MOVED, Fate.EVICTED, Fate.FREED))
    stayed = sum(run.pages for run in told.runs) - gone
    pairs = dict.fromkeys(
        f"{nodelist(sources)} -> {'swap' if target < 0 else target}"
        for sources, target, _ in ledger.pairs
        if sources
    )
    how = f", nodes {', '.join(pairs)}" if pairs else ""
    return (
        f"pid {told.pid}, engine {ledger.engine}{how}: {gone} page{'s' * (gone != 1)} went, {stayed} did not"
    )


def _table(told: Explanation, label: Label) -> Iterator[str]:
    rows = []
    for run in told.runs:
        rows += [(name, _story(told, run)) for name in _names(told.pid, run.start, run.pages, label)]
    for start, end, reason in told.areas:
        names = _names(told.pid, start, (end - start) // PAGE_SIZE, label)
        rows += [(name, f"passed over as a whole: {word(reason)}") for name in names]
    width = min(32, max(len(name) for name, _ in rows))
    for name, story in rows:
        yield from _wrapped(story, width + 6, first=f"    {name:<{width}}  ")


def _names(pid: int, start: int, pages: int, label: Label) -> Iterator[str]:
    while pages > 0:
        name, n = label(pid, start, pages)
        yield name
        start, pages = start + n * PAGE_SIZE, pages - n


def _story(told: Explanation, run: PageRun) -> str:
    tries = "; ".join(f"{word(t.reason)} ({t.passes})" for t in run.tries)
    before = f"; before that {tries}" if tries else ""
    if run.fate == Fate.MOVED:
        return f"moved {run.source} -> {run.target}, pass {run.in_pass}{before}".replace("pass pass", "pass")
    if run.fate == Fate.EVICTED:
        where = "to swap" if run.frames[0][1] else "to its file"
        return f"evicted from {run.source} {where}, {run.in_pass}{before}"
    if run.fate == Fate.FREED:
        return f"given up by its owner{before}"
    if run.fate == Fate.LEFT:
        return f"stays on {run.source}: {tries}"
    if run.fate == Fate.QUEUED:
        return f"stays on {run.source}: never tried"
    status = ""
    if told.call == "move_pages":
        errno = REASONS[run.reason].status
        status = f" (status -{errno_name(errno)})" if errno else f" (status {run.source})"
    where = f" on {run.source}" if run.source >= 0 else ""
    huge = ", with its whole huge page" if run.whole else ""
    return f"passed over{where}{huge}: {word(run.reason)}{status}"


def _legend(told: Explanation) -> Iterator[str]:
    """What each reason that occurs means, once."""
    reasons = {t.reason for run in told.runs for t in run.tries}
    reasons |= {run.reason for run in told.runs if run.fate == Fate.PASSED}
    reasons |= {reason for _, _, reason in told.areas}
    rules = [(word(reason), REASONS[reason]) for reason in sorted(reasons)]
    fates = {run.fate for run in told.runs} & FATES.keys()
    names = {Fate.QUEUED: "never tried", Fate.FREED: "given up"}
    rules += [(names[fate], FATES[fate]) for fate in sorted(fates)]
    for name, rule in rules:
        yield from _wrapped(f"{rule.text}  [{rule.where}]", 6, first=f"  {name}: ")


class Explainer:
    """Keeps the last calls of one machine. tell: called with each when it has ended."""

    def __init__(self, k: Kernel, tell: Callable[[Explanation], object] | None = None) -> None:
        self._k = k
        self._tell = tell
        self._begun: dict[Task, CallText] = {}
        self._kept: deque[Explanation] = deque(maxlen=_KEPT)

    def on_syscall(self, event: SyscallEvent) -> None:
        """A call begins or ends."""
        task = event.task
        if event.row is None:
            return
        if event.result is None:
            task.ctx.ledger = None
            if event.row.name in (*CALLS, "write"):
                self._begun[task] = CallText(event)
            return
        text, ledger = self._begun.pop(task, None), task.ctx.ledger
        if text is None or not (ledger is not None or (text.name in CALLS and _worth_telling(event))):
            return
        shown = f"{text.begun}{text.rest()}) = {text.result()}"
        pid = _signed(event.raw[0]) if text.name in ("migrate_pages", "move_pages") else 0
        told = Explanation(
            text.name, shown, task.pid, pid or task.pid, event.result, event.why, _changed(event), ledger
        )
        for part in _by_address_space(told):
            if len(self._kept) == _KEPT:
                _forget(self._kept[0])
            self._kept.append(part)
            self._make_room()
            if self._tell is not None:
                self._tell(self._read(part))

    def _make_room(self) -> None:
        """Of many long logs the oldest are forgotten."""
        notes = 0
        for told in reversed(self._kept):
            if told.ledger is not None and told.ledger.log is not None:
                notes += len(told.ledger.log)
                if notes > _MOST_NOTES and told is not self._kept[-1]:
                    _forget(told)

    def explanations(self) -> list[Explanation]:
        """The calls that are kept, the last one last."""
        return [self._read(told) for told in self._kept]

    def last(self) -> Explanation | None:
        """The last call that is kept."""
        return self._read(self._kept[-1]) if self._kept else None

    def _read(self, told: Explanation) -> Explanation:
        """With its pages; the log is read when somebody wants to know."""
        if told.ledger is not None and not told.runs:
            told.runs = page_runs(self._k.mem, told.ledger)
        return told


def _forget(told: Explanation) -> None:
    """Give the memory of the pages back; the call is remembered."""
    told.runs = []
    if told.ledger is not None:
        told.ledger.log = None


def _by_address_space(told: Explanation) -> list[Explanation]:
    """A call about the pages of several processes, process by process, but for those of which it has found none."""
    parts, ledger = [], told.ledger
    while ledger is not None:
        parts.append(replace(told, pid=ledger.pid or told.pid, ledger=ledger))
        ledger = ledger.before
    found = [part for part in reversed(parts) if part.areas or (part.ledger and part.ledger.log)]
    return found or [told]


def _signed(register: int) -> int:
    """A pid argument."""
    return (register & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def _worth_telling(event: SyscallEvent) -> bool:
    """Whether a call was more than a question with an answer."""
    assert event.row is not None
    assert event.result is not None
    asks = event.row.name == "get_mempolicy" or (event.row.name == "move_pages" and not event.raw[3])
    return event.result < 0 or not asks


def _changed(event: SyscallEvent) -> str:
    """What a call that has not failed changed, apart from pages."""
    assert event.row is not None
    assert event.result is not None
    task, name = event.task, event.row.name
    if event.result < 0 or task.mm is None:
        return ""
    if name == "set_mempolicy":
        policy = mpol_to_str(task.ctx.policy)
        return f"the policy of task {task.pid} is {policy} now: it decides where its new pages go"
    if name in ("mbind", "set_mempolicy_home_node"):
        start, length = event.raw[:2]
        pages = -(-length // PAGE_SIZE)
        vma = vma_lookup(task.mm, start)
        if not pages or vma is None:
            return ""
        where = f"{start:#x}, {pages} page{'s' * (pages != 1)}"
        if name == "set_mempolicy_home_node":
            return (
                f"where {where}, have bind or preferred (many), allocation begins at node {event.raw[2]} now"
            )
        moving = event.raw[5] & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)
        stay = "" if moving else "; what is there stays: to move it takes MPOL_MF_MOVE or MPOL_MF_MOVE_ALL"
        return f"the policy of {where}, is {mpol_to_str(vma.policy)} now{stay}"
    if name == "move_pages" and not engine_of(task.mm.mem).aims:
        engine = task.mm.mem.engine
        return f"engine {engine} cannot put a page where move_pages wants it, so another one served the call"
    return ""
