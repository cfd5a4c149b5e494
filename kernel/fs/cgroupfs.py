"""/sys/fs/cgroup: control groups as directories.

Mirrors the files of kernel/cgroup/cgroup.c (cgroup_base_files) and cpuset.c (dfl_files), and what kernfs makes of
them: making a directory makes a group with files that are there at once, removing one removes the group whatever files
it has. Files of a group that is gone, or of a controller that it has no more, are ENODEV for those who have them open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from numalab.arch.errno import EINVAL, ENODEV, ERANGE, KernelError
from numalab.kernel.cgroup import (
    CONTROLLERS,
    NO_LIMIT,
    Cgroup,
    cgroup_attach_task,
    cgroup_create,
    cgroup_destroy,
    cgroup_migrate_vet_dst,
    cgroup_subtree_control,
    find_process,
)
from numalab.kernel.cpuset import update_cpumask, update_nodemask
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile
from numalab.kernel.fs.namei import MAY_WRITE, inode_permission
from numalab.kernel.fs.seq import bitmap_list, lines
from numalab.kernel.fs.super import SuperBlock
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.mm.mutex import Mutex

if TYPE_CHECKING:
    from numalab.kernel.cred import Cred
    from numalab.kernel.fs.inode import Inode
    from numalab.kernel.state import Kernel

__all__ = ["cgroup_root_directory"]

_INT_MAX = (1 << 31) - 1

Show = Callable[[Cgroup], str]
Store = Callable[["Kernel", Cgroup, Opening, str], None]


@dataclass(frozen=True)
class Cftype:
    """struct cftype. on_root: whether the root group has it too; controller: without which nobody has it."""

    show: Show
    store: Store | None = None
    on_root: bool = True
    controller: str = ""


class CgroupFs(SuperBlock):
    """The one hierarchy there is: unmounted, it goes on.

    mutex: cgroup_mutex, held while groups or their files change, for which somebody may have to sleep.
    """

    def __init__(self, k: Kernel) -> None:
        super().__init__(k.get_anon_bdev())
        self.mutex = Mutex(k.mem, "cgroup_mutex")

    def kill(self, root: Directory, cpu: int) -> None:
        """The groups stay."""


class CgroupFile(PseudoFile):
    """A file of a group."""

    def _check_active(self) -> None:
        """kernfs_get_active(). Errors: ENODEV."""
        if not self.nlink:
            raise KernelError(ENODEV)

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Errors: ENODEV."""
        self._check_active()
        return super().read(opening, pos, count)

    def write(self, opening: Opening, pos: int, data: bytes) -> int:
        """Errors: ENODEV, EINVAL where nothing can be written, and those of each file."""
        assert isinstance(self.sb, CgroupFs)
        with self.sb.mutex:
            self._check_active()
            return super().write(opening, pos, data)


class CgroupDirectory(Directory):
    """The directory of a group; it and its files belong to who made it."""

    sb: CgroupFs

    def __init__(self, k: Kernel, sb: CgroupFs, cgrp: Cgroup, mode: int, cred: Cred) -> None:
        super().__init__(mode)
        self.sb = sb
        self.cgrp = cgrp
        self._k = k
        self._owner = cred.fsuid, cred.fsgid
        cgrp.kn = self
        self.populate()

    def populate(self) -> None:
        """css_populate_dir(), css_clear_dir(): the files that the group has by its controllers, and no others."""
        for name, cft in FILES.items():
            if self._has(cft) and name not in self.entries:
                self.link(name, self._file(cft))
            elif name in self.entries and not self._has(cft):
                self.unlink(name, 0)

    def _has(self, cft: Cftype) -> bool:
        on_root = cft.on_root or self.cgrp.parent is not None
        return on_root and (not cft.controller or cft.controller in self.cgrp.controllers)

    def _file(self, cft: Cftype) -> Inode:
        cgrp = self.cgrp
        store = None if cft.store is None else partial(cft.store, self._k, cgrp)
        file = CgroupFile(0o444 if store is None else 0o644, lambda opening: cft.show(cgrp), store)
        file.uid, file.gid = self._owner
        return file

    def mkdir(self, name: str, mode: int, cred: Cred) -> Directory:
        """cgroup_mkdir(). Errors: EINVAL."""
        with self.sb.mutex:
            return CgroupDirectory(self._k, self.sb, cgroup_create(self.cgrp, name), mode, cred)

    def rmdir(self, victim: Directory, cpu: int) -> None:
        """cgroup_rmdir(): whatever files are in it. Errors: EBUSY."""
        assert isinstance(victim, CgroupDirectory)
        with self.sb.mutex:
            cgroup_destroy(victim.cgrp)
            for name in list(victim.entries):
                victim.unlink(name, cpu)


def cgroup_root_directory(k: Kernel) -> Directory:
    """What is mounted at /sys/fs/cgroup."""
    return CgroupDirectory(k, CgroupFs(k), k.cgroup_root, 0o555, k.init.cred)


# cgroup.*


def _procs_show(cgrp: Cgroup) -> str:
    """cgroup.procs: processes in the order in which they came."""
    return lines(*(str(pid) for pid in dict.fromkeys(task.tgid for task in cgrp.tasks)))


def _procs_write(k: Kernel, cgrp: Cgroup, opening: Opening, text: str) -> None:
    """cgroup.procs: the process of a pid comes in.

    Errors: EINVAL (no pid), ESRCH, EACCES (who opened the file may not write that of the group above both), and those
    of cgroup_migrate_vet_dst() and cgroup_attach_task().
    """
    task = k.sched.current or k.init
    leader = find_process(k, task, kstrtoint(text.strip(), 0, _INT_MAX))
    above = set(leader.cgroup.ancestors())
    common = next(group for group in cgrp.ancestors() if group in above)
    inode_permission(common.kn.entries["cgroup.procs"], opening.cred, MAY_WRITE)
    cgroup_migrate_vet_dst(cgrp)
    cgroup_attach_task(k, cgrp, leader, task.cred)


def _type_show(cgrp: Cgroup) -> str:
    if not cgrp.is_valid_domain:
        return "domain invalid\n"
    return "domain threaded\n" if cgrp.is_thread_root else "domain\n"


def _controllers_show(names: Callable[[Cgroup], object]) -> Show:
    """cgroup_print_ss_mask(): on one line, which is missing if there are none."""

    def show(cgrp: Cgroup) -> str:
        had = names(cgrp)
        assert isinstance(had, tuple | set)
        return lines(" ".join(name for name in CONTROLLERS if name in had)) if had else ""

    return show


def _subtree_control_write(k: Kernel, cgrp: Cgroup, opening: Opening, text: str) -> None:
    """cgroup.subtree_control: ``+cpuset`` or ``-cpuset``, of which the last one counts.

    Errors: EINVAL (another word), and those of cgroup_subtree_control().
    """
    wanted: dict[str, str] = {}
    for word in text.strip().split(" "):
        if word:
            sign, name = word[0], word[1:]
            if sign not in "+-" or name not in CONTROLLERS:
                raise KernelError(EINVAL, f"{word!r}: no controller")
            wanted[name] = sign
    cgroup_subtree_control(
        k,
        cgrp,
        {name for name, sign in wanted.items() if sign == "+"},
        {name for name, sign in wanted.items() if sign == "-"},
    )
    for child in cgrp.children.values():
        directory = child.kn
        assert isinstance(directory, CgroupDirectory)
        directory.populate()


def _stat_show(cgrp: Cgroup) -> str:
    """cgroup.stat: groups below, and by controller those that have it, itself among them. What is gone is not kept."""
    groups = list(cgrp.descendants())
    having = {name: sum(name in group.controllers for group in groups) for name in CONTROLLERS}
    return lines(
        f"nr_descendants {len(groups) - 1}",
        *(f"nr_subsys_{name} {count}" for name, count in having.items()),
        "nr_dying_descendants 0",
        *(f"nr_dying_subsys_{name} 0" for name in CONTROLLERS),
    )


def _limit(name: str) -> Cftype:
    """cgroup.max.*: a number, or ``max``. Errors: EINVAL, ERANGE."""

    def show(cgrp: Cgroup) -> str:
        limit = getattr(cgrp, name)
        return lines("max" if limit == NO_LIMIT else str(limit))

    def store(k: Kernel, cgrp: Cgroup, opening: Opening, text: str) -> None:
        word = text.strip()
        limit = NO_LIMIT if word == "max" else kstrtoint(word, -(1 << 63), (1 << 63) - 1)
        if not 0 <= limit <= NO_LIMIT:
            raise KernelError(ERANGE)
        setattr(cgrp, name, limit)

    return Cftype(show, store)


# cpuset.*


def _exclusive_write(k: Kernel, cgrp: Cgroup, opening: Opening, text: str) -> None:
    """cpuset.cpus.exclusive: only what makes partitions is asked for here. Errors: EINVAL."""
    if text.strip():
        raise KernelError(EINVAL, "there are no partitions")


def _partition_write(k: Kernel, cgrp: Cgroup, opening: Opening, text: str) -> None:
    """cpuset.cpus.partition: everything is a member of what is above. Errors: EINVAL."""
    if text.strip() != "member":
        raise KernelError(EINVAL, "there are no partitions")


FILES: dict[str, Cftype] = {
    "cgroup.type": Cftype(_type_show, on_root=False),
    "cgroup.procs": Cftype(_procs_show, _procs_write),
    "cgroup.threads": Cftype(lambda cgrp: lines(*(str(task.pid) for task in cgrp.tasks))),
    "cgroup.controllers": Cftype(_controllers_show(lambda cgrp: cgrp.controllers)),
    "cgroup.subtree_control": Cftype(
        _controllers_show(lambda cgrp: cgrp.subtree_control), _subtree_control_write
    ),
    "cgroup.events": Cftype(lambda cgrp: f"populated {cgrp.populated:d}\nfrozen 0\n", on_root=False),
    "cgroup.max.descendants": _limit("max_descendants"),
    "cgroup.max.depth": _limit("max_depth"),
    "cgroup.stat": Cftype(_stat_show),
    "cpuset.cpus": Cftype(
        lambda cgrp: lines(bitmap_list(cgrp.cpuset.cpus_allowed)),
        lambda k, cgrp, opening, text: update_cpumask(k, cgrp.cpuset, text),
        on_root=False,
        controller="cpuset",
    ),
    "cpuset.mems": Cftype(
        lambda cgrp: lines(bitmap_list(cgrp.cpuset.mems_allowed)),
        lambda k, cgrp, opening, text: update_nodemask(k, cgrp.cpuset, text),
        on_root=False,
        controller="cpuset",
    ),
    "cpuset.cpus.effective": Cftype(
        lambda cgrp: lines(bitmap_list(cgrp.cpuset.effective_cpus)), controller="cpuset"
    ),
    "cpuset.mems.effective": Cftype(
        lambda cgrp: lines(bitmap_list(cgrp.cpuset.effective_mems)), controller="cpuset"
    ),
    "cpuset.cpus.exclusive": Cftype(lambda cgrp: "\n", _exclusive_write, on_root=False, controller="cpuset"),
    "cpuset.cpus.exclusive.effective": Cftype(lambda cgrp: "\n", on_root=False, controller="cpuset"),
    "cpuset.cpus.partition": Cftype(
        lambda cgrp: "member\n", _partition_write, on_root=False, controller="cpuset"
    ),
}
