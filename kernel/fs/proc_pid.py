"""/proc/PID: what a process shows of itself.

Mirrors fs/proc/base.c, array.c and task_mmu.c; man page proc(5).  mm renders the lines about its areas; here is
who may see them, and the rest.  A directory is made when somebody looks a pid up, so nothing has to be kept in step.

    status, stat, statm, comm, cmdline,
    cgroup, cpuset                        for everybody
    maps, numa_maps                       for who may look into the process (ptrace.py), checked when they are opened
    pagemap                               the same, and 0400 besides; without CAP_SYS_ADMIN frame numbers read as 0

Files of a process that is not dumpable belong to root.  Those about memory are empty for kernel tasks and ESRCH for
the dead.  Deliberately different: lines and fields that this machine has no value for are left out of status, and
are 0 in stat, where they have numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from numalab.arch.errno import EACCES, EINVAL, ESRCH, KernelError
from numalab.kernel.cpuset import MAX_NUMNODES
from numalab.kernel.cred import ALL_CAPS, Cap, has_cap
from numalab.kernel.fs.inode import Directory, Inode, Opening, PseudoFile
from numalab.kernel.fs.seq import bitmap_hex, bitmap_list, lines
from numalab.kernel.fs.super import SuperBlock
from numalab.kernel.ptrace import ptrace_may_access
from numalab.kernel.signal import SIGCHLD, Disposition
from numalab.kernel.state import Kernel
from numalab.kernel.task import RLIM_INFINITY, State, Task
from numalab.mm._constants import HPAGE_PMD_NR
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.hugetlb import hugetlb_total_pages
from numalab.mm.task_mmu import pagemap, show_map_vma, show_numa_map, vm_sizes

__all__ = ["PidDirectory"]

PAGE_SIZE = 4096
_PFN_MASK = (1 << 55) - 1
_USER_HZ_NS = 10_000_000


class PidDirectory(Directory):
    """/proc/PID of one task; its files go by the task, whatever becomes of it."""

    def __init__(self, k: Kernel, task: Task, sb: SuperBlock) -> None:
        super().__init__(0o555)
        self.sb = sb
        cred = task.cred
        dumpable = task.mm_users is None or task.mm_users.dumpable == 1
        # What is not dumpable belongs to root: task_dump_owner().
        owner = (cred.euid, cred.egid) if dumpable else (0, 0)
        files: dict[str, Inode] = {
            "status": PseudoFile(0o444, lambda opening: _status(k, task)),
            "stat": PseudoFile(0o444, lambda opening: _stat(k, task)),
            "statm": PseudoFile(0o444, lambda opening: _statm(task)),
            "comm": PseudoFile(
                0o644, lambda opening: task.comm + "\n", lambda opening, text: _set_comm(task, text)
            ),
            "cmdline": PseudoFile(0o444, lambda opening: "" if task.mm is None else task.comm + "\0"),
            "cgroup": PseudoFile(0o444, lambda opening: _cgroup(task)),
            "cpuset": PseudoFile(0o444, lambda opening: task.cpuset.cgroup.path + "\n"),
            "maps": _MmFile(k, task, 0o444, _maps),
            "numa_maps": _MmFile(k, task, 0o444, _numa_maps),
            "pagemap": _Pagemap(k, task),
        }
        for name, inode in files.items():
            inode.uid, inode.gid = owner
            self.link(name, inode)


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


def _status(k: Kernel, task: Task) -> str:
    """status: those of Linux's lines whose values exist here, in its order."""
    cred = task.cred
    rows = [
        ("Name", task.comm),
        ("Umask", f"{task.fs.umask:04o}"),
        ("State", _state(k, task).value),
        ("Tgid", task.tgid),
        ("Ngid", 0),
        ("Pid", task.pid),
        ("PPid", task.ppid),
        ("TracerPid", 0),
        ("Uid", f"{cred.uid}\t{cred.euid}\t{cred.suid}\t{cred.fsuid}"),
        ("Gid", f"{cred.gid}\t{cred.egid}\t{cred.sgid}\t{cred.fsgid}"),
        ("FDSize", 64),
        ("Groups", " "),
        ("NStgid", task.tgid),
        ("NSpid", task.pid),
        ("NSpgid", task.signal.pgid),
        ("Kthread", int(task.kthread)),
        *_memory_rows(task),
        ("Threads", len(task.signal.threads)),
        ("SigIgn", f"{_sigset(task, Disposition.SIG_IGN):016x}"),
        ("SigCgt", f"{_sigset(task, None):016x}"),
        ("CapInh", f"{cred.inheritable:016x}"),
        ("CapPrm", f"{cred.permitted:016x}"),
        ("CapEff", f"{cred.effective:016x}"),
        ("CapBnd", f"{cred.bounding & ALL_CAPS:016x}"),
        ("CapAmb", f"{0:016x}"),
        ("Cpus_allowed", bitmap_hex(task.cpus_allowed, k.topology.nr_cpus)),
        ("Cpus_allowed_list", bitmap_list(task.cpus_allowed)),
        ("Mems_allowed", bitmap_hex(task.ctx.mems_allowed, MAX_NUMNODES)),
        ("Mems_allowed_list", bitmap_list(task.ctx.mems_allowed)),
        ("voluntary_ctxt_switches", task.nvcsw),
        ("nonvoluntary_ctxt_switches", task.nivcsw),
    ]
    return lines(*(f"{name}:\t{value}" for name, value in rows))


def _state(k: Kernel, task: Task) -> State:
    """What ps shows: kernel tasks that have nothing to do are idle, not sleeping."""
    return State.IDLE if task.kthread else task.state


def _sigset(task: Task, wanted: Disposition | None) -> int:
    """Signals that are ignored, or (None) that have a handler, as a mask whose bit 0 is signal 1."""
    return sum(
        1 << sig - 1
        for sig, action in task.sighand.action.items()
        if (callable(action) if wanted is None else action is wanted)
    )


def _memory_rows(task: Task) -> list[tuple[str, str]]:
    """The Vm and Rss lines, in kB; none for who has no memory."""
    mm = task.mm
    if mm is None:
        return []
    sizes = vm_sizes(mm)
    rss = mm.rss_anon + mm.rss_file + mm.rss_shmem
    # VmPTE is without the root table, as mm_pgtables_bytes() is.
    pages = (
        ("VmSize", sizes.total), ("VmLck", sizes.locked), ("VmPin", 0), ("VmRSS", rss), ("RssAnon", mm.rss_anon),
        ("RssFile", mm.rss_file), ("RssShmem", mm.rss_shmem), ("VmData", sizes.data), ("VmStk", sizes.stack),
        ("VmExe", sizes.exec), ("VmLib", 0), ("VmPTE", mm.nr_tables - 1), ("VmSwap", mm.rss_swap),
        ("HugetlbPages", hugetlb_total_pages(mm) * HPAGE_PMD_NR),
    )  # fmt: skip
    return [(name, f"{count * PAGE_SIZE >> 10:8} kB") for name, count in pages]


def _statm(task: Task) -> str:
    """statm: size, resident, shared, text, lib, data + stack, dirty; in pages."""
    mm = task.mm
    if mm is None:
        return "0 0 0 0 0 0 0\n"
    sizes = vm_sizes(mm)
    shared = mm.rss_file + mm.rss_shmem
    return f"{sizes.total} {mm.rss_anon + shared} {shared} {sizes.exec} 0 {sizes.data + sizes.stack} 0\n"


def _stat(k: Kernel, task: Task) -> str:
    """stat: 52 fields; those that mean nothing here are 0."""
    mm, group = task.mm, task.signal
    vsize = vm_sizes(mm).total * PAGE_SIZE if mm is not None else 0
    rss = mm.rss_anon + mm.rss_file + mm.rss_shmem if mm is not None else 0
    # By the numbers of proc(5), which count from 1.
    fields = [0] * 53
    fields[4:9] = [task.ppid, group.pgid, group.pgid, 0, -1]
    fields[10:14] = [task.ctx.min_flt, group.child_min_flt, task.ctx.maj_flt, group.child_maj_flt]
    fields[18], fields[20] = 20, len(group.threads)
    fields[22:26] = [task.start_time // _USER_HZ_NS, vsize, rss, RLIM_INFINITY]
    fields[28] = mm.start_stack if mm is not None else 0
    fields[38], fields[39] = task.exit_signal or SIGCHLD, task.cpu
    fields[47] = mm.start_brk if mm is not None else 0
    fields[52] = task.exit_code if not task.alive else 0
    state = _state(k, task).value[0]
    return f"{task.pid} ({task.comm}) {state} " + " ".join(map(str, fields[4:])) + "\n"
