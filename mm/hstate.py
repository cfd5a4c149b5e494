"""The pool of huge pages that hugetlb keeps, node by node.

Pages are in the pool before anybody asks for them (nr_hugepages) and come back to it when nobody uses them any more. A
reservation is a promise of one page, of no node in particular; what is free and not reserved is for everybody. Above
the pool there may be surplus pages (nr_overcommit_hugepages), which are freed after use, and a page that moves to a
node without a free one takes its place in the pool along.

Mirrors struct hstate and the half of mm/hugetlb.c that deals with it. There is one size, 2 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from numalab.arch.errno import EBUSY, ENOMEM, KernelError
from numalab.mm import _constants as c
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.nodemask import MAX_NUMNODES, next_node_in, nodes_weight
from numalab.mm.zones import in_zone_movable

if TYPE_CHECKING:
    from numalab.mm._migrate import Target
    from numalab.mm._mm_types import AllocCtx, MemMap
    from numalab.mm.hugetlbfs import HugetlbFile

__all__ = ["Hstate"]

#: What a page in the pool still has of its flags: its place, and what it is; and that it once was dirty.
_KEPT = np.uint32(c.PG_dirty | c.PG_hugetlb | c.PG_head | c.PG_tail | 0xFF << c.PG_ZONE_SHIFT)


class Hstate:
    """The pool. Pages are known by their first frame.

    free_lists: by node, the last one goes out first. temporary: pages that a migration made, which are freed after use.
    files: those of hugetlb, by their mappings' ids.
    """

    def __init__(self, mem: MemMap) -> None:
        self.mem = mem
        nodes = mem.topology.nr_node_ids
        self.free_lists: list[list[int]] = [[] for _ in range(nodes)]
        self.nr_huge_pages_node = [0] * nodes
        self.surplus_huge_pages_node = [0] * nodes
        self.resv_huge_pages = self.max_huge_pages = self.nr_overcommit_huge_pages = 0
        self.next_nid_to_alloc = self.next_nid_to_free = next_node_in(MAX_NUMNODES - 1, mem.memory_nodes)
        self.temporary: set[int] = set()
        self.files: dict[int, HugetlbFile] = {}
        self.dev = 0  #: of the file system that they are on

    @property
    def nr_huge_pages(self) -> int:
        """Pages in the pool or in use."""
        return sum(self.nr_huge_pages_node)

    @property
    def free_huge_pages(self) -> int:
        """Pages that nobody uses, reserved or not."""
        return sum(map(len, self.free_lists))

    @property
    def surplus_huge_pages(self) -> int:
        """Pages above the size of the pool."""
        return sum(self.surplus_huge_pages_node)

    @property
    def persistent_huge_pages(self) -> int:
        """The size of the pool."""
        return self.nr_huge_pages - self.surplus_huge_pages

    @property
    def available_huge_pages(self) -> int:
        """Free pages that nobody has been promised."""
        return self.free_huge_pages - self.resv_huge_pages

    # ------------------------------------------------------------ its size

    def set_max_huge_pages(self, ctx: AllocCtx, count: int, nid: int, nodes_allowed: int) -> None:
        """Make the pool (of one node, if nid >= 0) so large, with changes on ``nodes_allowed`` only.

        It is as large as there is memory for, and at least as large as what is in use and reserved. Pages in use that
        are too many become surplus.
        """
        if nid >= 0:
            count += self.persistent_huge_pages
            count -= self.nr_huge_pages_node[nid] - self.surplus_huge_pages_node[nid]
        while self.surplus_huge_pages and count > self.persistent_huge_pages:
            if not self._adjust_pool_surplus(nodes_allowed, -1):
                break
        while count > self.persistent_huge_pages and self._alloc_pool_huge_folio(ctx, nodes_allowed):
            pass
        keep = max(count, self.resv_huge_pages + self.nr_huge_pages - self.free_huge_pages)
        while keep < self.persistent_huge_pages and self._remove_pool_huge_folio(
            nodes_allowed, surplus=False
        ):
            pass
        while count < self.persistent_huge_pages and self._adjust_pool_surplus(nodes_allowed, 1):
            pass
        self.max_huge_pages = self.persistent_huge_pages

    def _nodes_to_alloc(self, nodes: int) -> Iterator[int]:
        """for_each_node_mask_to_alloc(): once round, beginning where the last one ended."""
        for _ in range(nodes_weight(nodes)):
            nid = _valid_node(self.next_nid_to_alloc, nodes)
            self.next_nid_to_alloc = next_node_in(nid, nodes)
            yield nid

    def _nodes_to_free(self, nodes: int) -> Iterator[int]:
        """for_each_node_mask_to_free()."""
        for _ in range(nodes_weight(nodes)):
            nid = _valid_node(self.next_nid_to_free, nodes)
            self.next_nid_to_free = next_node_in(nid, nodes)
            yield nid

    def _adjust_pool_surplus(self, nodes: int, delta: int) -> bool:
        """A page more or less of those that there are counts as surplus; False: no node has one for that."""
        surplus, total = self.surplus_huge_pages_node, self.nr_huge_pages_node
        for nid in self._nodes_to_alloc(nodes) if delta < 0 else self._nodes_to_free(nodes):
            if surplus[nid] if delta < 0 else surplus[nid] < total[nid]:
                surplus[nid] += delta
                return True
        return False

    def _alloc_pool_huge_folio(self, ctx: AllocCtx, nodes: int) -> bool:
        """One page more, on the node whose turn it is or the next that has room."""
        for nid in self._nodes_to_alloc(nodes):
            head = self._alloc_fresh(ctx, nid, 0, c.GFP_USER_MOVABLE | c.GFP_THISNODE)
            if head is not None:
                self.free_lists[nid].append(head)
                return True
        return False

    def _remove_pool_huge_folio(self, nodes: int, *, surplus: bool) -> bool:
        """A free page less, of a node that has surplus ones if it is one of these."""
        for nid in self._nodes_to_free(nodes):
            if self.free_lists[nid] and (not surplus or self.surplus_huge_pages_node[nid]):
                self._remove(self.free_lists[nid].pop(), surplus=surplus)
                return True
        return False

    # ------------------------------------------------------------ pages

    def _alloc_fresh(self, ctx: AllocCtx, nid: int, nodes: int, gfp: int) -> int | None:
        """alloc_fresh_hugetlb_folio(): from the buddy allocator, counted, and not yet in any list."""
        head: int = self.mem.k.hugetlb.alloc_fresh_hugetlb_folio(self.mem, ctx, nid, nodes, gfp)
        if head == c.NO_PFN:
            return None
        self.nr_huge_pages_node[self.mem.node_of(head)] += 1
        return head

    def _remove(self, head: int, *, surplus: bool) -> None:
        """remove_hugetlb_folio() and update_and_free(): a page that nobody uses and no list has."""
        nid = self.mem.node_of(head)
        self.nr_huge_pages_node[nid] -= 1
        self.surplus_huge_pages_node[nid] -= surplus
        self.mem.k.hugetlb.free_hugetlb_folio(self.mem, head)

    def dissolve_free_hugetlb_folios(self, start: int, end: int) -> None:
        """Frames [start, end) go away: give up what the pool has there.

        Raises KernelError(EBUSY): a free page has been promised to somebody.
        """
        for free in self.free_lists:
            for head in [head for head in free if start <= head < end]:
                if self.available_huge_pages <= 0:
                    raise KernelError(EBUSY, "all free huge pages are reserved")
                free.remove(head)
                self.max_huge_pages -= 1
                self._remove(head, surplus=self.surplus_huge_pages_node[self.mem.node_of(head)] > 0)

    def _usable(self, nid: int, movable: bool) -> int | None:
        """The page of a node that goes out next: not one that is about to go offline, or in ZONE_MOVABLE if that
        will not do.
        """
        mem, isolated = self.mem, self.mem.isolate_zone
        for head in reversed(self.free_lists[nid]):
            if mem.section_zone[head >> c.SECTION_SHIFT] != isolated and (
                movable or not in_zone_movable(mem, head)
            ):
                return head
        return None

    def dequeue(
        self, ctx: AllocCtx, nid: int, nodes: int, *, thisnode: bool = False, movable: bool = True
    ) -> int | None:
        """dequeue_hugetlb_folio_nodemask(): a free page of the nearest of ``nodes`` (0 = all) to nid."""
        zones = self.mem.zonelist[nid]
        order = [nid] if thisnode else dict.fromkeys(self.mem.zones["node"][zones[zones >= 0]].tolist())
        allowed = ctx.mems_allowed & (nodes or ctx.mems_allowed)
        for node in order:
            if allowed >> node & 1 and (head := self._usable(node, movable)) is not None:
                self.free_lists[node].remove(head)
                return head
        return None

    def alloc_surplus(self, ctx: AllocCtx, nid: int, nodes: int) -> int | None:
        """alloc_surplus_hugetlb_folio(): a page above the size of the pool, if there may be one more."""
        if self.surplus_huge_pages >= self.nr_overcommit_huge_pages:
            return None
        head = self._alloc_fresh(ctx, nid, nodes, c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM)
        if head is not None:
            self.surplus_huge_pages_node[self.mem.node_of(head)] += 1
        return head

    def alloc_for_migration(self, ctx: AllocCtx, target: Target) -> int | None:
        """alloc_hugetlb_folio_nodemask(): a free page that is nobody's, else one that did not exist before.

        target: a node, and perhaps others.
        """
        nid, nodes, thisnode = target.nid, target.nodes, bool(target.gfp & c.GFP_THISNODE)
        head = None
        if self.available_huge_pages > 0:
            movable = bool(target.gfp & c.GFP_USER_MOVABLE)
            head = self.dequeue(ctx, nid, nodes, thisnode=thisnode, movable=movable)
        if head is None:
            head = self._alloc_fresh(ctx, nid, nodes, target.gfp)
            if head is not None:
                self.temporary.add(head)
        return head

    def move_state(self, old: int, new: int) -> None:
        """move_hugetlb_state(): ``new`` takes the place of ``old``, which is about to be freed, in the pool."""
        if new not in self.temporary:
            return
        self.temporary.remove(new)
        self.temporary.add(old)
        source, dest = self.mem.node_of(old), self.mem.node_of(new)
        if source != dest and self.surplus_huge_pages_node[source]:
            self.surplus_huge_pages_node[source] -= 1
            self.surplus_huge_pages_node[dest] += 1

    def free_huge_folio(self, head: int) -> None:
        """Nobody uses a page any more: back to the pool, or away if it is too many."""
        self.mem.hot["flags"][head : head + c.HPAGE_PMD_NR] &= _KEPT
        nid = self.mem.node_of(head)
        if head in self.temporary:
            self.temporary.remove(head)
            self._remove(head, surplus=False)
        elif self.surplus_huge_pages_node[nid]:
            self._remove(head, surplus=True)
        else:
            self.free_lists[nid].append(head)

    def put_page(self, head: int) -> None:
        """One holder of a whole page less; the last one frees it, unless somebody has a part of it."""
        refcount = self.mem.hot["refcount"][head : head + c.HPAGE_PMD_NR]
        refcount -= 1
        if not refcount.any():
            self.free_huge_folio(head)

    def put_part(self, pfn: int) -> None:
        """One holder of one of its pages less."""
        self.mem.hot["refcount"][pfn] -= 1
        head = pfn & -c.HPAGE_PMD_NR
        if not self.mem.hot["refcount"][head : head + c.HPAGE_PMD_NR].any():
            self.free_huge_folio(head)

    # ------------------------------------------------------------ reservations

    def acct_memory(self, ctx: AllocCtx, delta: int) -> None:
        """hugetlb_acct_memory(): promise so many pages, for which surplus ones may be made.

        Raises KernelError(ENOMEM): there are too few, or too few on nodes that the task may use. Nothing is promised.
        """
        self._gather_surplus_pages(ctx, delta)
        allowed = ctx.mems_allowed
        if ctx.policy is not None and ctx.policy.mode == MPOL_BIND and ctx.policy.nodes & allowed:
            allowed &= ctx.policy.nodes
        if delta > sum(len(free) for nid, free in enumerate(self.free_lists) if allowed >> nid & 1):
            self.unreserve(delta)
            raise KernelError(ENOMEM, f"no {delta} free huge pages on the nodes that the task may use")

    def _gather_surplus_pages(self, ctx: AllocCtx, delta: int) -> None:
        needed = self.resv_huge_pages + delta - self.free_huge_pages
        made: list[int] = []
        while len(made) < needed:
            head = self.alloc_surplus(ctx, ctx.nid, 0)
            if head is None:
                for head in made:
                    self._remove(head, surplus=True)
                raise KernelError(ENOMEM, f"{needed} more huge pages would be needed")
            made.append(head)
        for head in made:
            self.free_lists[self.mem.node_of(head)].append(head)
        self.resv_huge_pages += delta

    def unreserve(self, pages: int) -> None:
        """return_unused_surplus_pages(): so many promises less; surplus pages that were made for them go."""
        self.resv_huge_pages -= pages
        for _ in range(min(pages, self.surplus_huge_pages)):
            if not self._remove_pool_huge_folio(self.mem.memory_nodes, surplus=True):
                break


def _valid_node(nid: int, nodes: int) -> int:
    """get_valid_node_allowed()."""
    return nid if nodes >> nid & 1 else next_node_in(nid, nodes)
