"""swapon(2) and swapoff(2).

Mirrors the SYSCALL_DEFINEs of mm/swapfile.c.
"""

from __future__ import annotations

from numalab.arch.errno import EBUSY, EINVAL, EPERM, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.fs.block import BlockDevice
from numalab.kernel.fs.file import O_RDWR
from numalab.kernel.fs.inode import Inode
from numalab.kernel.fs.namei import PATH_MAX, open_path
from numalab.kernel.fs.path import Path
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task, capable
from numalab.mm import swapfile
from numalab.syscalls.uaccess import getname

__all__ = ["swapoff", "swapon"]

SWAP_FLAG_PREFER, SWAP_FLAG_PRIO_MASK, SWAP_FLAGS_VALID = 0x8000, 0x7FFF, 0x7FFFF


def swapon(k: Kernel, task: Task, path: int, flags: int) -> int:
    """swapon(2). Errors: EINVAL (flags), EPERM, those of opening it for reading and writing, EINVAL (no block device,
    or too small), EBUSY (mounted, or swapped to already).
    """
    if flags & ~SWAP_FLAGS_VALID:
        raise KernelError(EINVAL)
    if not capable(task, Cap.CAP_SYS_ADMIN):
        raise KernelError(EPERM)
    inode = _opened(k, task, path)
    if not isinstance(inode, BlockDevice):
        raise KernelError(EINVAL)
    if inode.root is not None:
        inode.root.sb.sync()  # what was written last to files that are detached must not come after what is swapped
    if inode.holds_files(k):
        raise KernelError(EBUSY)
    prio = flags & SWAP_FLAG_PRIO_MASK if flags & SWAP_FLAG_PREFER else None
    swapfile.swapon(k.mem, inode.disk, prio)
    return 0


def swapoff(k: Kernel, task: Task, path: int) -> int:
    """swapoff(2). Errors: EPERM, those of opening it, EINVAL (not swapped to, or somebody switches it off already),
    ENOMEM (no room for what is there), EIO.
    """
    if not capable(task, Cap.CAP_SYS_ADMIN):
        raise KernelError(EPERM)
    inode = _opened(k, task, path)
    area = swapfile.swap_area_on(k.mem, inode.disk) if isinstance(inode, BlockDevice) else None
    if area is None:
        raise KernelError(EINVAL)
    # Whoever wants all that back is the first to go if there is no room for it (set_current_oom_origin()).
    task.signal.oom_origin = True
    try:
        swapfile.swapoff(k.mem, area, k.mms, task.ctx)
    finally:
        task.signal.oom_origin = False
    return 0


def _opened(k: Kernel, task: Task, path: int) -> Inode:
    """file_open_name(): what a path names, if it can be opened for reading and writing: no directory can."""
    file = open_path(Path(k.root), getname(task, path, PATH_MAX), O_RDWR, 0, task)
    inode = file.inode
    file.fput(task.ctx.cpu)
    return inode
