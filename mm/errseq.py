"""Errors that each of many watchers is told of once: those of writes, which end long after whoever wrote has gone on.

Mirrors lib/errseq.c. What can go wrong counts its errors and knows whether anybody has been told of the last; a watcher
knows the count up to which it has been told. An error that nobody knows of is news to those who come later, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["ErrSeq", "Fallible", "errseq_sample", "errseq_seen", "errseq_set"]


class Fallible(Protocol):
    """wb_err: how many writes have failed; wb_err_seen: whether somebody has been told of the last."""

    wb_err: int
    wb_err_seen: bool


@dataclass
class ErrSeq:
    """errseq_t."""

    wb_err: int = 0
    wb_err_seen: bool = False


def errseq_set(of: Fallible) -> None:
    """One more."""
    of.wb_err, of.wb_err_seen = of.wb_err + 1, False


def errseq_sample(of: Fallible) -> int:
    """What a new watcher knows: the errors that somebody has been told of."""
    return of.wb_err if of.wb_err_seen or not of.wb_err else of.wb_err - 1


def errseq_seen(of: Fallible) -> int:
    """Somebody is told now: what he knows from now on."""
    of.wb_err_seen = True
    return of.wb_err
