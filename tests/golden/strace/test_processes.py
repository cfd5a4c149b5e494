"""Several tasks, signals and endings are told as the real strace told them, task by task, byte for byte.

Who runs when differs, and with it what is unfinished: each task's lines are compared after its calls have been put
together again.  Pids, addresses and what the host's clock showed are made alike.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import numalab
from numalab import abi
from numalab.kernel.signal import SIGCONT, SIGKILL, SIGTERM, Disposition
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

from tests.golden.strace.calls import PAGE, M

TEXT = Path(__file__).with_name("processes.txt").read_text(encoding="utf-8")
RECORDED = {
    name: [line.strip() for line in lines.splitlines()]
    for name, lines in re.findall(r"^(\S+):\n((?:    .*\n)+)", TEXT, re.MULTILINE)
}
MS = 1_000_000
SIGUSR1, SIGWINCH = 10, 28
STATUS, USAGE, BUFFER = M + 64, M + 128, M + 512
THREAD = 0x10D00  # memory, descriptors, signal handlers, process


class Program:
    """The calls of processes.c, on a machine."""

    def __init__(self, sys: Sys) -> None:
        self.sys = sys

    def call(self, name: str, *args: int) -> int:
        return self.sys.raw(BY_NAME[name].number, *args)

    def nap(self, ns: int, rest: int = 0) -> None:
        self.sys.memory.write(M, struct.pack("<2q", *divmod(ns, 1000 * MS)))
        self.call("nanosleep", M, rest)

    def long_nap(self) -> None:
        self.nap(9000 * MS, USAGE)

    def leave(self, code: int = 0) -> None:
        self.call("exit_group", code)

    def reap(self, pid: int = -1, options: int = 0) -> None:
        self.call("wait4", pid, STATUS, options, 0)


def forked(p: Program, child: Callable[[Program], object]) -> int:
    return p.sys.fork(lambda sys: child(Program(sys)))


def thread(p: Program, main: Callable[[Program], object]) -> int:
    return p.sys.clone(lambda sys: main(Program(sys)), flags=THREAD)


def exit_(p: Program) -> None:
    def child(p: Program) -> None:
        p.nap(200 * MS)
        p.leave(3)

    forked(p, child)
    p.reap()
    p.reap()
    p.leave(256 + 5)


def killed(p: Program) -> None:
    pid = forked(p, Program.long_nap)
    p.nap(200 * MS)
    p.call("kill", pid, SIGKILL)
    p.call("wait4", pid, STATUS, 0, USAGE)


def signals_its_parent(parent: int) -> Callable[[Program], None]:
    def child(p: Program) -> None:
        p.nap(200 * MS)
        p.call("kill", parent, SIGUSR1)
        p.nap(400 * MS)
        p.leave(0)

    return child


def handler(p: Program) -> None:
    p.sys.signal(SIGUSR1, lambda sig, info: None)
    forked(p, signals_its_parent(p.call("getpid")))
    p.long_nap()
    p.reap()


def restart(p: Program) -> None:
    p.sys.signal(SIGUSR1, lambda sig, info: None)
    forked(p, signals_its_parent(p.call("getpid")))
    p.reap()
    p.reap(options=1)


def map_page(p: Program, flags: int, fd: int) -> int:
    return p.call("mmap", 0, PAGE, abi.PROT_READ, flags, fd, 0)


def accerr(p: Program) -> None:
    p.sys.memory.write(map_page(p, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS, -1), b"x")


def bus(p: Program) -> None:
    p.sys.memory.write(BUFFER, b"empty\0")
    fd = p.call("memfd_create", BUFFER, 0)
    p.sys.memory.read(map_page(p, abi.MAP_SHARED, fd), 1)


def ignored(p: Program) -> None:
    p.call("kill", p.call("getpid"), SIGCONT)
    p.call("kill", p.call("getpid"), SIGWINCH)
    p.sys.signal(SIGUSR1, Disposition.SIG_IGN)
    p.call("kill", p.call("getpid"), SIGUSR1)


def pipe(p: Program) -> None:
    def child(p: Program) -> None:
        p.call("read", reader, BUFFER, 10)
        p.leave(0)

    p.call("pipe", STATUS)
    reader, writer = struct.unpack("<2i", p.sys.memory.read(STATUS, 8))
    forked(p, child)
    p.nap(200 * MS)
    p.sys.memory.write(BUFFER, b"hello")
    p.call("write", writer, BUFFER, 5)
    p.reap()
    p.call("close", reader)
    p.sys.memory.write(BUFFER, b"x")
    p.call("write", writer, BUFFER, 1)


def child_segv(p: Program) -> None:
    def child(p: Program) -> None:
        p.nap(100 * MS)
        p.sys.memory.write(8, b"x")

    p.reap(forked(p, child))


def nobody_yet(p: Program) -> None:
    def child(p: Program) -> None:
        p.nap(200 * MS)
        p.call("exit", 300)

    forked(p, child)
    p.nap(100 * MS)
    p.call("wait4", -1, STATUS, 1, USAGE)
    p.call("wait4", -1, 0, 0, 0)


def naps_and_ends(p: Program) -> None:
    p.nap(300 * MS)
    p.call("gettid")
    p.call("exit", 0)


def threaded(p: Program) -> None:
    thread(p, naps_and_ends)
    p.nap(600 * MS)
    p.call("getpid")


def thread_ends_all(p: Program) -> None:
    def main(p: Program) -> None:
        p.nap(300 * MS)
        p.leave(4)

    thread(p, main)
    p.long_nap()


def leader_first(p: Program) -> None:
    thread(p, naps_and_ends)
    p.call("exit", 3)


def orphan(p: Program) -> None:
    def child(p: Program) -> None:
        p.nap(300 * MS)
        p.call("getppid")
        p.leave(0)

    forked(p, child)


CASES: dict[str, Callable[[Program], object]] = {
    "exit": exit_,
    "killed": killed,
    "handler": handler,
    "restart": restart,
    "segv": lambda p: p.sys.memory.write(8, b"x"),
    "accerr": accerr,
    "bus": bus,
    "term": lambda p: p.call("kill", p.call("getpid"), SIGTERM),
    "kill": lambda p: p.call("kill", p.call("getpid"), SIGKILL),
    "ignored": ignored,
    "pipe": pipe,
    "child-segv": child_segv,
    "nobody-yet": nobody_yet,
    "thread": threaded,
    "thread-ends-all": thread_ends_all,
    "leader-first": leader_first,
    "orphan": orphan,
}  # fmt: skip


def traced(case: Callable[[Program], object], file: Path) -> list[str]:
    """What our tracer writes into a file."""
    with numalab.boot("dual") as machine:

        def main(sys: Sys) -> None:
            sys.mmap(PAGE, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=M)
            for name in ("stdin", "stdout", "stderr"):
                sys.memfd_create(name)
            machine.strace(out=file.open("w"), to_file=True)
            p = Program(sys)
            case(p)
            p.leave()

        machine.run(main)
        machine.strace(False)
    return file.read_text().splitlines()


def by_task(lines: list[str]) -> dict[int, list[str]]:
    """The lines of each task, the tasks numbered as they appear; calls put together again."""
    numbers: dict[str, int] = {}
    told: dict[int, list[str]] = {}
    for line in lines:
        pid, text = line.split(maxsplit=1)
        mine = told.setdefault(numbers.setdefault(pid, len(numbers)), [])
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = mine.pop() + text[resumed.end() :]
        mine.append(text.removesuffix(" <unfinished ...>") if "= " not in text else text)
    # The C library's own calls, and the return from a handler, which is no call here.
    return {
        number: [alike(text, numbers) for text in texts if not text.startswith("rt_sig")]
        for number, texts in told.items()
    }


def alike(text: str, pids: dict[str, int]) -> str:
    text = re.sub(
        r"\b\d+\b", lambda number: f"PID{pids[number[0]]}" if number[0] in pids else number[0], text
    )
    text = re.sub(r"child_stack=\w+", "child_stack=STACK", text)
    text = re.sub(r"0x[0-9a-f]{4,}", "ADDRESS", text)
    text = re.sub(r"tv_(sec=8, tv_n|u)sec=\d+", r"tv_\1sec=TIME", text)
    return re.sub(r"\) +=", ") =", text)


@pytest.mark.parametrize("name", CASES)
def test_tasks_are_told_of_as_the_real_strace_did(name: str, tmp_path: Path) -> None:
    assert by_task(traced(CASES[name], tmp_path / "trace")) == by_task(RECORDED[name])


def test_every_recorded_case_is_played() -> None:
    assert set(RECORDED) == set(CASES)
