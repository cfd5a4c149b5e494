"""Node and Topology: the checked description of a machine that every floor reads.

Mirrors what Linux learns from ACPI (SRAT: drivers/acpi/numa/srat.c, SLIT: the distances) and keeps in
include/linux/topology.h and nodemask.h. Deliberately different: every start of a memory range is aligned to a section
of 128 MiB, so that the node of a frame is one byte looked up by section number; small nodes therefore leave holes
between them, which cost nothing. A CPU belongs to exactly one node.

People write names, files and specs; topology.load() turns those into what stands here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numalab.arch import boot_params
from numalab.arch.cmdline import MAX_PFN, TopologyError, shown, size_text
from numalab.arch.shape import check_shape

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
NR_NODE_MEMBLKS = 2 * MAX_NUMNODES
"""Memory ranges of a machine: NR_NODE_MEMBLKS on x86."""


@dataclass(frozen=True, slots=True)
class Node:
    """One NUMA node.

    ranges: `(start_pfn, end_pfn)` pairs, ascending, starts on section boundaries; empty for a node without memory.
    cpus: ascending CPU numbers; empty for a node without CPUs. hotplug: its memory is in slots, and comes after boot.
    """

    id: int
    ranges: tuple[tuple[int, int], ...] = ()
    cpus: tuple[int, ...] = ()
    hotplug: bool = False

    @property
    def nr_frames(self) -> int:
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True)
class Topology:
    """One machine. Build it with load(), which checks it; the constructor checks what the other floors rely on.

    nodes: ascending by id; ids may have gaps. distance[i][j]: from node i to node j, by id, as wide as nr_node_ids;
    rows of ids that do not exist hold the defaults, as Linux's node_distance() answers for them. boot: parameters
    and sysctls by name (boot_params.PARAMETERS).
    Raises TopologyError.
    """

    name: str
    nodes: tuple[Node, ...]
    distance: tuple[tuple[int, ...], ...] = ()
    boot: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_shape(self.name, self.nodes, Node, self.distance, self.boot)
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: node.id)))
        object.__setattr__(self, "boot", {**boot_params.DEFAULTS, **self.boot})
        boot_params.check(self.boot)
        _check_nodes(self.nodes)
        if not self.distance:
            object.__setattr__(self, "distance", default_distance(self.nr_node_ids))
        else:
            _check_distance(self.distance, self.nr_node_ids)

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
        """Mask of the nodes with memory, as long as all of it is there."""
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
    _check_ranges(nodes)
    _check_cpus(nodes)


def _check_ranges(nodes: Sequence[Node]) -> None:
    """Memory ranges: whole, in reach, and nobody else's."""
    spans = sorted((start, end, node.id) for node in nodes for start, end in node.ranges)
    for node in nodes:
        if node.hotplug and (not node.ranges or spans[0][2] == node.id):
            raise TopologyError(
                f"node {node.id}: hotplug is for memory above that of another node, where the kernel is: leave it out"
            )
    if len(spans) > NR_NODE_MEMBLKS:
        raise TopologyError(f"the machine has {len(spans)} memory ranges: {NR_NODE_MEMBLKS} is the limit")
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
        if end > MAX_PFN:
            raise TopologyError(
                f"node {nid}: its memory reaches to {size_text(end)}: frame numbers have 32 bits, so that memory must "
                f"end below {size_text(MAX_PFN + 1)}, holes included"
            )
        if start < last:
            raise TopologyError(
                f"node {nid}: frames {start:#x}..{min(end, last):#x} belong to node {last_id} already"
            )
        last, last_id = end, nid


def _check_cpus(nodes: Sequence[Node]) -> None:
    """CPU numbers: 0 and up without gaps, each once."""
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
            raise TopologyError(
                f"distances: node {i} to itself is {shown(row[i])}, but must be {LOCAL_DISTANCE}"
            )
        if min(row) < LOCAL_DISTANCE or max(row) > MAX_DISTANCE:
            j = next(j for j, d in enumerate(row) if not LOCAL_DISTANCE <= d <= MAX_DISTANCE)
            raise TopologyError(
                f"distances: node {i} to {j} is {row[j]}, but must be {LOCAL_DISTANCE}..{MAX_DISTANCE}"
            )


def align_up(pfn: int) -> int:
    """The next section boundary at or after a frame."""
    return -(-pfn // SECTION_FRAMES) * SECTION_FRAMES
