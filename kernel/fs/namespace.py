"""Mounting: another tree of names in the place of a directory.

Mirrors fs/namespace.c. Deliberately different: a mount stands among the names of the directory above it, so that a walk
does not notice; all processes see the same ones. Through which of its mounts a file was opened, nobody knows: open
files keep the last mount of their file system busy, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numalab.arch.errno import EBUSY, EINVAL, ENOTDIR, KernelError
from numalab.kernel.fs.inode import Directory, Inode
from numalab.kernel.fs.path import Path
from numalab.kernel.fs.super import SuperBlock

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel

__all__ = ["Mount", "do_add_mount", "do_umount", "is_mounted"]


@dataclass
class Mount:
    """struct mount: a root, the directory and the name where it stands, and what it covers there."""

    root: Directory
    parent: Directory
    name: str
    covered: Inode


def is_mounted(k: Kernel, sb: SuperBlock) -> bool:
    """Whether a file system has a place among the names."""
    return any(mount.root.sb is sb for mount in k.mounts)


def do_add_mount(k: Kernel, path: Path, root: Directory) -> None:
    """Put a tree in the place of a directory. Errors: EBUSY (the root directory; it is there already), ENOTDIR."""
    if path.inode is root:
        raise KernelError(EBUSY, "it is mounted there")
    if not path.inode.is_dir:
        raise KernelError(ENOTDIR)
    if path.parent is None:
        raise KernelError(EBUSY, "everybody stands on the root directory")
    parent = path.parent.inode
    assert isinstance(parent, Directory)
    k.mounts.append(Mount(root, parent, path.name, path.inode))
    parent.entries[path.name] = root


def do_umount(k: Kernel, path: Path, *, detach: bool, cpu: int) -> None:
    """Take a mount away; with ``detach`` even if it is in use: then its files live on until they are closed.

    Errors: EINVAL (nothing is mounted there), EBUSY (open files, or a mount inside).
    """
    mount = _mount_at(k, path)
    if mount is None:
        raise KernelError(EINVAL)
    gone = [mount]
    inside = _inside(k, mount)
    if all(other is mount or other in inside for other in k.mounts if other.root.sb is mount.root.sb):
        if not detach and (mount.root.sb.users or inside):
            raise KernelError(EBUSY)
        gone += inside
    for one in reversed(gone):
        one.parent.entries[one.name] = one.covered
        k.mounts.remove(one)
    for one in reversed(gone):  # this may sleep
        if not is_mounted(k, one.root.sb):
            one.root.sb.kill(one.root, cpu)


def _mount_at(k: Kernel, path: Path) -> Mount | None:
    """The mount whose place a path is: a tree may be mounted in several."""
    if path.parent is None:
        return None
    place = (path.inode, path.parent.inode, path.name)
    here = [mount for mount in k.mounts if (mount.root, mount.parent, mount.name) == place]
    return here[-1] if here else None


def _inside(k: Kernel, mount: Mount) -> list[Mount]:
    """Those that stand in the tree of a mount, or in theirs, in the order in which they came."""
    found: list[Mount] = []
    trees = {mount.root.sb}
    for other in k.mounts:
        if other is not mount and other.parent.sb in trees:
            found.append(other)
            trees.add(other.root.sb)
    return found
