"""Cpusets: which CPUs and nodes a task may use at all, whatever its own affinity and policy say.

Mirrors kernel/cgroup/cpuset.c.  There is one cpuset so far, the top one: every CPU, and every node
that has memory.  Tasks point to theirs, so that more of them change nothing elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from numalab.arch.topology import Topology

__all__ = ["Cpuset", "top_cpuset"]


@dataclass
class Cpuset:
    """struct cpuset: the effective sets, as bit masks. mems_allowed holds nodes with memory only."""

    cpus_allowed: int
    mems_allowed: int


def top_cpuset(topology: Topology) -> Cpuset:
    """The cpuset that all tasks start in: all CPUs, all nodes with memory."""
    return Cpuset((1 << topology.nr_cpus) - 1, topology.memory_nodes)
