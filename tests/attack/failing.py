"""Allocations that fail: the plain-Python allocator says no, once or from then on, as CONFIG_FAIL_PAGE_ALLOC has it.

The compiled kernels have no switch for it: that would cost every page something. Drivers are the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from numalab.mm import (
    _constants,
    _hugetlb_reference,
    _khugepaged_reference,
    _mempolicy_reference,
    _migrate_reference,
    _page_alloc_reference,
)

__all__ = ["Failing"]

MODULES = (
    _mempolicy_reference,
    _page_alloc_reference,
    _migrate_reference,
    _hugetlb_reference,
    _khugepaged_reference,
)


class Failing:
    """The allocator of the twins: request ``first`` fails, counted from 0 while ``on()``, and so do ``times`` in all.

    A request for several frames counts once for each, and may be met in part.
    """

    def __init__(self, first: int, times: int) -> None:
        self.first = first
        self.times = times
        self.on: Callable[[], bool] = lambda: False
        self.seen = 0
        self.failed = 0

    def granted(self, want: int) -> int:
        """How many of so many frames there are."""
        if not self.on():
            return want
        before, self.seen = self.seen, self.seen + want
        if self.seen <= self.first or self.failed >= self.times:
            return want
        self.failed += 1
        self.seen = max(before, self.first) + 1
        return max(0, self.first - before)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Twins allocate by these rules in here."""
        bulk, huge = _mempolicy_reference.alloc_pages_bulk, _mempolicy_reference.alloc_huge_node

        def alloc_pages_bulk(m: Any, ctx: Any, nid: int, nodes: int, gfp: int, want: int) -> list[int]:
            n = self.granted(want)
            return bulk(m, ctx, nid, nodes, gfp, n) if n else []

        def alloc_huge_node(*args: Any) -> int:
            return huge(*args) if self.granted(1) else _constants.NO_PFN

        wrong: dict[str, Callable[..., Any]] = {
            "alloc_pages_bulk": alloc_pages_bulk,
            "alloc_huge_node": alloc_huge_node,
        }
        with ExitStack() as stack:
            for module in MODULES:
                for name in wrong.keys() & vars(module).keys():
                    stack.enter_context(patch.object(module, name, wrong[name]))
            yield
