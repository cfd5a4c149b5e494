"""memfd_create(2): a file without a name.

Mirrors the SYSCALL_DEFINE of mm/memfd.c.  Deliberately different: seals do not exist, so that asking to be allowed to
set them changes nothing.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, ENOSYS, KernelError
from numalab.kernel.fs.file import O_RDWR, File
from numalab.kernel.fs.path import Path
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.abi import MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL
from numalab.syscalls.file import files_of
from numalab.syscalls.uaccess import strncpy_from_user

__all__ = ["memfd_create"]

_PREFIX = "memfd:"
_NAME_MAX = 255 - len(_PREFIX)
_FLAGS = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC


def memfd_create(k: Kernel, task: Task, name: int, flags: int) -> int:
    """memfd_create(2). Errors: EINVAL (flags, or too long a name), EFAULT, EMFILE; ENOSYS (MFD_HUGETLB)."""
    if flags & ~_FLAGS or (flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL):
        raise KernelError(EINVAL)
    text = strncpy_from_user(task, name, _NAME_MAX + 1)
    if len(text) > _NAME_MAX:
        raise KernelError(EINVAL)
    if flags & MFD_HUGETLB:
        raise KernelError(ENOSYS, "a file of huge pages is not built")
    files_of(task).get_unused_fd()
    inode = k.shm_mnt.create(0o666 if flags & MFD_NOEXEC_SEAL else 0o777, task.ctx)
    inode.uid, inode.gid, inode.nlink = task.cred.fsuid, task.cred.fsgid, 0
    path = Path(inode, _PREFIX + text.decode("utf-8", "surrogateescape"))
    return files_of(task).install(File(path, O_RDWR, task.cred), bool(flags & MFD_CLOEXEC))
