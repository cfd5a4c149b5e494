"""Sending signals: make one pending for a process, and wake whoever may take it.

Mirrors kernel/signal.c (__send_signal_locked, kill_something_info, check_kill_permission); man page kill(2).
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, EPERM, ESRCH, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.signal import NSIG, SI_KERNEL, SIGKILL, Disposition, SigInfo, is_fatal
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable

__all__ = ["kill", "next_signal", "send_signal"]


def _ignored(task: Task, sig: int) -> bool:
    """sig_task_ignored(): dropped at once. init and kernel tasks take nothing that would end them."""
    action = task.sighand.action.get(sig, Disposition.SIG_DFL)
    if sig == SIGKILL:
        return task.unkillable
    if action is Disposition.SIG_DFL:
        return not is_fatal(sig) or task.unkillable
    return action is Disposition.SIG_IGN


def send_signal(k: Kernel, task: Task, sig: int, info: SigInfo | None = None) -> None:
    """Make `sig` pending for the process of `task` and wake whoever may take it.

    Mirrors __send_signal_locked(): an ignored signal is dropped, one that is pending already is not counted twice.
    Without info it comes from the current task, or from outside of any.
    """
    if not task.alive:
        return
    if info is None:
        me = k.sched.current
        info = SigInfo(sig, SI_KERNEL) if me is None else SigInfo(sig, pid=me.tgid, uid=me.cred.uid)
    if _ignored(task, sig):
        for watcher in k.signal_watchers:
            watcher(task, info, True)
        return
    group = task.signal
    group.pending.setdefault(sig, info)
    # A fatal signal ends every thread, so all must come round; for a handler the first one will do.
    handled = callable(task.sighand.action.get(sig)) and sig != SIGKILL
    targets = group.threads[:1] if handled else group.threads
    for thread in targets:
        k.sched.signal_wake_up(thread)


def next_signal(task: Task) -> SigInfo | None:
    """dequeue_signal(): the pending signal to act on now, lowest number first but SIGKILL before all."""
    pending = task.signal.pending
    if not pending:
        return None
    return pending.pop(SIGKILL if SIGKILL in pending else min(pending))


def _may_signal(sender: Task, target: Task) -> bool:
    """kill_ok_by_cred(): a matching real or effective id of the sender, or CAP_KILL."""
    mine, theirs = sender.cred, target.cred
    same = {mine.euid, mine.uid} & {theirs.suid, theirs.uid}
    return sender.signal is target.signal or bool(same) or capable(sender, Cap.CAP_KILL)


def _signal_one(k: Kernel, sender: Task, target: Task, sig: int) -> None:
    if not 0 <= sig <= NSIG:
        raise KernelError(EINVAL, f"{sig} is no signal")
    if not _may_signal(sender, target):
        raise KernelError(EPERM)
    if sig:
        send_signal(k, target, sig)


def _addressed(k: Kernel, sender: Task, pid: int) -> list[Task]:
    """The processes that kill(2) is for, each by its leader; kernel tasks are among them, and take nothing."""
    if pid > 0:
        # A thread's id names its process.
        named = k.pids.find(pid)
        return [] if named is None else [named.group_leader]
    if pid == -(1 << 31):
        return []
    leaders = [t for t in k.pids if t.pid == t.tgid]
    if pid == -1:
        return [t for t in leaders if t.pid > 1 and t.signal is not sender.signal]
    group = sender.signal.pgid if pid == 0 else -pid
    return [t for t in leaders if t.signal.pgid == group]


def kill(k: Kernel, sender: Task, pid: int, sig: int) -> int:
    """kill(2): pid > 0 one process, 0 the caller's group, -1 everyone but init and the caller, < -1 that group.

    Signal 0 only checks.
    Errors: ESRCH (nobody there; comes first), EINVAL (no such signal), EPERM (nobody that may be signalled).
    """
    found = _addressed(k, sender, pid)
    if not found:
        raise KernelError(ESRCH)
    # Every one is tried: a process that may not be signalled does not protect the others.
    refused: KernelError | None = None
    reached = 0
    for target in found:
        try:
            _signal_one(k, sender, target, sig)
            reached += 1
        except KernelError as error:
            refused = error
    # One that could be signalled makes the call a success; -1 does not report EPERM either.
    if not reached and refused is not None and not (pid == -1 and refused.errno == EPERM):
        raise refused
    return 0
