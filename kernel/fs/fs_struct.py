"""What processes keep of the file system: struct fs_struct. Mirrors fs/fs_struct.c.

Deliberately different: nobody can change the root or the working directory, so that only the umask is left.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FsStruct"]


@dataclass
class FsStruct:
    """umask: the permissions that new files do not get. Shared by tasks made with CLONE_FS."""

    umask: int = 0o022
