"""``numalab conform``: recorded answers of a real kernel against those of this machine, line by line.

A directory holds ``scenarios/*.scn`` and ``golden/MACHINE/*.out``, whose first line says which kernel answered.
Every scenario that was recorded for a machine is run on a fresh machine of that name, and the answers are compared
by line number.  Lines whose recorded answer is only "it worked" are easy to get right, so the *telling* lines, which
say more, are counted apart.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from numalab.tools.errors import UsageError

__all__ = [
    "Comparison", "Difference", "Tally", "compare", "compare_scenario", "default_directory", "kernel_of", "main",
    "parse_answers", "recorded", "run_scenario", "scenarios_of",
]  # fmt: skip

_PLAIN = frozenset({"ret=0", "ret=0 bad_pages=0"})


@dataclass(frozen=True)
class Difference:
    """One line on which the two sides disagree; None where a side has no such line."""

    number: int
    operation: str
    expected: str | None
    got: str | None
    telling: bool


@dataclass
class Comparison:
    """One scenario on one machine: how many lines were recorded, and what differs."""

    machine: str
    scenario: str
    lines: int = 0
    telling: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Not one line differs, and none is missing or too many."""
        return not self.differences

    @property
    def lines_equal(self) -> int:
        """Recorded lines that came out the same; lines of ours that were not recorded do not count against it."""
        return self.lines - sum(1 for d in self.differences if d.expected is not None)

    @property
    def telling_equal(self) -> int:
        """The telling ones among them."""
        return self.telling - sum(1 for d in self.differences if d.telling)


@dataclass
class Tally:
    """Sums over scenarios: of one machine, or of all."""

    scenarios: int = 0
    equal: int = 0
    lines: int = 0
    lines_equal: int = 0
    telling: int = 0
    telling_equal: int = 0

    def add(self, result: Comparison) -> None:
        """Count one scenario in."""
        self.scenarios += 1
        self.equal += result.equal
        self.lines += result.lines
        self.lines_equal += result.lines_equal
        self.telling += result.telling
        self.telling_equal += result.telling_equal

    def __str__(self) -> str:
        return (
            f"{self.equal} of {self.scenarios} scenarios equal in full, "
            f"{self.lines_equal}/{self.lines} lines{_percent(self.lines_equal, self.lines)}, "
            f"{self.telling_equal}/{self.telling} telling{_percent(self.telling_equal, self.telling)}"
        )


def _percent(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.1f} %)" if whole else ""


def default_directory() -> Path:
    """``tests/conformance`` of the checkout this package is run from, or of the working directory."""
    for root in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (root / "tests/conformance/golden").is_dir():
            return root / "tests/conformance"
    raise UsageError("no tests/conformance here: name the directory that holds scenarios/ and golden/")


def recorded(directory: Path) -> list[str]:
    """The machines that ``directory`` has recordings of."""
    return sorted(path.name for path in (directory / "golden").iterdir() if path.is_dir())


def scenarios_of(directory: Path) -> list[str]:
    """The names of the scenarios in ``directory``, recorded or not."""
    return sorted(path.stem for path in (directory / "scenarios").glob("*.scn"))


def kernel_of(recording: str) -> str:
    """The kernel that a recording says it is of: its first line, ``# linux VERSION``."""
    first = recording.partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# ") else "unknown"


def parse_answers(text: str) -> dict[int, tuple[str, str]]:
    """Line number -> (operation, answer) of a recording or of a run.

    The last ``=>`` of a line separates the two: an operation may hold one, an answer never does.  A line that begins
    with ``#`` is a remark: which kernel it was.  Raises UsageError for a line of another form.
    """
    answers = {}
    for line in text.split("\n"):
        match = re.fullmatch(r"([0-9]{1,18}) (.*) => (.*)", line)
        if match is not None:
            answers[int(match[1])] = match[2], match[3]
        elif line and not line.startswith("#"):
            raise UsageError(f"{line[:60]!r} is no answer: write NUMBER OPERATION => ANSWER")
    return answers


def compare(machine: str, scenario: str, golden: str, run: str) -> Comparison:
    """Compare two outputs of one scenario by line number.

    Not by position: a line that is missing would make all that follow it look different.
    """
    expected, got = parse_answers(golden), parse_answers(run)
    result = Comparison(machine, scenario, lines=len(expected))
    result.telling = sum(answer not in _PLAIN for _, answer in expected.values())
    for number in sorted(expected.keys() | got.keys()):
        theirs, ours = expected.get(number), got.get(number)
        if theirs != ours:
            operation = (theirs or ours or ("", ""))[0]
            telling = theirs is not None and theirs[1] not in _PLAIN
            pair = (theirs[1] if theirs else None), (ours[1] if ours else None)
            result.differences.append(Difference(number, operation, *pair, telling))
    return result


def run_scenario(script: Path, machine: str, engine: str | None) -> str:
    """What a scenario prints on a fresh machine. Raises UsageError."""
    from numalab.tools.run import boot, scenario_output  # noqa: PLC0415

    data = _read(script)
    with boot(machine, engine=engine) as live:
        return "".join(line + "\n" for line in scenario_output(live, data))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def compare_scenario(
    directory: Path, machine: str, scenario: str, engine: str | None = None
) -> Comparison | None:
    """Run one scenario and compare; None when it is not recorded for that machine. Raises UsageError."""
    golden = directory / "golden" / machine / f"{scenario}.out"
    if not golden.exists():
        return None
    recording = _read(golden).decode("latin-1")
    run = run_scenario(directory / "scenarios" / f"{scenario}.scn", machine, engine)
    try:
        return compare(machine, scenario, recording, run)
    except UsageError as error:
        raise UsageError(f"{golden}: {error}") from None


def _report(result: Comparison, brief: bool) -> Iterator[str]:
    """The lines that say how one scenario went."""
    verdict = "equal" if result.equal else f"{len(result.differences)} differ"
    counts = f"{result.lines_equal}/{result.lines} lines", f"{result.telling_equal}/{result.telling} telling"
    name = f"{result.machine}/{result.scenario}"
    yield f"{name:<36}{counts[0]:>14} {counts[1]:>16}  {verdict}"
    for d in () if brief else result.differences:
        yield f"    line {d.number}: {d.operation}"
        yield f"        expected {_side(d.expected)}"
        yield f"        got      {_side(d.got)}"


def _side(answer: str | None) -> str:
    """One side of a difference, so that nothing and an empty answer can be told apart."""
    return "(no such line)" if answer is None else answer or "(empty)"


def main(
    directory: Path | None, machines: Iterable[str], engine: str | None = None, brief: bool = False
) -> int:
    """Compare everything and print the report: 0 all equal, 1 differences.

    directory: None for the checkout's.  machines: none for all that are recorded there.  brief: no differences.
    Raises UsageError for a directory or a machine that has no recordings, and for a recording that is none.
    """
    machines = list(machines)
    if directory is None and machines and (Path(machines[-1]) / "golden").is_dir():
        directory = Path(machines.pop())  # --machine takes all words that follow it
    directory = directory or default_directory()
    if not (directory / "scenarios").is_dir() or not (directory / "golden").is_dir():
        raise UsageError(f"{directory}: no scenarios/ and golden/ in it")
    known = recorded(directory)
    names = machines or known
    for name in names:
        if name not in known:
            raise UsageError(
                f"machine {name}: no recordings in {directory}/golden; there are {', '.join(known)}"
            )
    scenarios = scenarios_of(directory)
    totals = {name: Tally() for name in names}
    skipped = 0
    for name, scenario in itertools.product(names, scenarios):
        result = compare_scenario(directory, name, scenario, engine)
        if result is None:
            skipped += 1
            continue
        totals[name].add(result)
        for line in _report(result, brief):
            print(line, flush=True)
    if not any(tally.scenarios for tally in totals.values()):
        raise UsageError(
            f"{directory}: no scenario has a recording" + "".join(f" for {name}" for name in machines)
        )
    print()
    for name, tally in totals.items():
        print(f"{name}: {tally}")
    if skipped:
        print(f"skipped, not recorded for the machine: {skipped}")
    return 0 if all(tally.equal == tally.scenarios for tally in totals.values()) else 1
