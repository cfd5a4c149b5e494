"""Errors of use: what a person typed cannot be done, and one line says why."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """Printed as one line on standard error; the command then exits with 2."""
