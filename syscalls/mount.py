"""mount(2) and umount2(2).

Mirrors the SYSCALL_DEFINEs of fs/namespace.c.  What can be mounted is a tmpfs, with its options as mm/shmem.c has them,
the ext2 that is on a disk, and cgroup2 (once more).
"""

from __future__ import annotations

import re
import stat

from numalab.arch.errno import EBUSY, EINVAL, ENODEV, ENOTBLK, EPERM, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.fs.block import BlockDevice
from numalab.kernel.fs.inode import Directory
from numalab.kernel.fs.namei import PATH_MAX, resolve
from numalab.kernel.fs.namespace import do_add_mount, do_umount
from numalab.kernel.fs.path import Path
from numalab.kernel.fs.tmpfs import Tmpfs
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable
from numalab.mm.mpol import mpol_parse_str
from numalab.mm.swapfile import swap_area_on
from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.uaccess import getname, strncpy_from_user

__all__ = ["mount", "umount2"]

_MS_OTHER_WORK = 0x20 | 0x1000 | 0x2000 | 0x1E0000  # remount, bind, move, propagation
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_UMOUNT_FLAGS = 1 | _MNT_DETACH | 4 | _UMOUNT_NOFOLLOW
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_U32, _U64, _LONG_MAX = 1 << 32, 1 << 64, (1 << 63) - 1


def mount(k: Kernel, task: Task, source: int, target: int, fstype: int, flags: int, data: int) -> int:
    """mount(2): a tmpfs with the options size, nr_blocks, mode, uid, gid and mpol, the ext2 on a disk, or cgroup2.

    Errors: EFAULT, those of a path, EPERM, EINVAL (no type, other work than mounting, options, nothing on the disk),
    ENODEV (another type), ENOTBLK (no disk), EBUSY (the disk is swapped to, the place is taken), ENOTDIR.
    """
    kind = getname(task, fstype, PATH_MAX) if fstype else None
    device = getname(task, source, PATH_MAX) if source else None
    options = strncpy_from_user(task, data, PAGE_SIZE - 1).decode("latin-1") if data else ""
    path = resolve(Path(k.root), getname(task, target, PATH_MAX), task.cred)
    if not capable(task, Cap.CAP_SYS_ADMIN):
        raise KernelError(EPERM)
    if flags & _MS_OTHER_WORK or kind is None:
        raise KernelError(EINVAL)
    if kind == "tmpfs":
        root = _tmpfs_root(k, task, options)
    elif kind == "ext2":
        root = _ext2_root(k, task, device)
    elif kind == "cgroup2":
        root = _cgroup_root(k, options)
    else:
        raise KernelError(ENODEV)
    do_add_mount(k, path, root)
    return 0


def _cgroup_root(k: Kernel, options: str) -> Directory:
    """cgroup_get_tree(): the one hierarchy there is. Errors: EINVAL (an option)."""
    if options:
        raise KernelError(EINVAL, f"no option of cgroups: {options}")
    return k.cgroup_root.kn


def _ext2_root(k: Kernel, task: Task, device: str | None) -> Directory:
    """What is on a disk. Errors: EINVAL (no name, nothing on it), those of a path, ENOTBLK, EBUSY (swapped to)."""
    if device is None:
        raise KernelError(EINVAL)
    inode = resolve(Path(k.root), device, task.cred).inode
    if not isinstance(inode, BlockDevice):
        raise KernelError(ENOTBLK)
    if swap_area_on(k.mem, inode.disk) is not None:
        raise KernelError(EBUSY, f"{device} is swapped to")
    if inode.root is None:
        raise KernelError(EINVAL, f"{device} holds no ext2")
    return inode.root


def _tmpfs_root(k: Kernel, task: Task, options: str) -> Directory:
    """shmem_parse_options() and shmem_fill_super(). Errors: EINVAL."""
    root = Directory(0o1777)
    root.uid, root.gid = task.cred.fsuid, task.cred.fsgid
    blocks, policy = None, None
    # A comma with a digit behind it belongs to the nodes of mpol.
    for option in filter(None, re.split(r",(?!\d)", options)):
        name, _, value = option.partition("=")
        if name == "size" and value.endswith("%"):
            size = _memparse(value[:-1]) * PAGE_SIZE * int(k.mem.zones["managed"].sum()) % _U64 // 100
            blocks = -(-size // PAGE_SIZE)
        elif name == "size":
            blocks = -(-_memparse(value) // PAGE_SIZE)
        elif name == "nr_blocks":
            blocks = _memparse(value)
            if blocks > _LONG_MAX:
                raise KernelError(EINVAL, f"too many blocks: {value}")
        elif name == "mode":
            root.mode = stat.S_IFDIR | _kstrtouint("0" + value) & 0o7777
        elif name == "uid":
            root.uid = _id(value)
        elif name == "gid":
            root.gid = _id(value)
        elif name == "mpol":
            policy = mpol_parse_str(value, k.mem.memory_nodes, k.mem.memory_nodes)
        else:
            raise KernelError(EINVAL, f"no option of a tmpfs: {name}")
    root.sb = Tmpfs(k, max_blocks=blocks, policy=policy)
    return root


def _memparse(text: str) -> int:
    """memparse(): a number with a unit of 1024, of which 64 bits are kept. Errors: EINVAL."""
    unit = text[-1:].lower()
    if unit not in _UNITS:
        return _number(text) % _U64
    return (_number(text[:-1]) << _UNITS[unit]) % _U64


def _kstrtouint(text: str) -> int:
    """kstrtouint(): a number of 32 bits. Errors: EINVAL."""
    number = _number(text)
    if number >= _U32:
        raise KernelError(EINVAL, f"no number of 32 bits: {text}")
    return number


def _id(text: str) -> int:
    """A user or a group. Errors: EINVAL (-1 is nobody)."""
    number = _kstrtouint(text)
    if number == _U32 - 1:
        raise KernelError(EINVAL, f"nobody has the id {text}")
    return number


def _number(text: str) -> int:
    """A number, octal behind a 0. Errors: EINVAL."""
    if re.fullmatch(r"0[0-7]*|[1-9][0-9]*", text) is None:
        raise KernelError(EINVAL, f"no number: {text}")
    return int(text, 8 if text.startswith("0") else 10)


def umount2(k: Kernel, task: Task, target: int, flags: int) -> int:
    """umount2(2). Errors: EINVAL (flags), those of a path, EPERM, EINVAL (nothing mounted there), EBUSY."""
    if flags & ~_UMOUNT_FLAGS:
        raise KernelError(EINVAL)
    follow = not flags & _UMOUNT_NOFOLLOW
    path = resolve(Path(k.root), getname(task, target, PATH_MAX), task.cred, follow=follow)
    if not capable(task, Cap.CAP_SYS_ADMIN):
        raise KernelError(EPERM)
    do_umount(k, path, detach=bool(flags & _MNT_DETACH), cpu=task.ctx.cpu)
    return 0
