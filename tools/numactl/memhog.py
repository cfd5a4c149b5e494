"""memhog(8): allocate memory under a policy and write to all of its pages, a dot for every 10 MB.

The real one sets every byte, this one a byte a page.
"""

from __future__ import annotations

import os
import sys as host
from collections.abc import Callable
from typing import TYPE_CHECKING

from numalab.syscalls.abi import (
    MADV_NOHUGEPAGE,
    MAP_ANONYMOUS,
    MAP_PRIVATE,
    MAP_SHARED,
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    PROT_READ,
    PROT_WRITE,
)
from numalab.tools.numactl.libnuma import Numa
from numalab.tools.numactl.nodestring import Unparseable, parse_nodes
from numalab.tools.numactl.shm import memsize

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["memhog"]

_USAGE = """\
memhog [-fFILE] [-rNUM] [-H] SIZE [POLICY [NODES]]
-fFILE  map a file
-rNUM   write to all of it NUM times
-H      no huge pages
SIZE    with k, m or g behind it
POLICY  default, local, or with NODES: membind, interleave, preferred, preferred-many
"""

_UNIT, _PAGE = 10 << 20, 4096
_POLICIES = {
    "default": MPOL_DEFAULT, "local": MPOL_LOCAL, "membind": MPOL_BIND, "interleave": MPOL_INTERLEAVE,
    "preferred": MPOL_PREFERRED, "preferred-many": MPOL_PREFERRED_MANY,
}  # fmt: skip


def memhog(sys: Sys) -> int:
    """The program."""
    words = list(sys.argv)
    path: str | None = None
    repeats, huge = 1, True
    while words and words[0].startswith("-"):
        letter, value = words[0][1:2], words.pop(0)[2:]
        match letter:
            case "f":
                path = value
            case "r":
                repeats = _atoi(value)
            case "H":
                huge = False
            case _:
                return _usage()
    if not words:
        return _usage()
    length, policy = memsize(words[0]), MPOL_DEFAULT
    nodes: set[int] = set()
    if len(words) > 1:
        if words[1] not in _POLICIES:
            return _usage()
        policy = _POLICIES[words[1]]
        if len(words) > 2:
            try:
                nodes = parse_nodes(sys, Numa(sys), words[2])
            except Unparseable:
                print(f"<{words[2]}> is invalid")
                return 1
        elif policy not in (MPOL_DEFAULT, MPOL_LOCAL):
            return _usage()
    addr = _map(sys, path, length)
    mask = 0 if policy in (MPOL_DEFAULT, MPOL_LOCAL) else nodes
    _try("mbind", lambda: sys.mbind(addr, length, policy, mask))
    if not huge:
        _try("madvise", lambda: sys.madvise(addr, length, MADV_NOHUGEPAGE))
    for _ in range(repeats):
        for start in range(0, length, _UNIT):
            print(".", end="", flush=True)
            sys.memory.touch(addr + start, -(-min(_UNIT, length - start) // _PAGE), value=0xFF)
        print()
    return 0


def _map(sys: Sys, path: str | None, length: int) -> int:
    """The memory: the file's, if it can be opened."""
    flags, fd = MAP_PRIVATE | MAP_ANONYMOUS, -1
    if path is not None:
        try:
            fd, flags = sys.open(path, os.O_RDWR), MAP_SHARED
        except OSError as error:
            print(f"{path}: {error.strerror}" if path else error.strerror, file=host.stderr)
    return _try("mmap", lambda: sys.mmap(length, PROT_READ | PROT_WRITE, flags, fd))


def _try(what: str, call: Callable[[], int]) -> int:
    try:
        return call()
    except OSError as error:
        print(f"numactl: {what}: {error.strerror}", file=host.stderr)
        raise SystemExit(1) from None


def _atoi(text: str) -> int:
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits or 0)


def _usage() -> int:
    host.stdout.write(_USAGE)
    return 1
