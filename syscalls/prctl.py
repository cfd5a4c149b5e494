"""prctl(2): small things about the calling process.

Mirrors the prctl() of kernel/sys.c. Only the options below exist; every other one is EINVAL, as an option that a
kernel does not know.
"""

from __future__ import annotations

from dataclasses import replace

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.mmap_lock import mmap_write_lock
from numalab.syscalls.abi import (
    PR_GET_DUMPABLE,
    PR_GET_KEEPCAPS,
    PR_GET_NAME,
    PR_GET_THP_DISABLE,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NAME,
    PR_SET_THP_DISABLE,
)  # fmt: skip
from numalab.syscalls.uaccess import copy_to_user, strncpy_from_user

__all__ = ["prctl"]

_TASK_COMM_LEN = 16


def prctl(k: Kernel, task: Task, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """prctl(2). Errors: EINVAL (unknown option or value), EFAULT (the name)."""
    if option == PR_SET_NAME:
        # Longer names are cut off without an error.
        task.comm = strncpy_from_user(task, arg2, _TASK_COMM_LEN - 1).decode("utf-8", "replace")
    elif option == PR_GET_NAME:
        copy_to_user(task, arg2, task.comm.encode()[: _TASK_COMM_LEN - 1].ljust(_TASK_COMM_LEN, b"\0"))
    elif option == PR_GET_DUMPABLE:
        assert task.mm_users is not None
        return task.mm_users.dumpable
    elif option == PR_SET_DUMPABLE:
        assert task.mm_users is not None
        if arg2 not in (0, 1):
            raise KernelError(EINVAL)
        task.mm_users.dumpable = arg2
    elif option == PR_GET_KEEPCAPS:
        return int(task.cred.keep_caps)
    elif option == PR_SET_KEEPCAPS:
        if arg2 > 1:
            raise KernelError(EINVAL)
        task.cred = replace(task.cred, keep_caps=bool(arg2))
    elif option == PR_SET_THP_DISABLE:
        if arg3 or arg4 or arg5:
            raise KernelError(EINVAL)
        assert task.mm is not None
        with mmap_write_lock(task.mm, task.ctx):
            task.mm.thp_disabled = bool(arg2)
    elif option == PR_GET_THP_DISABLE:
        if arg2 or arg3 or arg4 or arg5:
            raise KernelError(EINVAL)
        assert task.mm is not None
        return int(task.mm.thp_disabled)
    else:
        raise KernelError(EINVAL)
    return 0
