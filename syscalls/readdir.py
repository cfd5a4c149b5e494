"""What is in a directory: getdents64(2).

Mirrors fs/readdir.c and struct linux_dirent64. Deliberately different: a directory is listed as it was when it was
first read from its start; names that have gone since are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from numalab.arch.errno import EFAULT, EINVAL, ENOENT, ENOTDIR, KernelError
from numalab.kernel.fs.file import File
from numalab.kernel.fs.inode import Directory, Inode
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.file import files_of
from numalab.syscalls.uaccess import copy_to_user_upto

__all__ = ["dirents", "getdents64"]

_DIRENT = struct.Struct("<QqHB")
"""d_ino, d_off, d_reclen, d_type; the name follows, and zeros up to a multiple of 8."""


def getdents64(k: Kernel, task: Task, fd: int, dirent: int, count: int) -> int:
    """getdents64(2): the next entries that fit, 0 at the end. Errors: EBADF, ENOTDIR, ENOENT (the directory is gone),
    EINVAL (not one fits), EFAULT (not one could be stored).
    """
    file = files_of(task).get(fd)
    if not isinstance(file.inode, Directory):
        raise KernelError(ENOTDIR)
    room = count & 0xFFFFFFFF
    room = 0 if room >> 31 else room
    with file.pos_lock:
        if not file.inode.nlink:
            raise KernelError(ENOENT)
        records: list[tuple[int, bytes]] = []
        for at, name, inode in _entries(file, file.inode):
            record = _record(at + 1, name, inode)
            if len(record) > room:
                if not records:
                    raise KernelError(EINVAL)
                break
            room -= len(record)
            records.append((at + 1, record))
        if not records:
            return 0
        left = copy_to_user_upto(task, dirent, b"".join(record for _, record in records))
        stored = 0
        for after, record in records:
            left -= len(record)
            if left < 0:
                break
            stored, file.pos = stored + len(record), after
    if not stored:
        raise KernelError(EFAULT)
    return stored


def dirents(data: bytes) -> list[str]:
    """The names in what getdents64() has stored; whatever else it is, in its beginning that could be such."""
    names, at = [], 0
    while at + _DIRENT.size <= len(data) and (length := _DIRENT.unpack_from(data, at)[2]):
        names.append(data[at + _DIRENT.size : at + length].split(b"\0")[0].decode("utf-8", "surrogateescape"))
        at += length
    return names


def _entries(file: File, directory: Directory) -> Iterator[tuple[int, str, Inode]]:
    """(position, name, inode) from the position of the open directory on. Nobody is looked up before he is needed."""
    if file.pos == 0 or file.opening.listed is None:
        file.opening.listed = [".", "..", *directory.names()]
    parent = file.f_path.parent
    fixed = {".": directory, "..": directory if parent is None else parent.inode}
    for at in range(file.pos, len(file.opening.listed)):
        name = file.opening.listed[at]
        inode = fixed.get(name) or directory.lookup(name)
        if inode is not None:
            yield at, name, inode


def _record(off: int, name: str, inode: Inode) -> bytes:
    """One struct linux_dirent64."""
    text = name.encode("utf-8", "surrogateescape") + b"\0"
    length = _DIRENT.size + len(text) + 7 & -8
    return (_DIRENT.pack(inode.ino, off, length, inode.mode >> 12 & 15) + text).ljust(length, b"\0")
