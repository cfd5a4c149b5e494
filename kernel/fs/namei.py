"""From a path to an inode, with the permission checks on the way.

Mirrors fs/namei.c (link_path_walk, do_last, inode_permission); man page path_resolution(7).  Deliberately
different: every process has the root directory as its working directory, so a relative path starts there.

The order of errors is that of the walk: a directory on the way that may not be searched (EACCES) comes before what
lies behind it (ENOENT, ENOTDIR), and the type of the last component (EISDIR, ELOOP, ENOTDIR) before its permissions.
"""

from __future__ import annotations

import stat

from numalab.arch.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    KernelError,
)  # fmt: skip
from numalab.kernel.cred import Cap, Cred, has_cap
from numalab.kernel.fs.file import (
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_WRONLY,
    File,
)
from numalab.kernel.fs.inode import Directory, Inode, Symlink

__all__ = ["NAME_MAX", "PATH_MAX", "mkdir", "open_path", "resolve", "rmdir"]

PATH_MAX, NAME_MAX = 4096, 255
MAXSYMLINKS = 40
MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4


def inode_permission(inode: Inode, cred: Cred, mask: int) -> None:
    """generic_permission(): owner, group or others, or a capability that overrides them. Errors: EACCES."""
    # The first class that fits decides, even if a later one would allow more.
    if cred.fsuid == inode.uid:
        bits = inode.mode >> 6
    elif cred.fsgid == inode.gid:
        bits = inode.mode >> 3
    else:
        bits = inode.mode
    if mask & ~bits & 7 == 0:
        return
    if has_cap(cred, Cap.CAP_DAC_OVERRIDE):
        return
    # The lesser one reads everything and searches every directory.
    if has_cap(cred, Cap.CAP_DAC_READ_SEARCH) and (
        mask == MAY_READ or (inode.is_dir and not mask & MAY_WRITE)
    ):
        return
    raise KernelError(EACCES)


def _components(path: str) -> list[str]:
    """The names in a path, `.` and empty ones left out. Errors: ENOENT (an empty path), ENAMETOOLONG."""
    if not path:
        raise KernelError(ENOENT, "an empty path")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if any(len(part.encode("utf-8", "surrogateescape")) > NAME_MAX for part in parts):
        raise KernelError(ENAMETOOLONG)
    return parts


def _walk(root: Directory, parts: list[str], cred: Cred, *, follow: bool) -> tuple[list[Directory], Inode]:
    """The directories from the root down to the parent, and the inode itself."""
    above: list[Directory] = [root]
    inode: Inode = root
    links = 0
    # A stack of names, the next one on top, so that a link can put its own before the rest.
    todo = list(reversed(parts))
    while todo:
        name = todo.pop()
        if not isinstance(inode, Directory):
            raise KernelError(ENOTDIR)
        inode_permission(inode, cred, MAY_EXEC)
        # Up from the root is the root.
        if name == "..":
            if len(above) > 1:
                above.pop()
            inode = above[-1]
            continue
        found = inode.lookup(name)
        if found is None:
            raise KernelError(ENOENT, name)
        # A link on the way is always followed, the last one only on demand (O_NOFOLLOW, O_CREAT|O_EXCL).
        if isinstance(found, Symlink) and (todo or follow):
            links += 1
            if links > MAXSYMLINKS:
                raise KernelError(ELOOP)
            target = found.target()
            if target.startswith("/"):
                above, inode = [root], root
            todo += reversed([part for part in target.split("/") if part not in ("", ".")])
            continue
        if isinstance(found, Directory):
            above.append(found)
        inode = found
    return above, inode


def resolve(root: Directory, path: str, cred: Cred, *, follow: bool = True) -> Inode:
    """The inode that a path names.

    Errors: ENOENT, ENOTDIR (also for a slash behind what is no directory), EACCES (a directory that may not be
    searched), ELOOP, ENAMETOOLONG.
    """
    _, inode = _walk(root, _components(path), cred, follow=follow or path.endswith("/"))
    if path.endswith("/") and not inode.is_dir:
        raise KernelError(ENOTDIR)
    return inode


def open_path(root: Directory, path: str, flags: int, cred: Cred) -> File:
    """open(2): resolve, check, open.

    Errors: those of resolve(); EEXIST (O_CREAT|O_EXCL), ENOSYS (O_CREAT of a name that does not exist: there is no
    file system that could hold it), ENOTDIR (O_DIRECTORY), ELOOP (O_NOFOLLOW), EISDIR (a directory, for writing),
    EACCES, and what the file itself refuses.
    """
    try:
        inode = resolve(root, path, cred, follow=not flags & O_NOFOLLOW and not flags & O_EXCL)
    except KernelError as error:
        if error.errno == ENOENT and flags & O_CREAT:
            # What is missing must be the last name, else the error stands.
            _parent(root, path, cred)
            raise KernelError(ENOSYS, "no file system holds regular files yet") from None
        raise
    if flags & O_CREAT and flags & O_EXCL:
        raise KernelError(EEXIST)
    if stat.S_ISLNK(inode.mode):
        raise KernelError(ELOOP)
    if flags & O_DIRECTORY and not inode.is_dir:
        raise KernelError(ENOTDIR)
    mode = flags & O_ACCMODE
    # Before the permissions: even root cannot write a directory.
    if inode.is_dir and (mode != O_RDONLY or flags & O_CREAT):
        raise KernelError(EISDIR)
    wanted = MAY_READ if mode == O_RDONLY else MAY_WRITE if mode == O_WRONLY else MAY_READ | MAY_WRITE
    inode_permission(inode, cred, wanted)
    file = File(inode, path, flags, cred)
    inode.open(file.opening)
    return file


def _parent(root: Directory, path: str, cred: Cred) -> tuple[Directory, str]:
    """The directory that holds (or would hold) the last component, and that component's name."""
    parts = _components(path)
    if not parts:
        raise KernelError(EBUSY, "the root directory")
    _, parent = _walk(root, parts[:-1], cred, follow=True)
    if not isinstance(parent, Directory):
        raise KernelError(ENOTDIR)
    inode_permission(parent, cred, MAY_EXEC)
    return parent, parts[-1]


def mkdir(root: Directory, path: str, mode: int, cred: Cred) -> None:
    """mkdir(2) in a plain directory. Errors: those of resolve(); EEXIST, EACCES, EPERM (in /proc and /sys)."""
    parent, name = _parent(root, path, cred)
    if name == ".." or parent.lookup(name) is not None:
        raise KernelError(EEXIST)
    inode_permission(parent, cred, MAY_WRITE | MAY_EXEC)
    if not parent.mode & 0o222:
        raise KernelError(EPERM)
    directory = Directory(mode & 0o777 & ~0o022)
    directory.uid, directory.gid = cred.fsuid, cred.fsgid
    parent.entries[name] = directory


def rmdir(root: Directory, path: str, cred: Cred) -> None:
    """rmdir(2). Errors: those of resolve(); EINVAL (`.`), ENOTEMPTY, ENOTDIR, EACCES, EPERM (in /proc and /sys)."""
    if path.rstrip("/").rpartition("/")[2] == ".":
        raise KernelError(EINVAL)
    parent, name = _parent(root, path, cred)
    if name == "..":
        raise KernelError(ENOTEMPTY)
    victim = parent.lookup(name)
    if victim is None:
        raise KernelError(ENOENT)
    inode_permission(parent, cred, MAY_WRITE | MAY_EXEC)
    if not isinstance(victim, Directory):
        raise KernelError(ENOTDIR)
    if not parent.mode & 0o222:
        raise KernelError(EPERM)
    if victim.entries or list(victim.names()):
        raise KernelError(ENOTEMPTY)
    del parent.entries[name]
