"""The end of tasks: exiting, signals that end them, waiting for them.

Mirrors kernel/exit.c (do_exit, forget_original_parent, exit_notify, wait4) and get_signal() of kernel/signal.c.

A task ends in its own greenlet: `do_exit()` gives everything up and then raises TaskExit, which unwinds the
program's Python frames.  What is left is a zombie until the parent waits, or nothing at all if the parent ignores
SIGCHLD, as init does.

    running --exit, a signal, main returns--> do_exit --+-- leader --> ZOMBIE --wait4--> DEAD
                                                        +-- leader, parent ignores SIGCHLD --> DEAD
                                                        +-- thread --> DEAD

A leader that ends before its threads stays a zombie, unreported, until the last of them has ended.  A process that
is killed does not end at the moment of the signal: each of its threads ends when it next comes out of the kernel,
or when it is next chosen to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from numalab.arch._hw import EV_SCHED_PROCESS_EXIT
from numalab.arch.errno import ECHILD, EINVAL, ESRCH, KernelError
from numalab.kernel.cgroup import cgroup_exit
from numalab.kernel.kill import next_signal, send_signal
from numalab.kernel.mm_release import mm_release
from numalab.kernel.sched import DEFAULT_PRIO
from numalab.kernel.signal import CLD_EXITED, CLD_KILLED, SIGCHLD, SIGKILL, Disposition, SigInfo, is_fatal
from numalab.kernel.state import Kernel
from numalab.kernel.task import State, Task, TaskExit

__all__ = [
    "WNOHANG", "Waited", "do_exit", "do_group_exit", "exit_to_user_mode", "force_sig_fault", "kernel_wait4",
    "kthread_exit", "oops",
]  # fmt: skip

WNOHANG, WUNTRACED, WCONTINUED = 1, 2, 8
_WNOTHREAD, _WALL, _WCLONE = 0x20000000, 0x40000000, 0x80000000
_WAIT_OPTIONS = WNOHANG | WUNTRACED | WCONTINUED | _WNOTHREAD | _WALL | _WCLONE


def do_exit(k: Kernel, task: Task, code: int) -> NoReturn:
    """End the current task. code: as wait4 reports it, `status << 8` or a signal number. Raises TaskExit."""
    # A task that has ended may come here again, when its program goes on after catching TaskExit: it just unwinds.
    if task.alive:
        group = task.signal
        # synchronize_group_exit(): what the last thread leaves with is what is said of the process.
        if group.group_exit_code is None and not any(t.alive for t in group.threads if t is not task):
            group.group_exit_code = code
        task.exit_code = code if group.group_exit_code is None else group.group_exit_code
        try:
            mm_release(task)
        except Exception as bug:  # noqa: BLE001
            # The task ends all the same: everything below works without memory.
            k.record_bug(task, bug)
        if task.files is not None:
            task.files.exit_files(task.ctx.cpu)
        task.files = None
        cgroup_exit(task)
        k.hw.trace(EV_SCHED_PROCESS_EXIT, task.comm, task.pid, DEFAULT_PRIO)
        for watcher in k.exit_watchers:
            watcher(task)
        _forget_original_parent(k, task)
        _exit_notify(k, task)
        k.sched.exit_current()
    raise TaskExit


def do_group_exit(k: Kernel, task: Task, code: int) -> NoReturn:
    """End the process of the current task: every other thread is made to come round and end too. Raises TaskExit."""
    group = task.signal
    # Only the first exit of a process counts; a thread that is ending anyway takes the code it was given.
    if group.group_exit_code is None:
        group.group_exit_code = code
        for thread in group.threads:
            if thread is not task and thread.alive:
                k.sched.signal_wake_up(thread)
    do_exit(k, task, group.group_exit_code)


def oops(k: Kernel, task: Task, bug: Exception) -> NoReturn:
    """The kernel failed while it worked for the current task: end the task, tell whoever runs the machine.

    Mirrors make_task_dead(). Memory that may be half changed is left as it is, for ever. Raises TaskExit, so that no
    program can take the kernel's mistake for an answer.
    """
    k.record_bug(task, bug)
    k.abandoned.append(task.mm)
    task.mm = task.mm_users = None
    do_group_exit(k, task, SIGKILL)


def _forget_original_parent(k: Kernel, task: Task) -> None:
    """Give the children to another thread of the process, or to init, which waits for all it is given."""
    heir = next((t for t in task.signal.threads if t is not task and t.alive), k.init)
    for child in task.children:
        child.parent = heir
        heir.children.add(child)
    for child in task.children.zombies():
        # Init waits for them at once, another thread when it gets round to it.
        if heir is k.init:
            _release_task(k, child)
        else:
            heir.children.ended(child)
    task.children.clear()


def _ignores_children(k: Kernel, parent: Task) -> bool:
    """Whether the parent has said that it will not wait (SIGCHLD ignored); init's waiting is not spelled out."""
    return parent is k.init or parent.sighand.action.get(SIGCHLD) is Disposition.SIG_IGN


def _exit_notify(k: Kernel, task: Task) -> None:
    """Become a zombie and tell the parent, or vanish.

    A thread vanishes.  A leader is reported only when the last thread of its process has ended.
    """
    leader = task.group_leader
    task.state = State.ZOMBIE
    k.nr_programs -= 1
    if task is not leader:
        _release_task(k, task)
    group = leader.signal
    if leader.state is State.ZOMBIE and len(group.threads) == 1:
        # What ended the whole process counts, though the leader may have left it before.
        leader.exit_code = leader.exit_code if group.group_exit_code is None else group.group_exit_code
        _notify_parent(k, leader)


def _notify_parent(k: Kernel, leader: Task) -> None:
    """do_notify_parent(): SIGCHLD for the parent, and a nudge if it waits; one that ignores it is spared the zombie."""
    parent = leader.parent
    if parent is None or _ignores_children(k, parent):
        _release_task(k, leader)
        if parent is None:
            return
    else:
        parent.children.ended(leader)
        send_signal(k, parent, SIGCHLD, _sigchld(leader))
    # Also when the child has vanished: wait4() has to find out that there is nobody left to wait for.
    k.sched.wake_up(parent.signal.wait_chldexit)


def _sigchld(leader: Task) -> SigInfo:
    """What the parent is told of a child that has ended."""
    signum = leader.exit_code & 0x7F
    code, status = (CLD_KILLED, signum) if signum else (CLD_EXITED, leader.exit_code >> 8)
    return SigInfo(SIGCHLD, code, pid=leader.pid, uid=leader.cred.uid, status=status)


def _release_task(k: Kernel, task: Task) -> None:
    """release_task(): the zombie is gone, its pid free."""
    task.state = State.DEAD
    k.pids.remove(task)
    k.nproc[task.cred.uid] -= 1
    if task.parent is not None:
        task.parent.children.remove(task)
    task.signal.threads.remove(task)


def kthread_exit(k: Kernel, task: Task) -> None:
    """A kernel task that has nothing left to do is gone; nobody waits for it."""
    cgroup_exit(task)
    _release_task(k, task)


# Returning to the program


def exit_to_user_mode(k: Kernel, task: Task) -> None:
    """What happens on the way back to the program: pending signals, then the end of the time slice.

    Raises TaskExit when the task ends here, or what a signal handler of the program raises.
    """
    group = task.signal
    # Nearly always there is neither a signal nor the end of a slice, and this is on the way of every call and access.
    if group.pending or group.group_exit_code is not None:
        _do_signals(k, task)
    if k.sched.slice_used_up(task):
        k.sched.resched()
        _do_signals(k, task)


def _do_signals(k: Kernel, task: Task) -> None:
    """get_signal() in a loop: run handlers, end the process for what has none."""
    group = task.signal
    if group.group_exit_code is not None:
        do_group_exit(k, task, group.group_exit_code)
    while (info := next_signal(task)) is not None:
        _tell_watchers(k, task, info)
        action = task.sighand.action.get(info.signo, Disposition.SIG_DFL)
        if callable(action) and info.signo != SIGKILL:
            action(info.signo, info)
        elif info.signo == SIGKILL or (action is Disposition.SIG_DFL and is_fatal(info.signo)):
            do_group_exit(k, task, info.signo)


def _tell_watchers(k: Kernel, task: Task, info: SigInfo) -> None:
    for watcher in k.signal_watchers:
        watcher(task, info, False)


def force_sig_fault(k: Kernel, task: Task, info: SigInfo) -> None:
    """A signal that the current task brought on itself by an access (SIGSEGV, SIGBUS): act on it at once.

    Returns after a handler has returned: the access is then tried again.  Ignoring such a signal does not help.
    """
    _tell_watchers(k, task, info)
    action = task.sighand.action.get(info.signo)
    if callable(action):
        action(info.signo, info)
        return
    do_group_exit(k, task, info.signo)


# Waiting


@dataclass(frozen=True, slots=True)
class Waited:
    """What wait4() found: the child, its status word, and its page faults. pid 0: nobody has ended yet (WNOHANG)."""

    pid: int
    status: int = 0
    min_flt: int = 0
    maj_flt: int = 0


def _eligible(task: Task, child: Task, pid: int) -> bool:
    """eligible_child() and eligible_pid(): whether wait4() was asked for this child. Threads are never waited for."""
    if child.exit_signal == 0:
        return False
    if pid == -1:
        return True
    if pid > 0:
        return child.pid == pid
    return child.signal.pgid == (task.signal.pgid if pid == 0 else -pid)


def kernel_wait4(k: Kernel, task: Task, pid: int, options: int) -> Waited:
    """wait4(2): wait for a child to end and free it.

    pid: a child, -1 any, 0 one of the caller's process group, < -1 one of that group.
    Errors: EINVAL (unknown option), ESRCH (pid is INT_MIN), ECHILD (no such child), EINTR.
    """
    if options & ~_WAIT_OPTIONS:
        raise KernelError(EINVAL)
    if pid == -(1 << 31):
        raise KernelError(ESRCH)

    def mine(*, zombies: bool = False) -> Iterator[Task]:
        # Children of any thread of the process count, unless __WNOTHREAD says otherwise.
        threads = [task] if options & _WNOTHREAD else task.signal.threads
        if pid > 0:
            child = k.pids.find(pid)
            if child is not None and child.parent in threads and _eligible(task, child, pid):
                yield child
            return
        for thread in threads:
            among = thread.children.zombies() if zombies else thread.children
            yield from (c for c in among if _eligible(task, c, pid))

    def ended() -> Task | None:
        # A leader whose threads are still there is not reported yet (delay_group_leader()).
        among = mine(zombies=True)
        return next((c for c in among if c.state is State.ZOMBIE and len(c.signal.threads) == 1), None)

    def settled() -> bool:
        return ended() is not None or next(mine(), None) is None

    if not settled():
        if options & WNOHANG:
            return Waited(0)
        k.sched.wait_event(task.signal.wait_chldexit, settled)
    # The last child may have vanished meanwhile, if SIGCHLD came to be ignored.
    child = ended()
    if child is None:
        raise KernelError(ECHILD)
    waited = Waited(child.pid, child.exit_code, child.ctx.min_flt, child.ctx.maj_flt)
    task.signal.child_min_flt += waited.min_flt
    task.signal.child_maj_flt += waited.maj_flt
    _release_task(k, child)
    return waited
