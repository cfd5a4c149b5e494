"""Which CPUs a task may use, which one it is on, and letting others run.

Mirrors the SYSCALL_DEFINEs of kernel/sched/syscalls.c and kernel/sys.c (getcpu).
"""

from __future__ import annotations

from numalab.arch.errno import EFAULT, EINVAL, EPERM, ESRCH, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable
from numalab.syscalls.uaccess import copy_from_user, copy_to_user, put_user

__all__ = ["getcpu", "sched_getaffinity", "sched_setaffinity", "sched_yield"]


def _cpumask_size(k: Kernel) -> int:
    """cpumask_size(): bytes of a CPU mask in the kernel, whole words of as many CPUs as are possible."""
    return -(-k.topology.nr_cpus // 64) * 8


def _find(k: Kernel, task: Task, pid: int) -> Task:
    target = k.pids.find(pid) if pid else task
    if target is None:
        raise KernelError(ESRCH)
    return target


def sched_setaffinity(k: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2); a longer mask than the kernel's is cut off, a shorter one filled up with zeros.

    Errors in order: EFAULT, ESRCH, EPERM (another user's task), EINVAL (no CPU is left that exists and is allowed).
    """
    data = copy_from_user(task, mask, min(length, _cpumask_size(k)))
    target = _find(k, task, pid)
    if task.cred.euid not in (target.cred.euid, target.cred.uid) and not capable(task, Cap.CAP_SYS_NICE):
        raise KernelError(EPERM)
    k.sched.sched_setaffinity(target, int.from_bytes(data, "little"))
    return 0


def sched_getaffinity(k: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2): returns the bytes stored.

    Errors in order: EINVAL (too short, or no whole words), ESRCH, EFAULT.
    """
    if length * 8 & 0xFFFFFFFF < k.topology.nr_cpus or length % 8:
        raise KernelError(EINVAL)
    target = _find(k, task, pid)
    size = min(length, _cpumask_size(k))
    copy_to_user(task, mask, target.cpus_allowed.to_bytes(_cpumask_size(k), "little")[:size])
    return size


def getcpu(k: Kernel, task: Task, cpu: int, node: int, unused: int) -> int:
    """getcpu(2): both pointers are served even if the first fails. Errors: EFAULT."""
    failed = False
    for addr, value in ((cpu, task.ctx.cpu), (node, task.ctx.nid)):
        if addr:
            try:
                put_user(task, addr, "I", value)
            except KernelError:
                failed = True
    if failed:
        raise KernelError(EFAULT)
    return 0


def sched_yield(k: Kernel, task: Task) -> int:
    """sched_yield(2)."""
    k.sched.yield_()
    return 0
