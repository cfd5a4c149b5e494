"""numastat(8): the counters of the nodes, their memory, and where processes have theirs."""

from __future__ import annotations

import sys as host
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from numalab.arch.errno import ENOENT
from numalab.tools.numactl.libnuma import NODES, Numa
from numalab.tools.numactl.options import BadOption, Option, Options
from numalab.tools.numactl.table import Row, Table

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["numastat"]

_USAGE = """\
Usage: numastat [-c] [-m] [-n] [-p PID|TEXT] [-s[NODE]] [-v] [-V] [-z] [PID|TEXT]...
-c        narrow columns
-m        memory of the nodes, as /proc/meminfo counts it
-n        counters of the nodes, in megabytes
-p WORD   memory of the process with this number, or of those with this text in their command line
-s[NODE]  largest rows first, by this node or by the sum
-v        of several processes each by itself, too
-V        the version
-z        without rows and columns of nothing but zeros
"""

_OPTIONS = [
    Option("c"), Option("m"), Option("n"), Option("p", argument=True), Option("s", argument=None), Option("v"),
    Option("V"), Option("z"), Option("?", "help"),
]  # fmt: skip

#: What numastat of 2022 knows, in its order; it says which of the others there are.
_MEMINFO = (
    "MemTotal", "MemFree", "MemUsed", "HighTotal", "HighFree", "LowTotal", "LowFree", "Active", "Inactive",
    "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked", "Dirty",
    "Writeback", "FilePages", "Mapped", "AnonPages", "Shmem", "KernelStack", "PageTables", "NFS_Unstable", "Bounce",
    "WritebackTmp", "Slab", "SReclaimable", "SUnreclaim", "AnonHugePages", "ShmemHugePages", "ShmemPmdMapped",
    "HugePages_Total", "HugePages_Free", "HugePages_Surp", "KReclaimable",
)  # fmt: skip
#: Of a process, by the word that numa_maps has for it.
_KINDS = {"huge": "Huge", "heap": "Heap", "stack": "Stack", "": "Private"}
_PAGE, _MB = 4096, 1 << 20


def numastat(sys: Sys) -> int:
    """The program."""
    options = Options("numastat", sys.argv, _OPTIONS)
    letters, words = dict[str, str | None](), list[str]()
    try:
        for letter, value in options:
            if letter == "V":
                print(f"numastat version: numalab {version('numalab')}")
                return 0
            if letter == "?":
                raise BadOption
            letters[letter] = value
            words += [value or ""] if letter == "p" else []
    except BadOption:
        host.stderr.write(_USAGE)
        return 1
    words += options.rest
    report = _Report(sys, letters)
    if not letters and not words:
        report.counters_as_ever()
        return 0
    pids = sorted({pid for word in words for pid in report.processes(word)})
    if pids:
        report.of_processes(pids)
    if "m" in letters:
        report.memory()
    if "n" in letters or not (pids or "m" in letters):
        report.counters()
    return 0


class _Report:
    """One run. letters: the options, and their arguments."""

    def __init__(self, sys: Sys, letters: dict[str, str | None]) -> None:
        self._sys, self._letters = sys, letters
        self._nodes = Numa(sys).nodes

    # The nodes.

    def counters_as_ever(self) -> None:
        """Without any option: pages, in the form that scripts have known since 2003."""
        print(" " * 16 + "".join(f"{f'node{node}':>16}" for node in self._nodes))
        for row in self._numastat():
            print(f"{row.label:16}" + "".join(f"{int(value):16}" for value in row.values))

    def _numastat(self) -> list[Row]:
        texts = [self._sys.read_file(f"{NODES}/node{node}/numastat").splitlines() for node in self._nodes]
        return [
            Row(lines[0].split()[0], [float(line.split()[1]) for line in lines])
            for lines in zip(*texts, strict=True)
        ]

    def counters(self) -> None:
        """-n."""
        print("\nPer-node numastat info (in MBs):")
        rows = self._numastat()
        self._print(Row(row.label.title(), [value * _PAGE / _MB for value in row.values]) for row in rows)

    def memory(self) -> None:
        """-m."""
        print("\nPer-node system memory usage (in MBs):")
        found: dict[str, list[float]] = {}
        for node in self._nodes:
            for line in self._sys.read_file(f"{NODES}/node{node}/meminfo").splitlines():
                _, _, name, number, *unit = line.split()
                label = name.removesuffix(":")
                if label not in _MEMINFO:
                    print(f"Token {label} not in hash table.")
                    continue
                size = 1024 if unit else self._huge_page
                found.setdefault(label, []).append(int(number) * size / _MB)
        none = [0.0] * len(self._nodes)
        self._print(Row(label, found.get(label, none), shown=label in found) for label in _MEMINFO)

    @property
    def _huge_page(self) -> int:
        lines = self._sys.read_file("/proc/meminfo").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Hugepagesize:"))

    # Processes.

    def processes(self, word: str) -> list[int]:
        """The processes that a word means: a pid, or text of their command lines."""
        if word.isdecimal():
            return [int(word)]
        pids = sorted(int(name) for name in self._sys.listdir("/proc") if name.isdecimal())
        found = [pid for pid in pids if pid != self._sys.getpid() and word in self._command(pid)]
        if not found:
            print(f'Found no processes containing pattern: "{word}"')
        return found

    def _read(self, pid: int, name: str) -> str:
        try:
            return self._sys.read_file(f"/proc/{pid}/{name}")
        except OSError:
            return ""

    def _command(self, pid: int) -> str:
        return self._read(pid, "cmdline") or self._read(pid, "comm")

    def _name(self, pid: int) -> str:
        return f"{pid} ({self._read(pid, 'comm').strip() or '(null)'})"

    def of_processes(self, pids: list[int]) -> None:
        """-p: one by kinds of memory, several by their sums."""
        if len(pids) == 1 or "v" in self._letters:
            for pid in pids:
                self._of_one(pid)
            return
        print("\nPer-node process memory usage (in MBs)")
        rows = []
        for pid in pids:
            kinds = self._kinds(pid)
            if kinds is None:
                return
            rows.append(Row(self._name(pid), [sum(column) for column in zip(*kinds.values(), strict=True)]))
        self._print(rows, total=True, heading="PID")

    def _of_one(self, pid: int) -> None:
        print(f"\nPer-node process memory usage (in MBs) for PID {self._name(pid)}")
        kinds = self._kinds(pid)
        if kinds is not None:
            self._print((Row(_KINDS[kind], values) for kind, values in kinds.items()), total=True)

    def _kinds(self, pid: int) -> dict[str, list[float]] | None:
        """Megabytes by kind and node. None: there is no such process, which has been said."""
        found = {kind: [0.0] * len(self._nodes) for kind in _KINDS}
        try:
            text = self._sys.read_file(f"/proc/{pid}/numa_maps")
        except OSError as error:
            print(f"Can't read /proc/{pid}/numa_maps: {error.strerror}", file=host.stderr)
            return None if error.errno == ENOENT else found
        for line in text.splitlines():
            kind = ""
            for word in line.split():
                kind = kind or next((known for known in _KINDS if known and word.startswith(known)), "")
                if word.startswith("N"):
                    node, _, pages = word[1:].partition("=")
                    size = self._huge_page if kind == "huge" else _PAGE
                    found[kind][self._nodes.index(int(node))] += int(pages) * size / _MB
        return found

    def _print(self, rows: Iterable[Row], *, total: bool = False, heading: str = "") -> None:
        """Print a table, ordered and narrowed as the options say."""
        table = Table(heading, self._nodes, list(rows), total=total)
        if "s" in self._letters:
            chosen = self._letters["s"] or ""
            table.sort(int(chosen) if chosen.isdecimal() else None)
        if "z" in self._letters:
            table.drop_zeros()
        for line in table.lines(compact="c" in self._letters):
            print(line)
