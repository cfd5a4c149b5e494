"""Node and Topology: the checked description of a machine that every floor reads.

Mirrors what Linux learns from ACPI (SRAT: drivers/acpi/numa/srat.c, SLIT: the distances) and keeps in
include/linux/topology.h and nodemask.h. Deliberately different: every start of a memory range is aligned to a section
of 128 MiB, so that the node of a frame is one byte looked up by section number; small nodes therefore leave holes
between them, which cost nothing. A CPU belongs to exactly one node.

People write names, files and specs; topology.load() turns those into what stands here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

PAGE_SIZE = 4096
SECTION_FRAMES = 32768
"""Frames in one section (128 MiB): SECTION_SIZE_BITS is 27 on x86-64."""
MAX_NUMNODES = 64
"""Node ids are 0..63: a node mask is one machine word."""
NUMA_NO_NODE = -1
LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20
MAX_DISTANCE = 255
"""SLIT distances are bytes; 255 means "no way there"."""
MAX_CPUS = 4096

DEFAULT_BOOT: Mapping[str, Any] = MappingProxyType(
    {
        "page_cluster": 0,
        "percpu_pagelist_high_fraction": 1000,
        "numa_balancing": False,
        "thp": "never",
        "swap": 64 << 20,
        "page_table_levels": 4,
    }
)
"""Boot parameters and sysctls of a machine that does not say otherwise: those under which the conformance answers were
recorded, so that `4x512M` answers as `quad` does. page_cluster: 2**n pages of swap readahead.
percpu_pagelist_high_fraction: 1000 keeps the per-CPU page lists small, so that "node full" means full. swap: bytes of
the RAM swap device, 0 = none."""


class TopologyError(ValueError):
    """A machine file or spec is wrong. The message is one line: what is wrong, where, what would be right."""


@dataclass(frozen=True, slots=True)
class Node:
    """One NUMA node.

    ranges: `(start_pfn, end_pfn)` pairs, ascending, starts on section boundaries; empty for a node without memory.
    cpus: ascending CPU numbers; empty for a node without CPUs.
    """

    id: int
    ranges: tuple[tuple[int, int], ...] = ()
    cpus: tuple[int, ...] = ()

    @property
    def nr_frames(self) -> int:
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True)
class Topology:
    """One machine. Build it with load(), which checks it; the constructor checks what the other floors rely on.

    nodes: ascending by id; ids may have gaps. distance[i][j]: from node i to node j, by id, as wide as nr_node_ids;
    rows of ids that do not exist hold the defaults, as Linux's node_distance() answers for them. boot: parameters
    and sysctls by name (DEFAULT_BOOT and whatever the machine adds).
    Raises TopologyError.
    """

    name: str
    nodes: tuple[Node, ...]
    distance: tuple[tuple[int, ...], ...] = ()
    boot: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: node.id)))
        object.__setattr__(self, "boot", {**DEFAULT_BOOT, **self.boot})
        _check_nodes(self.nodes)
        if not self.distance:
            object.__setattr__(self, "distance", default_distance(self.nr_node_ids))
        else:
            _check_distance(self.distance, self.nr_node_ids)
        if self.boot["page_table_levels"] not in (4, 5):
            raise TopologyError(
                f"boot: page_table_levels is {self.boot['page_table_levels']!r}, but must be 4 or 5"
            )

    @cached_property
    def node_ids(self) -> tuple[int, ...]:
        """Ids of the nodes that exist, ascending (node_online_map)."""
        return tuple(node.id for node in self.nodes)

    @cached_property
    def nr_node_ids(self) -> int:
        """Highest node id + 1."""
        return self.nodes[-1].id + 1

    @cached_property
    def memory_nodes(self) -> int:
        """Mask of the nodes with memory (N_MEMORY)."""
        return sum(1 << node.id for node in self.nodes if node.ranges)

    @cached_property
    def cpu_nodes(self) -> int:
        """Mask of the nodes with CPUs (N_CPU)."""
        return sum(1 << node.id for node in self.nodes if node.cpus)

    @cached_property
    def nr_cpus(self) -> int:
        """Highest CPU number + 1; the numbers have no gaps."""
        return sum(len(node.cpus) for node in self.nodes)

    @cached_property
    def max_pfn(self) -> int:
        """Highest frame number + 1: how far physical memory reaches, holes included."""
        return max(end for node in self.nodes for _, end in node.ranges)

    @cached_property
    def nr_frames(self) -> int:
        """Frames that are really there."""
        return sum(node.nr_frames for node in self.nodes)

    @cached_property
    def _cpu_to_node(self) -> dict[int, int]:
        return {cpu: node.id for node in self.nodes for cpu in node.cpus}

    @cached_property
    def _node_by_id(self) -> dict[int, Node]:
        return {node.id: node for node in self.nodes}

    def node_of_cpu(self, cpu: int) -> int:
        """cpu_to_node(): the node a CPU belongs to. Raises IndexError for a CPU that does not exist."""
        try:
            return self._cpu_to_node[cpu]
        except KeyError:
            raise IndexError(f"cpu {cpu} does not exist (0..{self.nr_cpus - 1})") from None

    def node(self, nid: int) -> Node:
        """The node with an id. Raises IndexError for one that does not exist."""
        try:
            return self._node_by_id[nid]
        except KeyError:
            raise IndexError(f"node {nid} does not exist ({', '.join(map(str, self.node_ids))})") from None


def default_distance(n: int) -> tuple[tuple[int, ...], ...]:
    """n x n: 10 on the diagonal, 20 elsewhere."""
    far = (REMOTE_DISTANCE,)
    return tuple(far * i + (LOCAL_DISTANCE,) + far * (n - 1 - i) for i in range(n))


def _check_nodes(nodes: Sequence[Node]) -> None:
    """Ids, ranges and CPUs of a machine. O(nodes + ranges + CPUs)."""
    if not nodes:
        raise TopologyError("the machine has no nodes: give at least one, with memory and a CPU")
    for before, node in zip((None, *nodes), nodes, strict=False):
        if not 0 <= node.id < MAX_NUMNODES:
            raise TopologyError(f"node {node.id}: ids are 0..{MAX_NUMNODES - 1}")
        if before is not None and before.id == node.id:
            raise TopologyError(f"node {node.id} is given twice: each node has its own id")
    if not any(node.ranges for node in nodes):
        raise TopologyError("no node has memory: give at least one of them a size, such as 512M")
    if not any(node.cpus for node in nodes):
        raise TopologyError("no node has a CPU: give at least one of them cpus = 1")

    spans = sorted((start, end, node.id) for node in nodes for start, end in node.ranges)
    last, last_id = 0, -1
    for start, end, nid in spans:
        if start % SECTION_FRAMES:
            right = (start + SECTION_FRAMES - 1) // SECTION_FRAMES * SECTION_FRAMES
            raise TopologyError(
                f"node {nid}: its range starts at frame {start:#x}, inside a section of 128 MiB: start at {right:#x}"
            )
        if end <= start:
            raise TopologyError(
                f"node {nid}: the range {start:#x}..{end:#x} is empty: its end must lie after its start"
            )
        if end > 1 << 40:
            raise TopologyError(
                f"node {nid}: memory ends at frame {end:#x}, beyond 52 bits of physical address"
            )
        if start < last:
            raise TopologyError(
                f"node {nid}: frames {start:#x}..{min(end, last):#x} belong to node {last_id} already"
            )
        last, last_id = end, nid

    cpus = sorted((cpu, node.id) for node in nodes for cpu in node.cpus)
    if len(cpus) > MAX_CPUS:
        raise TopologyError(f"the machine has {len(cpus)} CPUs: {MAX_CPUS} is the limit")
    for expected, (cpu, nid) in enumerate(cpus):
        if cpu < expected:
            owner = cpus[expected - 1][1]
            raise TopologyError(
                f"node {nid}: cpu {cpu} belongs to node {owner} already: each CPU has one node"
            )
        if cpu > expected:
            raise TopologyError(
                f"cpu {expected} is missing: CPUs are numbered from 0 without gaps (node {nid} has {cpu})"
            )


def _check_distance(distance: Sequence[Sequence[int]], n: int) -> None:
    """The matrix is n x n; 10 at home, 11..255 elsewhere (10 is let through: fake nodes of one real node have it)."""
    if len(distance) != n or any(len(row) != n for row in distance):
        shape = "x".join(map(str, (len(distance), len(distance[0]) if distance else 0)))
        raise TopologyError(
            f"distances: the matrix is {shape}, but must be {n}x{n}, one row for each id 0..{n - 1}"
        )
    for i, row in enumerate(distance):
        if row[i] != LOCAL_DISTANCE:
            raise TopologyError(f"distances: node {i} to itself is {row[i]}, but must be {LOCAL_DISTANCE}")
        if min(row) < LOCAL_DISTANCE or max(row) > MAX_DISTANCE:
            j = next(j for j, d in enumerate(row) if not LOCAL_DISTANCE <= d <= MAX_DISTANCE)
            raise TopologyError(
                f"distances: node {i} to {j} is {row[j]}, but must be {LOCAL_DISTANCE}..{MAX_DISTANCE}"
            )


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": PAGE_SIZE}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)\s*(p|pages?|[kKmMgGtT](?:i?[bB])?)?")


def parse_size(text: object, where: str, *, zero: bool = False) -> int:
    """Frames in a size that a person wrote: `512M`, `2G`, `1T`, `64K`, `16p` (pages), or 0 if zero is allowed.

    Raises TopologyError, naming `where`, for anything else, for a part of a page, and for 0 where it makes no sense.
    """
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if zero and (text == 0 or text == "0"):
        return 0
    if match is None or match[2] is None or isinstance(text, bool):
        raise TopologyError(f"{where}: {text!r} is not a size: write 512M, 2G or, in pages, 16p")
    size = int(match[1], 0) * _UNITS[match[2][0].upper()]
    if size % PAGE_SIZE:
        raise TopologyError(f"{where}: {text!r} is not a whole number of 4 KiB pages")
    if size == 0 and not zero:
        raise TopologyError(f"{where}: {text!r} is nothing: write a size such as 512M")
    if size > 1 << 52:
        raise TopologyError(f"{where}: {text!r} is more than 52 bits of physical address can reach (4096T)")
    return size // PAGE_SIZE


def align_up(pfn: int) -> int:
    """The next section boundary at or after a frame."""
    return -(-pfn // SECTION_FRAMES) * SECTION_FRAMES
