"""What random scenarios reached: operations, and the errnos that they answered. A bland generator shows here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from numalab.tools.conform import parse_answers

__all__ = ["Coverage"]


class Coverage:
    """Counts of (operation, errno or ok)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, answers: str) -> None:
        for operation, answer in parse_answers(answers).values():
            name = operation.partition(": ")[2] or operation
            error = re.search(r"err=(\w+)", answer)
            self.counts[name.split()[0], error[1] if error else "ok"] += 1

    def lines(self) -> Iterable[str]:
        """A line an operation, its outcomes behind it, the usual one first."""
        for name in sorted({name for name, _ in self.counts}):
            outcomes = Counter({outcome: n for (op, outcome), n in self.counts.items() if op == name})
            yield f"{name:<16} " + ", ".join(f"{outcome} {n}" for outcome, n in outcomes.most_common())
