"""`numalab compare`: one program under each migration engine, side by side.

The same machine, seed and program; only the engine differs: forcing pages out to swap (October 2005), direct moves with
ten passes (2.6.18), batches of 512 (6.12). What a table shows per engine: what went in which pass and why the rest
stayed, the faults that came afterwards, what the disk had to do, virtual time by phase, and where the pages were at the
end. Times are virtual: they say what a real machine like that of the cost preset would spend, not what the host did.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numalab.kernel.fs.block import disk_state
from numalab.mm import _constants as c
from numalab.mm.migrate.ledger import Phase
from numalab.tools import run
from numalab.tools.errors import UsageError
from numalab.tools.picture import bar, bar_character, time_text

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.kernel.task import Task
    from numalab.mm.migrate.ledger import Ledger

__all__ = ["DISKS", "Outcome", "compare", "main", "pass_lines"]

ENGINES = ("swap", "direct", "batched")
#: What is swapped to: latency of a request and transfer of a page, in ns. The figures are rules of thumb.
DISKS = {"ram": (0, 0), "nvme": (15_000, 1_000), "2005": (8_000_000, 68_000)}
WIDTH = 40
USER_END = 1 << 47


@dataclass
class Outcome:
    """What one engine made of the program.

    minor, major: faults after the first migration; placement: pages of the first process by node, at its last system
    call; written, read: pages to and from swap; files: pages written to and read from files on a disk; time: virtual ns
    from start to end; said: on standard error.
    """

    engine: str
    status: int
    ledgers: list[Ledger]
    minor: int
    major: int
    written: int
    read: int
    files: tuple[int, int]
    placement: dict[int, int]
    time: int
    said: str

    @property
    def moved(self) -> int:
        return sum(ledger.moved for ledger in self.ledgers)

    @property
    def failed(self) -> dict[str, int]:
        """Pages that stayed for good, by reason."""
        total: dict[str, int] = {}
        for ledger in self.ledgers:
            for reason, n in ledger.failed.items():
                name = reason.name.lower().replace("_", "-")
                total[name] = total.get(name, 0) + n
        return total

    @property
    def phases(self) -> dict[Phase, int]:
        """Virtual ns of all migrations, by phase."""
        return {phase: sum(ledger.cost[phase] for ledger in self.ledgers) for phase in Phase}

    @property
    def waited(self) -> int:
        """Virtual ns that migrations slept."""
        return sum(p.waited for ledger in self.ledgers for p in ledger.passes)


class Watch:
    """Looks at a machine at every system call: what had happened when, and where pages are."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.placement: dict[int, int] = {}
        self.first: Task | None = None
        self.after: tuple[int, int] | None = None  # faults at the end of the first migration
        machine.kernel.tracers.append(self.look)

    def faults(self) -> tuple[int, int]:
        """(all, major) so far."""
        event = self.machine.mem.event
        return int(event[c.PGFAULT]), int(event[c.PGMAJFAULT])

    def look(self, event: Any) -> None:
        mem = self.machine.mem
        if self.after is None and mem.ledgers:
            self.after = self.faults()
        self.first = self.first or event.task
        if event.task is self.first and event.task.mm is not None:
            per_node = mem.k.task_mmu.numa_stats(mem, event.task.mm, 0, USER_END)[-1]
            self.placement = {nid: int(n) for nid, n in enumerate(per_node) if n}


def compare(program: str, args: Sequence[str], spec: str, seed: int, disk: str) -> Iterator[Outcome]:
    """Run the program under one engine after the other. Raises UsageError."""
    if disk not in DISKS:
        raise UsageError(f"disk {disk!r} is unknown: use {', '.join(DISKS)}")
    for engine in ENGINES:
        with run.boot(spec, seed=seed, engine=engine) as machine:
            disk_state(machine.mem, *DISKS[disk])
            watch, start = Watch(machine), machine.now
            with _quiet() as said:
                status = run.main(program, args, machine)
            faults, major = watch.faults()
            vda = next(store.disk for store in machine.mem.bdis if store is not None)
            before = watch.after or (faults, major)
            yield Outcome(
                engine,
                status,
                list(machine.mem.ledgers),
                faults - before[0] - (major - before[1]),
                major - before[1],
                int(machine.mem.event[c.PSWPOUT]),
                int(machine.mem.event[c.PSWPIN]),
                (vda.writes, vda.reads),
                watch.placement,
                machine.now - start,
                said.getvalue(),
            )


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """What the program prints is the same three times, and not what was asked for; what it complains of is kept."""
    said = io.StringIO()
    with (
        io.TextIOWrapper(io.BytesIO(), "utf-8") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(said),
    ):
        yield said


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[str]]]:
    """The table, row by row."""
    yield "exit status", [str(o.status) for o in outcomes]
    yield "migrations", [str(len(o.ledgers)) for o in outcomes]
    yield "pages moved or evicted", [str(o.moved) for o in outcomes]
    left = [" ".join(f"{name} {n}" for name, n in o.failed.items()) or "0" for o in outcomes]
    yield "pages left behind", left
    yield "passes of the longest", [str(max((len(x.passes) for x in o.ledgers), default=0)) for o in outcomes]
    yield "minor faults after it", [str(o.minor) for o in outcomes]
    yield "major faults after it", [str(o.major) for o in outcomes]
    yield "written to swap", [str(o.written) for o in outcomes]
    yield "read from swap", [str(o.read) for o in outcomes]
    if any(any(o.files) for o in outcomes):
        yield "written to files", [str(o.files[0]) for o in outcomes]
        yield "read from files", [str(o.files[1]) for o in outcomes]
    yield (
        "pages at the end, by node",
        [" ".join(f"N{nid}={n}" for nid, n in o.placement.items()) or "-" for o in outcomes],
    )
    yield "asleep in migrations", [time_text(o.waited) for o in outcomes]
    yield "virtual time in all", [time_text(o.time) for o in outcomes]


def _passes(outcome: Outcome) -> Iterator[str]:
    """The passes of the migration that tried most pages."""
    if not outcome.ledgers:
        return
    ledger = max(outcome.ledgers, key=lambda ledger: sum(p.tried for p in ledger.passes))
    yield f"{outcome.engine}: passes of its largest migration ({ledger.isolated} pages isolated)"
    yield from pass_lines(ledger)


def pass_lines(ledger: Ledger, first: int = 0) -> Iterator[str]:
    """One line a pass, from the numbered one on: how many pages it tried, how many went, and why the others stayed."""
    for p in ledger.passes[first:]:
        why = ", ".join(f"{reason.name.lower().replace('_', '-')} {n}" for reason, n in p.left.items())
        slept = f", slept {time_text(p.waited)}" if p.waited else ""
        yield f"  {p.name:12} tried {p.tried:6}  went {p.moved:6}  stay: {why or '-'}{slept}"


def _chart(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Virtual time of all migrations by phase, as bars."""
    mark = bar_character()
    top = max((ns for o in outcomes for ns in (*o.phases.values(), o.waited)), default=0)
    for o in outcomes:
        yield f"{o.engine}: virtual time of its migrations by phase"
        for name, ns in (*((phase.name.lower(), ns) for phase, ns in o.phases.items()), ("asleep", o.waited)):
            if ns:
                yield f"  {name:8} {bar(ns, top, WIDTH, mark)} {time_text(ns)}"


def _check_picture(path: Path) -> None:
    """Before anything is run. Raises UsageError: matplotlib is not there, or the file cannot be."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ImportError:
        raise UsageError("a picture needs matplotlib: pip install numalab[lab]") from None
    mpl.use("Agg")
    if path.suffix != ".png" or not path.parent.is_dir():
        raise UsageError(f"{path}: a picture's name ends in .png, and its folder is there already")


def _draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """The chart as a PNG. Raises UsageError: the file cannot be written."""
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 0.7 * len(outcomes) + 1.6), layout="constrained")
    names = [o.engine for o in outcomes]
    at = [0.0] * len(outcomes)
    parts = [(phase.name.lower(), [o.phases[phase] / 1e6 for o in outcomes]) for phase in Phase]
    for label, widths in (*parts, ("asleep", [o.waited / 1e6 for o in outcomes])):
        if any(widths):
            axes.barh(names, widths, left=at, label=label)
            at = [a + w for a, w in zip(at, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("virtual time of the migrations (ms)")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.25), frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    finally:
        plt.close(figure)


def main(program: str, args: Sequence[str], spec: str, seed: int, disk: str, png: Path | None) -> int:
    """Print the comparison; 0 if the program ended alike under all engines, else 1. Raises UsageError."""
    if png is not None:
        _check_picture(png)
    outcomes: list[Outcome] = []
    for outcome in compare(program, args, spec, seed, disk):
        if outcome.said not in [o.said for o in outcomes]:
            sys.stderr.write(outcome.said)
        outcomes.append(outcome)
    rows = list(_rows(outcomes))
    widths = [max(len(o.engine), *(len(cells[i]) for _, cells in rows)) for i, o in enumerate(outcomes)]
    print(" " * 26 + "  ".join(o.engine.rjust(w) for o, w in zip(outcomes, widths, strict=True)))
    for name, cells in rows:
        print(f"{name:26}" + "  ".join(cell.rjust(w) for cell, w in zip(cells, widths, strict=True)))
    for outcome in outcomes:
        print("", *_passes(outcome), sep="\n")
    print("", *_chart(outcomes), sep="\n")
    if png is not None:
        _draw(outcomes, png)
    if len({o.status for o in outcomes}) > 1:
        print("numalab: the program did not end alike", file=sys.stderr)
        return 1
    return 0
