"""Machines in one line: `4x512M`, and Linux's `numa=fake=` and `mem=` boot parameters.

Mirrors mm/numa_emulation.c and "numa=fake=" in Documentation/admin-guide/kernel-parameters.txt:

    numa=fake=<size>[MG]  nodes of this size, dealt over the real nodes in turn, as many as fit
    numa=fake=<N>         N nodes out of all memory, dealt over the real nodes in turn
    numa=fake=<N>U        each real node is split into N, of which the last may be smaller

As in Linux, sizes are multiples of 32 MiB, what is too small for another node goes to the last one of its real node, so
that fewer than N nodes may come out, and fake nodes of one real node are at distance 10 from each other.

Deliberately different: Linux shows every CPU of a real node in each of its fake nodes and counts it on the first; here
a CPU belongs to one node, so the CPUs of a real node are dealt over its fake nodes (one CPU each if no machine is
named). What Linux repairs silently (a node too small, too many nodes) is an error with the right value in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numalab.arch import boot_params
from numalab.arch.cmdline import PAGE_SIZE, TopologyError, parse_count, parse_size, shown
from numalab.arch.node import (
    LOCAL_DISTANCE,
    MAX_CPUS,
    MAX_NUMNODES,
    Node,
    Topology,
    align_up,
)

GRAIN = (32 << 20) // PAGE_SIZE
"""Frames: FAKE_NODE_MIN_SIZE, 32 MiB on x86."""
DEFAULT_MEM = (2 << 30) // PAGE_SIZE
"""Frames of the flat machine that `numa=fake=` splits when neither a machine nor mem= is given."""

_GROUP = re.compile(r"(?P<count>\d{1,18})[xX](?P<size>\w+)(?:,cpus=(?P<cpus>\d{1,18}))?", re.ASCII)
_PARAMETER = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.ASCII)


def looks_like_groups(text: str) -> bool:
    """Whether a spec is of the `4x512M` family."""
    return re.match(r"\s*\d+[xX]", text, re.ASCII) is not None


def groups(text: str) -> Topology:
    """`4x512M`, `2x1G,cpus=2`, `2x1G+1x256M,cpus=0`, `1x0,cpus=1`: COUNTxSIZE[,cpus=EACH], groups joined by `+`.

    Nodes are numbered from 0 in the order written; cpus is one each unless given. Raises TopologyError.
    """
    nodes: list[Node] = []
    start = cpu = 0
    for part in text.split("+"):
        match = _GROUP.fullmatch(part)
        if match is None:
            raise TopologyError(
                f"machine {shown(text)}: {shown(part)} is not a group of nodes: write COUNTxSIZE, such as 4x512M or "
                "2x1G,cpus=2"
            )
        count, each = int(match["count"]), int(match["cpus"] or 1)
        size = parse_size(match["size"], f"machine {shown(text)}", zero=True)
        if not 0 < count <= MAX_NUMNODES - len(nodes):
            raise TopologyError(
                f"machine {shown(text)}: {count} nodes: a machine has 1..{MAX_NUMNODES} nodes"
            )
        if each > MAX_CPUS:
            raise TopologyError(f"machine {shown(text)}: {each} CPUs a node: {MAX_CPUS} in all is the limit")
        for _ in range(count):
            ranges = ((start, start + size),) if size else ()
            nodes.append(Node(len(nodes), ranges, tuple(range(cpu, cpu + each))))
            start, cpu = align_up(start + size), cpu + each
    return Topology(text, tuple(nodes))


def is_parameter(word: str) -> bool:
    """Whether a word is `key=value`, and not the name of a machine (`2x1G,cpus=2` is one)."""
    return _PARAMETER.fullmatch(word) is not None and not looks_like_groups(word)


@dataclass
class _Real:
    """A real node while it is being split: frames left, and the sizes of its fake nodes with their ids."""

    node: Node
    left: int
    parts: list[tuple[int, int]]


def boot_line(words: Sequence[str], base: Topology | None) -> Topology:
    """Apply boot parameters to a machine, or to a flat one (one node, `mem=` bytes) if base is None.

    Understood: numa=fake=..., numa=off, mem=SIZE, nr_cpus=N, and every boot parameter and sysctl (swap=0,
    numa_balancing=enable, vm.page-cluster=3). Raises TopologyError.
    """
    fake: str | None = None
    off, mem, nr_cpus = False, 0, 0
    boot: dict[str, Any] = {}
    for word in words:
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise TopologyError(
                f"boot parameter {shown(word)}: write key=value, such as numa=fake=4 or mem=2G; the machine comes first"
            )
        key, value = match[1], match[2]
        if key == "numa" and value.startswith("fake="):
            fake = value.removeprefix("fake=")
        elif key == "numa" and value == "off":
            off = True
        elif key == "numa":
            raise TopologyError(
                f"boot parameter {shown(word)} is unknown: write numa=off, numa=fake=4 or numa=fake=512M"
            )
        elif key == "mem":
            mem = parse_size(value, word)
        elif key in ("nr_cpus", "maxcpus"):
            # More than there can be is refused anyway, but should not be built first.
            nr_cpus = min(parse_count(value, f"boot parameter {shown(word)}"), MAX_CPUS)
        else:
            given = int(value) if re.fullmatch(r"-?\d{1,18}", value, re.ASCII) else value
            short, read = boot_params.read(key, given, f"boot parameter {shown(word)}")
            boot[short] = read

    name = " ".join(words) if base is None else " ".join((base.name, *words))
    flat = base is None
    if base is None:
        base = Topology(name, (Node(0, ((0, mem or DEFAULT_MEM),), tuple(range(nr_cpus or 1))),))
        mem = nr_cpus = 0
    base = _limited(base, mem, nr_cpus)
    if off:
        base = _flattened(base)
    if fake is not None:
        base = _emulated(
            base, fake, f"numa=fake={fake}", own_cpus=flat and not any("cpus=" in word for word in words)
        )
    return replace(base, name=name, boot={**base.boot, **boot})


def _limited(base: Topology, mem: int, nr_cpus: int) -> Topology:
    """mem= and nr_cpus= of a named machine: memory beyond the first `mem` frames, CPUs from nr_cpus on are not used."""
    if not mem and not nr_cpus:
        return base
    left = mem or base.nr_frames
    kept: dict[int, list[tuple[int, int]]] = {node.id: [] for node in base.nodes}
    for start, end, nid in sorted((start, end, node.id) for node in base.nodes for start, end in node.ranges):
        take = min(end - start, left)
        left -= take
        if take:
            kept[nid].append((start, start + take))
    return replace(
        base,
        nodes=tuple(
            Node(
                node.id,
                tuple(kept[node.id]),
                tuple(cpu for cpu in node.cpus if cpu < (nr_cpus or base.nr_cpus)),
                node.hotplug and bool(kept[node.id]),
            )
            for node in base.nodes
        ),
    )


def _flattened(base: Topology) -> Topology:
    """numa=off: one node with everything."""
    ranges: list[tuple[int, int]] = []
    for start, end in sorted(pair for node in base.nodes for pair in node.ranges):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    cpus = sorted(cpu for node in base.nodes for cpu in node.cpus)
    return replace(base, nodes=(Node(0, tuple(ranges), tuple(cpus)),), distance=())


def _emulated(base: Topology, fake: str, where: str, *, own_cpus: bool) -> Topology:
    """Split the real nodes of a machine as `fake` says. own_cpus: the flat machine gets one CPU per fake node."""
    real = [_Real(node, node.nr_frames, []) for node in base.nodes if node.ranges]
    total = sum(r.left for r in real)
    if match := re.fullmatch(r"(\d{1,18})([uU])?", fake, re.ASCII):
        count = parse_count(match[1], where)
        if match[2]:
            _split_uniform(real, count, where)
        else:
            if count > MAX_NUMNODES:
                raise TopologyError(f"{where}: {count} nodes: a machine has 1..{MAX_NUMNODES}")
            size = total // count // GRAIN * GRAIN
            if not size:
                raise TopologyError(
                    f"{where}: {_mib(total)} is too little for {count} nodes of 32M: use {total // GRAIN} or fewer"
                )
            # What the rounding left over goes to the first nodes, 32 MiB each.
            _deal(real, size, (total // count - size) * count // GRAIN, where)
    else:
        size = parse_size(fake, where)
        if size < GRAIN:
            raise TopologyError(f"{where}: a fake node has at least 32M")
        _deal(real, size // GRAIN * GRAIN, 0, where)

    nodes: list[Node] = []
    parent: dict[int, int] = {}
    start = 0
    for r in real:
        k, c = len(r.parts), len(r.node.cpus)
        for j, (nid, size) in enumerate(r.parts):
            cpus = (nid,) if own_cpus else r.node.cpus[-(-j * c // k) : -(-(j + 1) * c // k)]
            nodes.append(Node(nid, ((start, start + size),), cpus))
            parent[nid] = r.node.id
            start = align_up(start + size)
    # Real nodes without memory are lost in Linux, and their CPUs go to a node that is near: the first.
    strays = tuple(cpu for node in base.nodes if not node.ranges for cpu in node.cpus)
    nodes.sort(key=lambda node: node.id)
    nodes[0] = replace(nodes[0], cpus=tuple(sorted(nodes[0].cpus + strays)))
    distance = tuple(
        tuple(
            LOCAL_DISTANCE if parent[a.id] == parent[b.id] else base.distance[parent[a.id]][parent[b.id]]
            for b in nodes
        )
        for a in nodes
    )
    return replace(base, nodes=tuple(nodes), distance=distance)


def _deal(real: Sequence[_Real], size: int, big: int, where: str) -> None:
    """Give each real node in turn one more fake node of `size` frames, until all memory is dealt.

    The first `big` nodes get 32 MiB more. A rest smaller than `size` goes to the node before it.
    """
    nid = 0
    while any(r.left for r in real):
        for r in real:
            if not r.left:
                continue
            if nid == MAX_NUMNODES:
                least = sum(r.node.nr_frames for r in real) // MAX_NUMNODES
                raise TopologyError(
                    f"{where}: nodes of {_mib(size)} are too many, a machine has {MAX_NUMNODES}: "
                    f"use {_mib(-(-least // GRAIN) * GRAIN)} or more"
                )
            take = size + (GRAIN if nid < big else 0)
            if r.left < take + size:
                take = r.left
            r.left -= take
            r.parts.append((nid, take))
            nid += 1


def _split_uniform(real: Sequence[_Real], count: int, where: str) -> None:
    """Split each real node into `count` equal ones, rounded up to 32 MiB; the last one of each is smaller by that."""
    if count * len(real) > MAX_NUMNODES:
        raise TopologyError(
            f"{where}: {count} times {len(real)} nodes: a machine has {MAX_NUMNODES}: "
            f"use {MAX_NUMNODES // len(real)}U or fewer"
        )
    for i, r in enumerate(real):
        if len(_equal_parts(r.left, count)) < count:
            fewer = max(n for n in range(1, count) if len(_equal_parts(r.left, n)) == n)
            raise TopologyError(
                f"{where}: node {r.node.id} has {_mib(r.left)}, too little for {count} nodes in steps of 32M: "
                f"use {fewer}U"
            )
        r.parts.extend((i * count + j, size) for j, size in enumerate(_equal_parts(r.left, count)))


def _equal_parts(frames: int, count: int) -> list[int]:
    """As many parts as come out if each is a `count`th, rounded up."""
    size = -(-frames // (count * GRAIN)) * GRAIN
    return [min(size, frames - at) for at in range(0, frames, size)]


def _mib(frames: int) -> str:
    return f"{frames * PAGE_SIZE >> 20}M"
