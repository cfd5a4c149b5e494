"""Credentials: user and group ids, capabilities.

Mirrors the SYSCALL_DEFINEs of kernel/sys.c and kernel/capability.c.  The rules themselves are `kernel.cred`.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, EPERM, ESRCH, KernelError
from numalab.kernel import cred as rules
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.kernel.ucount import commit_creds
from numalab.syscalls.uaccess import get_user, put_user

__all__ = [
    "capget", "capset", "getegid", "geteuid", "getgid", "getresgid", "getresuid", "getuid", "setgid", "setregid",
    "setresgid", "setresuid", "setreuid", "setuid",
]  # fmt: skip

# capability versions and how many 32-bit words of each set they carry
_VERSION_1, _VERSION_2, _VERSION_3 = 0x19980330, 0x20071026, 0x20080522
_WORDS = {_VERSION_1: 1, _VERSION_2: 2, _VERSION_3: 2}


def getuid(k: Kernel, task: Task) -> int:
    """getuid(2)."""
    return task.cred.uid


def geteuid(k: Kernel, task: Task) -> int:
    """geteuid(2)."""
    return task.cred.euid


def getgid(k: Kernel, task: Task) -> int:
    """getgid(2)."""
    return task.cred.gid


def getegid(k: Kernel, task: Task) -> int:
    """getegid(2)."""
    return task.cred.egid


def setuid(k: Kernel, task: Task, uid: int) -> int:
    """setuid(2). Errors: EINVAL, EPERM."""
    commit_creds(k, task, rules.setuid(task.cred, uid))
    return 0


def setgid(k: Kernel, task: Task, gid: int) -> int:
    """setgid(2). Errors: EINVAL, EPERM."""
    commit_creds(k, task, rules.setgid(task.cred, gid))
    return 0


def setreuid(k: Kernel, task: Task, ruid: int, euid: int) -> int:
    """setreuid(2). Errors: EPERM."""
    commit_creds(k, task, rules.setreuid(task.cred, ruid, euid))
    return 0


def setregid(k: Kernel, task: Task, rgid: int, egid: int) -> int:
    """setregid(2). Errors: EPERM."""
    commit_creds(k, task, rules.setregid(task.cred, rgid, egid))
    return 0


def setresuid(k: Kernel, task: Task, ruid: int, euid: int, suid: int) -> int:
    """setresuid(2). Errors: EPERM."""
    commit_creds(k, task, rules.setresuid(task.cred, ruid, euid, suid))
    return 0


def setresgid(k: Kernel, task: Task, rgid: int, egid: int, sgid: int) -> int:
    """setresgid(2). Errors: EPERM."""
    commit_creds(k, task, rules.setresgid(task.cred, rgid, egid, sgid))
    return 0


def getresuid(k: Kernel, task: Task, ruid: int, euid: int, suid: int) -> int:
    """getresuid(2). Errors: EFAULT; the pointers are served from left to right."""
    cred = task.cred
    for addr, value in ((ruid, cred.uid), (euid, cred.euid), (suid, cred.suid)):
        put_user(task, addr, "I", value)
    return 0


def getresgid(k: Kernel, task: Task, rgid: int, egid: int, sgid: int) -> int:
    """getresgid(2). Errors: EFAULT; the pointers are served from left to right."""
    cred = task.cred
    for addr, value in ((rgid, cred.gid), (egid, cred.egid), (sgid, cred.sgid)):
        put_user(task, addr, "I", value)
    return 0


def _cap_words(task: Task, header: int) -> int:
    """cap_validate_magic(): words of each set; an unknown version is answered with ours. Errors: EINVAL, EFAULT."""
    (version,) = get_user(task, header, "I")
    if version not in _WORDS:
        put_user(task, header, "I", _VERSION_3)
        raise KernelError(EINVAL)
    return _WORDS[version]


def capget(k: Kernel, task: Task, header: int, data: int) -> int:
    """capget(2). Errors: EFAULT, EINVAL, ESRCH. Without data it is the question which version the kernel has."""
    try:
        words = _cap_words(task, header)
    except KernelError as error:
        if data == 0 and error.errno == EINVAL:
            return 0
        raise
    if data == 0:
        return 0
    (pid,) = get_user(task, header + 4, "i")
    if pid < 0:
        raise KernelError(EINVAL)
    target = k.pids.find(pid) if pid else task
    if target is None:
        raise KernelError(ESRCH)
    cred = target.cred
    # The sets come as words of 32 bits: first the low halves of all three, then the high ones.
    for i in range(words):
        low = [sets >> 32 * i & 0xFFFFFFFF for sets in (cred.effective, cred.permitted, cred.inheritable)]
        put_user(task, data + 12 * i, "3I", *low)
    return 0


def capset(k: Kernel, task: Task, header: int, data: int) -> int:
    """capset(2), of the caller only. Errors: EFAULT, EINVAL, EPERM."""
    words = _cap_words(task, header)
    (pid,) = get_user(task, header + 4, "i")
    if pid not in (0, task.pid):
        raise KernelError(EPERM)
    effective = permitted = inheritable = 0
    for i in range(words):
        e, p, h = get_user(task, data + 12 * i, "3I")
        effective |= e << 32 * i
        permitted |= p << 32 * i
        inheritable |= h << 32 * i
    commit_creds(k, task, rules.capset(task.cred, effective, permitted, inheritable))
    return 0
