"""Each call is printed as the real strace printed it, byte for byte.

A handler that does what the host's kernel did takes the place of ours, so that only the text is compared.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import numalab
from numalab import abi
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.syscalls.entry import do_syscall
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME, TABLE
from numalab.syscalls.uaccess import copy_to_user

from tests.golden.strace.calls import CALLS, NONE, PAGE, Call, M, P

RECORDED = Path(__file__).with_name("calls.txt").read_text(encoding="utf-8").splitlines()
LINES, EFFECTS = RECORDED[::2], RECORDED[1::2]
NAMES = list(dict.fromkeys(str(call.name) for call in CALLS))
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
# Names that strace got after 6.1.
NEWER = {
    "0x6 /* MPOL_??? */": "MPOL_WEIGHTED_INTERLEAVE",
    "0x8 /* MFD_??? */": "MFD_NOEXEC_SEAL",
    "0x10 /* MFD_??? */": "MFD_EXEC",
    "MFD_HUGETLB|0x3fffff8|": "MFD_HUGETLB|MFD_NOEXEC_SEAL|MFD_EXEC|0x3ffffe0|",
}  # fmt: skip


def today(line: str) -> str:
    """A recorded line as a strace of today would print it."""
    for old, new in NEWER.items():
        if old in line:
            call, _, result = line.replace(old, new).rpartition(" = ")
            line = f"{call.rstrip():<39} = {result}"
    return line


def play(sys: Sys, k: Kernel, call: Call, effect: str) -> None:
    """Make a call that has the recorded effect."""
    sys.memory.write(M, call.memory.ljust(PAGE, b"\0"))
    result, *stored = effect.split()

    def handler(k: Kernel, task: Task, *args: int) -> int:
        for at, data in zip(stored[::2], stored[1::2], strict=True):
            copy_to_user(task, M + int(at.removeprefix("@")), bytes.fromhex(data))
        return int(result)

    number = BY_NAME[call.name].number if isinstance(call.name, str) else call.name
    do_syscall(k, sys.task, number, call.args, handler)


@pytest.fixture(scope="module")
def ours() -> Iterator[list[str]]:
    """What our tracer prints for all of them."""
    with numalab.boot("dual") as machine:
        out = io.StringIO()

        def main(sys: Sys) -> None:
            sys.mmap(2 * PAGE, flags=FIXED, addr=P)
            sys.memory.touch(P)
            sys.mmap(PAGE, flags=FIXED, addr=M)
            sys.mmap(PAGE, prot=abi.PROT_NONE, flags=FIXED, addr=NONE)
            machine.strace(out=out)
            for call, effect in zip(CALLS, EFFECTS, strict=True):
                play(sys, machine.kernel, call, effect)
            machine.strace(False)

        machine.run(main)
        yield out.getvalue().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_those_of_the_real_strace(ours: list[str], name: str) -> None:
    mine = [i for i, call in enumerate(CALLS) if str(call.name) == name]
    assert [ours[i] for i in mine] == [today(LINES[i]) for i in mine]


def test_every_call_of_the_table_was_recorded_here_or_among_the_processes() -> None:
    among_processes = {"exit", "exit_group", "fork", "vfork", "getpid", "getppid", "gettid"}
    assert {row.name for row in TABLE} - among_processes == set(NAMES) & set(BY_NAME)
