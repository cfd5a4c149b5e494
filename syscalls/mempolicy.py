"""NUMA memory policy and page migration: the six system calls this machine is about.

Mirrors the SYSCALL_DEFINEs of mm/mempolicy.c and mm/migrate.c; man pages set_mempolicy(2), get_mempolicy(2),
mbind(2), migrate_pages(2), move_pages(2).  Here is what Linux checks before it acts: masks, flags, pids,
permissions, in its order, which programs can tell from the errno.  The acting is `mm.mempolicy`, `mm.migrate`.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, EPERM, ESRCH, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.ptrace import ptrace_may_access
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable
from numalab.mm._mm_types import MmStruct
from numalab.mm.mempolicy import do_get_mempolicy, do_mbind, do_set_home_node, do_set_mempolicy
from numalab.mm.migrate.move_pages import do_pages_move, do_pages_stat
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mpol import sanitize_mpol_flags
from numalab.syscalls.abi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT, PAGE_SIZE
from numalab.syscalls.uaccess import MAX_NUMNODES, UserPages, copy_nodes_to_user, get_nodes, put_user

__all__ = [
    "get_mempolicy",
    "mbind",
    "migrate_pages",
    "move_pages",
    "set_mempolicy",
    "set_mempolicy_home_node",
]

_MBIND_VALID = MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL
_REAL_NODES = (1 << 64) - 1


def _mm(task: Task) -> MmStruct:
    assert task.mm is not None  # only tasks with memory make system calls
    return task.mm


def set_mempolicy(k: Kernel, task: Task, mode: int, nmask: int, maxnode: int) -> int:
    """set_mempolicy(2): the policy of the calling thread.

    Errors in order: EINVAL (mode, its flags), EINVAL or EFAULT (the mask), EINVAL (mode and mask do not fit,
    no allowed node with memory is left).
    """
    mode, mode_flags = sanitize_mpol_flags(mode)
    nodes = get_nodes(task, nmask, maxnode)
    do_set_mempolicy(k.mem, task.ctx, mode, mode_flags, nodes)
    return 0


def get_mempolicy(k: Kernel, task: Task, policy: int, nmask: int, maxnode: int, addr: int, flags: int) -> int:
    """get_mempolicy(2): a policy, the nodes allowed, or the node of a page, which is faulted in for that.

    Errors in order: EINVAL (a mask shorter than the possible nodes), those of do_get_mempolicy(), EFAULT (the mode,
    which is stored first), EINVAL or EFAULT (the mask).
    """
    nr_node_ids = k.topology.nr_node_ids
    if nmask and maxnode < nr_node_ids:
        raise KernelError(EINVAL, f"there may be {nr_node_ids} nodes, and the mask has room for {maxnode}")
    mode, nodes = do_get_mempolicy(k.mem, _mm(task), task.ctx, addr, flags)
    if policy:
        put_user(task, policy, "i", mode)
    if nmask:
        copy_nodes_to_user(task, nmask, maxnode, nodes, nr_node_ids)
    return 0


def mbind(
    k: Kernel, task: Task, start: int, length: int, mode: int, nmask: int, maxnode: int, flags: int
) -> int:
    """mbind(2): the policy of an address range, and with a MOVE flag the pages that are there already.

    Errors in order: EINVAL (mode), EINVAL or EFAULT (mask), EINVAL (flags), EPERM (MOVE_ALL without CAP_SYS_NICE),
    and those of do_mbind().
    """
    mode, mode_flags = sanitize_mpol_flags(mode)
    nodes = get_nodes(task, nmask, maxnode)
    if flags & ~_MBIND_VALID:
        raise KernelError(EINVAL, f"unknown flags {flags & ~_MBIND_VALID:#x}")
    if flags & MPOL_MF_MOVE_ALL and not capable(task, Cap.CAP_SYS_NICE):
        raise KernelError(EPERM, "MPOL_MF_MOVE_ALL needs CAP_SYS_NICE")
    return do_mbind(k.mem, _mm(task), task.ctx, start, length, mode, mode_flags, nodes, flags)


def set_mempolicy_home_node(
    k: Kernel, task: Task, start: int, length: int, home_node: int, flags: int
) -> int:
    """set_mempolicy_home_node(2): the node that a bind or preferred (many) range starts from.

    Errors in order: EINVAL (start not aligned), EINVAL (flags), EINVAL (no such node), and those of
    do_set_home_node().
    """
    if start % PAGE_SIZE or flags:
        raise KernelError(EINVAL, "there are no flags" if flags else "start is not page aligned")
    if home_node >= MAX_NUMNODES or home_node not in k.topology.node_ids:
        raise KernelError(EINVAL, f"node {home_node} does not exist")
    do_set_home_node(_mm(task), task.ctx, start, length, home_node)
    return 0


def migrate_pages(k: Kernel, task: Task, pid: int, maxnode: int, old_nodes: int, new_nodes: int) -> int:
    """migrate_pages(2): all pages of a process from one set of nodes to another; returns how many stayed behind.

    Errors in order: EINVAL or EFAULT (the old mask, the new mask), ESRCH, EPERM (may not look into that process),
    EPERM (a target node that the process may not use, without CAP_SYS_NICE), EINVAL (no target node that the caller
    may use), EINVAL (a process without memory), ENOMEM (a target node is full).
    """
    old = get_nodes(task, old_nodes, maxnode)
    new = get_nodes(task, new_nodes, maxnode)
    target = _find(k, task, pid)
    privileged = capable(task, Cap.CAP_SYS_NICE)
    if new & ~target.mems_allowed and not privileged:
        raise KernelError(EPERM, "a new node is not in the cpuset of the process")
    # Nodes that do not exist, have no memory or are not the caller's to use drop out here, in silence.
    new &= task.mems_allowed
    if not new or target.mm is None:
        raise KernelError(
            EINVAL, "the process has no memory" if new else "no new node is left that may be used"
        )
    flags = MPOL_MF_MOVE_ALL if privileged else MPOL_MF_MOVE
    return do_migrate_pages(k.mem, target.mm, task.ctx, old & _REAL_NODES, new, flags)


def move_pages(
    k: Kernel, task: Task, pid: int, nr_pages: int, pages: int, nodes: int, status: int, flags: int
) -> int:
    """move_pages(2): each page to a node of its own; without nodes, where each page is.

    Errors in order: EINVAL (flags), EPERM (MOVE_ALL without CAP_SYS_NICE), ESRCH, EPERM (may not look into that
    process), EINVAL (a process without memory), and those of do_pages_move() and do_pages_stat().
    """
    if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        raise KernelError(EINVAL, f"unknown flags {flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):#x}")
    if flags & MPOL_MF_MOVE_ALL and not capable(task, Cap.CAP_SYS_NICE):
        raise KernelError(EPERM, "MPOL_MF_MOVE_ALL needs CAP_SYS_NICE")
    target = _find(k, task, pid)
    if target.mm is None:
        raise KernelError(EINVAL, "the process has no memory")
    arrays = UserPages(task, pages, nodes, status)
    if nodes:
        move_all = bool(flags & MPOL_MF_MOVE_ALL)
        return do_pages_move(
            k.mem, target.mm, task.ctx, target.mems_allowed, nr_pages, arrays, move_all=move_all
        )
    do_pages_stat(k.mem, target.mm, nr_pages, arrays)
    return 0


def _find(k: Kernel, task: Task, pid: int) -> Task:
    """The task that a pid argument names, 0 being the caller. Errors: ESRCH, EPERM (may not look into it)."""
    if pid == 0:
        return task
    target = k.pids.find(pid)
    if target is None:
        raise KernelError(ESRCH, f"there is no process {pid}")
    if not ptrace_may_access(task, target):
        raise KernelError(EPERM, f"task {task.pid} may not look into process {pid}")
    return target
