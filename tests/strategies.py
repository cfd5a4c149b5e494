"""What several property tests draw: small machines, policies, lists of steps."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from numalab.arch.node import SECTION_FRAMES, Node, Topology
from numalab.mm._mm_types import MemPolicy
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
)

__all__ = ["Step", "machine", "policies", "policy", "small_machines", "steps"]

Step = tuple[Any, ...]

#: End of ZONE_DMA: a node that begins at frame 0 and goes on behind it has two zones.
DMA_END = 4096


def machine(*nodes: tuple[int, tuple[int, ...], int], levels: int = 4) -> Topology:
    """A machine of (id, frames in each range, CPUs) each; ranges begin at sections of 128 MiB, as everywhere."""
    made, at, cpu = [], 0, 0
    for nid, sizes, cpus in nodes:
        ranges = []
        for frames in sizes:
            ranges.append((at, at + frames))
            at += -(-frames // SECTION_FRAMES) * SECTION_FRAMES
        made.append(Node(nid, tuple(ranges), tuple(range(cpu, cpu + cpus))))
        cpu += cpus
    return Topology("test", tuple(made), boot={"page_table_levels": levels})


@st.composite
def small_machines(draw: st.DrawFn, least: int = 64, most: int = 600) -> Topology:
    """2 or 3 nodes of few pages: with holes, ids that skip a number, a node without memory or CPUs, two ranges or
    zones.
    """
    frames = st.integers(least, most)
    first = draw(st.one_of(frames, frames.map(lambda n: DMA_END + n // 4)))
    shape = draw(st.integers(0, 3))
    nodes: list[tuple[int, tuple[int, ...], int]] = [(0, (first,), 2), (1 + shape % 2, (draw(frames),), 1)]
    if shape == 1:
        nodes.insert(1, (1, (), 1))  # no memory
    elif shape == 2:
        nodes.append((4, (draw(frames), draw(frames) // 2), 0))  # no CPU, two ranges
    return machine(*nodes, levels=draw(st.sampled_from((4, 4, 5))))


#: (mode, mask, home node); the mask is cut to the nodes with memory by policy().
policies = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(
            (
                MPOL_PREFERRED,
                MPOL_BIND,
                MPOL_INTERLEAVE,
                MPOL_LOCAL,
                MPOL_PREFERRED_MANY,
                MPOL_WEIGHTED_INTERLEAVE,
            )
        ),
        st.integers(1, 31),
        st.sampled_from((-1, -1, 0)),
    ),
)


def policy(drawn: tuple[int, int, int] | None, memory_nodes: int) -> MemPolicy | None:
    """A drawn policy as an object, with only nodes that have memory."""
    if drawn is None:
        return None
    mode, mask, home = drawn
    nodes = mask & memory_nodes or memory_nodes
    if mode == MPOL_LOCAL:
        nodes = 0
    elif mode == MPOL_PREFERRED:
        nodes &= -nodes
    return MemPolicy(mode, 0, nodes, home if mode in (MPOL_BIND, MPOL_PREFERRED_MANY) else -1)


def steps(
    *kinds: st.SearchStrategy[Step], stories: tuple[st.SearchStrategy[list[Step]], ...] = (), least: int = 15
) -> st.SearchStrategy[list[Step]]:
    """A list of steps, about twice as many as ``least``; each is a tuple that begins with its name.

    stories: steps that mean something only one after the other.
    """
    single = st.one_of(*kinds).map(lambda step: [step])
    parts = st.lists(st.one_of(single, single, *stories), min_size=least, max_size=3 * least)
    return parts.map(lambda lists: [step for steps in lists for step in steps])
