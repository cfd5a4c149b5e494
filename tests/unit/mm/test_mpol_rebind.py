"""A changed cpuset changes policies as Linux 6.12 was seen to change them: nodes 0-3, then 2-3, then 0 and 3."""

from __future__ import annotations

import pytest

from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
    get_policy_nodemask,
    mpol_new,
    mpol_to_str,
)
from numalab.mm.mpol_rebind import mpol_rebind_mm, mpol_rebind_policy, mpol_rebind_task
from numalab.mm.nodemask import nodelist

from tests.mm_machine import MmMachine

STATIC, RELATIVE, BALANCING = MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING
ALL = 0b1111


@pytest.mark.parametrize(
    ("mode", "flags", "nodes", "first", "second"),
    [
        (MPOL_BIND, 0, 0b0011, "bind:2-3 2-3", "bind:0,3 0,3"),
        (MPOL_BIND, STATIC, 0b0011, "bind=static:2-3 0-1", "bind=static:0 0-1"),
        (MPOL_BIND, STATIC, 0b1010, "bind=static:3 1,3", "bind=static:3 1,3"),
        (MPOL_BIND, RELATIVE, 0b1100000, "bind=relative:2-3 5-6", "bind=relative:0,3 5-6"),
        (MPOL_BIND, BALANCING, 0b0011, "bind=balancing:2-3 2-3", "bind=balancing:0,3 0,3"),
        (MPOL_INTERLEAVE, RELATIVE, 0b0101, "interleave=relative:2 0,2", "interleave=relative:0 0,2"),
        (MPOL_INTERLEAVE, 0, 0b0111, "interleave:2-3 2-3", "interleave:0,3 0,3"),
        (MPOL_WEIGHTED_INTERLEAVE, 0, 0b1010, "weighted interleave:3 3", "weighted interleave:3 3"),
        (MPOL_PREFERRED, 0, 0b0010, "prefer:1 1", "prefer:1 1"),
        (MPOL_PREFERRED, STATIC, 0b0010, "prefer=static:1 2-3", "prefer=static:1 0,3"),
        (MPOL_PREFERRED_MANY, 0, 0b0110, "prefer (many):1-2 1-2", "prefer (many):1-2 1-2"),
        (
            MPOL_PREFERRED_MANY,
            RELATIVE,
            0b0011,
            "prefer (many)=relative:0-1 2-3",
            "prefer (many)=relative:0-1 0,3",
        ),
        (MPOL_LOCAL, 0, 0, "local ", "local "),
    ],
)
def test_as_recorded(mode: int, flags: int, nodes: int, first: str, second: str) -> None:
    policy = mpol_new(mode, flags, nodes, ALL, ALL)
    for mems, expected in ((0b1100, first), (0b1001, second)):
        policy = mpol_rebind_policy(policy, mems)
        assert f"{mpol_to_str(policy)} {nodelist(get_policy_nodemask(policy))}" == expected


def test_what_does_not_change_stays_the_same_object() -> None:
    policy = mpol_new(MPOL_BIND, 0, 0b11, ALL, ALL)
    assert mpol_rebind_policy(policy, ALL) is policy
    assert mpol_rebind_policy(None, 1) is None


def test_tasks_and_areas() -> None:
    with MmMachine("4x16M") as m:
        mm = m.new_mm()
        vma = m.vma(mm, m.map(mm, 4))
        m.ctx.policy = vma.policy = mpol_new(MPOL_INTERLEAVE, 0, 0b11, ALL, ALL)
        m.ctx.il_prev = 1
        mpol_rebind_task(m.ctx, 0b1100)
        mpol_rebind_mm(mm, m.ctx, 0b1001)
        assert mpol_to_str(m.ctx.policy) == "interleave:2-3"
        assert m.ctx.il_prev == 1
        assert mpol_to_str(vma.policy) == "interleave:0,3"
