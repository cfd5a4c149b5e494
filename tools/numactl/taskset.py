"""taskset(1): the CPUs that a process may run on, shown or set; or run a program on some of them."""

from __future__ import annotations

import re
import sys as host
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from numalab.arch.errno import ENOENT
from numalab.tools.numactl.libnuma import mask_of, runs
from numalab.tools.numactl.options import BadOption, Option, Options
from numalab.tools.programs import execvp

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["taskset"]

_USAGE = """\
Usage: taskset [options] MASK|LIST PROGRAM [ARGS...]
       taskset [options] -p [MASK|LIST] PID

The CPUs that a process may run on.

Options:
 -p, --pid        of a process that is there: show them, or set them
 -c, --cpu-list   CPUs are a list, such as 0,2-3 or 0-6:2, and not a hexadecimal mask
 -a, --all-tasks  of all threads of the process
 -h, --help       this text
 -V, --version    the version
"""

_OPTIONS = [
    Option("a", "all-tasks"), Option("p", "pid"), Option("c", "cpu-list"), Option("h", "help"), Option("V", "version")
]  # fmt: skip
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


class _Error(Exception):
    """One line; the exit status is 1."""


def taskset(sys: Sys) -> int:
    """The program."""
    options = Options("taskset", sys.argv, _OPTIONS, in_order=True)
    try:
        letters = {letter: letter for letter, _ in _until_told(options)}
    except BadOption:
        return _try_help()
    if "h" in letters:
        host.stdout.write(_USAGE)
        return 0
    if "V" in letters:
        print(f"taskset from numalab {version('numalab')}")
        return 0
    try:
        pid = _pid(sys.argv[-1]) if "p" in letters else 0
        words = options.rest
        if (not 1 <= len(words) <= 2) if pid else len(words) < 2:
            print("taskset: bad usage", file=host.stderr)
            return _try_help()
        shown = _Shown(sys, in_lists="c" in letters)
        cpus = None if pid and len(words) == 1 else shown.parse(words[0])
        if not pid:
            shown.set(0, cpus or set())
            return _become(sys, words[1:])
        for task in _threads(sys, pid) if "a" in letters else [pid]:
            shown.work(task, cpus)
    except _Error as error:
        print(f"taskset: {error}", file=host.stderr)
        return 1
    return 0


def _until_told(options: Options) -> Iterable[tuple[str, str | None]]:
    """Options up to one that ends the program."""
    for letter, value in options:
        yield letter, value
        if letter in "hV":
            return


def _try_help() -> int:
    print("Try 'taskset --help' for more information.", file=host.stderr)
    return 1


def _pid(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?\d+", text):
        raise _Error(f"invalid PID argument: '{text}'")
    if not -1 << 31 <= int(text) < 1 << 31:
        raise _Error(f"invalid PID argument: '{text}': Numerical result out of range")
    return int(text)


def _threads(sys: Sys, pid: int) -> list[int]:
    """The threads of a process: none of one that is not there."""
    try:
        return [int(tid) for tid in sys.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _become(sys: Sys, words: list[str]) -> int:
    try:
        execvp(sys, words)
    except OSError as error:
        print(f"taskset: failed to execute {words[0]}: {error.strerror}", file=host.stderr)
        return 127 if error.errno == ENOENT else 126


class _Shown:
    """CPUs as they are written: as masks or as lists."""

    def __init__(self, sys: Sys, *, in_lists: bool) -> None:
        self._sys, self._in_lists = sys, in_lists

    def parse(self, text: str) -> set[int]:
        """The CPUs that a word means. Raises _Error."""
        cpus = _cpulist(text) if self._in_lists else _cpumask(text)
        if cpus is None:
            raise _Error(f"failed to parse CPU {'list' if self._in_lists else 'mask'}: {text}")
        return cpus

    def work(self, pid: int, cpus: set[int] | None) -> None:
        """Print those of a task, and set them if some are given. Raises _Error."""
        self._print(pid, "current")
        if cpus is not None:
            self.set(pid, cpus)
            self._print(pid, "new")

    def set(self, pid: int, cpus: set[int]) -> None:
        """Let a task run on these CPUs. Raises _Error."""
        try:
            self._sys.sched_setaffinity(pid, mask={cpu for cpu in cpus if cpu < _MOST_CPUS})
        except OSError as error:
            who = pid or self._sys.getpid()
            raise _Error(f"failed to set pid {who}'s affinity: {error.strerror}") from None

    def _print(self, pid: int, when: str) -> None:
        try:
            cpus = self._sys.sched_getaffinity(pid).mask
        except OSError as error:
            raise _Error(f"failed to get pid {pid}'s affinity: {error.strerror}") from None
        kind, text = (
            ("list", _list_of(cpus)) if self._in_lists else ("mask", f"{sum(1 << n for n in cpus):x}")
        )
        print(f"pid {pid}'s {when} affinity {kind}: {text}")


_MOST_CPUS = 1024


def _cpumask(text: str) -> set[int] | None:
    digits = text.removeprefix("0x").replace(",", "")
    if not re.fullmatch(r"[0-9a-fA-F]*", digits):
        return None
    return mask_of(digits or "0")


def _cpulist(text: str) -> set[int] | None:
    cpus: set[int] = set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            return None
        first, last, stride = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if last < first or stride == 0:
            return None
        cpus.update(range(first, min(last + 1, _MOST_CPUS), stride))
    return cpus


def _list_of(cpus: Iterable[int]) -> str:
    """0,1,4-6: two in a row are no range."""
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs(cpus))
