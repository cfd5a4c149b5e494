"""Executing another program: a fresh address space for the same task.

Mirrors begin_new_exec() in fs/exec.c; man page execve(2).  What stays: pid, memory policy, affinity, user and
group, open files but for O_CLOEXEC, ignored signals.  What goes: the memory with the policies of its areas, signal
handlers, and capabilities as `cred.exec_cred()` has it.

Deliberately different: there is no file to load, so the caller runs the new program itself afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch.errno import EAGAIN, ENOMEM, KernelError
from numalab.kernel.cred import exec_cred
from numalab.kernel.mm_release import mm_replace
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.kernel.ucount import check_nproc_exceeded, commit_creds
from numalab.mm.memory import OutOfMemory
from numalab.mm.mmap import exit_mmap, mm_alloc, setup_stack

if TYPE_CHECKING:
    from numalab.mm._mm_types import AllocCtx, MmStruct

__all__ = ["begin_new_exec", "new_mm"]

SUID_DUMP_DISABLE, SUID_DUMP_USER = 0, 1


def new_mm(k: Kernel, ctx: AllocCtx) -> MmStruct:
    """An address space with nothing but a stack, as a program finds it. Errors: ENOMEM."""
    try:
        mm = mm_alloc(k.mem)
        try:
            setup_stack(mm)
        except (KernelError, OutOfMemory):
            exit_mmap(mm, ctx)
            raise
    except OutOfMemory:
        raise KernelError(ENOMEM) from None
    return mm


def begin_new_exec(k: Kernel, task: Task, comm: str) -> None:
    """Replace the memory of the current task by a new one, and drop what does not survive execve().

    Errors: EAGAIN (too many tasks of its user, or other threads of its own, whose end is not supported), ENOMEM.
    """
    check_nproc_exceeded(k, task)
    if sum(thread.alive for thread in task.signal.threads) > 1:
        raise KernelError(EAGAIN, "execve() with several threads")
    # The new memory first: if there is none for it, the old program goes on.
    mm = new_mm(k, task.ctx)
    mm.thp_disabled = task.mm is not None and task.mm.thp_disabled
    old = task.cred
    mm_replace(task, mm, SUID_DUMP_USER if (old.euid, old.egid) == (old.uid, old.gid) else SUID_DUMP_DISABLE)
    commit_creds(k, task, exec_cred(old))
    task.comm = comm[:15]
    task.sighand.flush_handlers()
    if task.files is not None:
        task.files.close_on_exec(task.ctx.cpu)
