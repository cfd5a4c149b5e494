"""A gate of gates.toml: what must hold, and what a measured value says about it."""

from __future__ import annotations

import operator
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["Bound", "Gate", "Skipped", "Value", "read_gates"]

TOML = Path(__file__).with_name("gates.toml")


@dataclass(frozen=True)
class Skipped:
    """A measurement that this host does not allow, and why."""

    why: str


Value = float | Skipped


@dataclass(frozen=True)
class Bound:
    """``<= 1.15``: a value holds it, or does not."""

    text: str
    holds: Callable[[float], bool]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is not ``<= NUMBER`` or ``>= NUMBER``."""
        sign, _, number = text.partition(" ")
        if sign not in {"<=", ">="}:
            raise ValueError(f"{text!r}: a bound is `<= NUMBER` or `>= NUMBER`")
        compare, bound = operator.le if sign == "<=" else operator.ge, float(number)
        return cls(text, lambda value: bool(compare(value, bound)))


@dataclass(frozen=True)
class Gate:
    """A name that a module of measure/ returns a value for, and two bounds for it."""

    name: str
    must: Bound
    goal: Bound

    def better(self, one: Value, two: Value) -> Value:
        """Which of two tries counts."""
        if isinstance(one, Skipped) or isinstance(two, Skipped):
            return two if isinstance(one, Skipped) else one
        return min(one, two) if self.must.text.startswith("<") else max(one, two)

    def passes(self, value: Value) -> bool:
        return isinstance(value, Skipped) or self.must.holds(value)

    def verdict(self, value: Value) -> str:
        if isinstance(value, Skipped):
            return f"skipped: {value.why}"
        if not self.must.holds(value):
            return "falls short"
        return "goal" if self.goal.holds(value) else "holds"


def read_gates(path: Path = TOML) -> dict[str, list[Gate]]:
    """The gates of each module of measure/."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text())
    return {
        module: [Gate(name, Bound.parse(it["must"]), Bound.parse(it["goal"])) for name, it in gates.items()]
        for module, gates in tables.items()
    }
