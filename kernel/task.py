"""Task: one thread of execution (task_struct), and what the threads of a process share.

Mirrors include/linux/sched.h (task_struct), sched/signal.h (signal_struct) and kernel/pid.c.  A Linux
thread and a Linux process are the same kind of thing here too: a process is a group of tasks with one
`Signal`, its leader's pid being the tgid.

The task's memory half is `mm` (its address space; None for kernel threads and for the dead) and `ctx`
(what allocations need to know of it: cpu, node, nodes allowed, policy, fault counts), both of which
belong to mm/.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numalab.arch.errno import EAGAIN, KernelError
from numalab.kernel.children import Children
from numalab.kernel.cred import Cap, Cred, has_cap
from numalab.kernel.fs.file import FilesStruct
from numalab.kernel.fs.fs_struct import FsStruct
from numalab.kernel.signal import SIGCHLD, SigHand, SigInfo
from numalab.kernel.wait import WaitQueue

if TYPE_CHECKING:
    import greenlet

    from numalab.kernel.cgroup import Cgroup
    from numalab.kernel.cpuset import Cpuset
    from numalab.mm._mm_types import AllocCtx, MemPolicy, MmStruct

__all__ = [
    "INIT_PID", "KTHREADD_PID", "RLIMIT_MEMLOCK", "RLIMIT_NPROC", "RLIMIT_SIGPENDING", "RLIMIT_STACK", "RLIM_INFINITY",
    "RLIM_NLIMITS", "MmUsers", "PidMap", "Signal", "State", "Task", "TaskExit", "capable", "has_signal",
]  # fmt: skip

INIT_PID, KTHREADD_PID = 1, 2
FIRST_USER_PID = 100  # the numbers below are left to kernel tasks
RESERVED_PIDS = 300  # where numbering starts again after PID_MAX
PID_MAX = 4194304
UNUSED_PID = 4190000  # never given out: programs and recordings use it as "no such process"

RLIM_INFINITY = (1 << 64) - 1
RLIMIT_STACK, RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_SIGPENDING = 3, 4, 6, 7, 8, 11
RLIM_NLIMITS = 16


class TaskExit(BaseException):
    """Unwinds the Python frames of a task that has ended. Nobody should catch it; who does meets it again."""


class State(enum.Enum):
    """Task states as /proc/PID/status writes them."""

    RUNNING = "R (running)"
    INTERRUPTIBLE = "S (sleeping)"
    UNINTERRUPTIBLE = "D (disk sleep)"
    ZOMBIE = "Z (zombie)"
    DEAD = "X (dead)"


@dataclass
class MmUsers:
    """What the tasks that use one address space share besides the memory: mm_users and the flags of mm_struct.

    dumpable: SUID_DUMP_USER (1) or not (0, 2), which guards the process against others that want to look into it.
    oom_skip: MMF_OOM_SKIP, memory that has been taken away as far as it can be.
    """

    users: int = 1
    dumpable: int = 1
    oom_skip: bool = False


@dataclass
class Signal:
    """struct signal_struct: what all threads of one process share."""

    pgid: int  # process group: what kill(0) and wait4(0) mean
    threads: list[Task] = field(
        default_factory=list
    )  # the leader first, also when it has ended before the others
    pending: dict[int, SigInfo] = field(
        default_factory=dict
    )  # by number; for whichever thread comes round first
    group_exit_code: int | None = None  # set when the whole process is ending: every thread leaves with it
    rlimits: dict[int, tuple[int, int]] = field(default_factory=dict)  # (soft, hard) of those that were set
    wait_chldexit: WaitQueue[Task] = field(default_factory=lambda: WaitQueue("a child to end"))
    # How far /proc/PID/oom_score_adj moves the choice of who is killed, and how far down it may go without
    # CAP_SYS_RESOURCE; whether this process was chosen; whether it asks for so much that it shall be (swapoff).
    oom_score_adj: int = 0
    oom_score_adj_min: int = 0
    oom_victim: bool = False
    oom_origin: bool = False
    # Faults of children that were waited for (getrusage's RUSAGE_CHILDREN).
    child_min_flt: int = 0
    child_maj_flt: int = 0

    def rlimits_of(self, resource: int) -> tuple[int, int]:
        """Soft and hard limit of a resource: what was set, or what a program has at login."""
        return self.rlimits.get(resource, _DEFAULT_RLIMITS.get(resource, (RLIM_INFINITY, RLIM_INFINITY)))

    def rlimit(self, resource: int) -> int:
        """The soft limit of a resource: the one that is enforced."""
        return self.rlimits_of(resource)[0]


_DEFAULT_RLIMITS = {
    RLIMIT_STACK: (8 << 20, RLIM_INFINITY),
    RLIMIT_CORE: (0, RLIM_INFINITY),
    RLIMIT_NOFILE: (1024, 4096),
    RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
}


class Task:
    """task_struct. Made by `fork.copy_process()`, ended by `exit.do_exit()`, freed by whoever waits for it.

    pid, tgid: of the thread and of its process.  parent, children: the family that wait4() goes by; children belong to
    the thread that made them.  signal, sighand, files, fs, mm, mm_users: shared with others as clone() was asked to.
    cpus_allowed: the affinity, within what the cpuset allows; user_cpus: what sched_setaffinity() asked for, all CPUs
    (-1) if nobody did.  cred: replaced whole, by `commit_creds()` only.
    """

    def __init__(
        self,
        pid: int,
        comm: str,
        *,
        ctx: AllocCtx,
        cgroup: Cgroup,
        cred: Cred,
        cpus_allowed: int,
        mm: MmStruct | None = None,
        mm_users: MmUsers | None = None,
        parent: Task | None = None,
        signal: Signal | None = None,
        sighand: SigHand | None = None,
        files: FilesStruct | None = None,
        fs: FsStruct | None = None,
        kthread: bool = False,
    ) -> None:
        self.pid = pid
        self.comm = comm  # what /proc calls it: the program's name, 15 bytes at most
        self.signal = signal if signal is not None else Signal(pgid=pid)
        self.sighand = sighand if sighand is not None else SigHand()
        # The first thread is the leader, and stays first in the list until it is reaped, though it may have ended.
        self.group_leader: Task = (
            self.signal.threads[0] if self.signal.threads else self
        )  # stays first until reaped
        self.signal.threads.append(self)
        self.parent = parent
        self.children = Children()
        self.mm = mm
        self.mm_users = mm_users
        self.ctx = ctx
        self.cgroup = cgroup
        self.cred = cred
        self.cpus_allowed = cpus_allowed
        self.user_cpus = -1
        self.files = files
        self.fs = fs if fs is not None else FsStruct()
        self.kthread = kthread
        self.nproc_exceeded = False  # it became a user who has too many tasks: execve() will refuse
        self.exit_signal = SIGCHLD  # 0 for threads: nobody waits for them
        self.state = State.RUNNING
        self.exit_code = 0  # as wait4 reports it: status << 8, or the signal that ended it
        self.exception: BaseException | None = None  # uncaught, of a program's main
        self.start_time = 0  # virtual ns
        # Scheduling: the program, where it runs, what it waits for and until when.
        self.program: Callable[[], object] | None = None
        self.greenlet: greenlet.greenlet | None = None
        self.slice_start = 0
        self.sum_exec_runtime = 0  # virtual ns it has run, up to the present slice
        self.waiting_on = ""  # in words, for the report of a deadlock
        self.nvcsw = 0  # context switches it asked for by sleeping,
        self.nivcsw = 0  # and those that the end of its slice brought

    def __repr__(self) -> str:
        return f"<Task {self.pid} {self.comm} {self.state.value[0]}>"

    @property
    def tgid(self) -> int:
        """Thread group id: what getpid() returns."""
        return self.group_leader.pid

    @property
    def ppid(self) -> int:
        """Pid of the parent process, 0 for those that have none."""
        parent = self.group_leader.parent
        return parent.tgid if parent is not None else 0

    @property
    def cpu(self) -> int:
        return self.ctx.cpu

    @property
    def cpuset(self) -> Cpuset:
        """task_cs(): the cpuset it goes by, that of its cgroup or of one above."""
        return self.cgroup.cpuset

    @property
    def mems_allowed(self) -> int:
        """cpuset_mems_allowed(): nodes with memory that the task's cpuset lets it use, as a mask."""
        return self.cpuset.effective_mems

    @property
    def policy(self) -> MemPolicy | None:
        """The memory policy of the task (set_mempolicy); None = default."""
        return self.ctx.policy

    @property
    def alive(self) -> bool:
        """Neither a zombie nor gone."""
        return self.state not in (State.ZOMBIE, State.DEAD)

    @property
    def unkillable(self) -> bool:
        """SIGNAL_UNKILLABLE: init and kernel tasks."""
        return self.kthread or self.tgid == INIT_PID

    @property
    def exit_status(self) -> int:
        """The exit code as people write it: 0..255, or -signum for a death by signal."""
        signum = self.exit_code & 0x7F
        return -signum if signum else self.exit_code >> 8


class PidMap:
    """Pids of one machine: ascending, each one task. Mirrors kernel/pid.c (alloc_pid, find_task_by_vpid)."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._last = FIRST_USER_PID - 1

    def __iter__(self) -> Iterator[Task]:
        """All tasks, zombies included, in the order of their pids."""
        return iter([self._tasks[pid] for pid in sorted(self._tasks)])

    def __len__(self) -> int:
        return len(self._tasks)

    def alloc(self) -> int:
        """The next free pid. Errors: EAGAIN when all are in use."""
        # Upwards from the last one; once around at most.
        for _ in range(2):
            while self._last < PID_MAX - 1:
                self._last += 1
                if self._last not in self._tasks and self._last != UNUSED_PID:
                    return self._last
            self._last = RESERVED_PIDS - 1
        raise KernelError(EAGAIN, "no free pid")

    def add(self, task: Task) -> None:
        self._tasks[task.pid] = task

    def remove(self, task: Task) -> None:
        del self._tasks[task.pid]

    def clear(self) -> None:
        """Forget every task."""
        self._tasks.clear()

    def find(self, pid: int) -> Task | None:
        """find_task_by_vpid(): the task with that pid (a zombie too), or None."""
        return self._tasks.get(pid)


def capable(task: Task, cap: Cap) -> bool:
    """Whether the task has a capability in its effective set."""
    return has_cap(task.cred, cap)


def has_signal(task: Task) -> bool:
    """signal_pending(): there is something to take on the way back to the program."""
    return bool(task.signal.pending) or task.signal.group_exit_code is not None
