"""Random scenarios kept with the real kernel's answers: tests/fuzz/recorded/MACHINE.out.

The answers say each operation and its line, so they are the scenario too: a generator that has learnt something makes
another scenario of the same seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from numalab.tools.conform import parse_answers

__all__ = ["load", "report_path", "save", "script_of"]

FOLDER = Path(__file__).parent / "recorded"


def save(machine: str, release: str, recorded: Mapping[str, str]) -> Path:
    """Write the answers by name of scenario."""
    path = FOLDER / f"{machine}.out"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# linux {release}\n" + "".join(f"@@ {name}\n{text}" for name, text in recorded.items()))
    return path


def report_path(machine: str, seed: int) -> Path:
    """Where a large run says what it found."""
    return FOLDER / f"{machine}-{seed}.txt"


def load(machine: str) -> dict[str, str]:
    """The answers by name of scenario."""
    parts = re.split(r"^@@ (\S+)\n", (FOLDER / f"{machine}.out").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def script_of(answers: str) -> str:
    """The scenario that was answered so."""

    def lines() -> Iterator[str]:
        at = 1
        for number, (operation, _) in parse_answers(answers).items():
            yield "\n" * (number - at) + operation + "\n"
            at = number + 1

    return "".join(lines())
