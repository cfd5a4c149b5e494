"""Which node a page comes from: zonelists and memory policies. The upper half of the twin of _page_alloc.

Mirrors get_page_from_freelist() of mm/page_alloc.c and the allocation half of mm/mempolicy.c. A request starts at a
node and goes through all zones in order of distance: first down to their low watermarks, then down to min. A policy
chooses the node to start at, and which nodes may be used.

Fewer frames than asked for mean: reclaim and call again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from numalab.arch._hw import EV_MM_PAGE_ALLOC
from numalab.mm import _constants as c
from numalab.mm._buddy_reference import buddy_take, unpoison_page, zone_alloc_bulk
from numalab.mm._reference import View
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_INTERLEAVE,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
)
from numalab.mm.nodemask import first_node, next_node_in, nodes_in

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MemPolicy

__all__ = [
    "WMARK_MIN", "alloc_huge_mpol", "alloc_huge_node", "alloc_pages_bulk", "alloc_pages_mpol", "interleave_nid",
    "set_place", "zones_for",
]  # fmt: skip

ZONE_NORMAL, ZONE_MOVABLE = 2, 3
WMARK_MIN, WMARK_LOW = 0, 1


# ---------------------------------------------------------------- zonelists


def zone_statistics(m: View, ctx: AllocCtx, preferred: int, node: int, n: int) -> None:
    """zone_statistics(): hit or miss against the wanted node, local or other against the CPU's."""
    m.node_stat[node, c.NUMA_LOCAL if node == ctx.nid else c.NUMA_OTHER] += n
    if node == preferred:
        m.node_stat[node, c.NUMA_HIT] += n
    else:
        m.node_stat[node, c.NUMA_MISS] += n
        m.node_stat[preferred, c.NUMA_FOREIGN] += n


def set_place(m: View, pfns: Iterable[int], z: int) -> None:
    """set_page_links(): what is left in the flags of a free page, and what a page that was never used has not yet."""
    for pfn in pfns:
        if m.mem.debug:
            unpoison_page(m, pfn)
        m.hot.flags[pfn] = m.zones.place[z]


def zones_for(m: View, nid: int, nodes: int, gfp: int) -> Iterator[int]:
    """Zones that a request may use, in fallback order; ``nodes``: allowed nodes, 0 = all."""
    highest = ZONE_MOVABLE if gfp & c.GFP_USER_MOVABLE else ZONE_NORMAL
    for z in m.mem.zonelist[nid].tolist():
        if z < 0:  # the end of the list
            return
        node = m.zones.node[z]
        if m.zones.type[z] > highest or (nodes and not nodes >> node & 1):
            continue
        if gfp & c.GFP_THISNODE and node != nid:
            return
        yield z


def zone_room(m: View, z: int, gfp: int, level: int) -> int:
    """How many frames the request may take from a zone before it falls to its watermark (WMARK_LOW or WMARK_MIN)."""
    highest = ZONE_MOVABLE if gfp & c.GFP_USER_MOVABLE else ZONE_NORMAL
    mark = m.zones.watermark[z, level]
    if level == WMARK_MIN:
        if gfp & c.GFP_HIGH:
            mark -= mark // 2
        if gfp & c.GFP_MEMALLOC:
            mark = 0
    free: int = m.zones.free[z]
    room: int = free - mark - m.zones.lowmem_reserve[z, highest]
    if room <= 0 and level == WMARK_MIN and gfp & c.GFP_MEMALLOC:
        return free  # whoever is about to give memory back may take the last frame, even of a reserve
    return room


def alloc_pages_bulk(m: View, ctx: AllocCtx, nid: int, nodes: int, gfp: int, want: int) -> list[int]:
    """__alloc_pages() for ``want`` single frames: the zonelist of ``nid`` down to the low watermarks, then to min.

    The kernel itself (page tables) leaves the cpuset rather than go below the low watermarks (cpuset_node_allowed()).
    """
    unwalled = nodes
    gfp |= ctx.gfp
    if gfp & c.GFP_HARDWALL:
        if nodes and not nodes & ctx.mems_allowed:
            return []
        nodes = nodes & ctx.mems_allowed if nodes else ctx.mems_allowed
    preferred = -1
    got: list[int] = []
    for level in (WMARK_LOW, WMARK_MIN):
        if level == WMARK_MIN and not gfp & c.GFP_USER_MOVABLE:
            nodes = unwalled
        for z in zones_for(m, nid, nodes, gfp):
            # "Wanted" is the node of the first zone that the request could have used.
            preferred = m.zones.node[z] if preferred < 0 else preferred
            room = zone_room(m, z, gfp, level)
            if room <= 0:
                continue
            frames = zone_alloc_bulk(m, z, ctx.cpu, min(want - len(got), room))
            set_place(m, frames, z)
            zone_statistics(m, ctx, preferred, m.zones.node[z], len(frames))
            got += frames
            if len(got) == want:
                break
        if len(got) == want:
            break
    m.event[c.PGALLOC] += len(got)
    for pfn in got:
        m.hw.trace(EV_MM_PAGE_ALLOC, pfn, 0, gfp & (c.GFP_USER_MOVABLE | c.GFP_THISNODE))
    return got


def alloc_huge_node(m: View, ctx: AllocCtx, nid: int, nodes: int, gfp: int) -> int:
    """__alloc_pages() for one huge page: its first frame, or c.NO_PFN. There is no compaction: only a free block
    will do.
    """
    gfp |= ctx.gfp
    if gfp & c.GFP_HARDWALL:
        if nodes and not nodes & ctx.mems_allowed:
            return c.NO_PFN
        nodes = nodes & ctx.mems_allowed if nodes else ctx.mems_allowed
    zones = list(zones_for(m, nid, nodes, gfp))
    for level in (WMARK_LOW, WMARK_MIN):
        for z in zones:
            if zone_room(m, z, gfp, level) < c.HPAGE_PMD_NR:
                continue
            pfn = buddy_take(m, z, c.HPAGE_PMD_ORDER)
            if pfn != c.NO_PFN:
                set_place(m, range(pfn, pfn + c.HPAGE_PMD_NR), z)
                zone_statistics(m, ctx, m.zones.node[zones[0]], m.zones.node[z], 1)
                m.event[c.PGALLOC] += c.HPAGE_PMD_NR
                m.hw.trace(EV_MM_PAGE_ALLOC, pfn, c.HPAGE_PMD_ORDER, gfp)
                return pfn
    return c.NO_PFN


# ---------------------------------------------------------------- policies


def interleave_nid(m: View, ctx: AllocCtx, policy: MemPolicy, ilx: int) -> int:
    """interleave_nid() and weighted_interleave_nid(): the node for page number ``ilx`` of a mapping."""
    if not policy.nodes:
        return ctx.nid
    nodes = list(nodes_in(policy.nodes))
    if policy.mode == MPOL_INTERLEAVE:
        return nodes[ilx % len(nodes)]
    # One round gives each node as many pages as its weight says.
    one_round = [nid for nid in nodes for _ in range(int(m.mem.weights[nid]))]
    return one_round[ilx % len(one_round)]


def interleave_nodes(m: View, ctx: AllocCtx, policy: MemPolicy) -> int:
    """interleave_nodes() and weighted_interleave_nodes(): the task's own round, for allocations without a VMA."""
    if not policy.nodes:
        return ctx.nid
    if policy.mode == MPOL_INTERLEAVE:
        ctx.il_prev = next_node_in(ctx.il_prev, policy.nodes)
        return ctx.il_prev
    if not ctx.il_weight or not policy.nodes >> ctx.il_prev & 1:
        ctx.il_prev = next_node_in(ctx.il_prev, policy.nodes)
        ctx.il_weight = int(m.mem.weights[ctx.il_prev])
    ctx.il_weight -= 1
    return ctx.il_prev


def alloc_interleaved(
    m: View, ctx: AllocCtx, policy: MemPolicy, ilx: int | None, gfp: int, want: int
) -> list[int]:
    """Each page on the node that is next; another node's frame is taken if that one is full."""
    got: list[int] = []
    while len(got) < want:
        if ilx is None:
            nid = interleave_nodes(m, ctx, policy)
        else:
            nid = interleave_nid(m, ctx, policy, ilx + len(got))
        page = alloc_pages_bulk(m, ctx, nid, 0, gfp, 1)
        if not page:
            break
        if policy.mode == MPOL_INTERLEAVE and m.node(page[0]) == nid:
            m.node_stat[nid, c.NUMA_INTERLEAVE_HIT] += 1
        got += page
    return got


def alloc_pages_mpol(
    m: View, ctx: AllocCtx, policy: MemPolicy | None, ilx: int | None, gfp: int, want: int
) -> list[int]:
    """alloc_pages_mpol() for ``want`` single frames of consecutive interleave index, from ``ilx`` on.

    policy: None = default. ilx: None for allocations without a VMA (page tables).
    """
    if policy is not None and policy.mode in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        return alloc_interleaved(m, ctx, policy, ilx, gfp, want)
    nid, nodes = policy_node(ctx, policy)
    if policy is not None and policy.mode == MPOL_BIND and not gfp & c.GFP_USER_MOVABLE:
        # apply_policy_zone(): where the kernel itself can have nothing, it is not bound.
        nodes = nodes if nodes & m.mem.normal_nodes else 0
    if policy is not None and policy.mode == MPOL_PREFERRED_MANY:
        got = alloc_pages_bulk(m, ctx, nid, nodes, gfp & ~c.GFP_DIRECT_RECLAIM, want)
        if len(got) < want:
            got += alloc_pages_bulk(m, ctx, nid, 0, gfp, want - len(got))
        return got
    return alloc_pages_bulk(m, ctx, nid, nodes, gfp, want)


def policy_node(ctx: AllocCtx, policy: MemPolicy | None) -> tuple[int, int]:
    """policy_nodemask() of a policy that does not interleave: the node to start at, and the nodes allowed, 0 = all."""
    nid, nodes = ctx.nid, 0
    if policy is None:
        return nid, nodes
    if policy.mode in (MPOL_BIND, MPOL_PREFERRED_MANY):
        if policy.home_node >= 0:
            nid = policy.home_node
        # If the cpuset has moved away from all of the nodes that are bound to, it wins.
        allowed = not ctx.gfp & c.GFP_HARDWALL or policy.nodes & ctx.mems_allowed
        nodes = policy.nodes if policy.mode == MPOL_PREFERRED_MANY or allowed else 0
    elif policy.mode == MPOL_PREFERRED:
        nid = first_node(policy.nodes)
    return nid, nodes


def alloc_huge_mpol(m: View, ctx: AllocCtx, policy: MemPolicy | None, ilx: int, gfp: int) -> int:
    """alloc_pages_mpol() for one huge page: on the wanted node, which counts for more than its size; else on another
    one if the caller would reclaim for it (GFP_DIRECT_RECLAIM). Interleaving goes by huge pages.
    """
    if policy is not None and policy.mode in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        nid = interleave_nid(m, ctx, policy, ilx)
        pfn = alloc_huge_node(m, ctx, nid, 0, gfp)
        if policy.mode == MPOL_INTERLEAVE and pfn != c.NO_PFN and m.node(pfn) == nid:
            m.node_stat[nid, c.NUMA_INTERLEAVE_HIT] += 1
        return pfn
    nid, nodes = policy_node(ctx, policy)
    if policy is not None and policy.mode == MPOL_PREFERRED_MANY:
        pfn = alloc_huge_node(m, ctx, nid, nodes, gfp & ~c.GFP_DIRECT_RECLAIM)
        return pfn if pfn != c.NO_PFN else alloc_huge_node(m, ctx, nid, 0, gfp)
    if not nodes or nodes >> nid & 1:
        pfn = alloc_huge_node(m, ctx, nid, 0, gfp | c.GFP_THISNODE)
        if pfn != c.NO_PFN or not gfp & c.GFP_DIRECT_RECLAIM:
            return pfn
    return alloc_huge_node(m, ctx, nid, nodes, gfp)
