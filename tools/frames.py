"""``map``: the frames of each node, a character for a few of them, by owner, policy, age or state.

One look at the whole machine, a few numpy operations for each view: it reads what the invariants read
(``mm.invariants_state``), so nothing on the machine changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch._pagetable import PTE_DIRTY
from numalab.mm import _constants as c
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import MIGRATION
from numalab.mm.mpol import mpol_to_str

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.kernel.machine import Machine

__all__ = ["VIEWS", "Piece", "frame_map"]

Piece = tuple[str, int]
"""Some text, and the number of its colour; 0 = none."""

WIDTH, ROWS = 64, 4


@dataclass
class _Kinds:
    """What each used frame is: a number into ``names``, 0 = free. Each name has a letter, its own if it can."""

    of: NDArray[np.int64]
    names: list[str]

    def add(self, name: str, frames: NDArray[np.bool_]) -> None:
        """Frames that nothing has named yet are of this kind."""
        if name not in self.names:
            self.names.append(name)
        self.of[frames & (self.of == 0)] = self.names.index(name)

    @property
    def letters(self) -> list[str]:
        taken = ["."]
        for name in self.names[1:]:
            free = (
                x
                for x in name.lower() + "abcdefghijklmnopqrstuvwxyz0123456789"
                if x.isalnum() and x not in taken
            )
            taken.append(next(free, "?"))
        return taken


def _by_owner(state: State, kinds: _Kinds, names: Mapping[int, str]) -> None:
    frames, pages = state.frames, state.pages
    users = np.unique(np.stack([pages.index, pages.owner]), axis=1)
    kinds.add("shared", frames.count(users[0]) > 1)
    for owner, mm in enumerate(state.mms):
        kinds.add(names.get(mm.asid, "nobody"), frames.count(pages.index[pages.owner == owner]) > 0)
    kinds.add("tables", state.tables_at > 0)
    kinds.add("file cache", state.cached > 0)
    kinds.add("swap cache", frames.has(c.PG_swapcache))
    kinds.add("kernel", ~state.free)


def _by_policy(state: State, kinds: _Kinds, names: Mapping[int, str]) -> None:
    frames, pages = state.frames, state.pages
    area = state.area_of[state.leaves.kind == 0]
    texts = [mpol_to_str(vma.policy) for vma in state.areas.vma]
    for text in sorted(set(texts) - {"default"}):
        ours = np.array([other == text for other in texts] + [False])
        kinds.add(text, frames.count(pages.index[ours[area]]) > 0)
    kinds.add("no policy of its own", state.mappings > 0)
    kinds.add("not mapped", ~state.free)


def _by_age(state: State, kinds: _Kinds, names: Mapping[int, str]) -> None:
    frames, on_lru = state.frames, state.frames.has(c.PG_lru)
    kinds.add("unevictable", on_lru & frames.has(c.PG_unevictable))
    kinds.add("active", on_lru & frames.has(c.PG_active))
    kinds.add("inactive", on_lru)
    kinds.add("batched for a list", frames.has(c.PG_lru_batch))
    kinds.add("on no list", ~state.free)


def _by_state(state: State, kinds: _Kinds, names: Mapping[int, str]) -> None:
    frames, leaves = state.frames, state.leaves
    kinds.add("migrating", frames.count(leaves.index[leaves.kind == MIGRATION]) > 0)
    kinds.add("pinned", ~state.free & ((frames.pincount > 0) | state.is_held))
    for name in ("locked", "writeback", "isolated", "mlocked", "dirty"):
        kinds.add(name, ~state.free & frames.has(getattr(c, f"PG_{name}")))
    written = state.pages.pte & np.uint64(PTE_DIRTY) != 0
    kinds.add("dirty", frames.count(state.pages.index[written]) > 0)
    kinds.add("clean", ~state.free & (frames.has(c.PG_lru) | frames.has(c.PG_lru_batch)))
    kinds.add("kernel", ~state.free)


VIEWS: dict[str, Callable[[State, _Kinds, Mapping[int, str]], None]] = {
    "owner": _by_owner,
    "policy": _by_policy,
    "age": _by_age,
    "state": _by_state,
}


def frame_map(machine: Machine, view: str, names: Mapping[int, str]) -> Iterator[list[Piece]]:
    """Lines of coloured text: for each node its frames, then what the letters mean.

    names: what people call the address spaces, by asid.

    A character stands for as many frames as the largest node needs to fit; it is the kind of which most of those in
    use are, a capital if at least half of them are in use.
    """
    k = machine.kernel
    state = State(k.mem, list(k.mms()), [], dict(+k.mem.held))
    kinds = _Kinds(np.zeros(len(state.frames), np.int64), ["free"])
    VIEWS[view](state, kinds, names)
    letters = kinds.letters
    largest = max(sum(end - start for start, end in node.ranges) for node in machine.topology.nodes)
    each = max(1, -(-largest // (WIDTH * ROWS)))
    total = np.bincount(kinds.of[~state.free], minlength=len(kinds.names))
    for node in machine.topology.nodes:
        cells = [cell for start, end in node.ranges for cell in _cells(state, kinds, start, end, each)]
        for at in range(0, len(cells), WIDTH):
            head = f"node {node.id}" if at == 0 else ""
            row = (
                (letters[kind].upper() if full else letters[kind], kind)
                for kind, full in cells[at : at + WIDTH]
            )
            yield [(f"{head:8}", 0), *row]
    yield [("", 0)]
    yield [
        (f"one character: {each} frame{'s' * (each > 1)}, a capital if half of them or more are in use", 0)
    ]
    for kind in range(1, len(kinds.names)):
        if total[kind]:
            yield [(f"  {letters[kind]}", kind), (f"  {kinds.names[kind]:24}{total[kind]:>9} frames", 0)]


def _cells(state: State, kinds: _Kinds, start: int, end: int, each: int) -> Iterator[tuple[int, bool]]:
    """(kind, whether half of its frames are in use) of each piece of a range."""
    here = (state.frames.pfn >= start) & (state.frames.pfn < end) & ~state.free
    cell = (state.frames.pfn[here] - start) // each
    n = len(kinds.names)
    count = -(-(end - start) // each)
    counts = np.bincount(cell * n + kinds.of[here], minlength=count * n).reshape(count, n)
    for i, row in enumerate(counts):
        size = min(each, end - start - i * each)
        yield (int(row.argmax()), int(row.sum()) * 2 >= size) if row.any() else (0, False)
