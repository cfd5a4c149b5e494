"""Policies as objects: what can be made, what equals what, how they read. Errors as recorded from Linux 6.12."""

from __future__ import annotations

import pytest

from numalab.arch.errno import EINVAL, KernelError
from numalab.mm._mm_types import MemPolicy
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
    get_policy_nodemask,
    mpol_equal,
    mpol_new,
    mpol_to_str,
    sanitize_mpol_flags,
)

STATIC, RELATIVE, BALANCING = MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING
ALL = 0b1111


@pytest.mark.parametrize(
    ("mode", "taken_apart"),
    [
        (MPOL_BIND, (MPOL_BIND, 0)),
        (MPOL_INTERLEAVE | STATIC, (MPOL_INTERLEAVE, STATIC)),
        (MPOL_PREFERRED_MANY | RELATIVE | BALANCING, (MPOL_PREFERRED_MANY, RELATIVE | BALANCING)),
        (MPOL_DEFAULT | STATIC, (MPOL_DEFAULT, STATIC)),
    ],
)
def test_modes(mode: int, taken_apart: tuple[int, int]) -> None:
    assert sanitize_mpol_flags(mode) == taken_apart


@pytest.mark.parametrize(
    "mode", [7, 100, -1, 0x1000, MPOL_BIND | STATIC | RELATIVE, MPOL_INTERLEAVE | BALANCING, BALANCING]
)
def test_what_is_no_mode(mode: int) -> None:
    with pytest.raises(KernelError) as refusal:
        sanitize_mpol_flags(mode)
    assert refusal.value.errno == EINVAL


@pytest.mark.parametrize(
    ("mode", "flags", "nodes"),
    [
        (MPOL_BIND, 0, 0),
        (MPOL_INTERLEAVE, 0, 0),
        (MPOL_PREFERRED_MANY, 0, 0),
        (MPOL_WEIGHTED_INTERLEAVE, 0, 0),
        (MPOL_DEFAULT, 0, 1),
        (MPOL_LOCAL, 0, 1),
        (MPOL_LOCAL, STATIC, 0),
        (MPOL_LOCAL, RELATIVE, 0),
        (MPOL_PREFERRED, STATIC, 0),
        (MPOL_PREFERRED, RELATIVE, 0),
        (MPOL_BIND, 0, 1 << 63),
        (MPOL_BIND, STATIC, 1 << 63),
        (MPOL_PREFERRED, 0, 1 << 63),
    ],
)
def test_what_cannot_be_made(mode: int, flags: int, nodes: int) -> None:
    with pytest.raises(KernelError) as refusal:
        mpol_new(mode, flags, nodes, ALL, ALL)
    assert refusal.value.errno == EINVAL


@pytest.mark.parametrize(
    ("mode", "flags", "nodes", "shown", "reported"),
    [
        (MPOL_DEFAULT, 0, 0, "default", 0),
        (MPOL_DEFAULT, STATIC, 0, "default", 0),
        (MPOL_LOCAL, 0, 0, "local", 0),
        (MPOL_PREFERRED, 0, 0, "local", 0),
        (MPOL_PREFERRED, 0, 0b110, "prefer:1", 0b10),
        (MPOL_PREFERRED, STATIC, 0b10, "prefer=static:1", 0b10),
        (MPOL_BIND, 0, 1 | 1 << 63, "bind:0", 1),
        (MPOL_BIND, STATIC, 0b11, "bind=static:0-1", 0b11),
        (MPOL_BIND, STATIC, 1 | 1 << 63, "bind=static:0", 1 | 1 << 63),
        (MPOL_BIND, RELATIVE, 1 << 63, "bind=relative:3", 1 << 63),
        (MPOL_BIND, BALANCING, 0b10010, "bind=balancing:1", 0b10010),
        (MPOL_BIND, STATIC | BALANCING, 0b1, "bind=static|balancing:0", 0b1),
        (MPOL_INTERLEAVE, RELATIVE, 0b110000, "interleave=relative:0-1", 0b110000),
        (MPOL_PREFERRED_MANY, 0, 0b1010, "prefer (many):1,3", 0b1010),
        (MPOL_WEIGHTED_INTERLEAVE, 0, 0b11, "weighted interleave:0-1", 0b11),
    ],
)
def test_how_policies_read(mode: int, flags: int, nodes: int, shown: str, reported: int) -> None:
    policy = mpol_new(mode, flags, nodes, ALL, ALL)
    assert mpol_to_str(policy) == shown
    assert get_policy_nodemask(policy) == reported


def test_nodes_need_memory_and_leave() -> None:
    policy = mpol_new(MPOL_BIND, 0, 0b1111, 0b0111, 0b1101)
    assert policy is not None
    assert (policy.nodes, policy.cpuset_mems_allowed) == (0b0101, 0b0111)
    relative = mpol_new(MPOL_BIND, RELATIVE, 0b10, 0b0111, 0b1101)
    assert relative is not None
    assert relative.nodes == 0b0100  # the second of nodes 0 and 2


def test_equality() -> None:
    def make(mode: int, flags: int = 0, nodes: int = 0b11) -> MemPolicy | None:
        return mpol_new(mode, flags, nodes, ALL, ALL)

    kinds = [
        None,
        mpol_new(MPOL_LOCAL, 0, 0, ALL, ALL),
        make(MPOL_BIND),
        make(MPOL_BIND, nodes=0b01),
        make(MPOL_BIND, STATIC),
        make(MPOL_BIND, STATIC, 0b11 | 1 << 63),
        make(MPOL_INTERLEAVE),
        make(MPOL_PREFERRED_MANY),
    ]
    for i, a in enumerate(kinds):
        for j, b in enumerate(kinds):
            assert mpol_equal(a, b) == (i == j)
    assert mpol_equal(mpol_new(MPOL_BIND, 0, 3, ALL, ALL), mpol_new(MPOL_BIND, 0, 3 | 1 << 63, ALL, ALL))
