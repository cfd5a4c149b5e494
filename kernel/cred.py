"""Credentials: who a task is and what it may do.

Mirrors kernel/cred.c, kernel/sys.c (the set*id calls) and security/commoncap.c (capabilities);
man pages credentials(7), capabilities(7), setresuid(2), capset(2).

Who may do what in this kernel:

    CAP_SYS_NICE        move pages that others map too, to nodes outside the target's cpuset; bind others to CPUs
    CAP_SYS_PTRACE      look into any process: its maps, its pages, moving them
    CAP_SYS_ADMIN       see frame numbers in pagemap
    CAP_IPC_LOCK        lock memory beyond RLIMIT_MEMLOCK
    CAP_SYS_RESOURCE    raise hard limits
    CAP_SYS_RAWIO       map the lowest 64 KiB
    CAP_KILL            signal any process
    CAP_SETUID, SETGID  take any id
    CAP_SETPCAP         make anything inheritable
    CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH    ignore the permissions of files

A `Cred` is immutable, as a committed one is in Linux: the functions below take the old one and
return the new one, and `task.commit_creds()` installs it.  Deliberately different: one user
namespace, no supplementary groups, no ambient set, no file capabilities, no securebits but
KEEP_CAPS.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from numalab.arch.errno import EINVAL, EPERM, KernelError

__all__ = [
    "ALL_CAPS", "INVALID_ID", "Cap", "Cred", "capset", "cleared_on_commit", "exec_cred", "has_cap", "setgid",
    "setregid", "setresgid", "setresuid", "setreuid", "setuid",
]  # fmt: skip

INVALID_ID = 0xFFFFFFFF
"""(uid_t)-1: "leave as it is" in the setre* and setres* calls, no id at all elsewhere."""


class Cap(enum.IntEnum):
    """Capabilities by number (include/uapi/linux/capability.h)."""

    CAP_CHOWN = 0
    CAP_DAC_OVERRIDE = 1
    CAP_DAC_READ_SEARCH = 2
    CAP_FOWNER = 3
    CAP_FSETID = 4
    CAP_KILL = 5
    CAP_SETGID = 6
    CAP_SETUID = 7
    CAP_SETPCAP = 8
    CAP_LINUX_IMMUTABLE = 9
    CAP_NET_BIND_SERVICE = 10
    CAP_NET_BROADCAST = 11
    CAP_NET_ADMIN = 12
    CAP_NET_RAW = 13
    CAP_IPC_LOCK = 14
    CAP_IPC_OWNER = 15
    CAP_SYS_MODULE = 16
    CAP_SYS_RAWIO = 17
    CAP_SYS_CHROOT = 18
    CAP_SYS_PTRACE = 19
    CAP_SYS_PACCT = 20
    CAP_SYS_ADMIN = 21
    CAP_SYS_BOOT = 22
    CAP_SYS_NICE = 23
    CAP_SYS_RESOURCE = 24
    CAP_SYS_TIME = 25
    CAP_SYS_TTY_CONFIG = 26
    CAP_MKNOD = 27
    CAP_LEASE = 28
    CAP_AUDIT_WRITE = 29
    CAP_AUDIT_CONTROL = 30
    CAP_SETFCAP = 31
    CAP_MAC_OVERRIDE = 32
    CAP_MAC_ADMIN = 33
    CAP_SYSLOG = 34
    CAP_WAKE_ALARM = 35
    CAP_BLOCK_SUSPEND = 36
    CAP_AUDIT_READ = 37
    CAP_PERFMON = 38
    CAP_BPF = 39
    CAP_CHECKPOINT_RESTORE = 40


ALL_CAPS = (1 << len(Cap)) - 1


@dataclass(frozen=True, slots=True)
class Cred:
    """struct cred: real, effective, saved and file-system ids, and three capability sets as bit masks.

    The default is root with everything.
    """

    uid: int = 0  # who the process belongs to
    euid: int = 0  # who it acts as
    suid: int = 0  # who it can act as again
    fsuid: int = 0  # who it is to the file system; follows euid
    gid: int = 0
    egid: int = 0
    sgid: int = 0
    fsgid: int = 0
    effective: int = ALL_CAPS
    permitted: int = ALL_CAPS
    inheritable: int = 0
    bounding: int = ALL_CAPS  # what execve() may give back
    keep_caps: bool = False


def has_cap(cred: Cred, cap: Cap) -> bool:
    """Whether a capability is in the effective set."""
    return bool(cred.effective >> cap & 1)


def cleared_on_commit(old: Cred, new: Cred) -> bool:
    """Whether changing `old` into `new` clears the dumpable flag of the address space.

    commit_creds(): it does when an effective or file-system id changes, or when a capability is gained.
    """
    ids_change = (old.euid, old.egid, old.fsuid, old.fsgid) != (new.euid, new.egid, new.fsuid, new.fsgid)
    return ids_change or bool(new.permitted & ~old.permitted)


def _fix_caps(old: Cred, new: Cred) -> Cred:
    """cap_emulate_setxuid(): what leaving and entering user 0 does to the capabilities.

    Leaving it for good (none of the three ids is 0 any more) empties permitted and effective, unless KEEP_CAPS;
    an effective id that leaves 0 empties effective, one that becomes 0 fills effective from permitted.
    """
    effective, permitted = new.effective, new.permitted
    if 0 in (old.uid, old.euid, old.suid) and 0 not in (new.uid, new.euid, new.suid) and not old.keep_caps:
        effective = permitted = 0
    if old.euid == 0 and new.euid != 0:
        effective = 0
    if old.euid != 0 and new.euid == 0:
        effective = permitted
    return replace(new, effective=effective, permitted=permitted)


def _valid(*ids: int) -> None:
    if INVALID_ID in ids:
        raise KernelError(EINVAL, "-1 is not an id")


def setuid(old: Cred, uid: int) -> Cred:
    """setuid(2). Errors: EINVAL (-1), EPERM (neither CAP_SETUID nor the real or saved id)."""
    _valid(uid)
    # With the capability it is a one-way street: the saved id goes too, so there is no way back.
    if has_cap(old, Cap.CAP_SETUID):
        new = replace(old, uid=uid, suid=uid, euid=uid, fsuid=uid)
    elif uid in (old.uid, old.suid):
        new = replace(old, euid=uid, fsuid=uid)
    else:
        raise KernelError(EPERM)
    return _fix_caps(old, new)


def setreuid(old: Cred, ruid: int, euid: int) -> Cred:
    """setreuid(2); INVALID_ID leaves an id as it is. Errors: EPERM."""
    privileged = has_cap(old, Cap.CAP_SETUID)
    new = old
    if ruid != INVALID_ID:
        if ruid not in (old.uid, old.euid) and not privileged:
            raise KernelError(EPERM)
        new = replace(new, uid=ruid)
    if euid != INVALID_ID:
        if euid not in (old.uid, old.euid, old.suid) and not privileged:
            raise KernelError(EPERM)
        new = replace(new, euid=euid)
    # The saved id follows as soon as the real one is set, or the effective one becomes something new.
    if ruid != INVALID_ID or (euid != INVALID_ID and euid != old.uid):
        new = replace(new, suid=new.euid)
    return _fix_caps(old, replace(new, fsuid=new.euid))


def setresuid(old: Cred, ruid: int, euid: int, suid: int) -> Cred:
    """setresuid(2); INVALID_ID leaves an id as it is. Errors: EPERM."""
    mine = (old.uid, old.euid, old.suid)
    wanted = (ruid, euid, suid)
    # Without the capability each id may become any of the three that one has already.
    if any(i != INVALID_ID and i not in mine for i in wanted) and not has_cap(old, Cap.CAP_SETUID):
        raise KernelError(EPERM)
    uid, effective, saved = (
        have if want == INVALID_ID else want for have, want in zip(mine, wanted, strict=True)
    )
    return _fix_caps(old, replace(old, uid=uid, euid=effective, suid=saved, fsuid=effective))


def setgid(old: Cred, gid: int) -> Cred:
    """setgid(2). Errors: EINVAL (-1), EPERM. Groups have no effect on capabilities."""
    _valid(gid)
    if has_cap(old, Cap.CAP_SETGID):
        return replace(old, gid=gid, sgid=gid, egid=gid, fsgid=gid)
    if gid in (old.gid, old.sgid):
        return replace(old, egid=gid, fsgid=gid)
    raise KernelError(EPERM)


def setregid(old: Cred, rgid: int, egid: int) -> Cred:
    """setregid(2); INVALID_ID leaves an id as it is. Errors: EPERM."""
    privileged = has_cap(old, Cap.CAP_SETGID)
    new = old
    if rgid != INVALID_ID:
        if rgid not in (old.gid, old.egid) and not privileged:
            raise KernelError(EPERM)
        new = replace(new, gid=rgid)
    if egid != INVALID_ID:
        if egid not in (old.gid, old.egid, old.sgid) and not privileged:
            raise KernelError(EPERM)
        new = replace(new, egid=egid)
    if rgid != INVALID_ID or (egid != INVALID_ID and egid != old.gid):
        new = replace(new, sgid=new.egid)
    return replace(new, fsgid=new.egid)


def setresgid(old: Cred, rgid: int, egid: int, sgid: int) -> Cred:
    """setresgid(2); INVALID_ID leaves an id as it is. Errors: EPERM."""
    mine = (old.gid, old.egid, old.sgid)
    wanted = (rgid, egid, sgid)
    if any(i != INVALID_ID and i not in mine for i in wanted) and not has_cap(old, Cap.CAP_SETGID):
        raise KernelError(EPERM)
    gid, effective, saved = (
        have if want == INVALID_ID else want for have, want in zip(mine, wanted, strict=True)
    )
    return replace(old, gid=gid, egid=effective, sgid=saved, fsgid=effective)


def capset(old: Cred, effective: int, permitted: int, inheritable: int) -> Cred:
    """cap_capset(): the rules of capset(2) in their order. Bits that name no capability are dropped.

    Errors: EPERM when inheritable grows beyond what is permitted (without CAP_SETPCAP) or bounding, when
    permitted grows at all, and when effective is not within the new permitted set.
    """
    effective, permitted, inheritable = effective & ALL_CAPS, permitted & ALL_CAPS, inheritable & ALL_CAPS
    # The order does not show, as all say EPERM; it is Linux's.
    if not has_cap(old, Cap.CAP_SETPCAP) and inheritable & ~(old.inheritable | old.permitted):
        raise KernelError(EPERM)
    if inheritable & ~(old.inheritable | old.bounding):
        raise KernelError(EPERM)
    if permitted & ~old.permitted or effective & ~permitted:
        raise KernelError(EPERM)
    return replace(old, effective=effective, permitted=permitted, inheritable=inheritable)


def exec_cred(old: Cred) -> Cred:
    """The credentials after execve() of an ordinary file: cap_bprm_creds_from_file().

    Ids stay, the saved and file-system ids become the effective one, KEEP_CAPS ends.  User 0 gets back whatever the
    bounding set holds; everyone else loses all capabilities, as no file here carries any.
    """
    permitted = old.bounding | old.inheritable if 0 in (old.uid, old.euid) else 0
    effective = permitted if old.euid == 0 else 0
    return replace(
        old, suid=old.euid, fsuid=old.euid, sgid=old.egid, fsgid=old.egid,
        permitted=permitted, effective=effective, keep_caps=False,
    )  # fmt: skip
