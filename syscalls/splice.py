"""pipe(2) and vmsplice(2).

Mirrors fs/pipe.c and fs/splice.c.  A page that is spliced into a pipe is not copied: the pipe holds a reference on it,
so it cannot be migrated or paged out until it has been read, or the pipe is gone.
"""

from __future__ import annotations

import struct

from numalab.arch._pagetable_reference import PTE_SPECIAL, pte_pfn
from numalab.arch.errno import EAGAIN, EBADF, EINVAL, ENOSYS, KernelError
from numalab.kernel.fs.file import O_RDONLY, O_WRONLY, File
from numalab.kernel.fs.path import Path
from numalab.kernel.fs.pipe import Buffer, Pipe, PipeEnd
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm.gup import faultin_page
from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.uaccess import copy_to_user, import_iovec

__all__ = ["pipe", "vmsplice"]

SPLICE_F_NONBLOCK, SPLICE_F_ALL = 2, 0xF


def pipe(k: Kernel, task: Task, fds: int) -> int:
    """pipe(2). Errors: EMFILE, EFAULT."""
    assert task.files is not None
    shared = Pipe(k)
    ends = [
        File(Path(PipeEnd(shared, write), "pipe:"), O_WRONLY if write else O_RDONLY, task.cred)
        for write in (False, True)
    ]
    numbers: list[int] = []
    try:
        numbers.extend(task.files.install(end) for end in ends)
        copy_to_user(task, fds, struct.pack("<2i", *numbers))
    except KernelError:
        for number in numbers:
            task.files.close(number, task.ctx.cpu)
        for end in ends[len(numbers) :]:
            end.fput(task.ctx.cpu)
        raise
    return 0


def vmsplice(k: Kernel, task: Task, fd: int, iov: int, nr_segs: int, flags: int) -> int:
    """vmsplice(2) from memory into a pipe; returns the bytes that lie in it now.

    Errors: EINVAL (flags, too many segments), EBADF (no pipe), EFAULT, EAGAIN (full, and told not to wait), EPIPE;
    ENOSYS for the reading end.
    """
    if flags & ~SPLICE_F_ALL:
        raise KernelError(EINVAL)
    assert task.files is not None
    file = task.files.get(fd)
    end = file.inode
    if not isinstance(end, PipeEnd):
        raise KernelError(EBADF)
    if not end.is_write:
        raise KernelError(ENOSYS, "only the writing end can be spliced to")
    done = 0
    for base, length in import_iovec(task, iov, nr_segs):
        at = base
        while at < base + length:
            try:
                _wait_for_room(file, end, flags, done)
                size = min(base + length, (at & -PAGE_SIZE) + PAGE_SIZE) - at
                end.pipe.push(_page(k, task, at, size))
            except KernelError:
                if not done:
                    raise
                return done
            at, done = at + size, done + size
    return done


def _wait_for_room(file: File, end: PipeEnd, flags: int, done: int) -> None:
    if end.pipe.full and (flags & SPLICE_F_NONBLOCK or done):
        raise KernelError(EAGAIN)
    end.wait_for_room(file.opening)


def _page(k: Kernel, task: Task, addr: int, size: int) -> Buffer:
    """get_user_pages_fast(): the page at an address, present. Errors: EFAULT."""
    assert task.mm is not None
    faultin_page(task.mm, task.ctx, addr)
    pte = k.mem.k.pagetable.walk(k.hw, task.mm.pgd, addr)
    if pte & PTE_SPECIAL:  # the zero page is everybody's: nobody counts its references
        return Buffer(bytes(size))
    return Buffer(b"", pte_pfn(pte), addr % PAGE_SIZE, size)
