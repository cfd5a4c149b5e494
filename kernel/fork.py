"""Making tasks: fork, threads, the first tasks of boot, and what a new task does first.

Mirrors kernel/fork.c (copy_process, dup_task_struct) and ret_from_fork; man pages fork(2), clone(2).

A child gets a copy-on-write copy of the address space (`mm.mmap.dup_mmap`, which duplicates the policies of its
areas), the parent's memory policy, credentials, CPU affinity, descriptors and signal dispositions.  Its page
faults count from zero.  What is copied and what is shared, by flag:

    flag            set: shared with the parent         not set: the child's own
    CLONE_VM        address space, dumpable flag        a copy-on-write copy
    CLONE_FILES     descriptors                         the same open files under the same numbers
    CLONE_FS        umask                               a copy of it
    CLONE_SIGHAND   signal dispositions                 a copy of them
    CLONE_THREAD    process: pid, limits, signals       a new process, a child of the caller
    CLONE_PARENT    the caller's parent                 the caller is the parent

It does not run what the parent runs (a Python frame cannot be copied): it is given a
program of its own.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace

import greenlet

from numalab.arch._hw import EV_SCHED_PROCESS_FORK
from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.kernel.cgroup import cgroup_fork
from numalab.kernel.cred import Cred
from numalab.kernel.exec import new_mm
from numalab.kernel.exit import do_exit, do_group_exit, exit_to_user_mode
from numalab.kernel.fs.file import FilesStruct
from numalab.kernel.report import format_exception
from numalab.kernel.signal import SIGCHLD, SIGINT
from numalab.kernel.state import Kernel
from numalab.kernel.task import MmUsers, Signal, State, Task, TaskExit
from numalab.kernel.ucount import check_task_limits
from numalab.mm._constants import GFP_HARDWALL
from numalab.mm._mm_types import AllocCtx
from numalab.mm.memory import OutOfMemory
from numalab.mm.mmap import dup_mmap

__all__ = [
    "CLONE_FILES", "CLONE_PARENT", "CLONE_SIGHAND", "CLONE_THREAD", "CLONE_VM", "CSIGNAL", "Program", "copy_process",
    "create_init", "create_kthread", "spawn", "status_of_exit",
]  # fmt: skip

CSIGNAL = 0xFF
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_PARENT, CLONE_THREAD = 0x8000, 0x10000
_CLONE_KNOWN = CSIGNAL | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_PARENT | CLONE_THREAD

Program = Callable[[Task], object]
"""What a task runs. An int it returns is its exit status (the low eight bits count); anything else means 0."""


def copy_process(k: Kernel, parent: Task, program: Program, flags: int = SIGCHLD) -> Task:
    """A child of `parent` that will run `program`; runnable when this returns.

    flags: CLONE_* and the exit signal, as clone(2) takes them.  CLONE_VM shares the memory, CLONE_FILES the
    descriptors, CLONE_THREAD makes a thread of the same process (it needs CLONE_SIGHAND, which needs CLONE_VM).
    Errors: EINVAL (flags that exclude each other, or that do not exist here), EAGAIN (too many tasks), ENOMEM.
    """
    if flags & ~_CLONE_KNOWN:
        raise KernelError(EINVAL, f"clone flags {flags & ~_CLONE_KNOWN:#x} do not exist here")
    if (flags & CLONE_THREAD and not flags & CLONE_SIGHAND) or (
        flags & CLONE_SIGHAND and not flags & CLONE_VM
    ):
        raise KernelError(EINVAL)
    thread = bool(flags & CLONE_THREAD)
    check_task_limits(k, parent)
    # What can fail comes first; a pid that is then not used is passed over, as in Linux.
    pid = k.pids.alloc()
    mm, users = parent.mm, parent.mm_users
    if mm is not None and users is not None:
        if flags & CLONE_VM:
            users.users += 1
        else:
            try:
                mm, users = dup_mmap(mm, parent.ctx), MmUsers(dumpable=users.dumpable)
            except OutOfMemory:
                raise KernelError(ENOMEM) from None
    files = parent.files
    if files is not None:
        if flags & CLONE_FILES:
            files.users += 1
        else:
            files = files.copy()
    task = Task(
        pid,
        parent.comm,
        ctx=_dup_ctx(parent.ctx),
        cgroup=parent.cgroup,
        cred=parent.cred,
        cpus_allowed=parent.cpus_allowed,
        mm=mm,
        mm_users=users,
        parent=parent.parent if flags & (CLONE_PARENT | CLONE_THREAD) else parent,
        signal=parent.signal if thread else _copy_signal(parent.signal),
        sighand=parent.sighand if flags & CLONE_SIGHAND else parent.sighand.copy(),
        files=files,
        fs=parent.fs if flags & CLONE_FS else replace(parent.fs),
    )
    task.user_cpus = parent.user_cpus
    task.exit_signal = 0 if thread else SIGCHLD
    # A thread is nobody's child: it has its leader's parent and stands in no list.
    if thread:
        task.parent = task.group_leader.parent
    elif task.parent is not None:
        task.parent.children.add(task)
    k.hw.trace(EV_SCHED_PROCESS_FORK, parent.comm, parent.pid, task.comm, task.pid)
    _add_task(k, task, program)
    return task


def _copy_signal(signal: Signal) -> Signal:
    """copy_signal(): what a child process has from its parent."""
    return Signal(
        pgid=signal.pgid,
        rlimits=dict(signal.rlimits),
        oom_score_adj=signal.oom_score_adj,
        oom_score_adj_min=signal.oom_score_adj_min,
    )


def _dup_ctx(ctx: AllocCtx) -> AllocCtx:
    """The child's half of what mm knows of a task: CPU, nodes, policy, and its place in the round robin."""
    new = AllocCtx(ctx.cpu, ctx.nid, ctx.mems_allowed)
    new.gfp = ctx.gfp & GFP_HARDWALL
    new.policy, new.il_prev, new.il_weight = ctx.policy, ctx.il_prev, ctx.il_weight
    return new


def _add_task(k: Kernel, task: Task, program: Program | None) -> None:
    """Enter a task into the pid table; with a program, make it runnable."""
    k.pids.add(task)
    k.nproc[task.cred.uid] += 1
    cgroup_fork(task)
    if program is not None:
        k.nr_programs += 1
        task.program = lambda: _ret_from_fork(k, task, program)
        k.sched.wake_up_new_task(task)


def _ret_from_fork(k: Kernel, task: Task, program: Program) -> None:
    """The life of a task: run the program, then exit with what it returned: the process, or a mere thread by itself.

    An exception that the program does not catch ends it with status 1 (SIGINT for KeyboardInterrupt). That of a task
    spawned from outside is kept for whoever runs the machine; that of a forked child is printed, as any Python
    process does.  SystemExit is Python's way to say exit(2).
    """
    with contextlib.suppress(TaskExit, greenlet.GreenletExit):
        code = _run_program(k, task, program)
        leave = do_group_exit if task is task.group_leader else do_exit
        leave(k, task, code)


def _run_program(k: Kernel, task: Task, program: Program) -> int:
    """Run the program; returns its exit code (status << 8, or a signal). Raises TaskExit if it is being unwound."""
    try:
        # The way to the program leads past pending signals: it may have been killed before it ever ran.
        exit_to_user_mode(k, task)
        code = _status(program(task)) << 8
    except BaseException as error:  # noqa: BLE001
        code = _uncaught(k, task, error) if task.alive and not k.closed else 0
    # The task has ended, or its machine: what comes out of it now (of a finally block, perhaps) concerns nobody.
    if k.closed or not task.alive:
        raise TaskExit
    return code


def _uncaught(k: Kernel, task: Task, error: BaseException) -> int:
    """An exception came out of a program: tell whoever runs the machine, or print it. Returns the exit code."""
    if isinstance(error, SystemExit):
        return status_of_exit(error) << 8
    task.exception = error
    if isinstance(error, KeyboardInterrupt) or task.parent is k.init:
        k.failures.append(task)
    else:
        sys.stderr.write(
            f"task {task.pid} ({task.comm}) died of an uncaught exception:\n{format_exception(error)}"
        )
    return SIGINT if isinstance(error, KeyboardInterrupt) else 1 << 8


def _status(value: object) -> int:
    """What main() returned as a status: the low eight bits of an int, as with exit(2); 0 for anything else."""
    return value & 0xFF if isinstance(value, int) else 0


def status_of_exit(leave: SystemExit) -> int:
    """exit(n), exit() = 0, exit("message") = 1 and the message on stderr: what the interpreter does with SystemExit."""
    if leave.code is None or isinstance(leave.code, int):
        return _status(leave.code)
    sys.stderr.write(f"{leave.code}\n")
    return 1


# Tasks that nobody forks


def create_init(k: Kernel) -> Task:
    """Pid 1: has memory, never runs, adopts and reaps whoever has lost the parent."""
    task = _bare_task(k, 1, "init", None)
    task.mm, task.mm_users = new_mm(k, task.ctx), MmUsers()
    task.files = FilesStruct()
    task.state = State.INTERRUPTIBLE
    _add_task(k, task, None)
    return task


def create_kthread(k: Kernel, comm: str, *, pid: int | None = None) -> Task:
    """A kernel task: no memory of its own, takes no signals. Pid 2 (kthreadd) is the parent of the others."""
    parent = None if pid == 2 else k.pids.find(2)
    task = _bare_task(k, k.pids.alloc() if pid is None else pid, comm, parent)
    task.kthread = True
    task.state = State.INTERRUPTIBLE
    _add_task(k, task, None)
    return task


def spawn(k: Kernel, comm: str, program: Program, cred: Cred) -> Task:
    """A new process under init, with fresh memory, as if init had forked and executed a program. Runnable.

    Errors: EAGAIN (too many tasks), ENOMEM.
    """
    check_task_limits(k, k.init)
    task = _bare_task(k, k.pids.alloc(), comm, k.init)
    task.cred, task.signal.rlimits = cred, dict(k.init.signal.rlimits)
    task.mm, task.mm_users = new_mm(k, task.ctx), MmUsers()
    task.files = FilesStruct()
    k.init.children.add(task)
    _add_task(k, task, program)
    return task


def _bare_task(k: Kernel, pid: int, comm: str, parent: Task | None) -> Task:
    """A task of root's without memory, on the first CPU, allowed everything."""
    cgroup = k.cgroup_root
    cpuset = cgroup.cpuset
    # All start on the first CPU, as init does on a real machine; programs spread by affinity or not at all.
    ctx = AllocCtx(0, k.topology.node_of_cpu(0), cpuset.effective_mems)
    return Task(
        pid, comm[:15], ctx=ctx, cgroup=cgroup, cred=Cred(), cpus_allowed=cpuset.effective_cpus, parent=parent
    )
