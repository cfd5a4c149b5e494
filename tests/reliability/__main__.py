"""``make reliability``: empty nodes in every way, try what else must lose nothing, write docs/reliability.md, judge.

The exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tests.interleave.bugs import BUGS
from tests.interleave.cases import CASES
from tests.oracle.options import Parser, number
from tests.reliability.explored import attack, attacks, explore, explored_page, plant
from tests.reliability.load import Load, Outcome, run
from tests.reliability.many import many
from tests.reliability.page import page
from tests.reliability.removal import offline, offline_in_vain, vacate
from tests.reliability.why import NO_REASON

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


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
        explored = list(pool.map(explore, CASES, repeat(options.schedules)))
        planted = list(pool.map(plant, BUGS))
        attacked = list(pool.map(attack, *zip(*attacks(seed, options.calls), strict=True)))
        small = many(pool, seed, options.count, options.resume)
    PAGE.write_text(
        page(load, seed, removed, pinned, vacated, small) + explored_page(explored, planted, attacked),
        encoding="utf-8",
    )
    wrong = [
        *(f"{out.engine}: the node was not emptied" for out in removed if any(out.answers) or out.managed),
        *(f"{out.engine}: the node is not as it was" for out in pinned if out.managed != out.frames),
        *(f"{out.engine}: pages stay for no reason" for out in vacated if out.left[NO_REASON]),
        *(f"{out.engine}: {what}" for out in (*removed, *pinned, *vacated) for what in losses(out)),
        *(f"{each.name}: {each.failure}" for each in explored if each.failure),
        *(f"{each.name}: not found" for each in planted if each.schedule is None),
        *(
            f"hostile calls, {each.engine}, seed {each.seed}: {each.failure}"
            for each in attacked
            if each.failure
        ),
        *(f"small machine {number}: {what}" for number, what in small.wrong.items()),
    ]
    print(*wrong or ["nothing was lost"], small, sep="\n")
    return 1 if wrong else 0


def losses(out: Outcome) -> list[str]:
    kinds = {"bytes lost": out.lost, "processes ended ill": out.died, "invariants broken": out.broken}
    return [f"{what}: {n}" for what, n in kinds.items() if n]


def arguments() -> argparse.Namespace:
    parser = Parser(prog="reliability", description=__doc__)
    parser.add_argument("--count", type=number(1), default=1000, help="so many small machines")
    parser.add_argument(
        "--schedules", type=number(0), default=50, help="with two preemptions, of each program"
    )
    parser.add_argument("--calls", type=number(1), default=150_000, help="so many hostile calls")
    parser.add_argument("--seed", type=number(0), default=0)
    parser.add_argument(
        "--resume", type=Path, help="what this file has is not run again; the rest goes there"
    )
    parser.add_argument("--jobs", type=number(1), default=1, help="processes of the host")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
