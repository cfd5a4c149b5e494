"""``numalab export``: /proc and /sys of a machine as plain files, for programs that know nothing of numalab.

Whatever reads such files can be pointed at them: by ``lscpu --sysroot DIR``, or by mounting ``DIR/proc`` and
``DIR/sys`` over the host's in a mount namespace (docs/real-tools.md). They are a picture of one moment. What could not
be read then is left out. pagemap, which is as long as the address space, has holes where nothing is mapped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from numalab.arch.errno import KernelError
from numalab.kernel.fs.inode import Directory, Inode, Opening, Symlink
from numalab.tools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numalab.kernel.machine import Machine

__all__ = ["check_directory", "export", "main"]

_TREES = ("proc", "sys")
_PIECE = 1 << 20
_PAGE, _WORD = 4096, 8


def check_directory(directory: Path) -> None:
    """Make the directory if it is not there. Raises UsageError if it cannot be, or has files already."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = next(directory.iterdir(), None) is not None
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}") from None
    if taken:
        raise UsageError(f"{directory} is not empty")


def export(machine: Machine, directory: Path) -> None:
    """Write /proc and /sys below ``directory``, as the machine's owner reads them. Raises UsageError."""
    check_directory(directory)
    try:
        for name in _TREES:
            _export(machine, machine.kernel.root.entries[name], directory / name)
    except OSError as error:
        raise UsageError(f"{error.filename or directory}: {error.strerror}") from None


def _export(machine: Machine, inode: Inode, path: Path) -> None:
    if isinstance(inode, Symlink):
        path.symlink_to(inode.target())
    elif isinstance(inode, Directory):
        path.mkdir()
        for name in inode.names():
            entry = inode.lookup(name)
            if entry is not None:
                _export(machine, entry, path / name)
    else:
        _export_file(machine, inode, path)


def _export_file(machine: Machine, inode: Inode, path: Path) -> None:
    opening = Opening(machine.kernel.init.cred)
    # The page map is not read as a text is, nor from its start to its end.
    pieces = _mapped(inode, opening, path) if path.name == "pagemap" else _text(inode, opening)
    with path.open("wb") as file:
        try:
            inode.open(opening)
            for pos, data in pieces:
                file.seek(pos)
                file.write(data)
        except KernelError:
            path.unlink()
            return
    path.chmod(stat.S_IMODE(inode.mode))


def _text(inode: Inode, opening: Opening) -> Iterator[tuple[int, bytes]]:
    pos = 0
    while data := inode.read(opening, pos, _PIECE):
        yield pos, data
        pos += len(data)


def _mapped(inode: Inode, opening: Opening, path: Path) -> Iterator[tuple[int, bytes]]:
    """The words of the pages that lie in areas, by the file that lists these, which was written before."""
    for area in (path.parent / "maps").read_text().splitlines():
        start, end = (int(address, 16) // _PAGE * _WORD for address in area.split()[0].split("-"))
        for pos in range(start, end, _PIECE):
            yield pos, inode.read(opening, pos, min(_PIECE, end - pos))


def main(directory: Path, program: str | None, args: Sequence[str], machine: Machine) -> int:
    """Run a program, if there is one, and export the machine as it is when that returns: its exit status.

    A scenario's processes are there still; a program that does not return from main(sys) is not.
    """
    check_directory(directory)
    if program is None:
        export(machine, directory)
        return 0
    from numalab.tools import run  # noqa: PLC0415

    status = run.main(program, args, machine, at_end=lambda: export(machine, directory))
    if not os.listdir(directory):
        export(machine, directory)
    return status
