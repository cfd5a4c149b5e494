"""Cpusets: which CPUs and nodes the tasks of a cgroup may use at all, whatever their own affinity and policy say.

Mirrors kernel/cgroup/cpuset.c on the default hierarchy. What is written into a group is a wish: it may name CPUs and
nodes that the parent does not have. In force is what the parent lets through of it, and all that the parent has when
that is nothing:

    cpuset.mems   as written          mems.effective
    /t1           0-1                 0-1
    /t1/a         1-2                 1
    /t1/b         (never written)     0-1
    /t1/c         3                   0-1

When the effective nodes of a task change, its policies are rebound, and the pages that it had on the old nodes move to
the new ones; when the CPUs do, it keeps to what is left of the affinity it asked for, if anything is.

Deliberately different: no partitions, so every cpuset is a member; and pages are moved by whoever makes the change,
where Linux has a worker do it and waits for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from numalab.arch.errno import EINVAL, ENOSPC, EPERM, KernelError
from numalab.kernel.cred import Cap, Cred, has_cap
from numalab.mm._constants import GFP_HARDWALL
from numalab.mm._mm_types import AllocCtx
from numalab.mm.migrate.nodes import MPOL_MF_MOVE_ALL, do_migrate_pages
from numalab.mm.mpol_rebind import mpol_rebind_mm, mpol_rebind_task
from numalab.mm.nodemask import nodelist_parse

if TYPE_CHECKING:
    from numalab.arch.topology import Topology
    from numalab.kernel.cgroup import Cgroup
    from numalab.kernel.state import Kernel
    from numalab.kernel.task import Task
    from numalab.mm._mm_types import MmStruct

__all__ = [
    "MAX_NUMNODES", "Cpuset", "cpuset_attach", "cpuset_can_attach", "cpuset_css_online",
    "cpuset_handle_hotplug", "top_cpuset", "update_cpumask", "update_nodemask",
]  # fmt: skip

MAX_NUMNODES = 1024
"""Nodes that a distribution kernel has bits for (NODES_SHIFT=10): in what is written here, and in Mems_allowed."""


class Cpuset:
    """struct cpuset, all sets as bit masks.

    cpus_allowed, mems_allowed: as written, 0 if they never were.  effective_cpus, effective_mems: what tasks may use,
    never empty; nodes without memory are not among them.  old_mems_allowed: where its tasks' pages were to be until
    now, which is where they are moved from.
    """

    def __init__(self, cgroup: Cgroup, parent: Cpuset | None, cpus: int, mems: int) -> None:
        self.cgroup = cgroup
        self.parent = parent
        self.cpus_allowed = 0
        self.mems_allowed = 0
        self.effective_cpus = cpus
        self.effective_mems = mems
        self.old_mems_allowed = 0


def top_cpuset(cgroup: Cgroup, topology: Topology, memory_nodes: int) -> Cpuset:
    """The cpuset of the root: all CPUs, all nodes with memory. The nodes without may be written into those below."""
    top = Cpuset(cgroup, None, (1 << topology.nr_cpus) - 1, memory_nodes)
    top.cpus_allowed = top.effective_cpus
    top.mems_allowed = top.old_mems_allowed = sum(1 << nid for nid in topology.node_ids)
    return top


def cpuset_css_online(cgroup: Cgroup, parent: Cpuset) -> Cpuset:
    """A new one, in which everything is as in its parent."""
    return Cpuset(cgroup, parent, parent.effective_cpus, parent.effective_mems)


# Writing


def update_cpumask(k: Kernel, cs: Cpuset, text: str) -> None:
    """cpuset.cpus. Errors: EINVAL (no list), ERANGE (a CPU that does not exist), ENOSPC (empty, with tasks inside)."""
    cpus = nodelist_parse(text, k.topology.nr_cpus)
    _validate_change(cs, cs.cpus_allowed, cpus)
    cs.cpus_allowed = cpus
    for cp in _descendants(cs):
        assert cp.parent is not None
        cp.effective_cpus = cp.cpus_allowed & cp.parent.effective_cpus or cp.parent.effective_cpus
        for task in cp.cgroup.css_tasks():
            k.sched.set_cpus_allowed_ptr(task, cp.effective_cpus)


def update_nodemask(k: Kernel, cs: Cpuset, text: str) -> None:
    """cpuset.mems. Errors: EINVAL (no list, a node that does not exist), ERANGE (no node could), ENOSPC (as above)."""
    mems = nodelist_parse(text, MAX_NUMNODES)
    if mems & ~k.cgroup_root.cpuset.mems_allowed:
        raise KernelError(EINVAL, "a node that does not exist")
    _validate_change(cs, cs.mems_allowed, mems)
    cs.mems_allowed = mems
    changed = [cp for cp in _descendants(cs) if _update_effective_mems(cp)]
    moves = [move for cp in changed for move in _update_tasks_nodemask(k, cp)]
    _migrate(k, moves)


def cpuset_handle_hotplug(k: Kernel) -> None:
    """A node has got memory, or has none any more: what is in force changes, from the root downwards.

    A wish for a node that went holds on: when it comes back, so do the tasks that wanted it, with their pages.
    """
    top = k.cgroup_root.cpuset
    if top.effective_mems == k.mem.memory_nodes:
        return
    top.effective_mems = k.mem.memory_nodes
    _update_tasks_nodemask(k, top)  # in the root no pages follow: it has no memory_migrate
    changed = [cp for cp in _descendants(top) if cp is not top and _update_effective_mems(cp)]
    _migrate(k, [move for cp in changed for move in _update_tasks_nodemask(k, cp)])


def _validate_change(cs: Cpuset, old: int, new: int) -> None:
    """validate_change(): where there are tasks, a set is not emptied."""
    if old and not new and cs.cgroup.populated:
        raise KernelError(ENOSPC, "there are tasks in the group")


def _descendants(cs: Cpuset) -> Iterator[Cpuset]:
    """cpuset_for_each_descendant_pre(): itself and those below, parents first."""
    todo = [cs]
    while todo:
        cp = todo.pop()
        yield cp
        children = reversed(cp.cgroup.children.values())
        todo.extend(child.cpuset for child in children if child.cpuset is not cp)


def _update_effective_mems(cs: Cpuset) -> bool:
    """What the parent lets through; whether that is new."""
    assert cs.parent is not None
    old, above = cs.effective_mems, cs.parent.effective_mems
    cs.effective_mems = cs.mems_allowed & above or above
    return cs.effective_mems != old


# What becomes of tasks


_Move = tuple["MmStruct", int, int, int]
"""struct cpuset_migrate_mm_work: whose pages, from which nodes, to which; and the process whose address space it is."""


def _change_task_nodemask(task: Task, cs: Cpuset) -> None:
    """cpuset_change_task_nodemask(): where it may allocate, and its policy."""
    ctx = task.ctx
    mpol_rebind_task(ctx, cs.effective_mems)
    ctx.mems_allowed = cs.effective_mems
    # In the top cpuset there is nothing to obey.
    ctx.gfp = ctx.gfp & ~GFP_HARDWALL | (GFP_HARDWALL if cs.parent is not None else 0)


def _update_tasks_nodemask(k: Kernel, cs: Cpuset) -> list[_Move]:
    """cpuset_update_tasks_nodemask(): all tasks go by the new nodes; returns which pages are to be moved."""
    tasks = list(cs.cgroup.css_tasks())
    for task in tasks:
        _change_task_nodemask(task, cs)
    old, cs.old_mems_allowed = cs.old_mems_allowed, cs.effective_mems
    return _rebind_mms(k, tasks, old, cs.effective_mems)


def _rebind_mms(k: Kernel, tasks: Sequence[Task], old: int, new: int) -> list[_Move]:
    """The policies of the areas of these tasks. This may sleep, and a task may have ended meanwhile."""
    moves: list[_Move] = []
    for task in tasks:
        mm = task.mm
        if mm is not None:
            mpol_rebind_mm(mm, k.current_ctx, new)
            if old != new:
                moves.append((mm, old, new, task.tgid))
    return moves


def _migrate(k: Kernel, moves: Sequence[_Move]) -> None:
    """cpuset_migrate_mm_workfn(), and waiting for it. The worker is in no cpuset, so it may allocate anywhere."""
    cpu = k.current_ctx.cpu
    worker = AllocCtx(cpu, k.topology.node_of_cpu(cpu), k.mem.memory_nodes)
    for mm, old, new, pid in moves:
        before = worker.ledger
        do_migrate_pages(k.mem, mm, worker, old, new, MPOL_MF_MOVE_ALL)
        ledger = k.current_ctx.ledger = k.mem.ledger  # for whoever waits, this is what the call did
        ledger.pid, ledger.before = pid, before


# Coming in


def cpuset_can_attach(cs: Cpuset, old: Cpuset, tasks: Sequence[Task], cred: Cred) -> None:
    """Whether whoever has ``cred`` may bring tasks in from ``old``: if it changes anything, they must not have more
    rights than he (cap_safe_nice()). Errors: EPERM.
    """
    if (cs.effective_cpus, cs.effective_mems) == (old.effective_cpus, old.effective_mems):
        return
    if any(task.cred.permitted & ~cred.permitted for task in tasks) and not has_cap(cred, Cap.CAP_SYS_NICE):
        raise KernelError(EPERM)


def cpuset_attach(k: Kernel, cs: Cpuset, old: Cpuset, tasks: Sequence[Task]) -> None:
    """Tasks have come, and obey; their pages follow. cs: where the first of them is now, old: where it was.

    Kept: whatever happens to the first one, happens to all. Tasks of several cpusets come at once when a controller is
    given to groups, or taken away: then they may keep to what they had, until somebody writes something else.
    """
    mems_from, cs.old_mems_allowed = old.old_mems_allowed, cs.effective_mems
    if (cs.effective_cpus, cs.effective_mems) == (old.effective_cpus, old.effective_mems):
        return
    for task in tasks:
        k.sched.set_cpus_allowed_ptr(task, cs.effective_cpus)
        _change_task_nodemask(task, cs)
    leaders = [task for task in tasks if task is task.group_leader]
    _migrate(k, _rebind_mms(k, leaders, mems_from, cs.effective_mems))
