"""Weights of weighted interleaving: how many pages in a row each node gets.

Mirrors the sysfs half of mm/mempolicy.c (/sys/kernel/mm/mempolicy/weighted_interleave/nodeN). The weights are
one table of the machine, ``mem.weights`` (uint8, by node id), which the allocator reads.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, KernelError
from numalab.mm._mm_types import MemMap

__all__ = ["get_il_weight", "set_il_weight"]

DEFAULT_WEIGHT = 1


def get_il_weight(mem: MemMap, nid: int) -> int:
    """Pages in a row on node ``nid``, 1..255."""
    return int(mem.weights[nid])


def set_il_weight(mem: MemMap, nid: int, weight: int) -> None:
    """Set it; 0 stands for the default, 1. Raises KernelError(EINVAL) for what does not fit in a byte."""
    if not 0 <= weight <= 255:
        raise KernelError(EINVAL, f"a weight is 0..255, not {weight}")
    mem.weights[nid] = weight or DEFAULT_WEIGHT
