"""Free address ranges, found by length: where between the areas of an address space is there room?

A tree of fixed shape, like page tables: a node stands for an aligned part of the address space and knows, for each of
its children, the longest gap that begins there. So a gap changes in one node per level, and the highest or the lowest
that is long enough is found by going up until a child has one, and down to it. Neither depends on the number of areas.

Mirrors the gaps that Linux keeps in the nodes of its maple tree (MAPLE_RANGE64 to MAPLE_ARANGE64, mas_empty_area() and
mas_empty_area_rev() of lib/maple_tree.c). vma_tree.py keeps it up to date, get_unmapped_area.py asks.
"""

from __future__ import annotations

from collections.abc import Callable

from numalab.mm.vm_flags import PAGE_SHIFT

__all__ = ["END", "GapTree"]

BITS, LEVELS = 6, 8  # 64 children a node; 2**48 pages
END = 1 << (PAGE_SHIFT + BITS * LEVELS)


class GapTree:
    """The gaps of one address space, each known by where it begins. At first there is none."""

    def __init__(self) -> None:
        # By level, leaves first: {number of the node: {number of the child: longest gap}}; empty nodes are left out.
        self._levels: list[dict[int, dict[int, int]]] = [{} for _ in range(LEVELS)]

    def length(self, start: int) -> int:
        """Of the gap that begins at ``start``; 0: none does."""
        key = start >> PAGE_SHIFT
        return self._levels[0].get(key >> BITS, {}).get(key, 0)

    def set(self, start: int, length: int) -> None:
        """From now on the gap that begins at ``start`` is so long; 0: there is none. O(levels)."""
        key = start >> PAGE_SHIFT
        for level in self._levels:
            node = level.setdefault(key >> BITS, {})
            old = node.pop(key, 0)
            if length:
                node[key] = length
            key >>= BITS
            if not node:
                del level[key]
            if length == old:
                return
            length = max(node.values(), default=0)

    def highest(self, below: int, length: int) -> int | None:
        """The highest beginning below ``below`` of a gap that is at least so long. O(levels)."""
        key = below >> PAGE_SHIFT
        for height, level in enumerate(self._levels):
            node = level.get(key >> BITS, {})
            fit = [at for at, longest in node.items() if longest >= length and at < key]
            if fit:
                return self._descend(max(fit), height, length, max)
            key >>= BITS
        return None

    def lowest(self, above: int, length: int) -> int | None:
        """The lowest beginning above ``above`` of a gap that is at least so long. O(levels)."""
        key = above >> PAGE_SHIFT
        for height, level in enumerate(self._levels):
            node = level.get(key >> BITS, {})
            fit = [at for at, longest in node.items() if longest >= length and at > key]
            if fit:
                return self._descend(min(fit), height, length, min)
            key >>= BITS
        return None

    def _descend(self, node: int, height: int, length: int, choose: Callable[[list[int]], int]) -> int:
        """Below a child that has such a gap: its highest or its lowest one."""
        for level in reversed(self._levels[:height]):
            node = choose([at for at, longest in level[node].items() if longest >= length])
        return node << PAGE_SHIFT

    def items(self) -> list[tuple[int, int]]:
        """(start, length) of each gap, ascending."""
        return sorted((key << PAGE_SHIFT, n) for node in self._levels[0].values() for key, n in node.items())
