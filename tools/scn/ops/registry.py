"""The table of operations: each registers itself with its usage, so that help and completion know it.

An operation is a function ``(actor, line) -> text`` that returns what stands behind ``=>``.  It raises
``ScriptError`` for a line outside the language; ``Unsupported`` comes up from a system call that this
machine does not have yet.  Its docstring is what ``help`` shows, and its module names the family.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops.words import check_word
from numalab.tools.scn.parse import Line, ScriptError

__all__ = ["OPERATIONS", "Operation", "check_words", "operation"]

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
    def keys(self) -> dict[str, str]:
        """The words that may stand before a ``=``, and what may stand behind it."""
        return dict(re.findall(r"\[(\w+)=([^\]]*)\]", self.usage))

    @property
    def words(self) -> list[str]:
        """What may follow the name without a ``=``; behind one with ``..`` may stand any number."""
        return [word for word in self.usage.split() if "=" not in word]

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


def check_words(line: Line) -> None:
    """Raises ScriptError for words that their operation knows nothing of: the recorder passes them over."""
    if not line.pos:
        if line.kv:
            raise ScriptError(f"no-operation:{line.kv[0][0][:40]}=")
        return
    known = OPERATIONS.get(line.pos[0])
    if known is None:
        return
    for key, value in line.kv:
        if key not in known.keys:
            raise ScriptError(f"no-such-key:{key[:40]} ({known.name} has {', '.join(known.keys) or 'none'})")
        check_word(key, known.keys[key], value)
    words = known.words
    if len(line.pos) - 1 > len(words) and not any(re.search(r"\w\.\.", word) for word in words):
        takes = " ".join(words) or "none"
        raise ScriptError(f"too-many-words:{line.pos[len(words) + 1][:40]} ({known.name} takes {takes})")
    for kind, word in zip(words, line.pos[1:], strict=False):
        check_word(kind.strip("[]") if kind.isupper() else known.name, kind.strip("[]"), word)
