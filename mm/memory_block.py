"""Memory blocks: the parts of memory that go offline and come online as a whole.

Mirrors what drivers/base/memory.c knows of them, and probe_memory_block_size() of arch/x86/mm/init_64.c. A block is
128 MiB, a section, or more on a large machine; it has a number as if memory were nothing but blocks from address 0 on.

Deliberately different: where a node ends inside a block, the block is what is there. Linux refuses to take such a block
away, since firmware may have something in the rest; here nothing is there (docs/adr/0009).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from numalab.arch.topology import SECTION_FRAMES
from numalab.mm.zones import zone_of

if TYPE_CHECKING:
    from numalab.arch.topology import Topology
    from numalab.mm._mm_types import MemMap

__all__ = ["MemoryBlock", "block_frames", "block_zone", "memory_block", "memory_blocks"]

_MANY_FRAMES = 64 << 30 >> 12
_MAX_BLOCK_FRAMES = 2 << 30 >> 12


class MemoryBlock(NamedTuple):
    """struct memory_block: frames [start, end) are there. nid: their node, -1 = there are several, or a hole."""

    number: int
    start: int
    end: int
    nid: int


def block_frames(topology: Topology) -> int:
    """probe_memory_block_size(): from 64 GiB on up to 2 GiB, as far as the end of memory allows."""
    frames = _MAX_BLOCK_FRAMES
    if topology.max_pfn < _MANY_FRAMES:
        return SECTION_FRAMES
    while frames > SECTION_FRAMES and topology.max_pfn % frames:
        frames //= 2
    return frames


def memory_block(mem: MemMap, number: int) -> MemoryBlock | None:
    """A block by its number, None = there is no memory."""
    size = block_frames(mem.topology)
    low, high = number * size, (number + 1) * size
    parts = [
        (max(start, low), min(end, high), node.id)
        for node in mem.topology.nodes
        for start, end in node.ranges
        if start < high and end > low
    ]
    if not parts:
        return None
    # Frame 0 is the firmware's.
    whole = len(parts) == 1 and parts[0][0] == max(low, 1)
    return MemoryBlock(number, min(parts)[0], max(end for _, end, _ in parts), parts[0][2] if whole else -1)


def memory_blocks(mem: MemMap, nid: int | None = None) -> list[int]:
    """Numbers of the blocks that there are, or of those of a node, ascending."""
    size = block_frames(mem.topology)
    return sorted(
        {
            number
            for node in mem.topology.nodes
            if nid is None or node.id == nid
            for start, end in node.ranges
            for number in range(start // size, -(-end // size))
        }
    )


def block_zone(mem: MemMap, block: MemoryBlock) -> int | None:
    """test_pages_in_a_zone(): the zone that an online block is in; None = it is in several, or has holes."""
    if block.nid < 0:
        return None
    zone = zone_of(mem, block.start)
    return zone if zone_of(mem, block.end - 1) == zone else None
