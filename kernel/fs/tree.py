"""The names of all files: what is mounted where.

Mirrors fs/namespace.c with everything mounted already: /proc, /sys and the cgroups in it, and the tmpfs that programs
expect. So is the root itself, as on a machine that has not left its initial one.
"""

from __future__ import annotations

from collections.abc import Iterable

from numalab.kernel.fs.cgroupfs import cgroup_root_directory
from numalab.kernel.fs.inode import Directory, Inode, Symlink
from numalab.kernel.fs.namei import resolve
from numalab.kernel.fs.namespace import do_add_mount
from numalab.kernel.fs.path import Path
from numalab.kernel.fs.proc_pid import PidDirectory
from numalab.kernel.fs.proc_system import add_proc_system
from numalab.kernel.fs.super import SuperBlock
from numalab.kernel.fs.sysctl import add_sysctl
from numalab.kernel.fs.sysfs_cpu import add_sysfs_cpu
from numalab.kernel.fs.sysfs_hugetlb import add_hugetlb
from numalab.kernel.fs.sysfs_memory import add_sysfs_memory
from numalab.kernel.fs.sysfs_mm import add_sysfs_mm
from numalab.kernel.fs.sysfs_node import add_sysfs_node
from numalab.kernel.fs.sysfs_thp import add_sysfs_thp
from numalab.kernel.fs.sysfs_tiers import add_sysfs_tiers
from numalab.kernel.fs.tmpfs import Tmpfs
from numalab.kernel.state import Kernel

__all__ = ["build_tree"]


class ProcRoot(Directory):
    """/proc: fixed files, and a directory for each process, found by its number."""

    def __init__(self, k: Kernel) -> None:
        super().__init__(0o555)
        self._k = k

    def lookup(self, name: str) -> Inode | None:
        if name in self.entries:
            return self.entries[name]
        # Decimal and without leading zeros, as pids are printed. Threads have a directory too, though none is listed.
        if not name.isdecimal() or name != str(int(name)):
            return None
        task = self._k.pids.find(int(name))
        return PidDirectory(self._k, task, self.sb) if task is not None else None

    def names(self) -> Iterable[str]:
        return [*self.entries, *(str(task.pid) for task in self._k.pids if task is task.group_leader)]


def build_tree(k: Kernel) -> None:
    """Fill the root directory of a machine."""
    k.shm_mnt = Tmpfs(k, max_blocks=0)  # first, so that it is device 0:1, which mm has for it too
    k.root.sb = Tmpfs(k)
    proc, sys = ProcRoot(k), Directory()
    proc.sb = SuperBlock(k.get_anon_bdev(), blocksize=1024, negative=False)
    sys.sb = SuperBlock(k.get_anon_bdev(), by_mode=True)
    shm, run, tmp = Directory(0o1777), Directory(0o755), Directory(0o1777)
    for directory in (shm, run, tmp):
        directory.sb = Tmpfs(k)
    for path, root in (("proc", proc), ("sys", sys), ("dev/shm", shm), ("run", run), ("tmp", tmp)):
        k.root.add(path, Directory())
        do_add_mount(k, resolve(Path(k.root), path, k.init.cred), root)
    # Whoever looks: outside of any program that is init, as which the machine's owner reads.
    proc.add("self", Symlink(lambda: str((k.sched.current or k.init).tgid)))
    add_proc_system(k, proc)
    add_sysctl(k, proc)
    add_sysfs_memory(k, sys)
    add_sysfs_node(k, sys)
    add_sysfs_cpu(k, sys)
    add_sysfs_mm(k, sys)
    add_sysfs_tiers(k, sys)
    add_sysfs_thp(k, sys)
    add_hugetlb(k, proc, sys)
    sys.add("fs/cgroup", Directory())
    for made_up in (proc, sys):
        _make_readonly(made_up)
    do_add_mount(k, resolve(Path(k.root), "sys/fs/cgroup", k.init.cred), cgroup_root_directory(k))


def _make_readonly(directory: Directory) -> None:
    """No names can be made in /proc and /sys."""
    directory.mode &= ~0o222
    for inode in directory.entries.values():
        if isinstance(inode, Directory):
            _make_readonly(inode)
