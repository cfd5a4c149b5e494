"""Memory policies that belong to a file: mbind() on shared memory.

Whoever maps the file sees them, they outlive the mapping by which they were set, and another mapping is not split by
them. Each stands for a range of the file's pages; where there is none, the policy of the task that faults decides.

Mirrors mpol_set_shared_policy() and mpol_shared_policy_lookup() of mm/mempolicy.c, and __get_vma_policy(). Deliberately
different: a sorted array instead of a red-black tree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from numalab.arch.errno import KernelError
from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, MemPolicy
from numalab.mm.mpol import mpol_new
from numalab.mm.vm_flags import VM_HUGETLB
from numalab.mm.vma_tree import linear_page_index, vma_pages

__all__ = [
    "get_vma_policy", "interleave_base", "interleave_index", "mpol_shared_policy_init", "set_shared_policy",
    "shared_policy_lookup", "shmem_mapping",
]  # fmt: skip

_LAST_INDEX = 1 << 52


def shmem_mapping(vma: VMA) -> AddressSpace | None:
    """The shared memory that an area maps; None: it is anonymous, or maps what has no policies: a file on a disk, pages
    of hugetlb.
    """
    if vma.file is None or vma.file.mapping.bdi or vma.flags & VM_HUGETLB:
        return None
    return vma.file.mapping


def get_vma_policy(vma: VMA, addr: int) -> MemPolicy | None:
    """The policy for a page of an area: of shared memory the file's, else the area's own; None: the task's."""
    shared = shmem_mapping(vma)
    return vma.policy if shared is None else shared_policy_lookup(shared, linear_page_index(vma, addr))


def interleave_base(vma: VMA) -> int:
    """What is added to the index of a page for its turn with an interleaving policy: of shared memory its number."""
    shared = shmem_mapping(vma)
    return 0 if shared is None else shared.id


def interleave_index(vma: VMA, addr: int) -> int:
    """Where a page of an area stands in the turns of an interleaving policy."""
    return interleave_base(vma) + linear_page_index(vma, addr)


def mpol_shared_policy_init(mapping: AddressSpace, policy: MemPolicy | None, ctx: AllocCtx) -> None:
    """The policy that a new file gets from its mount: of its nodes, those that whoever makes the file may use.

    It gets none if there are none of them, or the mount has no policy.
    """
    if policy is None:
        return
    wanted = policy.user_nodemask or policy.nodes
    try:
        own = mpol_new(policy.mode, policy.flags, wanted, ctx.mems_allowed, mapping.mem.memory_nodes)
    except KernelError:
        return
    if own is not None:
        mapping.replace_policies(0, 0, [(0, _LAST_INDEX, own)])


def shared_policy_lookup(mapping: AddressSpace, index: int) -> MemPolicy | None:
    """The policy of one page of a file, None = none. O(log policies)."""
    at = bisect_right(mapping.policies, index, key=_start) - 1
    return mapping.policies[at][2] if at >= 0 and index < mapping.policies[at][1] else None


def set_shared_policy(vma: VMA, policy: MemPolicy | None) -> None:
    """Give all pages that ``vma`` covers of its file a policy, or with None take it away.

    Only those that the range touches are looked at (shared_policy_replace()).
    """
    assert vma.file is not None
    mapping = vma.file.mapping
    first, last = vma.pgoff, vma.pgoff + vma_pages(vma)
    low = bisect_right(mapping.policies, first, key=_end)
    high = bisect_left(mapping.policies, last, key=_start)
    kept = [] if policy is None else [(first, last, policy)]
    for start, end, old in mapping.policies[low:high]:
        if start < first:
            kept.insert(0, (start, first, old))
        if end > last:
            kept.append((last, end, old))
    mapping.replace_policies(low, high, kept)


def _start(node: tuple[int, int, MemPolicy]) -> int:
    return node[0]


def _end(node: tuple[int, int, MemPolicy]) -> int:
    return node[1]
