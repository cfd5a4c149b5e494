"""Who may look into whom.

Mirrors kernel/ptrace.c (__ptrace_may_access) and the capability hook of security/commoncap.c; man page
ptrace(2), "Ptrace access mode checking".  There is no tracing, only the check.
"""

from __future__ import annotations

from numalab.kernel.cred import Cap
from numalab.kernel.task import Task, capable

__all__ = ["ptrace_may_access"]

SUID_DUMP_USER = 1


def ptrace_may_access(caller: Task, task: Task, *, fscreds: bool = False) -> bool:
    """Whether `caller` may read the state of `task` (PTRACE_MODE_READ).

    fscreds: go by the caller's file-system ids (opening files of /proc) instead of the real ones (system calls).

    Threads of one process always may.  Otherwise all ids of the target must be the caller's, and the target must be
    dumpable, which kernel tasks are not, and hold no capability that the caller lacks; CAP_SYS_PTRACE stands in for
    each of these.
    """
    if task.signal is caller.signal:
        return True
    privileged = capable(caller, Cap.CAP_SYS_PTRACE)
    mine, theirs = caller.cred, task.cred
    uid, gid = (mine.fsuid, mine.fsgid) if fscreds else (mine.uid, mine.gid)
    same_user = {theirs.uid, theirs.euid, theirs.suid} == {uid} and {
        theirs.gid,
        theirs.egid,
        theirs.sgid,
    } == {gid}
    if not same_user and not privileged:
        return False
    dumpable = task.mm_users is None or task.mm_users.dumpable == SUID_DUMP_USER
    if (task.kthread or not dumpable) and not privileged:
        return False
    caps = mine.effective if fscreds else mine.permitted
    return not theirs.permitted & ~caps or privileged
