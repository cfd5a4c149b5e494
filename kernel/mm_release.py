"""Taking an address space into use and giving it up: the kernel's side of mm_struct's life.

Mirrors mmget(), exec_mmap() and exit_mm() (kernel/fork.c, fs/exec.c, kernel/exit.c).  The last task that lets
go has the memory freed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.kernel.task import MmUsers, Task
from numalab.mm.mmap import exit_mmap

if TYPE_CHECKING:
    from numalab.mm._mm_types import MmStruct

__all__ = ["mm_release", "mm_replace"]


def mm_release(task: Task) -> None:
    """exit_mm(): the task has no memory any more; the last user's goes away with it."""
    _switch_mm(task, None, None)


def mm_replace(task: Task, mm: MmStruct, dumpable: int) -> None:
    """exec_mmap(): give up the old address space and use a new one, which nobody shares."""
    _switch_mm(task, mm, MmUsers(dumpable=dumpable))


def _switch_mm(task: Task, new: MmStruct | None, new_users: MmUsers | None) -> None:
    """Use the new one first: taking the old one down may sleep."""
    mm, users = task.mm, task.mm_users
    task.mm, task.mm_users = new, new_users
    if mm is None or users is None:
        return
    users.users -= 1
    if users.users == 0:
        exit_mmap(mm, task.ctx)
