"""migspeed(8): how fast pages move from some nodes to others."""

from __future__ import annotations

import sys as host
from typing import TYPE_CHECKING

from numalab.arch.errno import ENOMEM, strerror
from numalab.syscalls.abi import CLOCK_MONOTONIC, MPOL_BIND, MPOL_MF_MOVE
from numalab.tools.numactl.libnuma import Numa
from numalab.tools.numactl.nodestring import Unparseable, parse_nodes, strtoul
from numalab.tools.numactl.options import BadOption, Option, Options
from numalab.tools.numactl.show import print_mask

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["migspeed"]

_USAGE = """\
usage migspeed [-p PAGES] [-v] FROM TO
      FROM, TO: nodes, such as 0 or 0-1
      -p PAGES  how many (1000)
      -v        say what is done
"""

_PAGE = 4096
_MMAP_THRESHOLD = 128 << 10
"""What malloc() maps is at least this long; the rest comes from the heap."""


def migspeed(sys: Sys) -> int:
    """The program."""
    pages, verbose = 1000, False
    options = Options("migspeed", sys.argv, [Option("p", argument=True), Option("h"), Option("v")])
    try:
        for letter, value in options:
            if letter == "h":
                return _usage()
            verbose = verbose or letter == "v"
            if letter == "p":
                pages, rest = strtoul(value or "")
                if rest:
                    return _usage()
    except BadOption:
        return _usage()
    if len(options.rest) < 2:
        return _usage()
    numa = Numa(sys)
    sets = []
    for name, text in zip(("From", "To"), options.rest, strict=False):
        try:
            sets.append(parse_nodes(sys, numa, text))
        except Unparseable:
            print(f"<{text}> is invalid")
            return 1
        if verbose:
            print_mask(name, sets[-1])
    return _measure(sys, pages, *sets, verbose=verbose)


def _usage() -> int:
    host.stdout.write(_USAGE)
    return 1


def _measure(sys: Sys, pages: int, source: set[int], destination: set[int], *, verbose: bool) -> int:
    length = pages * _PAGE
    if verbose:
        print(f"Allocating {pages} pages of {_PAGE} bytes of memory")
    try:
        addr = _malloc(sys, length)
    except OSError:
        print("Out of Memory")
        return 2
    what = "mbind"
    try:
        sys.mbind(addr, length, MPOL_BIND, source)
        if verbose:
            print("Dirtying memory....")
        sys.memory.touch(addr, pages)
        if verbose:
            print("Starting test")
        _print_mappings(sys, addr, length)
        what, start = "memory move", _now(sys)
        sys.mbind(addr, length, MPOL_BIND, destination, flags=MPOL_MF_MOVE)
    except OSError as error:
        print(f"{what}: {error.strerror}", file=host.stderr)
        return 1
    seconds = _now(sys) - start
    _print_mappings(sys, addr, length)
    megabytes = length / (1 << 20)
    speed = megabytes / seconds if seconds else 0.0
    print(f"{megabytes:3.1f} Mbyte migrated in {seconds:3.2f} secs. {speed:3.1f} Mbytes/second")
    return 0


def _malloc(sys: Sys, length: int) -> int:
    if length >= _MMAP_THRESHOLD:
        return sys.mmap(length)
    addr = -(-sys.brk() // _PAGE) * _PAGE
    if sys.brk(addr + length) != addr + length:
        raise OSError(ENOMEM, strerror(ENOMEM))
    return addr


def _now(sys: Sys) -> float:
    seconds, ns = sys.clock_gettime(CLOCK_MONOTONIC).tp
    return float(seconds + ns / 1e9)


def _print_mappings(sys: Sys, addr: int, length: int) -> None:
    """The lines of numa_maps that are about the memory."""
    for line in sys.read_file("/proc/self/numa_maps").splitlines():
        if addr <= int(line.split()[0], 16) < addr + length:
            print(line)
