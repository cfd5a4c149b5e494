"""What numactl --show and --hardware print."""

from __future__ import annotations

import sys as host
from collections.abc import Iterable
from typing import TYPE_CHECKING

from numalab.syscalls.abi import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_NODE,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
)
from numalab.tools.numactl.libnuma import NODES, Numa, runs

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["hardware", "print_mask", "show"]

_NAMES = {
    MPOL_DEFAULT: "default", MPOL_PREFERRED: "preferred", MPOL_BIND: "bind", MPOL_INTERLEAVE: "interleave",
    MPOL_LOCAL: "local", MPOL_PREFERRED_MANY: "preferred-many",
}  # fmt: skip


def policy_name(mode: int) -> str:
    """The name, or the number of what numactl 2.0.16 does not know: a mode with flags, say."""
    return _NAMES.get(mode, f"[{mode}]")


def print_mask(name: str, numbers: Iterable[int]) -> None:
    """A line with numbers, a blank behind each."""
    print(f"{name}: {''.join(f'{number} ' for number in sorted(numbers))}")


def show(sys: Sys, numa: Numa) -> None:
    """--show: the policy and the CPUs of the process."""
    mode, nodes = (answer := sys.get_mempolicy()).mode, answer.nodemask
    membind = nodes if mode == MPOL_BIND else numa.allowed_nodes
    if mode in (MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_BIND) and len(nodes) > 1:
        print("libnuma.c: Success", file=host.stderr)  # it had expected one node
    print(f"policy: {policy_name(mode)}")
    following = sys.get_mempolicy(flags=MPOL_F_NODE).mode if mode == MPOL_INTERLEAVE else 0
    preferred = {
        MPOL_DEFAULT: "current",
        MPOL_PREFERRED: str(min(nodes, default="current")),
        MPOL_INTERLEAVE: f"{following} (interleave next)",
        MPOL_BIND: str(min(membind)) if membind else "0",
        MPOL_PREFERRED_MANY: "0 (preferred-many)",
    }.get(mode)
    # What is not in the list leaves the line open.
    print("preferred node: ", end="" if preferred is None else f"{preferred}\n")
    if mode == MPOL_INTERLEAVE:
        print_mask("interleavemask", nodes)
        print(f"interleavenode: {following}")
    print_mask("physcpubind", sys.sched_getaffinity(0).mask)
    run_nodes = numa.run_nodes()
    print_mask("cpubind", run_nodes)
    print_mask("nodebind", run_nodes)
    print_mask("membind", membind)
    print_mask("preferred", nodes)


def hardware(sys: Sys, numa: Numa) -> None:
    """--hardware: the nodes, their CPUs, memory and distances."""
    ranges = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs(numa.nodes))
    print(f"available: {len(numa.nodes)} nodes ({ranges})")
    for node in numa.nodes:
        size, free = numa.node_size(node)
        print(f"node {node} cpus:{''.join(f' {cpu}' for cpu in sorted(numa.node_cpus(node)))}")
        print(f"node {node} size: {size >> 20} MB")
        print(f"node {node} free: {free >> 20} MB")
    print("node distances:")
    print(f"node {''.join(f'{node:3} ' for node in numa.nodes)}")
    for node in numa.nodes:
        distances = sys.read_file(f"{NODES}/node{node}/distance").split()
        print(f"{node:3}: {''.join(f'{int(distance):3} ' for distance in distances)}")
