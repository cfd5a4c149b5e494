"""Address space calls: mmap and its relatives.

Mirrors the SYSCALL_DEFINEs of mm/mmap.c, mprotect.c, mremap.c, mincore.c, madvise.c and mlock.c, and
arch/x86/kernel/sys_x86_64.c (mmap's offset).  mm does the work and most of the checks; what it cannot know (who
may lock how much, what a descriptor is) comes from here.
"""

from __future__ import annotations

from typing import TypedDict

from numalab.arch.errno import EACCES, EFAULT, EINVAL, ENOMEM, EPERM, ESRCH, KernelError
from numalab.kernel.cred import Cap
from numalab.kernel.fs.file import File
from numalab.kernel.fs.namei import MAY_WRITE, inode_permission
from numalab.kernel.ptrace import ptrace_may_access
from numalab.kernel.state import Kernel
from numalab.kernel.task import RLIMIT_MEMLOCK, Task, capable
from numalab.mm import mmap as mm_mmap
from numalab.mm._mm_types import VMA, MmStruct
from numalab.mm.filemap import MappedFile
from numalab.mm.hugetlbfs import hugetlb_file_setup
from numalab.mm.madvise import do_madvise
from numalab.mm.mincore import do_mincore
from numalab.mm.mlock import do_mlock, do_mlockall, do_munlock, do_munlockall
from numalab.mm.mman import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_PAGEOUT,
    MADV_WILLNEED,
    MAP_ANONYMOUS,
    MAP_HUGETLB,
)
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap
from numalab.mm.msync import do_msync
from numalab.mm.munmap import do_munmap
from numalab.mm.vma_tree import vma_lookup
from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.file import files_of
from numalab.syscalls.pidfd import pidfd_get_task
from numalab.syscalls.uaccess import access_ok, copy_to_user, import_iovec

__all__ = [
    "brk", "madvise", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "msync", "munlock",
    "munlockall", "munmap", "process_madvise",
]  # fmt: skip

_FOR_OTHERS = (MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE)
_MINCORE_CHUNK = PAGE_SIZE  # bytes of the vector, so pages, answered at a time


class _LockLimit(TypedDict):
    memlock_limit: int
    ipc_lock: bool


def _mm(task: Task) -> MmStruct:
    assert task.mm is not None  # only tasks with memory make system calls
    return task.mm


def _lock_limit(task: Task) -> _LockLimit:
    """What mm asks before it locks pages: RLIMIT_MEMLOCK, and the capability that lifts it."""
    return {
        "memlock_limit": task.signal.rlimit(RLIMIT_MEMLOCK),
        "ipc_lock": capable(task, Cap.CAP_IPC_LOCK),
    }


def mmap(k: Kernel, task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    """mmap(2).

    Errors: EINVAL (offset not aligned), EBADF, EINVAL (huge pages of a file, or of another size), and do_mmap()'s.
    """
    if offset % PAGE_SIZE:
        raise KernelError(EINVAL)
    file: MappedFile | None = None
    if not flags & MAP_ANONYMOUS:
        file = files_of(task).get(fd)
        if flags & MAP_HUGETLB:
            raise KernelError(EINVAL)
    elif flags & MAP_HUGETLB:
        file, length = hugetlb_file_setup(k.mem, length, flags)
    if file is not None:
        file.get_file()  # it may be closed while this waits
    try:
        return mm_mmap.do_mmap(
            _mm(task),
            task.ctx,
            addr,
            length,
            prot,
            flags,
            offset // PAGE_SIZE,
            file,
            admin=capable(task, Cap.CAP_SYS_RAWIO),
            **_lock_limit(task),
        )
    finally:
        if file is not None:
            file.fput(task.ctx.cpu)


def munmap(k: Kernel, task: Task, addr: int, length: int) -> int:
    """munmap(2). Errors: do_munmap()'s."""
    do_munmap(_mm(task), task.ctx, addr, length)
    return 0


def brk(k: Kernel, task: Task, brk: int) -> int:
    """brk(2): returns the end of the heap, the old one if it could not be moved."""
    return mm_mmap.do_brk(_mm(task), task.ctx, brk, **_lock_limit(task))


def mprotect(k: Kernel, task: Task, start: int, length: int, prot: int) -> int:
    """mprotect(2). Errors: do_mprotect()'s."""
    do_mprotect(_mm(task), task.ctx, start, length, prot)
    return 0


def mremap(k: Kernel, task: Task, addr: int, old_len: int, new_len: int, flags: int, new_addr: int) -> int:
    """mremap(2). Errors: do_mremap()'s."""
    return do_mremap(_mm(task), task.ctx, addr, old_len, new_len, flags, new_addr, **_lock_limit(task))


def msync(k: Kernel, task: Task, start: int, length: int, flags: int) -> int:
    """msync(2). Errors: do_msync()'s."""
    do_msync(_mm(task), task.ctx, start, length, flags)
    return 0


def madvise(k: Kernel, task: Task, start: int, length: int, advice: int) -> int:
    """madvise(2). Errors: do_madvise()'s."""
    do_madvise(_mm(task), task.ctx, start, length, advice)
    return 0


def process_madvise(k: Kernel, task: Task, pidfd: int, iov: int, vlen: int, advice: int, flags: int) -> int:
    """process_madvise(2): advice that costs time and never data, for another process; how many bytes it was given for.

    Errors in order: EINVAL (flags), import_iovec()'s, pidfd_get_task()'s, EINVAL (other advice), ESRCH (no memory),
    EACCES (may not look into that process), EPERM (another's memory without CAP_SYS_NICE), and those of do_madvise()
    if they befall the first range.
    """
    if flags:
        raise KernelError(EINVAL)
    ranges = import_iovec(task, iov, vlen)
    target = pidfd_get_task(k, task, pidfd)
    if advice not in _FOR_OTHERS:
        raise KernelError(EINVAL)
    if target.mm is None:
        raise KernelError(ESRCH)
    if target.mm is not task.mm:
        if not ptrace_may_access(task, target, fscreds=True):
            raise KernelError(EACCES)
        if not capable(task, Cap.CAP_SYS_NICE):
            raise KernelError(EPERM)
    done = 0
    for start, length in ranges:
        try:
            do_madvise(target.mm, task.ctx, start, length, advice)
        except KernelError:
            if not done:
                raise
            return done
        done += length
    return done


def mincore(k: Kernel, task: Task, start: int, length: int, vec: int) -> int:
    """mincore(2): one byte a page, stored as far as the range is mapped.

    Errors in order: EINVAL (start not aligned), ENOMEM (beyond user addresses), EFAULT (the vector beyond them),
    ENOMEM (a hole), EFAULT (the vector cannot be written).
    """
    if start % PAGE_SIZE:
        raise KernelError(EINVAL)
    if not access_ok(task, start, length):
        raise KernelError(ENOMEM)
    pages = -(-length // PAGE_SIZE)
    if not access_ok(task, vec, pages):
        raise KernelError(EFAULT)
    mm = _mm(task)
    at, end = start, start + pages * PAGE_SIZE
    while at < end:
        vma = vma_lookup(mm, at)
        if vma is None:
            raise KernelError(ENOMEM)
        stop = min(end, vma.end, at + _MINCORE_CHUNK * PAGE_SIZE)
        answer = (
            do_mincore(mm, at, stop - at)
            if _can_do_mincore(task, vma)
            else b"\1" * ((stop - at) // PAGE_SIZE)
        )
        copy_to_user(task, vec, answer)
        vec += (stop - at) // PAGE_SIZE
        at = stop
    return 0


def _can_do_mincore(task: Task, vma: VMA) -> bool:
    """Whether a task may know what others have of a file: one that it might write. Else it hears that all is there."""
    if not isinstance(vma.file, File):
        return True
    inode, cred = vma.file.inode, task.cred
    if cred.fsuid == inode.uid or capable(task, Cap.CAP_FOWNER):
        return True
    try:
        inode_permission(inode, cred, MAY_WRITE)
    except KernelError:
        return False
    return True


def mlock(k: Kernel, task: Task, start: int, length: int) -> int:
    """mlock(2). Errors: do_mlock()'s."""
    do_mlock(_mm(task), task.ctx, start, length, 0, **_lock_limit(task))
    return 0


def mlock2(k: Kernel, task: Task, start: int, length: int, flags: int) -> int:
    """mlock2(2). Errors: do_mlock()'s."""
    do_mlock(_mm(task), task.ctx, start, length, flags, **_lock_limit(task))
    return 0


def munlock(k: Kernel, task: Task, start: int, length: int) -> int:
    """munlock(2). Errors: do_munlock()'s."""
    do_munlock(_mm(task), task.ctx, start, length)
    return 0


def mlockall(k: Kernel, task: Task, flags: int) -> int:
    """mlockall(2). Errors: do_mlockall()'s."""
    do_mlockall(_mm(task), task.ctx, flags, **_lock_limit(task))
    return 0


def munlockall(k: Kernel, task: Task) -> int:
    """munlockall(2)."""
    do_munlockall(_mm(task), task.ctx)
    return 0
