"""migratepages(8): move the pages of a process from some nodes to others."""

from __future__ import annotations

import sys as host
from typing import TYPE_CHECKING

from numalab.tools.numactl.libnuma import Numa
from numalab.tools.numactl.nodestring import Unparseable, parse_nodes, strtoul
from numalab.tools.numactl.options import BadOption, Option, Options

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["migratepages"]

_USAGE = "usage: migratepages PID FROM TO\n\nFROM, TO: nodes, such as 0-1,3 or all or !0\n"


def migratepages(sys: Sys) -> int:
    """The program."""
    options = Options("migratepages", sys.argv, [Option("h", "help")])
    try:
        wants_help = bool(list(options))
    except BadOption:
        wants_help = True
    if wants_help or len(options.rest) != 3:
        return _usage()
    word, *nodes = options.rest
    pid, rest = strtoul(word)
    if rest or not word:
        return _usage()
    numa = Numa(sys)
    sets = []
    for text in nodes:
        try:
            sets.append(parse_nodes(sys, numa, text))
        except Unparseable:
            print(f"<{text}> is invalid")
            return 1
    try:
        sys.migrate_pages(pid, *sets)
    except OSError as error:
        print(f"migrate_pages: {error.strerror}", file=host.stderr)
        return 1
    return 0


def _usage() -> int:
    host.stderr.write(_USAGE)
    return 1
