"""``make reliability``: empty nodes in every way, write docs/reliability.md, and judge (exit status 1)."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.oracle.options import Parser, number
from tests.reliability.load import Load, Outcome, run
from tests.reliability.page import page
from tests.reliability.removal import offline, offline_in_vain, vacate
from tests.reliability.storm import mistakes, storms
from tests.reliability.why import NO_REASON

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
STEP = 100  # machines that a process of the host takes at a time


def main() -> int:
    options = arguments()
    load, seed = Load(), options.seed
    runs = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for daemon, engines in (
            (offline, ("batched", "direct")),
            (offline_in_vain, ("batched", "direct")),
            (vacate, ("batched", "direct", "swap")),
        ):
            runs.append([pool.submit(run, engine, load, seed, daemon) for engine in engines])
        removed, pinned, vacated = ([each.result() for each in row] for row in runs)
        began = time.monotonic()
        steps = range(seed, seed + options.count, STEP)
        parts = pool.map(storms, steps, [min(STEP, seed + options.count - step) for step in steps])
        tally: Counter[str] = Counter()
        for part in parts:
            tally.update(part)
    seconds = time.monotonic() - began
    PAGE.write_text(page(load, seed, removed, pinned, vacated, tally, seed), encoding="utf-8")
    wrong = [
        *(f"{out.engine}: the node was not emptied" for out in removed if any(out.answers) or out.managed),
        *(f"{out.engine}: the node is not as it was" for out in pinned if out.managed != out.frames),
        *(f"{out.engine}: pages stay for no reason" for out in vacated if out.left[NO_REASON]),
        *(f"{out.engine}: {what}" for out in (*removed, *pinned, *vacated) for what in losses(out)),
        *(f"small machines: {kind} {n}" for kind, n in mistakes(tally).items()),
    ]
    print(*wrong or ["nothing was lost"], f"{options.count} small machines in {seconds:.0f} s", sep="\n")
    return 1 if wrong else 0


def losses(out: Outcome) -> list[str]:
    kinds = {"bytes lost": out.lost, "processes ended ill": out.died, "invariants broken": out.broken}
    return [f"{what}: {n}" for what, n in kinds.items() if n]


def arguments() -> argparse.Namespace:
    parser = Parser(prog="reliability", description=__doc__)
    parser.add_argument("--count", type=number(1), default=1000, help="so many small machines")
    parser.add_argument("--seed", type=number(0), default=0)
    parser.add_argument("--jobs", type=number(1), default=1, help="processes of the host")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
