"""Where a name has led: an inode, and the names on the way to it.

Mirrors struct path, the dentries behind it, and fs/d_path.c. Deliberately different: a path is made anew by each walk
(namei.py) and knows its parents; no inode knows its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from numalab.kernel.fs.inode import Inode

__all__ = ["Path", "d_path"]


@dataclass(frozen=True, slots=True)
class Path:
    """name: the last component; parent: what it was found in, None for a root and for what is in no directory."""

    inode: Inode
    name: str = ""
    parent: Path | None = None

    @property
    def root(self) -> Path:
        """The top of the tree that it was found in."""
        return self if self.parent is None else self.parent.root


def d_path(path: Path) -> str:
    """The name as /proc shows it: from the root, with a remark if the inode has no name any more."""
    names: list[str] = []
    at: Path | None = path
    while at is not None:
        names.append(at.name)
        at = at.parent
    text = "/".join(reversed(names)) if len(names) > 1 else "/" + path.name
    return text if path.inode.nlink else text + " (deleted)"
