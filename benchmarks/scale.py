"""`make scale`: what each operation costs per unit as there are more of them, and whether that grows.

Each is measured at sizes n, 4n and 16n on a machine of 1 TiB and 64 nodes; of several runs the shortest counts. The
exponent is the slope of log(time) over log(size) between the last two sizes: 1 is linear, and above LIMIT a line is
marked. The operations stand in scale_areas.py and scale_tasks.py.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import Stopwatch, pin
from benchmarks.scale_areas import AREAS, Operation
from benchmarks.scale_tasks import TASKS

#: Caches that grow too small make a linear operation look a little dearer.
LIMIT = 1.15
#: How often each size is run: small ones are over soon, and what disturbs them weighs more.
RUNS = {1: 5, 4: 3, 16: 2}


@dataclass(frozen=True)
class Row:
    """What one operation took, in ns, by size."""

    name: str
    times: dict[int, int]

    @property
    def exponent(self) -> float:
        _, (size, time), (larger, longer) = self.times.items()
        return math.log(longer / time) / math.log(larger / size)

    def __str__(self) -> str:
        first, *rest = (time / size for size, time in self.times.items())
        ratios = " | ".join(f"{unit / first:.2f}" for unit in rest)
        mark = " **superlinear**" if self.exponent > LIMIT else ""
        return (
            f"| {self.name} | {max(self.times):,} | {ratios} | {self.exponent:.2f}{mark} | {rest[-1]:,.0f} |"
        )


def measure(name: str, smallest: int, operation: Operation) -> Row:
    times = {}
    for step, runs in RUNS.items():
        watch = Stopwatch()
        for _ in range(runs):
            gc.collect()
            operation(smallest * step, watch)
        times[smallest * step] = watch.shortest
    return Row(name, times)


def table(rows: Sequence[Row]) -> str:
    head = "| operation | largest size | cost per unit at 4n | at 16n | exponent | ns per unit at 16n |"
    return "\n".join([head, "| --- | ---: | ---: | ---: | ---: | ---: |", *map(str, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="operations whose names contain one of these words")
    parser.add_argument("--write", type=Path, help="put the table behind '## The table' of this page")
    args = parser.parse_args()
    pin()
    rows = []
    for name, (smallest, operation) in {**AREAS, **TASKS}.items():
        if not args.only or any(word in name for word in args.only):
            rows.append(measure(name, smallest, operation))
            print(rows[-1], flush=True)
    if args.write:
        text, mark, _ = args.write.read_text("utf-8").partition("## The table\n")
        args.write.write_text(f"{text}{mark}\n{table(rows)}\n", "utf-8")


if __name__ == "__main__":
    main()
