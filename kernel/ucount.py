"""How many tasks there may be: in all, and of each user.

Mirrors fork_init() and the checks of copy_process() (kernel/fork.c), kernel/ucount.c, and commit_creds() with
flag_nproc_exceeded() (kernel/cred.c, kernel/sys.c); man pages getrlimit(2) (RLIMIT_NPROC), fork(2), execve(2).
"""

from __future__ import annotations

from numalab.arch.errno import EAGAIN, KernelError
from numalab.kernel.cred import Cap, Cred, cleared_on_commit
from numalab.kernel.state import Kernel
from numalab.kernel.task import RLIMIT_NPROC, RLIMIT_SIGPENDING, Task, capable

__all__ = ["MAX_THREADS", "check_nproc_exceeded", "check_task_limits", "commit_creds", "fork_init"]

ROOT = 0
MIN_THREADS, MAX_THREADS = 20, 0x3FFFFFFF
_FRAMES_PER_THREAD = 8 * 4  # kernel stacks (THREAD_SIZE: four pages) may fill an eighth of memory


def fork_init(k: Kernel) -> None:
    """Let memory decide how many tasks there may be; a user may have half as many, as init's limits tell all others."""
    frames = int(k.mem.zones["managed"].sum())
    # A machine may have more nodes, each with a kswapd, than its memory has room for tasks: some are left for programs.
    least = max(MIN_THREADS, len(k.pids) + MIN_THREADS // 2)
    k.max_threads = min(max(frames // _FRAMES_PER_THREAD, least), MAX_THREADS)
    half = k.max_threads // 2
    k.init.signal.rlimits |= {RLIMIT_NPROC: (half, half), RLIMIT_SIGPENDING: (half, half)}


def _over_limit(k: Kernel, task: Task, uid: int, more: int = 0) -> bool:
    """is_rlimit_overlimit(): whether a user with `more` tasks would have more than the task's RLIMIT_NPROC."""
    return uid != ROOT and k.nproc[uid] + more > task.signal.rlimit(RLIMIT_NPROC)


def check_task_limits(k: Kernel, task: Task) -> None:
    """Whether a task may make another one. Errors: EAGAIN (its user has too many, or the machine has)."""
    exempt = capable(task, Cap.CAP_SYS_RESOURCE) or capable(task, Cap.CAP_SYS_ADMIN)
    if _over_limit(k, task, task.cred.uid, 1) and not exempt:
        raise KernelError(EAGAIN, "RLIMIT_NPROC")
    task.nproc_exceeded = False
    if len(k.pids) >= k.max_threads:
        raise KernelError(EAGAIN, "threads-max")


def check_nproc_exceeded(k: Kernel, task: Task) -> None:
    """Whether a task may execute a program. Errors: EAGAIN (it changed its user to one who had, and has, too many)."""
    if task.nproc_exceeded and _over_limit(k, task, task.cred.uid):
        raise KernelError(EAGAIN, "RLIMIT_NPROC")
    task.nproc_exceeded = False


def commit_creds(k: Kernel, task: Task, new: Cred) -> None:
    """Install new credentials; when they changed who the task is, others may not look into it any more.

    The dumpable flag becomes that of set-user-id programs (fs.suid_dumpable, 0).
    """
    if cleared_on_commit(task.cred, new) and task.mm_users is not None:
        task.mm_users.dumpable = 0
    if new.uid != task.cred.uid:
        # setuid() must not fail for this, since programs do not look: execve() does it.
        task.nproc_exceeded = _over_limit(k, task, new.uid)
        k.nproc[task.cred.uid] -= 1
        k.nproc[new.uid] += 1
    task.cred = new
