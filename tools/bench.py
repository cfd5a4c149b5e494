"""`numalab bench migrate`: what a migration costs, by engine, size and share of obstacles.

Host time says how fast the simulator is, virtual time what the simulated machine would spend; they stand side by side
and are never mixed. An obstacle is a page on which somebody holds a reference, so that it stays through all passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from numalab.tools.errors import UsageError
from numalab.tools.picture import time_text
from numalab.tools.run import boot

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.syscalls.sys import Sys

__all__ = ["Migration", "main", "migration"]

ENGINES = ("swap", "direct", "batched")
SIZES = (1024, 8192)
SHARES = (0.0, 0.01, 0.1)
PAGE = 4096
PIECE = 256  # pages written at a time


@dataclass(frozen=True)
class Migration:
    """One migration of ``pages`` pages, ``obstacles`` of them held. host: ns of the call; virtual: of each pass."""

    engine: str
    pages: int
    obstacles: int
    left: int
    host: int
    virtual: tuple[int, ...]


def migration(engine: str, pages: int, share: float, seed: int = 0) -> Migration:
    """Boot a machine of two nodes, fill memory on one, and migrate it to the other. Raises UsageError."""
    if pages < 1 or not 0 <= share <= 1:
        raise UsageError(f"{pages} pages, {share} of them held: cannot be")
    result: list[Migration] = []
    size = max(32, pages * PAGE * 2 >> 20)
    with boot(f"2x{size}M", engine=engine) as machine:
        status = machine.run(lambda sys: result.append(_migrate(machine, sys, pages, share, seed)))
    assert status == 0
    return result[0]


def _migrate(machine: Machine, sys: Sys, pages: int, share: float, seed: int) -> Migration:
    data = sys.mmap(pages * PAGE)
    for at in range(0, pages, PIECE):
        sys.memory.write(data + at * PAGE, b"numalab!" * (512 * min(PIECE, pages - at)))
    task = machine.sched.current
    assert task is not None
    chosen = np.random.default_rng(seed).permutation(pages)[: round(pages * share)]
    for page in chosen.tolist():
        machine.obstacles.hold(machine.page_of(task, data + page * PAGE), ns=1 << 60)
    start = perf_counter_ns()
    left = int(sys.migrate_pages(0, {0}, {1}))
    host = perf_counter_ns() - start
    passes = machine.mem.ledger.passes
    # A pass lasts until the next one begins.
    ends = [*(p.began for p in passes[1:]), machine.now]
    virtual = tuple(end - p.began for p, end in zip(passes, ends, strict=True))
    return Migration(machine.engine, pages, len(chosen), left, host, virtual)


def _lines(migrations: Iterable[Migration]) -> Iterator[str]:
    yield f"{'engine':9}{'pages':>7}{'held':>6}{'left':>6}{'host ns/page':>14}{'passes':>8}  virtual time of the passes"
    for m in migrations:
        shown = " ".join(time_text(ns).replace(" ", "") for ns in m.virtual[:4])
        more = " ..." if len(m.virtual) > 4 else ""
        yield (
            f"{m.engine:9}{m.pages:7}{m.obstacles:6}{m.left:6}{m.host / m.pages:14.0f}{len(m.virtual):8}  {shown}{more}"
        )


def main(what: str) -> int:
    """Print the table. Raises UsageError for what is not there to be measured."""
    if what != "migrate":
        raise UsageError(f"{what!r} cannot be measured: use migrate")
    for line in _lines(migration(e, n, s) for e in ENGINES for n in SIZES for s in SHARES):
        print(line, flush=True)
    return 0
