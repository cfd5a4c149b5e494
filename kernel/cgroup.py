"""Control groups: which group each process is in, and which controllers the groups have.

Mirrors kernel/cgroup/cgroup.c: the default hierarchy (v2), with cpuset as its only controller. What programs see of it
is kernel/fs/cgroupfs.py. A group has a controller if its parent's subtree_control says so; a group without a cpuset
goes by that of the nearest group above that has one.

    /            subtree_control: cpuset
    /t1          a cpuset of its own; subtree_control: empty
    /t1/a        goes by the cpuset of /t1

Cpuset is a controller that could tell threads apart, so processes may be in a group that passes it on. That makes the
group the root of a threaded subtree: those below are "domain invalid" and take nobody. Deliberately different: that
is as far as it goes, no group can be made threaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from numalab.arch.errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH, KernelError
from numalab.kernel.cpuset import Cpuset, cpuset_attach, cpuset_can_attach, cpuset_css_online, top_cpuset

if TYPE_CHECKING:
    from numalab.arch.topology import Topology
    from numalab.kernel.cred import Cred
    from numalab.kernel.fs.inode import Directory
    from numalab.kernel.state import Kernel
    from numalab.kernel.task import Task

__all__ = [
    "CONTROLLERS", "NO_LIMIT", "Cgroup", "cgroup_attach_task", "cgroup_create", "cgroup_destroy",
    "cgroup_exit", "cgroup_fork", "cgroup_init", "cgroup_migrate_vet_dst", "cgroup_release", "cgroup_subtree_control",
    "find_process",
]  # fmt: skip

CONTROLLERS = ("cpuset",)
NO_LIMIT = (1 << 31) - 1


class Cgroup:
    """struct cgroup.

    tasks: its own, without those that have ended, in the order in which they came.  nr_populated_children: children
    with tasks in them, or below.  subtree_control: the controllers that its children have.  cpuset: what its tasks go
    by, its own or that of a group above.  kn: its directory.

    max_descendants, max_depth: limits to what may be made below. There are none at first, so whoever goes up or down
    does so without recursion.
    """

    cpuset: Cpuset
    kn: Directory

    def __init__(self, name: str, parent: Cgroup | None) -> None:
        self.name = name
        self.parent = parent
        self.children: dict[str, Cgroup] = {}
        self.tasks: dict[Task, None] = {}
        self.nr_populated_children = 0
        self.subtree_control: set[str] = set()
        self.max_descendants = self.max_depth = NO_LIMIT
        self.dead = False

    @property
    def controllers(self) -> Collection[str]:
        """cgroup_control(): those that it has, and may pass on."""
        return CONTROLLERS if self.parent is None else self.parent.subtree_control

    @property
    def path(self) -> str:
        """cgroup_path(): as /proc/PID/cgroup has it."""
        names = [cgrp.name for cgrp in self.ancestors()]
        return "/" + "/".join(reversed(names[:-1]))

    @property
    def populated(self) -> bool:
        """cgroup_is_populated(): there are tasks in it, or below."""
        return bool(self.tasks or self.nr_populated_children)

    def ancestors(self) -> Iterator[Cgroup]:
        """Itself and those above, the root last."""
        cgrp: Cgroup | None = self
        while cgrp is not None:
            yield cgrp
            cgrp = cgrp.parent

    def descendants(self) -> Iterator[Cgroup]:
        """cgroup_for_each_live_descendant_pre(): itself and those below, parents first."""
        todo = [self]
        while todo:
            cgrp = todo.pop()
            yield cgrp
            todo.extend(reversed(cgrp.children.values()))

    def css_tasks(self) -> list[Task]:
        """css_task_iter: the tasks that go by its cpuset, its own and those of groups below that have none."""
        found: list[Task] = []
        todo = [self]
        while todo:
            cgrp = todo.pop()
            found += cgrp.tasks
            todo.extend(child for child in reversed(cgrp.children.values()) if child.cpuset is self.cpuset)
        return found

    def add_task(self, task: Task) -> None:
        """A task comes in."""
        was = self.populated
        self.tasks[task] = None
        self._update_populated(was)

    def remove_task(self, task: Task) -> None:
        """A task goes, if it is there."""
        was = self.populated
        self.tasks.pop(task, None)
        self._update_populated(was)

    def _update_populated(self, was: bool) -> None:
        """cgroup_update_populated(): groups above hear of it, up to the first for which that is nothing new."""
        cgrp, above = self, self.parent
        while above is not None and cgrp.populated != was:
            was, step = above.populated, 1 if cgrp.populated else -1
            above.nr_populated_children += step
            cgrp, above = above, above.parent

    # Where the line runs between groups of processes and groups of threads.

    @property
    def is_thread_root(self) -> bool:
        """cgroup_is_thread_root(): it has tasks and passes controllers on."""
        return self.parent is not None and bool(self.tasks) and bool(self.subtree_control)

    @property
    def can_be_thread_root(self) -> bool:
        """cgroup_can_be_thread_root(): no processes below. The root does not care."""
        return self.parent is None or not self.nr_populated_children

    @property
    def is_valid_domain(self) -> bool:
        """cgroup_is_valid_domain(): it is in no threaded subtree."""
        return not any(above.is_thread_root for above in self.ancestors() if above is not self)


def cgroup_init(topology: Topology, memory_nodes: int) -> Cgroup:
    """The root group. Its children have cpusets at once, as programs at boot (systemd) see to.

    memory_nodes: those that have memory.
    """
    root = Cgroup("", None)
    root.cpuset = top_cpuset(root, topology, memory_nodes)
    root.subtree_control = set(CONTROLLERS)
    return root


def cgroup_release(root: Cgroup) -> None:
    """The machine is closed: cut the circles of references."""
    for cgrp in list(root.descendants()):
        cgrp.tasks.clear()
        cgrp.children.clear()
        cgrp.parent = None
        del cgrp.kn, cgrp.cpuset


def _check_hierarchy_limits(parent: Cgroup) -> bool:
    """Whether all groups from here up allow one more below ``parent``."""
    return all(
        depth <= cgrp.max_depth
        and (cgrp.max_descendants == NO_LIMIT or len(list(cgrp.descendants())) <= cgrp.max_descendants)
        for depth, cgrp in enumerate(parent.ancestors(), 1)
    )


def cgroup_create(parent: Cgroup, name: str) -> Cgroup:
    """A new group. Errors: EINVAL (a name with a newline), ENODEV (the parent is gone), EEXIST, EAGAIN (limits)."""
    if "\n" in name:
        raise KernelError(EINVAL)
    if parent.dead:
        raise KernelError(ENODEV)
    if name in parent.children:
        raise KernelError(EEXIST)
    if not _check_hierarchy_limits(parent):
        raise KernelError(EAGAIN, "cgroup.max.depth or cgroup.max.descendants")
    cgrp = parent.children[name] = Cgroup(name, parent)
    cgrp.cpuset = cpuset_css_online(cgrp, parent.cpuset) if cgrp.controllers else parent.cpuset
    return cgrp


def cgroup_destroy(cgrp: Cgroup) -> None:
    """cgroup_destroy_locked(). Errors: ENODEV (it is gone), EBUSY (tasks, or groups below)."""
    if cgrp.dead:
        raise KernelError(ENODEV)
    if cgrp.populated or cgrp.children:
        raise KernelError(EBUSY)
    assert cgrp.parent is not None
    del cgrp.parent.children[cgrp.name]
    cgrp.dead = True


# Tasks come and go


def cgroup_fork(task: Task) -> None:
    """cgroup_post_fork(): a new task is where its parent is."""
    task.cgroup.add_task(task)


def cgroup_exit(task: Task) -> None:
    """A task that has ended keeps nobody from removing the group, though /proc still says where it was."""
    task.cgroup.remove_task(task)


def find_process(k: Kernel, task: Task, pid: int) -> Task:
    """cgroup_procs_write_start(): whom to move, 0 being the caller. Errors: ESRCH, EINVAL (kthreadd stays)."""
    found = k.pids.find(pid) if pid else task
    if found is None:
        raise KernelError(ESRCH)
    if found.kthread and found.parent is None:
        raise KernelError(EINVAL, "its children would be born there")
    return found.group_leader


def cgroup_migrate_vet_dst(cgrp: Cgroup) -> None:
    """Whether a group takes processes. Errors: EOPNOTSUPP (in a threaded subtree), EBUSY (it is for those below)."""
    if not cgrp.is_valid_domain:
        raise KernelError(EOPNOTSUPP)
    if not cgrp.can_be_thread_root and cgrp.subtree_control:
        raise KernelError(EBUSY)


def cgroup_attach_task(k: Kernel, cgrp: Cgroup, leader: Task, cred: Cred) -> None:
    """Move a process, with all its threads. Errors: EPERM (those of the controllers)."""
    source = leader.cgroup
    tasks = [task for task in leader.signal.threads if task.alive]
    if source is cgrp or not tasks:
        return
    if source.cpuset is not cgrp.cpuset:
        cpuset_can_attach(cgrp.cpuset, source.cpuset, tasks, cred)
    for task in tasks:
        source.remove_task(task)
        task.cgroup = cgrp
        cgrp.add_task(task)
    if source.cpuset is not cgrp.cpuset:
        cpuset_attach(k, cgrp.cpuset, source.cpuset, tasks)


# Controllers


def cgroup_subtree_control(k: Kernel, cgrp: Cgroup, enable: set[str], disable: set[str]) -> None:
    """Give controllers to the children, or take them away.

    Errors: ENOENT (it has not got it itself), EBUSY (a child passes it on), EOPNOTSUPP (in a threaded subtree), EBUSY
    (there are processes in it and in groups below).
    """
    enable -= cgrp.subtree_control
    disable &= cgrp.subtree_control
    if not enable <= set(cgrp.controllers):
        raise KernelError(ENOENT)
    if any(disable & child.subtree_control for child in cgrp.children.values()):
        raise KernelError(EBUSY)
    if enable and not cgrp.is_valid_domain:
        raise KernelError(EOPNOTSUPP)
    if enable and not cgrp.can_be_thread_root and cgrp.tasks:
        raise KernelError(EBUSY)
    if enable or disable:
        cgrp.subtree_control = cgrp.subtree_control - disable | enable
        _apply_control(k, cgrp)


def _apply_control(k: Kernel, cgrp: Cgroup) -> None:
    """cgroup_update_dfl_csses(): the tasks below go by other cpusets."""
    before: dict[Task, Cpuset] = {}
    for child in cgrp.children.values():
        old, new = child.cpuset, cgrp.cpuset
        if cgrp.subtree_control:
            new = cpuset_css_online(child, cgrp.cpuset)
        for below in child.descendants():
            if below.cpuset is old:
                below.cpuset = new
                before.update(dict.fromkeys(below.tasks, old))
    if before:
        first, old = next(iter(before.items()))
        cpuset_attach(k, first.cpuset, old, list(before))
