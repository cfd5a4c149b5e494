"""``make oracle``: does a real kernel still answer as it was recorded? And ``RECORD=1``: record what it answers."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .errors import OracleError
from .initramfs import compile_guest
from .kernel import Kernel, kernel
from .machines import MACHINES
from .options import Parser, number
from .qemu import Answers, GuestCrashed, boot
from .recordings import Recordings, differences, sample

_CONFORMANCE = Path(__file__).parents[1] / "conformance"
_SAMPLE = 12
_BOOTS = 3  # at most, for one answer
_SHOWN = 500  # characters of a line that differs


class Oracle:
    """A kernel, the recorder, and the recordings that they are for."""

    def __init__(self, real: Kernel, recordings: Recordings) -> None:
        self.kernel = real
        self.program = compile_guest()
        self.recordings = recordings

    def ask(self, machine: str, names: list[str], threads: str) -> Answers:
        """Run the scenarios in this order, in one boot; in another one if the guest crashed."""
        scripts = {name: self.recordings.script(name) for name in names}
        start = time.monotonic()
        for boots_left in reversed(range(_BOOTS)):
            try:
                answers = boot(MACHINES[machine], self.kernel, self.program, scripts, threads)
                break
            except GuestCrashed as crash:
                if not boots_left:
                    raise
                print(f"{machine}: {crash}; once more", flush=True)
        seconds = time.monotonic() - start
        print(f"{machine}: {len(names)} scenarios, linux {answers.release}, {seconds:.0f} s", flush=True)
        return answers

    def check(self, machine: str, names: list[str]) -> int:
        """Compare with the recordings: how many scenarios differ."""
        answers = self.ask(machine, names, "single")
        wrong, others = 0, set()
        for name in names:
            release, expected = self.recordings.read(machine, name)
            others.add(release)
            wrong += _report(
                machine, name, "differs", "recorded", expected, "answered", answers.scenarios[name]
            )
        for release in sorted(others - {answers.release}):
            print(f"{machine}: some of them were recorded with linux {release}")
        return wrong

    def record(self, machine: str, names: list[str]) -> int:
        """Run twice, the second time in reverse order and with TCG's other threading; keep what is stable.

        How many scenarios are not.
        """
        first = self.ask(machine, names, "single")
        second = self.ask(machine, names[::-1], "multi")
        unstable = 0
        for name in names:
            lines = first.scenarios[name]
            if _report(machine, name, "is unstable", "first", lines, "then", second.scenarios[name]):
                unstable += 1
            else:
                self.recordings.write(machine, name, first.release, lines)
        return unstable


def _report(
    machine: str, name: str, verdict: str, one: str, first: list[str], other: str, second: list[str]
) -> bool:
    """Print the lines on which two runs of a scenario differ; whether there are any."""
    found = differences(first, second)
    if found:
        print(f"{machine}/{name} {verdict}")
    for left, right in found:
        print(f"    {one:<9} {left[:_SHOWN]}\n    {other:<9} {right[:_SHOWN]}")
    return bool(found)


def _names(recordings: Recordings, machine: str, options: argparse.Namespace) -> list[str]:
    """The scenarios to run. Those asked for; else those without a recording, or a sample of those with one."""
    possible, recorded = recordings.scenarios(machine), recordings.recorded(machine)
    for name in options.only:
        recordings.script(name)
    if options.only:
        return [name for name in (possible if options.record else recorded) if name in options.only]
    if options.record:
        return [name for name in possible if name not in recorded]
    return sample(recorded, options.sample)


def _machine(name: str) -> str:
    if name not in MACHINES:
        raise argparse.ArgumentTypeError(f"{name}: there are {', '.join(MACHINES)}")
    return name


def main() -> int:
    """0: as recorded, or recorded; 1: something differs, or is unstable; 2: it could not be found out."""
    parser = Parser(prog="oracle", description=__doc__)
    parser.add_argument("--machine", nargs="*", type=_machine, default=[], help="all of them by default")
    parser.add_argument("--only", nargs="*", default=[], help="these scenarios")
    parser.add_argument("--sample", type=number(1), default=_SAMPLE, help="so many scenarios a machine")
    parser.add_argument("--record", action="store_true", help="record; by default what has no recording")
    parser.add_argument("--directory", type=Path, default=_CONFORMANCE, help="with scenarios/ and golden/")
    options = parser.parse_args()
    recordings, wrong, asked = Recordings(options.directory), 0, 0
    try:
        chosen = {name: _names(recordings, name, options) for name in options.machine or MACHINES}
        oracle = Oracle(kernel(), recordings)
        for machine, names in chosen.items():
            if names:
                asked += len(names)
                wrong += (oracle.record if options.record else oracle.check)(machine, names)
    except OracleError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2
    verdict = ("recorded", "unstable, not recorded") if options.record else ("as recorded", "different")
    print(f"{asked - wrong} {verdict[0]}, {wrong} {verdict[1]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
