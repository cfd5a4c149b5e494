"""Mistakes that kernels of this kind have had, to be planted in the twins: does the explorer find them?

Each replaces one function of a twin, so no kernel has a switch for it. With it goes the schedule that the search found,
a shortest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm import _memory_reference as memory
from numalab.mm import _migrate_reference as migrate
from numalab.mm import _steps_reference as steps
from numalab.mm._lru_reference import isolate_batch
from numalab.mm._swap_reference import replace_in_swap_cache

__all__ = ["BUGS", "Bug"]

#: Which function of which twin is another one now.
Wrong = tuple[ModuleType, str, Callable[..., Any]]


@dataclass(frozen=True)
class Bug:
    """A mistake. wrong: what makes it; case, schedule: under which it shows."""

    wrong: Callable[[], list[Wrong]]
    case: str
    schedule: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The twins make the mistake in here."""
        with ExitStack() as stack:
            for module, name, function in self.wrong():
                stack.enter_context(patch.object(module, name, function))
            yield


BUGS: dict[str, Bug] = {}


def bug(case: str, schedule: str) -> Callable[[Callable[[], list[Wrong]]], None]:
    """A mistake under the name of its function."""

    def add(wrong: Callable[[], list[Wrong]]) -> None:
        BUGS[wrong.__name__] = Bug(wrong, case, schedule)

    return add


@bug("migrate_touch", "")
def migration_forgets_the_flush() -> list[Wrong]:
    """The old page is copied while others still write to it."""
    return [(migrate, "flush_batch", lambda m, b, stats: None)]


@bug("reclaim_touch", "a.unmap.1>b")
def reclaim_forgets_the_flush() -> list[Wrong]:
    """A page is written and freed while others still write to it."""
    return [(steps, "try_to_unmap_flush", lambda m, asids, everything=False: 0)]


@bug("migrate_touch", "")
def the_lock_is_dropped_early() -> list[Wrong]:
    """Nobody waits at the migration entry, and others may take the page."""
    unmap = migrate.unmap_batch

    def wrong(m: Any, b: Any, cpu: int, pfns: list[int], stats: Any) -> int:
        n = unmap(m, b, cpu, pfns, stats)
        for item in b.items:
            m.hot.flags[item.src] &= ~c.PG_locked
        return n

    return [(migrate, "unmap_batch", wrong)]


@bug("migrate_touch", "a.queue.2>b")
def the_copy_comes_before_the_unmapping() -> list[Wrong]:
    """What is written between the two is lost."""
    taken: dict[int, list[int]] = {}
    isolate, copy = isolate_batch, migrate.copy_pages

    def early(m: Any, pfns: list[int]) -> list[int]:
        pages = isolate(m, pfns)
        taken.update((pfn, [m.ram[pfn * 512 + i] for i in range(512)]) for pfn in pages)
        return pages

    def late(m: Any, moving: list[Any]) -> None:
        copy(m, moving)
        for item in moving:
            for i, word in enumerate(taken[item.src]):
                m.ram[item.dst * 512 + i] = word

    return [(migrate, "isolate_batch", early), (migrate, "copy_pages", late)]


@bug("swapin_migrate", "a.unmap.2>b")
def references_are_not_checked() -> list[Wrong]:
    """Who waits for the page finds another one."""
    return [(migrate, "why_not", lambda m, pfn: None)]


@bug("swapin_migrate", "a.remap.1>b")
def references_are_checked_before_the_copy_only() -> list[Wrong]:
    """The check and the taking over must be one step."""
    return [(migrate, "still_movable", lambda m, b, item: True)]


@bug("migrate_touch", "")
def isolation_sleeps_under_the_pte_lock() -> list[Wrong]:
    """Version 5 of 2005 emptied the per-CPU batches there, which waits for other CPUs."""

    def wrong(m: Any, pfns: list[int]) -> list[int]:
        if pfns:
            m.mem.waits.wait("other CPUs to empty their batches", lambda: True)
        return isolate_batch(m, pfns)

    return [(migrate, "isolate_batch", wrong)]


@bug("swapin_migrate", "")
def the_swap_cache_loses_its_reference() -> list[Wrong]:
    """The new page will be freed while the cache still has it."""

    def wrong(m: Any, src: int, dst: int) -> None:
        replace_in_swap_cache(m, src, dst)
        m.hot.refcount[dst] -= 1

    return [(migrate, "replace_in_swap_cache", wrong)]


@bug("reclaim_fork", "")
def fork_does_not_count_a_swap_entry() -> list[Wrong]:
    """The slot is given to somebody else while a process still has its entry."""
    return [(memory, "swap_dup", lambda m, entry: None)]


@bug("migrate_fork", "a.unmap.2>b")
def fork_forgets_migration_entries() -> list[Wrong]:
    """The child finds nothing where its parent's page was on its way."""
    copy = memory.copy_pte

    def wrong(m: Any, dst: Any, to: int, frm: int) -> None:
        if not pt.is_migration_entry(m.ram[frm]):
            copy(m, dst, to, frm)

    return [(memory, "copy_pte", wrong)]


@bug("migrate_fork", "a.unmap.2>b")
def fork_does_not_say_that_an_entry_is_shared() -> list[Wrong]:
    """Only the parent's entry becomes a PTE again."""
    copy = memory.copy_pte

    def wrong(m: Any, dst: Any, to: int, frm: int) -> None:
        entry = m.ram[frm]
        copy(m, dst, to, frm)
        if pt.is_migration_entry(entry):
            m.hot.flags[pt.pte_pfn(entry)] &= ~c.PG_migration_shared

    return [(memory, "copy_pte", wrong)]
