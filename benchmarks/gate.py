"""A gate of gates.toml: what must hold, and what a measured value says about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Skipped", "Value"]


@dataclass(frozen=True)
class Skipped:
    """A measurement that this host does not allow, and why."""

    why: str


Value = float | Skipped
