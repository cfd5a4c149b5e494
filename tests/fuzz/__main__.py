"""``make fuzz-oracle``: random scenarios on a real kernel and on numalab, and every difference cut short.

Every scenario runs twice on the real kernel, the second time in reverse order and with TCG's other threading. One whose
answers differ there is unstable: it is dropped, and counted by the operation at which it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.coverage import Coverage
from tests.fuzz.generator import generate
from tests.fuzz.oracle import RealMachine
from tests.fuzz.shrink import Case, first_difference, kind, shrink
from tests.fuzz.store import report_path, save
from tests.fuzz.world import MACHINES
from tests.oracle.errors import OracleError
from tests.oracle.options import Parser, number

#: Of the scenarios that differ in the same kind of operation so many are cut short.
SHOWN = 4


def main() -> int:
    """0: no difference; 1: some; 2: it could not be found out."""
    options = arguments()
    try:
        return run(options)
    except OracleError as error:
        print(f"fuzz-oracle: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    start = time.monotonic()
    real = RealMachine(options.machine)
    scripts = {
        f"r{seed}": generate(options.machine, seed)
        for seed in range(options.seed, options.seed + options.count)
    }
    first = real.ask(scripts)
    second = real.ask(scripts, "multi", reverse=True)
    coverage, unstable, cases, lines = Coverage(), Counter[str](), [], 0
    equal: dict[str, str] = {}
    for name, script in scripts.items():
        theirs, again = first.get(name), second.get(name)
        if theirs is None or again is None:
            unstable["the guest crashed"] += 1
        elif (odd := first_difference(theirs, again)) is not None:
            unstable[kind(odd[1])] += 1
        else:
            coverage.add(theirs)
            lines += theirs.count("\n")
            found = first_difference(theirs, real.ours(script))
            if found is None:
                equal[name] = theirs
            else:
                cases.append(Case(name, script.split("\n")[: found[0]], found[1]))
    if options.store:
        print(save(options.machine, real.release, dict(list(equal.items())[: options.store])))
    kinds = Counter(kind(case.operation) for case in cases)
    report = [
        *coverage.lines(),
        f"{options.machine}: {len(scripts)} scenarios from seed {options.seed}, linux {real.release}, {lines} lines",
        f"{unstable.total()} unstable" + "".join(f", {name} {n}" for name, n in unstable.most_common()),
        f"{len(cases)} differ" + "".join(f", {name} {n}" for name, n in kinds.most_common()),
    ]
    print("\n".join([*report, *(f"{case.name}, line {len(case.lines)}: {case.operation}" for case in cases)]))
    if options.report:
        report_path(options.machine, options.seed).write_text("\n".join(report) + "\n")
    if cases and options.shrink:
        show(real, pick(cases))
    print(f"{real.boots} boots, {time.monotonic() - start:.0f} s")
    return 1 if cases else 0


def pick(cases: list[Case]) -> list[Case]:
    """A few of each kind, the shortest first."""
    taken: Counter[str] = Counter()
    found = []
    for case in sorted(cases, key=lambda case: len(case.lines)):
        taken[kind(case.operation)] += 1
        if taken[kind(case.operation)] <= SHOWN:
            found.append(case)
    return found


def show(real: RealMachine, cases: list[Case]) -> None:
    """Print each case as short as it gets, with both answers to its last line."""
    short = shrink(cases, real.ask, real.ours)
    said = real.ask({case.name: case.script for case in short})
    for case in short:
        print(f"\n# {case.name}")
        print(case.script, end="")
        theirs, ours = said.get(case.name, "\n"), real.ours(case.script)
        print(f"    linux    {theirs.splitlines()[-1]}\n    numalab  {ours.splitlines()[-1]}")


def arguments() -> argparse.Namespace:
    parser = Parser(prog="fuzz-oracle", description=__doc__)
    parser.add_argument("--machine", choices=list(MACHINES), default="quad")
    parser.add_argument("--count", type=number(1), default=100, help="so many scenarios")
    parser.add_argument("--seed", type=number(0), default=0, help="of the first one")
    parser.add_argument("--store", type=number(1), help="keep so many in tests/fuzz/recorded")
    parser.add_argument(
        "--report", action="store_true", help="keep what this run says, for docs/conformance.md"
    )
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="only count")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
