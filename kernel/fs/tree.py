"""The names of all files: what is mounted where.

Mirrors fs/namespace.c with everything mounted already: /proc, /sys, and plain directories that programs expect.
"""

from __future__ import annotations

from collections.abc import Iterable

from numalab.kernel.fs.inode import Directory, Inode, Symlink
from numalab.kernel.fs.proc_pid import PidDirectory
from numalab.kernel.fs.proc_system import add_proc_system
from numalab.kernel.fs.sysctl import add_sysctl
from numalab.kernel.fs.sysfs_mm import add_sysfs_mm
from numalab.kernel.fs.sysfs_node import add_sysfs_node
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
        return PidDirectory(self._k, task) if task is not None else None

    def names(self) -> Iterable[str]:
        return [*self.entries, *(str(task.pid) for task in self._k.pids if task is task.group_leader)]


def build_tree(k: Kernel) -> None:
    """Fill the root directory of a machine."""
    proc, sys = ProcRoot(k), Directory()
    k.root.add("proc", proc)
    k.root.add("sys", sys)
    for name in ("dev", "run", "tmp"):
        k.root.add(name, Directory(0o777 if name == "tmp" else 0o755))
    # Whoever looks: outside of any program that is init, as which the machine's owner reads.
    proc.add("self", Symlink(lambda: str((k.sched.current or k.init).tgid)))
    add_proc_system(k, proc)
    add_sysctl(k, proc)
    add_sysfs_node(k, sys)
    add_sysfs_mm(k, sys)
    for made_up in (proc, sys):
        _make_readonly(made_up)


def _make_readonly(directory: Directory) -> None:
    """No names can be made in /proc and /sys."""
    directory.mode &= ~0o222
    for inode in directory.entries.values():
        if isinstance(inode, Directory):
            _make_readonly(inode)
