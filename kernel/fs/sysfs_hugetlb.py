"""/sys/kernel/mm/hugepages and each node's hugepages: the pool of hugetlb and its parts; the sysctls for it.

Mirrors the sysfs and sysctl parts of mm/hugetlb.c; Documentation/admin-guide/mm/hugetlbpage.rst. There is one size.
"""

from __future__ import annotations

from collections.abc import Callable

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile, text_file
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.kernel.state import Kernel
from numalab.mm.mpol import MPOL_LOCAL

__all__ = ["add_hugetlb"]

_DIRECTORY = "hugepages/hugepages-2048kB"
_ULONG_MAX = (1 << 64) - 1


def add_hugetlb(k: Kernel, proc: Directory, sys: Directory) -> None:
    """Fill /sys/kernel/mm/hugepages, /sys/devices/system/node/nodeN/hugepages and /proc/sys/vm."""
    hstate = k.mem.hstate
    here = f"kernel/mm/{_DIRECTORY}"
    sys.add(f"{here}/nr_hugepages", _pool(k, lambda: hstate.nr_huge_pages, _all_nodes, _kstrtoul))
    sys.add(
        f"{here}/nr_hugepages_mempolicy", _pool(k, lambda: hstate.nr_huge_pages, _policy_nodes, _kstrtoul)
    )
    sys.add(f"{here}/nr_overcommit_hugepages", _overcommit(k, _kstrtoul))
    sys.add(f"{here}/free_hugepages", _number(lambda: hstate.free_huge_pages))
    sys.add(f"{here}/resv_hugepages", _number(lambda: hstate.resv_huge_pages))
    sys.add(f"{here}/surplus_hugepages", _number(lambda: hstate.surplus_huge_pages))
    proc.add("sys/vm/nr_hugepages", _pool(k, lambda: hstate.max_huge_pages, _all_nodes, _number_of))
    proc.add(
        "sys/vm/nr_hugepages_mempolicy", _pool(k, lambda: hstate.max_huge_pages, _policy_nodes, _number_of)
    )
    proc.add("sys/vm/nr_overcommit_hugepages", _overcommit(k, _number_of))
    for nid in k.topology.node_ids:
        _add_node(k, sys, nid)


def _add_node(k: Kernel, sys: Directory, nid: int) -> None:
    hstate = k.mem.hstate
    here = f"devices/system/node/node{nid}/{_DIRECTORY}"

    def store(opening: Opening, text: str) -> None:
        hstate.set_max_huge_pages(k.current_ctx, _kstrtoul(text), nid, 1 << nid)

    show = _show(lambda: hstate.nr_huge_pages_node[nid])
    sys.add(f"{here}/nr_hugepages", PseudoFile(0o644, lambda opening: show(), store))
    sys.add(f"{here}/free_hugepages", _number(lambda: len(hstate.free_lists[nid])))
    sys.add(f"{here}/surplus_hugepages", _number(lambda: hstate.surplus_huge_pages_node[nid]))


def _show(value: Callable[[], int]) -> Callable[[], str]:
    return lambda: f"{value()}\n"


def _number(value: Callable[[], int]) -> PseudoFile:
    return text_file(_show(value))


def _kstrtoul(text: str) -> int:
    """kstrtoul() with base 10. Errors: EINVAL."""
    if not text.strip("+\n").isdecimal():
        raise KernelError(EINVAL, f"{text!r} is no number")
    return kstrtoint(text.lstrip("0+\n") or "0", 0, _ULONG_MAX)


def _number_of(text: str) -> int:
    """proc_doulongvec_minmax(). Errors: EINVAL."""
    return kstrtoint(text.strip(), 0, _ULONG_MAX)


def _all_nodes(k: Kernel) -> int:
    return k.mem.memory_nodes


def _policy_nodes(k: Kernel) -> int:
    """init_nodemask_of_mempolicy(): the nodes of the writer's policy; without one all."""
    ctx = k.current_ctx
    if ctx.policy is None:
        return k.mem.memory_nodes
    return 1 << ctx.nid if ctx.policy.mode == MPOL_LOCAL else ctx.policy.nodes


def _pool(
    k: Kernel, value: Callable[[], int], nodes: Callable[[Kernel], int], parse: Callable[[str], int]
) -> PseudoFile:
    """The size of the pool; what changes does so on ``nodes``."""

    def store(opening: Opening, text: str) -> None:
        k.mem.hstate.set_max_huge_pages(k.current_ctx, parse(text), -1, nodes(k))

    show = _show(value)
    return PseudoFile(0o644, lambda opening: show(), store)


def _overcommit(k: Kernel, parse: Callable[[str], int]) -> PseudoFile:
    """How many surplus pages there may be."""

    def store(opening: Opening, text: str) -> None:
        k.mem.hstate.nr_overcommit_huge_pages = parse(text)

    show = _show(lambda: k.mem.hstate.nr_overcommit_huge_pages)
    return PseudoFile(0o644, lambda opening: show(), store)
