"""Which node's pages go to which: the pairing of migrate_pages(2).

Mirrors the loop of do_migrate_pages() in mm/mempolicy.c. The sets are paired by position, so that the relative layout
of the pages survives, and the pairs are taken in an order in which a node is emptied before it is filled where that is
possible.
"""

from __future__ import annotations

from collections.abc import Iterator

from numalab.mm.nodemask import node_remap, nodes_weight

__all__ = ["evictions", "node_pairs"]


def node_pairs(from_nodes: int, to_nodes: int, *, shared_stay: bool = True) -> Iterator[tuple[int, int]]:
    """The (mask of one source, destination) pairs of one call, in the order in which Linux takes them.

    Of the sources left, the last one is taken whose destination is not a source any more, or else the last that moves
    at all.  shared_stay: when the sets differ in size, nodes in both stay as they are.  Before that rule came, in
    2.6.16 and 2.6.18, {0,1,2} to {1,2} took the pages of node 2 to node 1, and then on to node 2.
    """
    left = from_nodes
    stay = to_nodes if shared_stay and nodes_weight(from_nodes) != nodes_weight(to_nodes) else 0
    while left:
        source = dest = -1
        for s in range(left.bit_length()):
            d = node_remap(s, from_nodes, to_nodes)
            if not (left & ~stay) >> s & 1 or s == d:
                continue
            source, dest = s, d
            if not left >> d & 1:
                break
        if source < 0:
            return
        left &= ~(1 << source)
        yield 1 << source, dest


def evictions(from_nodes: int, to_nodes: int) -> Iterator[tuple[int, int]]:
    """What V5 of October 2005 pairs: the nodes to vacate, all at once, with nowhere in particular (-1)."""
    if nodes := from_nodes & ~to_nodes:
        yield nodes, -1
