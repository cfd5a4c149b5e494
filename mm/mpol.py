"""Memory policies as objects: making, comparing, printing. The system calls are in mempolicy.py.

A policy says on which nodes new pages shall be:

* default            none: where the CPU is (``None`` here and everywhere)
* local              the same, said explicitly
* preferred          one node, others when it is full
* bind               these nodes and no others, the nearest first
* preferred (many)   these nodes first, then any
* interleave         round robin, by page offset within a mapping
* weighted interl.   the same, so many pages in a row on each node (weights.py)

What the user asks for and what holds are two masks. The effective nodes are the user's nodes that have memory
and lie in the cpuset; with STATIC the wish is kept for the day the cpuset changes, with RELATIVE it is a wish
about the n-th allowed node, and without either the effective mask itself is carried along (mpol_rebind.py).

Mirrors the first third of mm/mempolicy.c. Deliberately different: a ``MemPolicy`` is immutable once made, so
areas and tasks share one instead of duplicating and counting references.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, KernelError
from numalab.mm._mm_types import MemPolicy
from numalab.mm.nodemask import first_node, nodelist, nodelist_parse, nodes_fold, nodes_onto, nodes_weight

__all__ = [
    "MPOL_BIND", "MPOL_DEFAULT", "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES",
    "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_MODE_FLAGS", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE", "get_policy_nodemask", "mpol_equal", "mpol_new", "mpol_parse_str",
    "mpol_relative_nodemask", "mpol_store_user_nodemask", "mpol_to_str", "sanitize_mpol_flags",
]  # fmt: skip

MPOL_DEFAULT = 0
MPOL_PREFERRED = 1
MPOL_BIND = 2
MPOL_INTERLEAVE = 3
MPOL_LOCAL = 4
MPOL_PREFERRED_MANY = 5
MPOL_WEIGHTED_INTERLEAVE = 6
MPOL_MAX = 7

MPOL_F_STATIC_NODES = 1 << 15
MPOL_F_RELATIVE_NODES = 1 << 14
MPOL_F_NUMA_BALANCING = 1 << 13
MPOL_MODE_FLAGS = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING

#: Names in numa_maps and in mount options, by mode.
_NAMES = ("default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave")


def sanitize_mpol_flags(mode: int) -> tuple[int, int]:
    """The ``mode`` argument of set_mempolicy() and mbind(), taken apart into (mode, MPOL_F_* flags).

    Raises KernelError(EINVAL): no such mode (any bit that is not known makes it one), STATIC together with
    RELATIVE, or NUMA_BALANCING with a mode other than bind and preferred (many).
    """
    flags = mode & MPOL_MODE_FLAGS
    mode &= ~MPOL_MODE_FLAGS
    if not 0 <= mode < MPOL_MAX:
        raise KernelError(EINVAL, f"{mode:#x} is no mode")
    if flags & MPOL_F_STATIC_NODES and flags & MPOL_F_RELATIVE_NODES:
        raise KernelError(EINVAL, "STATIC and RELATIVE exclude each other")
    if flags & MPOL_F_NUMA_BALANCING and mode not in (MPOL_BIND, MPOL_PREFERRED_MANY):
        raise KernelError(EINVAL, "NUMA_BALANCING goes with bind and preferred (many) only")
    return mode, flags


def mpol_new(mode: int, flags: int, nodes: int, mems_allowed: int, memory_nodes: int) -> MemPolicy | None:
    """A policy as set_mempolicy() and mbind() make it (mpol_new() and mpol_set_nodemask()); None for default.

    nodes: the user's mask; mems_allowed: the cpuset of the task that asks; memory_nodes: N_MEMORY.
    ``mode`` and ``flags`` come from sanitize_mpol_flags().

    Raises KernelError(EINVAL): a mask where none may be (default, local) or none where one must be, or no
    node is left of it. The last applies to STATIC too: falling back to local is for later, when the cpuset
    changes.
    """
    if mode == MPOL_DEFAULT:
        if nodes:
            raise KernelError(EINVAL, "default takes no nodes")
        return None
    fixed = flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
    if mode == MPOL_PREFERRED and not nodes and not fixed:
        mode = MPOL_LOCAL
    if mode == MPOL_LOCAL:
        if nodes or fixed:
            raise KernelError(EINVAL, "local takes no nodes, and neither STATIC nor RELATIVE")
        return MemPolicy(mode, flags)
    if not nodes:
        raise KernelError(EINVAL, f"{_NAMES[mode]} needs nodes")

    usable = mems_allowed & memory_nodes
    effective = mpol_relative_nodemask(nodes, usable) if flags & MPOL_F_RELATIVE_NODES else nodes & usable
    if not effective:
        raise KernelError(EINVAL, f"none of {nodelist(nodes)} is allowed and has memory")
    if mode == MPOL_PREFERRED:
        effective = 1 << first_node(effective)
    stored = flags & MPOL_MODE_FLAGS
    return MemPolicy(
        mode,
        flags,
        effective,
        user_nodemask=nodes if stored else 0,
        cpuset_mems_allowed=0 if stored else mems_allowed,
    )


def mpol_parse_str(text: str, mems_allowed: int, memory_nodes: int) -> MemPolicy | None:
    """The policy that a mount option names, ``MODE[=FLAG][:NODES]``: the inverse of mpol_to_str(). None: default.

    Raises KernelError(EINVAL): no such mode or flag, nodes that have no memory, nodes where none may be or none where
    they must be.
    """
    mode_text, colon, list_text = text.partition(":")
    name, _, flag = mode_text.partition("=")
    if name not in _NAMES or flag not in ("", "static", "relative"):
        raise KernelError(EINVAL, f"{mode_text!r} is no policy")
    try:
        mode, nodes = _NAMES.index(name), nodelist_parse(list_text) if colon else 0
    except KernelError as error:
        raise KernelError(EINVAL, error.why) from error
    if nodes & ~memory_nodes:
        raise KernelError(EINVAL, f"not all of {list_text} have memory")
    if colon and (mode in (MPOL_DEFAULT, MPOL_LOCAL) or (mode == MPOL_PREFERRED and not list_text.isdigit())):
        raise KernelError(EINVAL, f"{name} does not take {list_text!r}")
    if not colon and mode in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        nodes = memory_nodes
    flags = {"": 0, "static": MPOL_F_STATIC_NODES, "relative": MPOL_F_RELATIVE_NODES}[flag]
    return mpol_new(mode, flags, nodes, mems_allowed, memory_nodes)


def mpol_relative_nodemask(nodes: int, relative_to: int) -> int:
    """RELATIVE: node n of the wish is the n-th of ``relative_to``, counted round and round."""
    if not relative_to:
        return 0
    return nodes_onto(nodes_fold(nodes, nodes_weight(relative_to)), relative_to)


def mpol_store_user_nodemask(policy: MemPolicy) -> bool:
    """Whether the user's own mask is kept: for STATIC and RELATIVE, and in 6.12 for NUMA_BALANCING too."""
    return bool(policy.flags & MPOL_MODE_FLAGS)


def get_policy_nodemask(policy: MemPolicy | None) -> int:
    """The nodes that get_mempolicy() reports: the user's if they were kept, else the effective ones."""
    if policy is None:
        return 0
    return int(policy.user_nodemask) if mpol_store_user_nodemask(policy) else policy.nodes


def mpol_equal(a: MemPolicy | None, b: MemPolicy | None) -> bool:
    """Whether two policies place pages alike, so that neighbouring areas with them may be one.

    None (default) and local do the same and are still different: Linux compares what was said.
    """
    if a is b:
        return True
    if a is None or b is None:
        return False
    if (a.mode, a.flags, a.home_node) != (b.mode, b.flags, b.home_node):
        return False
    if mpol_store_user_nodemask(a) and a.user_nodemask != b.user_nodemask:
        return False
    return a.nodes == b.nodes


def mpol_to_str(policy: MemPolicy | None) -> str:
    """The policy as numa_maps shows it: ``default``, ``bind=static:0-1``, ``prefer (many):1,3``."""
    if policy is None:
        return _NAMES[MPOL_DEFAULT]
    flags = [
        name
        for bit, name in (
            (MPOL_F_STATIC_NODES, "static"),
            (MPOL_F_RELATIVE_NODES, "relative"),
            (MPOL_F_NUMA_BALANCING, "balancing"),
        )
        if policy.flags & bit
    ]
    return (
        _NAMES[policy.mode]
        + ("=" + "|".join(flags) if flags else "")
        + (":" + nodelist(policy.nodes) if policy.nodes else "")
    )
