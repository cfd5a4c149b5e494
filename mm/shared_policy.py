"""Memory policies that belong to a file: mbind() on shared memory.

Whoever maps the file sees them, they outlive the mapping by which they were set, and another mapping is not split by
them. Each stands for a range of the file's pages; where there is none, the policy of the task that faults decides.

Mirrors mpol_set_shared_policy() and mpol_shared_policy_lookup() of mm/mempolicy.c, and __get_vma_policy(). Deliberately
different: a sorted array instead of a red-black tree.
"""

from __future__ import annotations

from numalab.mm._mm_types import VMA, AddressSpace, MemPolicy
from numalab.mm.vma_tree import linear_page_index, vma_pages

__all__ = ["get_vma_policy", "interleave_index", "set_shared_policy", "shared_policy_lookup"]


def get_vma_policy(vma: VMA, addr: int) -> MemPolicy | None:
    """The policy for a page of an area: that of the file if it has any, else the area's own; None: the task's."""
    if vma.file is None:
        return vma.policy
    return shared_policy_lookup(vma.file.mapping, linear_page_index(vma, addr))


def interleave_index(vma: VMA, addr: int) -> int:
    """Where a page of an area stands in the turns of an interleaving policy."""
    index = linear_page_index(vma, addr)
    return index if vma.file is None else vma.file.mapping.id + index


def shared_policy_lookup(mapping: AddressSpace, index: int) -> MemPolicy | None:
    """The policy of one page of a file, None = none. O(policies)."""
    return next((policy for start, end, policy in mapping.policies if start <= index < end), None)


def set_shared_policy(vma: VMA, policy: MemPolicy | None) -> None:
    """Give all pages that ``vma`` covers of its file a policy, or with None take it away."""
    assert vma.file is not None
    mapping = vma.file.mapping
    first, last = vma.pgoff, vma.pgoff + vma_pages(vma)
    kept = []
    for start, end, old in mapping.policies:
        if start < first:
            kept.append((start, min(end, first), old))
        if end > last:
            kept.append((max(start, last), end, old))
    if policy is not None:
        kept.append((first, last, policy))
    mapping.policies = sorted(kept, key=lambda node: node[0])
