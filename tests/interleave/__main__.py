"""python -m tests.interleave: look for a schedule under which a case fails, or run one again."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext

from tests.interleave.bugs import BUGS
from tests.interleave.cases import CASES
from tests.interleave.run import NoSuchTurn, read, run, told
from tests.interleave.search import Found, Searched, at_random, systematic


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.interleave", usage="%(prog)s [options] [case ...]", description=__doc__
    )
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(CASES)}; without one: all of them")
    parser.add_argument("--replay", metavar="SCHEDULE", help="run this schedule: `a.copy.2>b b.sleep.1>a`")
    parser.add_argument("--preemptions", type=int, default=1, metavar="N", help="try all with so many (1)")
    parser.add_argument("--random", type=int, default=0, metavar="RUNS", help="try so many at random instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--twins", action="store_true", help="on the plain-Python kernels")
    parser.add_argument("--bug", choices=BUGS, metavar="NAME", help="plant this one first (implies --twins)")
    options = parser.parse_args()
    for name in options.case:
        if name not in CASES:
            parser.error(f"there is no case {name}")
    twins = options.twins or options.bug is not None
    planted = BUGS[options.bug].planted() if options.bug else nullcontext()
    failed = False
    with planted:
        for name in options.case or CASES:
            began = time.monotonic()
            if options.replay is not None:
                try:
                    failure = run(CASES[name], read(options.replay), twins=twins).failure
                except (NoSuchTurn, ValueError) as error:
                    parser.error(f"the schedule does not fit: {error}")
                print(f"{name}: {failure or 'nothing is wrong'}")
                failed |= bool(failure)
                continue
            found: Found | Searched | int
            if options.random:
                found = at_random(CASES[name], options.seed, options.random, twins=twins)
            else:
                found = systematic(CASES[name], options.preemptions, twins=twins)
            seconds = f"{time.monotonic() - began:.1f} s"
            if isinstance(found, Found):
                print(f"{name}: fails after {found.runs} runs, {seconds}, under '{told(found.schedule)}'")
                print(f"    {found.failure}")
                failed = True
            else:
                runs = found if isinstance(found, int) else sum(found.runs)
                print(f"{name}: nothing is wrong in {runs} runs, {seconds}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
