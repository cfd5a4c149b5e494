"""Mounting: another tree of names in the place of a directory.

Mirrors fs/namespace.c. Deliberately different: a mount stands among the names of the directory above it, so that a walk
does not notice; all processes see the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numalab.arch.errno import EBUSY, EINVAL, ENOTDIR, KernelError
from numalab.kernel.fs.inode import Directory, Inode
from numalab.kernel.fs.path import Path

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel

__all__ = ["Mount", "do_add_mount", "do_umount"]


@dataclass
class Mount:
    """struct mount: a root, the directory and the name where it stands, and what it covers there."""

    root: Directory
    parent: Directory
    name: str
    covered: Inode


def do_add_mount(k: Kernel, path: Path, root: Directory) -> None:
    """Put a tree in the place of a directory. Errors: ENOTDIR, EBUSY (the root directory)."""
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
    mount = next((mount for mount in k.mounts if mount.root is path.inode), None)
    if mount is None:
        raise KernelError(EINVAL)
    inside = [other for other in k.mounts if other.parent.sb is mount.root.sb]
    if not detach and (mount.root.sb.users or inside):
        raise KernelError(EBUSY)
    for other in inside:
        do_umount(k, Path(other.root), detach=True, cpu=cpu)
    mount.parent.entries[mount.name] = mount.covered
    k.mounts.remove(mount)
    mount.root.sb.kill(mount.root, cpu)
