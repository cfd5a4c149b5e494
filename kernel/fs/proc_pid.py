"""/proc/PID: what a process shows of itself.

Mirrors fs/proc/base.c and task_mmu.c; man page proc(5).  mm renders the lines about its areas, proc_pid_status.py those
about the process; here is who may see them, and the rest.  A directory is made when somebody looks a pid up, so nothing
has to be kept in step.

    status, stat, statm, comm, cmdline,
    cgroup, cpuset, oom_score(_adj)       for everybody
    maps, smaps, smaps_rollup, numa_maps  for who may look into the process (ptrace.py), checked when they are opened
    pagemap                               the same, and 0400 besides; without CAP_SYS_ADMIN frame numbers read as 0
    task                                  all of these for each thread

Files of a process that is not dumpable belong to root.  Those about memory are empty for kernel tasks and ESRCH for
the dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from numalab.arch.errno import EACCES, EINVAL, ENOENT, ESRCH, KernelError
from numalab.kernel.cred import Cap, has_cap
from numalab.kernel.fs.inode import Directory, Inode, Opening, PseudoFile
from numalab.kernel.fs.proc_pid_status import proc_pid_stat, proc_pid_statm, proc_pid_status
from numalab.kernel.fs.seq import lines
from numalab.kernel.fs.super import SuperBlock
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.kernel.oom import oom_score, set_oom_score_adj
from numalab.kernel.ptrace import ptrace_may_access
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.smaps import show_smap, show_smaps_rollup
from numalab.mm.task_mmu import pagemap, show_map_vma, show_numa_map

__all__ = ["PidDirectory"]

PAGE_SIZE = 4096
_PFN_MASK = (1 << 55) - 1
_LONG = -(1 << 63), (1 << 63) - 1


class TidDirectory(Directory):
    """/proc/PID/task/TID of one task; its files go by the task, whatever becomes of it."""

    def __init__(self, k: Kernel, task: Task, sb: SuperBlock) -> None:
        super().__init__(0o555)
        self.sb = sb
        self._k, self._task = k, task
        cred = task.cred
        dumpable = task.mm_users is None or task.mm_users.dumpable == 1
        # What is not dumpable belongs to root: task_dump_owner().
        owner = (cred.euid, cred.egid) if dumpable else (0, 0)
        files: dict[str, Inode] = {
            "status": PseudoFile(0o444, lambda opening: proc_pid_status(k, task)),
            "stat": PseudoFile(0o444, lambda opening: proc_pid_stat(task)),
            "statm": PseudoFile(0o444, lambda opening: proc_pid_statm(task)),
            "comm": PseudoFile(
                0o644, lambda opening: task.comm + "\n", lambda opening, text: _set_comm(task, text)
            ),
            "cmdline": PseudoFile(0o444, lambda opening: "" if task.mm is None else task.comm + "\0"),
            "cgroup": PseudoFile(0o444, lambda opening: _cgroup(task)),
            "cpuset": PseudoFile(0o444, lambda opening: task.cpuset.cgroup.path + "\n"),
            "oom_score": PseudoFile(0o444, lambda opening: f"{oom_score(k, task)}\n"),
            "oom_score_adj": PseudoFile(
                0o644,
                lambda opening: f"{task.signal.oom_score_adj}\n",
                lambda opening, text: set_oom_score_adj(k, task, kstrtoint(text.strip(), *_LONG)),
            ),
            "maps": _MmFile(k, task, 0o444, _maps),
            "numa_maps": _MmFile(k, task, 0o444, _numa_maps),
            "smaps": _MmFile(k, task, 0o444, _smaps),
            "smaps_rollup": _SmapsRollup(k, task, 0o444, _smaps_rollup),
            "pagemap": _Pagemap(k, task),
        }
        for name, inode in files.items():
            inode.uid, inode.gid = owner
            self.link(name, inode)

    def names(self) -> Iterable[str]:
        """Errors: ENOENT (the task has been waited for)."""
        if self._k.pids.find(self._task.pid) is not self._task:
            raise KernelError(ENOENT)
        return super().names()


class PidDirectory(TidDirectory):
    """/proc/PID: the same, and the threads of the process."""

    def __init__(self, k: Kernel, task: Task, sb: SuperBlock) -> None:
        super().__init__(k, task, sb)
        self.link("task", _Threads(k, task, sb))


class _Threads(Directory):
    """/proc/PID/task: a directory for each thread."""

    def __init__(self, k: Kernel, task: Task, sb: SuperBlock) -> None:
        super().__init__(0o555)
        self.sb = sb
        self._k, self._task = k, task

    def lookup(self, name: str) -> Inode | None:
        found = [task for task in self._task.signal.threads if str(task.pid) == name]
        return TidDirectory(self._k, found[0], self.sb) if found and self._there() else None

    def names(self) -> Iterable[str]:
        """Errors: ENOENT (the process has been waited for)."""
        if not self._there():
            raise KernelError(ENOENT)
        return [str(task.pid) for task in self._task.signal.threads]

    def _there(self) -> bool:
        return self._k.pids.find(self._task.pid) is self._task


def _set_comm(task: Task, text: str) -> None:
    """comm_write(): a process may rename itself, in 15 bytes."""
    task.comm = text.removesuffix("\n")[:15]


def _check_open(k: Kernel, task: Task, opening: Opening) -> None:
    """proc_mem_open(): who opens it must be allowed to look into the process. Errors: EACCES, ESRCH."""
    if not task.alive:
        raise KernelError(ESRCH)
    reader = k.sched.current or k.init
    if not ptrace_may_access(reader, task, fscreds=True):
        raise KernelError(EACCES)


class _MmFile(PseudoFile):
    """A text about an address space, for those who may look into it."""

    def __init__(self, k: Kernel, task: Task, mode: int, show: Callable[[Task], str]) -> None:
        super().__init__(mode, lambda opening: "" if task.mm is None else show(task))
        self._k, self._task = k, task

    def open(self, opening: Opening) -> None:
        """Errors: EACCES, ESRCH."""
        _check_open(self._k, self._task, opening)


class _SmapsRollup(_MmFile):
    """smaps_rollup: unlike the others it cannot be opened of who has no memory."""

    def open(self, opening: Opening) -> None:
        """Errors: EACCES, ESRCH."""
        super().open(opening)
        if self._task.mm is None:
            raise KernelError(ESRCH)


def _maps(task: Task) -> str:
    """maps: an area a line, in the order of addresses."""
    mm = task.mm
    assert mm is not None
    return lines(*(show_map_vma(mm, vma) for vma in mm.vmas.values()))


def _numa_maps(task: Task) -> str:
    """numa_maps: the same areas with their policy, or else the task's, and where their pages are."""
    mm = task.mm
    assert mm is not None
    return lines(*(show_numa_map(mm, vma, task.policy) for vma in mm.vmas.values()))


def _smaps(task: Task) -> str:
    """smaps: the same areas with many lines each."""
    mm = task.mm
    assert mm is not None
    return lines(*(line for vma in mm.vmas.values() for line in show_smap(mm, vma)))


def _smaps_rollup(task: Task) -> str:
    """All areas as one."""
    mm = task.mm
    assert mm is not None
    return lines(*show_smaps_rollup(mm))


class _Pagemap(Inode):
    """pagemap: a 64-bit word for each page. Frame numbers are shown to CAP_SYS_ADMIN only."""

    def __init__(self, k: Kernel, task: Task) -> None:
        super().__init__(PseudoFile(0o400).mode)
        self._k, self._task = k, task

    def open(self, opening: Opening) -> None:
        """Errors: EACCES, ESRCH."""
        _check_open(self._k, self._task, opening)

    def read(self, opening: Opening, pos: int, count: int) -> bytes:
        """Errors: EINVAL unless position and count are multiples of 8."""
        if pos % 8 or count % 8:
            raise KernelError(EINVAL)
        mm = self._task.mm
        if mm is None:
            return b""
        # The file is as long as the address space; beyond that, and past the end of memory, there is nothing.
        first = pos // 8
        pages = min(count // 8, max(0, task_size(mm.mem) // PAGE_SIZE - first))
        if not pages:
            return b""
        words = pagemap(mm, first * PAGE_SIZE, pages)
        # Frame numbers would help an attacker; who opened the file counts, not who reads it (f_cred).
        if not has_cap(opening.cred, Cap.CAP_SYS_ADMIN):
            words &= ~words.dtype.type(_PFN_MASK)
        return words.tobytes()


def _cgroup(task: Task) -> str:
    """cgroup: where it is in the one hierarchy, or was when it ended."""
    return f"0::{task.cgroup.path}{' (deleted)' if task.cgroup.dead else ''}\n"
