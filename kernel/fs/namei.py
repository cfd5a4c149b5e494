"""From a path to an inode, with the permission checks on the way; making names and taking them away.

Mirrors fs/namei.c (link_path_walk, do_open, may_delete, inode_permission), and truncate(2) and chmod(2) of fs/open.c;
man page path_resolution(7).  Deliberately different: every process has the root directory as its working directory,
so a relative path starts there, and a name that is missing behind a symbolic link is not made.

The order of errors is that of the walk: a directory on the way that may not be searched (EACCES) comes before what
lies behind it (ENOENT, ENOTDIR), and the type of the last component (EISDIR, ELOOP, ENOTDIR) before its permissions.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from numalab.arch.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
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
    O_TRUNC,
    O_WRONLY,
    File,
)
from numalab.kernel.fs.inode import Directory, Inode, Symlink
from numalab.kernel.fs.path import Path

if TYPE_CHECKING:
    from numalab.kernel.task import Task

__all__ = [
    "MAY_WRITE", "NAME_MAX", "PATH_MAX", "chmod", "inode_permission", "mkdir", "open_path", "resolve", "rmdir",
    "truncate", "unlink",
]  # fmt: skip

PATH_MAX, NAME_MAX = 4096, 255
MAXSYMLINKS = 40
MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
_S_IALLUGO = 0o7777


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
    if not inode.overridable:
        raise KernelError(EACCES)
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


def _walk(start: Path, parts: list[str], cred: Cred, *, follow: bool) -> Path:
    """Where the names lead to."""
    at, links = start, 0
    # A stack of names, the next one on top, so that a link can put its own before the rest.
    todo = list(reversed(parts))
    while todo:
        name = todo.pop()
        directory = at.inode
        if not isinstance(directory, Directory):
            raise KernelError(ENOTDIR)
        inode_permission(directory, cred, MAY_EXEC)
        # Up from the root is the root.
        if name == "..":
            at = at.parent or at
            continue
        found = directory.lookup(name)
        if found is None:
            raise KernelError(ENOENT, name)
        # A link on the way is always followed, the last one only on demand (O_NOFOLLOW, O_CREAT|O_EXCL).
        if isinstance(found, Symlink) and (todo or follow):
            links += 1
            if links > MAXSYMLINKS:
                raise KernelError(ELOOP)
            target = found.target()
            if target.startswith("/"):
                at = at.root
            todo += reversed([part for part in target.split("/") if part not in ("", ".")])
            continue
        at = Path(found, name, at)
    return at


def resolve(start: Path, path: str, cred: Cred, *, follow: bool = True) -> Path:
    """What a path names, seen from ``start`` unless it begins with a slash.

    Errors: ENOENT, ENOTDIR (also for a slash behind what is no directory), EACCES (a directory that may not be
    searched), ELOOP, ENAMETOOLONG.
    """
    start = start.root if path.startswith("/") else start
    found = _walk(start, _components(path), cred, follow=follow or path.endswith("/"))
    if path.endswith("/") and not found.inode.is_dir:
        raise KernelError(ENOTDIR)
    return found


def _parent(start: Path, path: str, cred: Cred) -> tuple[Path, Directory, str]:
    """filename_parentat(): what holds (or would hold) the last component, and that: "" for the root, . or .. as given.

    Errors: those of resolve().
    """
    parts, last = _components(path), path.rstrip("/").rpartition("/")[2]
    start = start.root if path.startswith("/") else start
    above = _walk(start, parts if last in ("", ".") else parts[:-1], cred, follow=True)
    if not isinstance(above.inode, Directory):
        raise KernelError(ENOTDIR)
    inode_permission(above.inode, cred, MAY_EXEC)
    return above, above.inode, last


def open_path(start: Path, path: str, flags: int, mode: int, task: Task) -> File:
    """open(2): resolve, make what is missing (O_CREAT), check, open, cut off (O_TRUNC).

    Errors: those of resolve(); EINVAL (flags), EEXIST (O_CREAT|O_EXCL), ENOTDIR (O_DIRECTORY), ELOOP (O_NOFOLLOW),
    EISDIR (a directory, for writing), EACCES, and what the file system and the file itself refuse.
    """
    if flags & O_CREAT and flags & O_DIRECTORY:
        raise KernelError(EINVAL)
    # What must not be there is not looked for behind a link.
    follow = not flags & O_NOFOLLOW and flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL
    if flags & O_CREAT:
        found, created = _lookup_or_create(start, path, mode, task, follow=follow)
    else:
        found, created = resolve(start, path, task.cred, follow=follow), False
    if not created:
        _may_open(found.inode, flags, task.cred)
    file = File(found, flags, task.cred)
    try:
        found.inode.open(file.opening)
        if flags & O_TRUNC and not created:
            found.inode.truncate(task.ctx, 0)
    except BaseException:
        file.fput(task.ctx.cpu)
        raise
    return file


def _lookup_or_create(start: Path, path: str, mode: int, task: Task, *, follow: bool) -> tuple[Path, bool]:
    """lookup_open() with O_CREAT: what the path names, and whether it has been made just now.

    Errors: EISDIR (a slash at the end), and those of _may_create().
    """
    above, parent, last = _parent(start, path, task.cred)
    if last in ("", ".", ".."):
        return resolve(start, path, task.cred), False
    if path.endswith("/"):
        raise KernelError(EISDIR)
    if parent.lookup(last) is not None:
        return _walk(above, [last], task.cred, follow=follow), False
    _may_create(parent, task.cred)
    inode = parent.sb.create(mode & _S_IALLUGO & ~task.fs.umask, task.ctx)
    _init_owner(inode, parent, task.cred)
    parent.link(last, inode)
    return Path(inode, last, above), True


def _may_create(parent: Directory, cred: Cred) -> None:
    """may_o_create(). Errors: ENOENT (the directory is gone, or knows of no names but those that it has), EACCES."""
    if not parent.nlink or not parent.sb.negative:
        raise KernelError(ENOENT)
    inode_permission(parent, cred, MAY_WRITE | MAY_EXEC)


def _init_owner(inode: Inode, parent: Directory, cred: Cred) -> None:
    """inode_init_owner(): it belongs to who makes it, and in a set-group-id directory to the group of that."""
    inode.uid, inode.gid = cred.fsuid, cred.fsgid
    if parent.mode & stat.S_ISGID:
        inode.gid = parent.gid
        inode.mode |= stat.S_ISGID if inode.is_dir else 0


def _may_open(inode: Inode, flags: int, cred: Cred) -> None:
    """do_open() and may_open() of what was there before."""
    if flags & O_CREAT:
        if flags & O_EXCL:
            raise KernelError(EEXIST)
        if inode.is_dir:
            raise KernelError(EISDIR)
    if flags & O_DIRECTORY and not inode.is_dir:
        raise KernelError(ENOTDIR)
    if stat.S_ISLNK(inode.mode):
        raise KernelError(ELOOP)
    mode = flags & O_ACCMODE
    wanted = MAY_READ if mode == O_RDONLY else MAY_WRITE if mode == O_WRONLY else MAY_READ | MAY_WRITE
    if flags & O_TRUNC:
        wanted |= MAY_WRITE
    # Before the permissions: even root cannot write a directory.
    if inode.is_dir and wanted & MAY_WRITE:
        raise KernelError(EISDIR)
    inode_permission(inode, cred, wanted)
    for asked, anybody in ((MAY_READ, 0o444), (MAY_WRITE, 0o222)):
        if wanted & asked and inode.sb.by_mode and not inode.is_dir and not inode.mode & anybody:
            raise KernelError(EACCES)


def mkdir(start: Path, path: str, mode: int, task: Task) -> None:
    """mkdir(2). Errors: those of resolve(); EEXIST, EACCES, EPERM (a file system that makes none)."""
    _, parent, last = _parent(start, path, task.cred)
    if last in ("", ".", "..") or parent.lookup(last) is not None:
        raise KernelError(EEXIST)
    _may_create(parent, task.cred)
    directory = parent.mkdir(last, mode & (0o777 | stat.S_ISVTX) & ~task.fs.umask, task.cred)
    _init_owner(directory, parent, task.cred)
    parent.link(last, directory)


def rmdir(start: Path, path: str, task: Task) -> None:
    """rmdir(2). Errors: those of resolve(); EINVAL (`.`), ENOTEMPTY, EBUSY, and those of _may_delete()."""
    _, parent, last = _parent(start, path, task.cred)
    if last in ("", ".", ".."):
        raise KernelError({"": EBUSY, ".": EINVAL, "..": ENOTEMPTY}[last])
    victim = parent.lookup(last)
    if victim is None:
        raise KernelError(ENOENT)
    _may_delete(parent, victim, task.cred)
    if not isinstance(victim, Directory):
        raise KernelError(ENOTDIR)
    if victim.sb is not parent.sb:
        raise KernelError(EBUSY, "something is mounted there")
    parent.rmdir(victim, task.ctx.cpu)
    parent.unlink(last, task.ctx.cpu)


def unlink(start: Path, path: str, task: Task) -> None:
    """unlink(2). Errors: those of resolve(); EISDIR, and those of _may_delete()."""
    _, parent, last = _parent(start, path, task.cred)
    if last in ("", ".", ".."):
        raise KernelError(EISDIR)
    victim = parent.lookup(last)
    if victim is None:
        raise KernelError(ENOENT)
    if path.endswith("/"):
        raise KernelError(EISDIR if victim.is_dir else ENOTDIR)
    _may_delete(parent, victim, task.cred)
    if victim.is_dir:
        raise KernelError(EISDIR)
    parent.sb.may_change()
    parent.unlink(last, task.ctx.cpu)


def _may_delete(parent: Directory, victim: Inode, cred: Cred) -> None:
    """may_delete(). Errors: EACCES, EPERM (a sticky directory, and neither it nor the file is one's own)."""
    inode_permission(parent, cred, MAY_WRITE | MAY_EXEC)
    sticky = parent.mode & stat.S_ISVTX and cred.fsuid not in (parent.uid, victim.uid)
    if sticky and not has_cap(cred, Cap.CAP_FOWNER):
        raise KernelError(EPERM)


def truncate(start: Path, path: str, length: int, task: Task) -> None:
    """truncate(2). Errors: EINVAL (negative, or no regular file), those of resolve(), EISDIR, EACCES."""
    if length < 0:
        raise KernelError(EINVAL)
    inode = resolve(start, path, task.cred).inode
    if not stat.S_ISREG(inode.mode):
        raise KernelError(EISDIR if inode.is_dir else EINVAL)
    inode_permission(inode, task.cred, MAY_WRITE)
    inode.truncate(task.ctx, length)


def chmod(inode: Inode, mode: int, cred: Cred) -> None:
    """chmod(2). Errors: EPERM (not one's own). A set-group-id bit of a group that is not one's own is left out."""
    if cred.fsuid != inode.uid and not has_cap(cred, Cap.CAP_FOWNER):
        raise KernelError(EPERM)
    if cred.fsgid != inode.gid and not has_cap(cred, Cap.CAP_FSETID):
        mode &= ~stat.S_ISGID
    inode.mode = stat.S_IFMT(inode.mode) | mode & _S_IALLUGO
