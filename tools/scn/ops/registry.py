"""The table of operations: each registers itself with its usage, so that help and completion know it.

An operation is a function ``(actor, line) -> text`` that returns what stands behind ``=>``.  It raises
``ScriptError`` for a line outside the language; ``Unsupported`` comes up from a system call that this
machine does not have yet.  Its docstring is what ``help`` shows, and its module names the family.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from numalab.tools.scn.actor import Actor
from numalab.tools.scn.parse import Line

__all__ = ["OPERATIONS", "Operation", "operation"]

Perform = Callable[[Actor, Line], str]


@dataclass(frozen=True)
class Operation:
    """One operation of the language.

    usage: its arguments, in words whose capitals say what each may be (RANGE, MODE, ...); completion reads them.
    """

    name: str
    usage: str
    perform: Perform

    @property
    def help(self) -> str:
        """What it does: the docstring of its function."""
        return inspect.getdoc(self.perform) or ""

    @property
    def family(self) -> str:
        """The module that it stands in."""
        return self.perform.__module__.rpartition(".")[2]


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, usage: str) -> Callable[[Perform], Perform]:
    """Register the decorated function as the operation ``name``."""

    def register(perform: Perform) -> Perform:
        OPERATIONS[name] = Operation(name, usage, perform)
        return perform

    return register
