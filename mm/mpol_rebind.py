"""What becomes of memory policies when the cpuset of a task changes.

A wish that was kept (STATIC, RELATIVE) is granted anew from the new set. Without one, the effective nodes
move by position: the second of the old allowed nodes becomes the second of the new ones, so the layout
survives a move. A policy that would end up without nodes gets all of the new ones: only installing one can
fail.

Mirrors the mpol_rebind_*() functions of mm/mempolicy.c. Deliberately different: policies are immutable, so a
changed one is a new object. Kept, though documentation says otherwise: preferred and preferred (many) keep
their nodes; and since Linux has one field for the user's mask and the old cpuset, the wish of those two is
overwritten by the new set, and a policy with NUMA_BALANCING alone moves by position in the user's mask.
"""

from __future__ import annotations

from numalab.mm._mm_types import AllocCtx, MemPolicy, MmStruct
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.mm.mpol import (
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    mpol_relative_nodemask,
    mpol_store_user_nodemask,
)
from numalab.mm.nodemask import nodes_remap

__all__ = ["mpol_rebind_mm", "mpol_rebind_policy", "mpol_rebind_task"]


def mpol_rebind_policy(policy: MemPolicy | None, mems: int) -> MemPolicy | None:
    """The policy for a task whose cpuset allows ``mems`` from now on (a mask, not empty)."""
    if policy is None or policy.mode == MPOL_LOCAL:
        return policy
    stored = mpol_store_user_nodemask(policy)
    if not stored and policy.cpuset_mems_allowed == mems:
        return policy
    field = policy.user_nodemask if stored else policy.cpuset_mems_allowed
    nodes = policy.nodes
    if policy.mode in (MPOL_PREFERRED, MPOL_PREFERRED_MANY):
        field = mems
    elif policy.flags & MPOL_F_STATIC_NODES:
        nodes = field & mems or mems
    elif policy.flags & MPOL_F_RELATIVE_NODES:
        nodes = mpol_relative_nodemask(field, mems) or mems
    else:
        nodes = nodes_remap(nodes, field, mems) or mems
        field = mems
    return MemPolicy(
        policy.mode,
        policy.flags,
        nodes,
        policy.home_node,
        user_nodemask=field if stored else 0,
        cpuset_mems_allowed=0 if stored else field,
    )


def mpol_rebind_task(ctx: AllocCtx, mems: int) -> None:
    """The policy of a task. Where its interleaving had got to stays."""
    ctx.policy = mpol_rebind_policy(ctx.policy, mems)


def mpol_rebind_mm(mm: MmStruct, ctx: AllocCtx, mems: int) -> None:
    """The policies of all areas of an address space, on behalf of a task. Areas that become equal are not merged."""
    with mmap_write_lock(mm, ctx):
        for vma in mm.vmas.values():
            vma.policy = mpol_rebind_policy(vma.policy, mems)
