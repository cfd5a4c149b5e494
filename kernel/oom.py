"""Out of memory: when reclaim frees nothing, one process ends so that the others can go on.

Mirrors mm/oom_kill.c; Documentation/filesystems/proc (oom_score_adj).  The allocator asks here in its slow path, with
whatever locks it has. Of the processes that could have memory on the wanted nodes the one that has most is killed, and
the asker waits until it has ended:

    the asker itself   its request fails, and it ends on its way back to the program
    another            it ends when it next comes out of the kernel; one that cannot, because it waits for a lock
                       perhaps that the asker holds, has its private memory taken away (the oom_reaper's work)

Deliberately different: where nobody is left who may be killed, Linux panics; here the asker is killed all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from numalab.arch._hw import EV_MARK_VICTIM
from numalab.arch.boot_params import INT_MAX
from numalab.arch.errno import EACCES, EINVAL, ERANGE, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SI_KERNEL, SIGKILL, SigInfo
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable
from numalab.mm._constants import OOM_KILL
from numalab.mm.memory import zap_vma_range
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.swapfile import swap_areas
from numalab.mm.vm_flags import VM_HUGETLB, VM_SHARED

if TYPE_CHECKING:
    from numalab.mm._mm_types import MmStruct

__all__ = ["oom_init", "oom_score", "pagefault_out_of_memory", "set_oom_score_adj"]

OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX = -1000, 1000
"""A process that is never killed, and one that counts as if it had all memory."""

_REAPER_DELAY = 2_000_000_000
"""OOM_REAPER_DELAY in ns: how long a process may take to end."""
_PAGE_KB = 4


def oom_init(k: Kernel) -> None:
    """The allocator asks here from now on."""
    k.mem.out_of_memory = partial(_out_of_memory, k)


def _out_of_memory(k: Kernel, nodes: int | None) -> bool:
    """Have somebody end, and wait for it. nodes: those that a policy binds the request to, None = any.

    False: there is nothing to wait for, as the task that asks is the one that ends, or nobody is left.
    """
    task = k.sched.current
    if task is None or _is_dying(task):
        return False
    total, bound = _constrained_alloc(k, task, nodes)
    may_die = [p for p in _processes(k) if _is_eligible(p, task, bound)]
    victim = next((p for p in may_die if _is_awaited(p)), None)
    if victim is None:
        victim = _select(k, task, may_die, total)
        if victim is None:
            return False
        _oom_kill_process(k, victim)
    if victim is task.group_leader:
        return False
    _wait_for_end(k, victim)
    return True


def pagefault_out_of_memory(k: Kernel, task: Task) -> None:
    """The current task cannot have what it needs: it ends on its way back, if it was not to end already."""
    if not _is_dying(task):
        _oom_kill_process(k, task.group_leader)


def oom_score(k: Kernel, task: Task) -> int:
    """/proc/PID/oom_score: 0 for who is never killed, else up to 2000, around 667 for who has nothing."""
    total = _all_memory(k)
    points = _oom_badness(task.group_leader, total)
    return 0 if points is None else (1000 + int(points * 1000 / total)) * 2 // 3


def set_oom_score_adj(k: Kernel, task: Task, adj: int) -> None:
    """Write /proc/PID/oom_score_adj: for the process, and all that use its memory.

    Errors: ERANGE (no int), EINVAL (not within -1000..1000), EACCES (below what it was allowed to be, without
    CAP_SYS_RESOURCE).
    """
    if not -INT_MAX - 1 <= adj <= INT_MAX:
        raise KernelError(ERANGE)
    if not OOM_SCORE_ADJ_MIN <= adj <= OOM_SCORE_ADJ_MAX:
        raise KernelError(EINVAL, f"{adj} is not within {OOM_SCORE_ADJ_MIN}..{OOM_SCORE_ADJ_MAX}")
    privileged = capable(k.sched.current or k.init, Cap.CAP_SYS_RESOURCE)
    if adj < task.signal.oom_score_adj_min and not privileged:
        raise KernelError(EACCES)
    same = [p for p in _processes(k) if task.mm is not None and p.mm is task.mm]
    for signal in {id(p.signal): p.signal for p in (task, *same)}.values():
        signal.oom_score_adj = adj
        if privileged:
            signal.oom_score_adj_min = adj


# Who


def _processes(k: Kernel) -> Iterator[Task]:
    """Those that can be killed, by their leaders."""
    return (task for task in k.pids if task is task.group_leader and not task.unkillable)


def _is_dying(task: Task) -> bool:
    return SIGKILL in task.signal.pending or task.signal.group_exit_code is not None


def _is_awaited(process: Task) -> bool:
    """It was chosen before, and its memory is still to come."""
    threads = process.signal.threads
    skipped = any(thread.mm_users is not None and thread.mm_users.oom_skip for thread in threads)
    return process.signal.oom_victim and not skipped and any(thread.alive for thread in threads)


def _all_memory(k: Kernel) -> int:
    """RAM and swap in pages."""
    return int(k.mem.zones["managed"].sum()) + _swap_pages(k)


def _swap_pages(k: Kernel) -> int:
    return sum(area.size for area in swap_areas(k.mem))


def _constrained_alloc(k: Kernel, task: Task, nodes: int | None) -> tuple[int, int | None]:
    """How many pages the request could have had, swap included; and the nodes if a policy is what binds it."""
    mem = k.mem
    if nodes is not None and mem.memory_nodes & ~nodes:
        limit, bound = nodes, nodes
    elif mem.memory_nodes & ~task.mems_allowed:
        limit, bound = task.mems_allowed, None
    else:
        return _all_memory(k), None
    local = sum(int(zone["managed"]) for zone in mem.zones if limit >> int(zone["node"]) & 1)
    return local + _swap_pages(k), bound


def _is_eligible(victim: Task, task: Task, bound: int | None) -> bool:
    """oom_cpuset_eligible(): could the end of this process free memory where it is wanted?"""
    threads = [thread for thread in victim.signal.threads if thread.alive]
    if bound is None:
        return any(thread.mems_allowed & task.mems_allowed for thread in threads)
    policies = [thread.policy for thread in threads]
    return any(policy is None or policy.mode != MPOL_BIND or policy.nodes & bound for policy in policies)


def _memory_of(task: Task) -> MmStruct | None:
    """find_lock_task_mm(): what the process has, though its leader may have ended; None if that is gone or as good."""
    thread = next((thread for thread in task.signal.threads if thread.mm is not None), None)
    if thread is None or thread.mm_users is None or thread.mm_users.oom_skip:
        return None
    return thread.mm


def _oom_badness(task: Task, total: int) -> int | None:
    """Pages that its end would free, moved by its oom_score_adj in thousandths of ``total``; None: never this one."""
    mm, adj = _memory_of(task), task.signal.oom_score_adj
    if task.unkillable or mm is None or adj == OOM_SCORE_ADJ_MIN:
        return None
    used = mm.rss_anon + mm.rss_file + mm.rss_shmem + mm.rss_swap + mm.nr_tables
    return used + adj * (total // 1000)


def _select(k: Kernel, task: Task, may_die: list[Task], total: int) -> Task | None:
    """select_bad_process(): the worst, of equals the last; with oom_kill_allocating_task who asks, if it may be."""
    points = {p: points for p in may_die if (points := _oom_badness(p, total)) is not None}
    if k.oom_kill_allocating_task and task.group_leader in points:
        return task.group_leader
    origin = [p for p in may_die if p.signal.oom_origin]
    if origin:
        return origin[-1]
    return max(reversed(points), key=points.__getitem__, default=None)


# What happens to it


def _oom_kill_process(k: Kernel, victim: Task) -> None:
    """SIGKILL for a process, and for all that use its memory."""
    mm = _memory_of(victim)
    if mm is not None and k.hw.trace_mask >> EV_MARK_VICTIM & 1:
        _trace_mark_victim(k, victim, mm)
    k.mem.event[OOM_KILL] += 1
    victim.signal.oom_victim = True
    for process in list(_processes(k)):
        if process is victim or (mm is not None and _memory_of(process) is mm):
            send_signal(k, process, SIGKILL, SigInfo(SIGKILL, SI_KERNEL))


def _trace_mark_victim(k: Kernel, victim: Task, mm: MmStruct) -> None:
    """trace_mark_victim(): who it is, and how large, in KiB."""
    total = sum(vma.end - vma.start for vma in mm.vmas.values()) >> 10
    rss = [pages * _PAGE_KB for pages in (mm.rss_anon, mm.rss_file, mm.rss_shmem)]
    tables = mm.nr_tables * _PAGE_KB | (victim.signal.oom_score_adj & 0xFFFF) << 48
    k.hw.trace(EV_MARK_VICTIM, victim.pid | victim.cred.uid << 32, victim.comm, total, *rss, tables)


def _wait_for_end(k: Kernel, victim: Task) -> None:
    """Until its memory is free; who cannot end in time loses what nobody else has."""
    mm = _memory_of(victim)
    owners = [*victim.signal.threads, *(task for task in k.pids if mm is not None and task.mm is mm)]
    late = k.hw.now + _REAPER_DELAY
    timer = k.mem.timers.add(late, lambda: None)

    def gone() -> bool:
        return not any(owner.alive for owner in owners)

    try:
        k.sched.wait(f"the end of process {victim.pid}", lambda: gone() or k.hw.now >= late)
    finally:
        timer.cancel()
    if not gone():
        _oom_reap_task(k, victim)


def _oom_reap_task(k: Kernel, victim: Task) -> None:
    """Unmap the private memory of a process that cannot end; it is not asked again, whatever that freed."""
    mm = _memory_of(victim)
    if mm is None:
        return
    for thread in victim.signal.threads:
        if thread.mm_users is not None:  # one for all that use the memory
            thread.mm_users.oom_skip = True
    if mm.mmap_lock.writer is not None:
        return
    with mmap_read_lock(mm):
        for vma in mm.vmas.values():
            if not vma.flags & VM_HUGETLB and (vma.file is None or not vma.flags & VM_SHARED):
                zap_vma_range(mm, k.current_ctx, vma.start, vma.end)
