"""docs/syscalls.md, made from the system call table.

The page is checked in, so that it can be read without running anything; a test holds it to what `render_docs()`
says.  `python -m numalab.syscalls.docs docs/syscalls.md` writes it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from numalab.syscalls.table import TABLE, Support, Syscall

__all__ = ["render_docs"]

_HEAD = """\
# System calls

Made from the table in `syscalls/table.py` (`python -m numalab.syscalls.docs docs/syscalls.md`); do not edit.

Numbers are those of x86-64. A number that is not here is `ENOSYS`, and so is a call whose support is *none*.
*partial* means that what the note says is missing or different; everything else is as the man page has it.

In a program, `sys.NAME(...)` takes the arguments below in this order or by name, and returns an int or raises
`OSError`. Masks may be sets of node or CPU numbers, arrays lists, paths strings. What the call fills in (names in
*italics*) may be left out and is an attribute of the answer: `sys.get_mempolicy().mode`. Counts that follow from
the thing counted may be left out: `sys.move_pages(0, [addr], [1]).status`.

`sys.syscall(number, ...)` is the raw form, and `sys.libc` the C library as ctypes has it on a host, with arguments in
C's order.
"""

_FRIENDLY = {
    "mmap": "mmap(length, prot, flags, fd, off, addr)",
    "open": "open(path, flags, mode)",
    "pread64": "pread64(fd, count, pos)",
    "read": "read(fd, count)",
}


def _arguments(row: Syscall) -> str:
    return ", ".join(f"*{arg.name}*" if arg.kind.endswith("_out") else arg.name for arg in row.args)


def _line(row: Syscall) -> str:
    note = row.note
    if row.name in _FRIENDLY:
        note = "; ".join(filter(None, [note, f"in a program `sys.{_FRIENDLY[row.name]}`"]))
    return f"| {row.number} | `{row.name}` | {_arguments(row)} | {row.support.value} | {note} |"


def render_docs() -> str:
    """The page as text."""
    rows = "\n".join(_line(row) for row in TABLE)
    counts = {support: sum(row.support is support for row in TABLE) for support in Support}
    summary = ", ".join(f"{count} {support.value}" for support, count in counts.items())
    return (
        f"{_HEAD}\n{len(TABLE)} calls: {summary}.\n\n"
        f"| number | name | arguments | support | note |\n| --- | --- | --- | --- | --- |\n{rows}\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_docs(), encoding="utf-8")
