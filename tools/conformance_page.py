"""docs/conformance.md, made by running every recorded scenario.

``python -m numalab.tools.conformance_page docs/conformance.md`` writes it anew. The page is checked in; a test holds
it to the recordings, and tests/conformance to what it says about them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from numalab.tools.conform import (
    Comparison,
    Tally,
    compare_scenario,
    default_directory,
    kernel_of,
    recorded,
    scenarios_of,
)

__all__ = ["kernels", "render"]

_HEAD = """\
# Conformance

Made by `python -m numalab.tools.conformance_page docs/conformance.md` on {date}; do not edit.

A scenario is a script of system calls, one a line. Each was run on a real kernel (Debian's, with several nodes, under
QEMU; `tests/oracle/`), at least twice, and every answer was kept. `numalab conform` runs the same scripts on numalab
and compares line by line: errno, placement of each page, `/proc` text, counters. *Telling* lines are those whose answer
says more than that the call worked.

`semantics.md` says in sentences what these recordings show, call by call.
"""

_RANDOM = """\

## Random scenarios

What nobody thought of: `make fuzz-oracle` makes scenarios from seeds, has them answered by a real kernel, twice, and
compares line by line (`tests/fuzz/README.md`, with what it has found so far). The last large runs; operations
with how often they gave which answer:
"""

_ROWS = """\
## By scenario

Lines equal, of those recorded; `-` where the scenario says nothing about such a machine.
"""


def kernels(directory: Path) -> str:
    """The kernels that answered, with how many recordings each."""
    count = Counter(kernel_of(path.read_text("latin-1")) for path in directory.glob("golden/*/*.out"))
    return ", ".join(f"{kernel} ({n} recordings)" for kernel, n in sorted(count.items()))


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)"


def render(directory: Path, results: Iterable[Comparison], day: str) -> str:
    """The page's text. day: when the scenarios were run, as in 2026-01-31."""
    machines = recorded(directory)
    cells: dict[tuple[str, str], Comparison] = {}
    totals = {name: Tally() for name in machines}
    for result in results:
        cells[result.scenario, result.machine] = result
        totals[result.machine].add(result)

    def rows() -> Iterator[str]:
        yield _HEAD.format(date=day)
        yield f"Kernels: {kernels(directory)}.\n"
        yield "| machine | scenarios equal in full | lines equal | telling lines equal |\n| --- | --- | --- | --- |"
        for name, t in totals.items():
            yield (
                f"| {name} | {t.equal} of {t.scenarios} | {_share(t.lines_equal, t.lines)} "
                f"| {_share(t.telling_equal, t.telling)} |"
            )
        yield _RANDOM
        for path in sorted((directory.parent / "fuzz/recorded").glob("*.txt")):
            yield f"```text\n{path.read_text()}```\n"
        yield _ROWS
        yield f"| scenario | {' | '.join(machines)} |\n| --- |{' --- |' * len(machines)}"
        for scenario in scenarios_of(directory):
            found = [cells.get((scenario, machine)) for machine in machines]
            yield f"| {scenario} | {' | '.join(_cell(result) for result in found)} |"

    return "\n".join(rows()) + "\n"


def _cell(result: Comparison | None) -> str:
    return f"{result.lines_equal}/{result.lines}" if result else "-"


def main() -> None:
    directory = default_directory()
    results = (
        compare_scenario(directory, machine, scenario)
        for machine in recorded(directory)
        for scenario in scenarios_of(directory)
    )
    page = render(directory, (result for result in results if result), datetime.now(UTC).date().isoformat())
    Path(sys.argv[1]).write_text(page)


if __name__ == "__main__":
    main()
