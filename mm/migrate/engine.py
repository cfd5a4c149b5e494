"""The engines: three ways in which Linux has moved the pages of a process, behind one interface.

Validation, permissions and the order of errors are 6.12's under each of them. What differs is said here, engine by
engine: which nodes are vacated in favour of which, which areas and shared pages are passed over, and how the isolated
pages of a list are then got rid of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from numalab.mm.migrate import batched, direct, swap
from numalab.mm.migrate.ledger import Reason
from numalab.mm.migrate.pairs import evictions, node_pairs
from numalab.mm.vm_flags import VM_HUGETLB, VM_LOCKED

if TYPE_CHECKING:
    from numalab.mm._migrate import Target
    from numalab.mm._mm_types import AllocCtx, MemMap
    from numalab.mm._page_list import PageList
    from numalab.mm.migrate.ledger import Ledger

__all__ = ["ENGINES", "Engine", "engine_of", "why_passed_over"]

#: Of MPOL_MF_INTERNAL (``_migrate``): anonymous pages are taken even if others map them; pages of a file are not, if
#: another process maps the file too and nobody for writing.
MF_V5_FILTER = 16


@dataclass(frozen=True)
class Engine:
    """One way of moving pages.

    pairs: (mask of nodes to vacate, destination) in order, from the two sets of migrate_pages(2); -1 = anywhere.
    passes_over: areas with these VM_* flags are left alone by migrate_pages(2) and mbind(2).  flags: MF_V5_FILTER or 0,
    how pages that several processes map are judged without MPOL_MF_MOVE_ALL.  migrate: gets rid of the isolated pages
    of a list; returns how many stay, or -ENOMEM.  aims: it can put a page where move_pages(2) wants it.
    """

    name: str
    pairs: Callable[[int, int], Iterable[tuple[int, int]]]
    passes_over: int
    flags: int
    migrate: Callable[[MemMap, AllocCtx, PageList, Target, Ledger], int]
    aims: bool = True


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "swap",
            pairs=evictions,
            passes_over=VM_LOCKED | VM_HUGETLB,
            flags=MF_V5_FILTER,
            migrate=swap.migrate_pages,
            aims=False,
        ),
        Engine(
            "direct",
            pairs=partial(node_pairs, shared_stay=False),
            passes_over=VM_LOCKED | VM_HUGETLB,
            flags=0,
            migrate=direct.migrate_pages,
        ),
        Engine(
            "batched",
            pairs=node_pairs,
            passes_over=0,
            flags=0,
            migrate=batched.migrate_pages,
        ),
    )
}


def engine_of(mem: MemMap, *, aiming: bool = False) -> Engine:
    """The engine that a machine uses now. aiming: for move_pages(2), which the one of 2005 cannot serve."""
    engine = ENGINES[mem.engine]
    return ENGINES["direct"] if aiming and not engine.aims else engine


def why_passed_over(vm_flags: int) -> Reason:
    """Why an area is left alone: VM_LOCKED, if that is one of the flags for which the engine does so; else its kind."""
    return Reason.MLOCKED if vm_flags & VM_LOCKED else Reason.NOT_MIGRATABLE
