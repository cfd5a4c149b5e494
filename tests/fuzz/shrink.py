"""Cut scenarios that differ to the few lines that it takes, many at once: every boot answers a round of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numalab.tools.conform import compare

__all__ = ["Case", "first_difference", "shrink"]

#: Runs scripts, by name, on the real machine; what cannot be had (the guest crashed) is missing.
Ask = Callable[[Mapping[str, str]], Mapping[str, str]]
Ours = Callable[[str], str]
#: Candidates of one scenario in one round.
ROUND = 24


@dataclass
class Case:
    """A scenario that differs, as short as it has become, and on which operation."""

    name: str
    lines: list[str]
    operation: str

    @property
    def script(self) -> str:
        return "\n".join(self.lines) + "\n"


def first_difference(theirs: str, ours: str) -> tuple[int, str] | None:
    """Line number and operation of the first line that differs."""
    found = compare("", "", theirs, ours).differences
    return (found[0].number, found[0].operation) if found else None


def kind(operation: str) -> str:
    """The name of an operation, whoever carries it out."""
    return (operation.partition(": ")[2] or operation).split()[0]


def candidates(lines: list[str]) -> list[list[str]]:
    """The lines without a part of them: halves first, then ever smaller parts. The last line, which differs, stays."""
    found, size, end = [], len(lines) // 2, len(lines) - 1
    while size:
        found += [lines[:at] + lines[min(at + size, end) :] for at in range(0, end, size)]
        size //= 2
    return found


def shrink(cases: list[Case], ask: Ask, ours: Ours, rounds: int = 12) -> list[Case]:
    """Each case as short as so many rounds make it, still differing in the same kind of operation."""
    live = {case.name: case for case in cases}
    offsets = dict.fromkeys(live, 0)
    for _ in range(rounds):
        tried: dict[str, tuple[str, list[str]]] = {}
        for name, case in live.items():
            found = candidates(case.lines)[offsets[name] :][:ROUND]
            tried |= {f"{name}-{i}": (name, lines) for i, lines in enumerate(found)}
        if not tried:
            break
        answered = ask({key: "\n".join(lines) + "\n" for key, (_, lines) in tried.items()})
        better = dict.fromkeys(live, False)
        for key, (name, lines) in tried.items():
            case = live[name]
            if key not in answered or len(lines) >= len(case.lines):
                continue
            found_at = first_difference(answered[key], ours("\n".join(lines) + "\n"))
            if found_at is not None and kind(found_at[1]) == kind(case.operation):
                live[name] = Case(name, lines[: found_at[0]], found_at[1])
                better[name] = True
        for name, won in better.items():
            offsets[name] = 0 if won else offsets[name] + ROUND
    return list(live.values())
