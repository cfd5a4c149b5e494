"""/proc/PID/{status,stat,statm}: what a process is, in three forms.

Mirrors fs/proc/array.c and task_mem() of task_mmu.c; man page proc(5). All of Linux's lines and fields are there.
Those that this machine has no value for are 0, or as a process has them that never asked for such a thing: no signal
is blocked, nobody uses seccomp. VmPeak and VmHWM are the sizes of now, for greater ones are not remembered.
"""

from __future__ import annotations

from numalab.kernel.cpuset import MAX_NUMNODES
from numalab.kernel.cred import ALL_CAPS
from numalab.kernel.fs.seq import bitmap_hex, bitmap_list, lines
from numalab.kernel.signal import Disposition
from numalab.kernel.state import Kernel
from numalab.kernel.task import RLIM_INFINITY, RLIMIT_SIGPENDING, State, Task
from numalab.mm._constants import HPAGE_PMD_NR
from numalab.mm._mm_types import MmStruct
from numalab.mm.hugetlb import hugetlb_total_pages
from numalab.mm.task_mmu import vm_sizes

__all__ = ["proc_pid_stat", "proc_pid_statm", "proc_pid_status"]

_PAGE_SIZE = 4096
_USER_HZ_NS = 10_000_000
_ALL_SIGNALS = (1 << 64) - 1


def proc_pid_status(k: Kernel, task: Task) -> str:
    """status: a line a thing."""
    cred = task.cred
    rows = [
        ("Name", task.comm),
        ("Umask", f"{task.fs.umask:04o}"),
        ("State", task.state.value),
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
        ("NSsid", 0),
        ("Kthread", int(task.kthread)),
        *(_task_mem(task.mm) if task.mm is not None else ()),
        ("Threads", len(task.signal.threads)),
        ("SigQ", f"0/{(k.init if task.kthread else task).signal.rlimit(RLIMIT_SIGPENDING)}"),
        ("SigPnd", f"{0:016x}"),
        ("ShdPnd", f"{sum(1 << sig - 1 for sig in task.signal.pending):016x}"),
        ("SigBlk", f"{0:016x}"),
        ("SigIgn", f"{_ignored(task):016x}"),
        ("SigCgt", f"{_caught(task):016x}"),
        ("CapInh", f"{cred.inheritable:016x}"),
        ("CapPrm", f"{cred.permitted:016x}"),
        ("CapEff", f"{cred.effective:016x}"),
        ("CapBnd", f"{cred.bounding & ALL_CAPS:016x}"),
        ("CapAmb", f"{0:016x}"),
        ("NoNewPrivs", 0),
        ("Seccomp", 0),
        ("Seccomp_filters", 0),
        ("Speculation_Store_Bypass", "not vulnerable"),
        ("SpeculationIndirectBranch", "always enabled"),
        ("Cpus_allowed", bitmap_hex(task.cpus_allowed, k.topology.nr_cpus)),
        ("Cpus_allowed_list", bitmap_list(task.cpus_allowed)),
        ("Mems_allowed", bitmap_hex(task.ctx.mems_allowed, MAX_NUMNODES)),
        ("Mems_allowed_list", bitmap_list(task.ctx.mems_allowed)),
        ("voluntary_ctxt_switches", task.nvcsw),
        ("nonvoluntary_ctxt_switches", task.nivcsw),
        ("x86_Thread_features", ""),
        ("x86_Thread_features_locked", ""),
    ]
    return lines(*(f"{name}:\t{value}" for name, value in rows))


def _ignored(task: Task) -> int:
    """Signals that are ignored, as a mask whose bit 0 is signal 1. Kernel tasks ignore all."""
    if task.kthread:
        return _ALL_SIGNALS
    return sum(1 << sig - 1 for sig, action in task.sighand.action.items() if action is Disposition.SIG_IGN)


def _caught(task: Task) -> int:
    """Signals that have a handler."""
    return sum(1 << sig - 1 for sig, action in task.sighand.action.items() if callable(action))


def _task_mem(mm: MmStruct) -> list[tuple[str, object]]:
    """The lines of status that are about memory, which kernel tasks have not."""
    sizes = vm_sizes(mm)
    rss = _rss(mm)
    # VmPTE is without the root table, as mm_pgtables_bytes() is.
    pages = {
        "VmPeak": sizes.total, "VmSize": sizes.total, "VmLck": sizes.locked, "VmPin": 0, "VmHWM": rss, "VmRSS": rss,
        "RssAnon": mm.rss_anon, "RssFile": mm.rss_file, "RssShmem": mm.rss_shmem, "VmData": sizes.data,
        "VmStk": sizes.stack, "VmExe": sizes.exec, "VmLib": 0, "VmPTE": mm.nr_tables - 1, "VmSwap": mm.rss_swap,
        "HugetlbPages": hugetlb_total_pages(mm) * HPAGE_PMD_NR,
    }  # fmt: skip
    return [
        *((name, f"{count * _PAGE_SIZE >> 10:8} kB") for name, count in pages.items()),
        ("CoreDumping", 0),
        ("THP_enabled", int(not mm.thp_disabled)),
        ("untag_mask", f"{(1 << 64) - 1:#x}"),
    ]


def _rss(mm: MmStruct) -> int:
    return mm.rss_anon + mm.rss_file + mm.rss_shmem


def proc_pid_statm(task: Task) -> str:
    """statm: size, resident, shared, text, lib, data + stack, dirty; in pages."""
    mm = task.mm
    if mm is None:
        return "0 0 0 0 0 0 0\n"
    sizes = vm_sizes(mm)
    shared = mm.rss_file + mm.rss_shmem
    return f"{sizes.total} {_rss(mm)} {shared} {sizes.exec} 0 {sizes.data + sizes.stack} 0\n"


def proc_pid_stat(task: Task) -> str:
    """stat: 52 fields on a line; those that mean nothing here are 0."""
    mm, group = task.mm, task.signal
    # By the numbers of proc(5), which count from 1.
    fields = [0] * 53
    fields[4:9] = [task.ppid, group.pgid, 0, 0, -1]
    fields[10:14] = [task.ctx.min_flt, group.child_min_flt, task.ctx.maj_flt, group.child_maj_flt]
    fields[18], fields[20] = 20, len(group.threads)
    fields[22], fields[25] = task.start_time // _USER_HZ_NS, RLIM_INFINITY
    if mm is not None:
        fields[23], fields[24] = vm_sizes(mm).total * _PAGE_SIZE, _rss(mm)
        fields[28], fields[47] = mm.start_stack, mm.start_brk
    # The old fields for signals have room for the first 31.
    fields[33], fields[34] = _ignored(task) & 0x7FFFFFFF, _caught(task) & 0x7FFFFFFF
    fields[35] = int(task.state is not State.RUNNING)
    fields[38], fields[39] = task.exit_signal if task is task.group_leader else -1, task.cpu
    fields[52] = task.exit_code if not task.alive else 0
    return f"{task.pid} ({task.comm}) {task.state.value[0]} " + " ".join(map(str, fields[4:])) + "\n"
