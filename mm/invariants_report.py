"""What the invariants say when one is broken.

Each finding names the invariant by number and name, the clause of it, and what is wrong: which frame, on which node,
what was expected and what was found. A clause that fails for many frames reports the first few and how many more,
so that a report of a wholly broken machine can still be read.

Linux has no such thing in one place; its VM_BUG_ON()s, CONFIG_DEBUG_VM_RB and page_owner come nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numalab.mm._mm_types import MemMap

__all__ = ["NAMES", "Broken", "InvariantError", "Report"]

#: What must always hold, by number; ``invariants.py`` has the sentences.
NAMES = {
    1: "every frame in one place",
    2: "buddies",
    3: "references and mappings",
    4: "LRU",
    5: "freed frames",
    6: "swap",
    7: "migration entries",
    8: "contents",
    9: "policies",
    10: "counters",
    11: "areas",
}

#: Findings of one clause that are spelled out.
LIMIT = 6

_SECTION_SHIFT = 15
_NO_NODE = 0xFF


@dataclass(frozen=True)
class Broken:
    """One violation. pfn, node: the frame it is about, if it is about one; expected, got: the two that should agree."""

    number: int
    clause: str
    what: str
    pfn: int | None = None
    node: int | None = None
    expected: object = None
    got: object = None

    @property
    def name(self) -> str:
        """The invariant's short name."""
        return NAMES[self.number]

    def __str__(self) -> str:
        where = "" if self.pfn is None else f"frame {self.pfn}"
        if self.node is not None:
            where += f"{' on ' if where else ''}node {self.node}"
        values = (
            ""
            if self.expected is None and self.got is None
            else f" (expected {self.expected}, got {self.got})"
        )
        return f"{self.number} {self.name}, {self.clause}: {where}{': ' if where else ''}{self.what}{values}"


class InvariantError(AssertionError):
    """The machine is in a state that no kernel leaves behind. broken: everything that was found."""

    def __init__(self, broken: list[Broken]) -> None:
        super().__init__(f"{len(broken)} invariants are broken:\n" + "\n".join(map(str, broken)))
        self.broken = broken


class Report:
    """Collects findings; every check writes into the same one."""

    def __init__(self, mem: MemMap) -> None:
        self.broken: list[Broken] = []
        self._section_node: NDArray[np.uint8] = mem.section_node

    def add(
        self,
        number: int,
        clause: str,
        what: str,
        *,
        pfn: int | None = None,
        node: int | None = None,
        expected: object = None,
        got: object = None,
    ) -> None:
        """One finding; the node follows from the frame."""
        if pfn is not None and node is None:
            node = self._node_of(pfn)
        self.broken.append(Broken(number, clause, what, pfn, node, expected, got))

    def same(
        self, number: int, clause: str, what: str, expected: object, got: object, *, node: int | None = None
    ) -> None:
        """A finding unless two values are equal."""
        if expected != got:
            self.add(number, clause, what, node=node, expected=expected, got=got)

    def frames(
        self,
        number: int,
        clause: str,
        what: str,
        bad: NDArray[np.bool_],
        pfns: NDArray[Any],
        *,
        expected: NDArray[Any] | None = None,
        got: NDArray[Any] | None = None,
    ) -> None:
        """One finding for each true element of ``bad``; the other arrays say, element by element, about what."""
        if not bad.any():
            return
        at = np.flatnonzero(bad)
        for i in at[:LIMIT]:
            self.add(
                number,
                clause,
                what,
                pfn=int(pfns[i]),
                expected=None if expected is None else expected[i].item(),
                got=None if got is None else got[i].item(),
            )
        if len(at) > LIMIT:
            self.add(number, clause, f"{what}: so do {len(at) - LIMIT} more")

    def _node_of(self, pfn: int) -> int | None:
        section = pfn >> _SECTION_SHIFT
        if not 0 <= section < len(self._section_node) or self._section_node[section] == _NO_NODE:
            return None
        return int(self._section_node[section])
