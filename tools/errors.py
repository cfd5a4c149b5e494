"""Errors of use: what a person typed cannot be done, and one line says why."""

from __future__ import annotations

__all__ = ["UsageError", "one_line"]


class UsageError(Exception):
    """Printed as one line on standard error; the command then exits with 2."""


def one_line(message: object) -> str:
    """A message as one line that a terminal can show, whatever names are quoted in it: what it cannot is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))
