"""Records what the real strace prints: run it on a Linux host that has strace and a C compiler.

    python -m tests.golden.strace.record

It writes `calls.txt`, for each call of `calls.py` strace's line, and indented under it what the host's kernel did: the
number it returned and the bytes it stored at M, so that the test needs no kernel that does the same; and
`processes.txt`, what the cases of `processes.c` look like.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from numalab.syscalls.table import BY_NAME

from tests.golden.strace.calls import CALLS, CONTENT, DIR, FILE, HOLE, NONE, PAGE, M, P

MARK = 0x10000
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_LIBC.mmap.restype = ctypes.c_void_p
_PRIVATE, _ANONYMOUS, _NOREPLACE = 2, 0x20, 0x100000
HERE = Path(__file__).parent


def _map(addr: int, size: int, prot: int) -> None:
    flags = _PRIVATE | _ANONYMOUS | _NOREPLACE
    found = _LIBC.mmap(ctypes.c_void_p(addr), ctypes.c_size_t(size), prot, flags, -1, ctypes.c_long(0))
    assert found == addr, f"{addr:#x} is taken"


def _lay_out() -> None:
    """The pages that a call expects; HOLE is cleared, whatever the last call has put there."""
    for addr, size, prot in ((P, 2 * PAGE, 3), (M, PAGE, 3), (NONE, PAGE, 0), (HOLE, 2 * PAGE, 0)):
        _LIBC.munmap(ctypes.c_void_p(addr), ctypes.c_size_t(size))
        if addr != HOLE:
            _map(addr, size, prot)
    ctypes.memset(P, 1, 1)  # the first page is there, the second is not


def play() -> None:
    """The half that strace watches: make the calls, each between two that it can be found by; write what they did."""
    gc.disable()
    file = os.memfd_create("file")
    os.write(file, CONTENT)
    os.lseek(file, 0, os.SEEK_SET)
    os.dup2(file, FILE)
    os.mkdir("empty")
    os.dup2(os.open("empty", os.O_RDONLY), DIR)
    for number, call in enumerate(CALLS):
        _lay_out()
        before = call.memory.ljust(PAGE, b"\0")
        ctypes.memmove(M, before, PAGE)
        nr = BY_NAME[call.name].number if isinstance(call.name, str) else call.name
        registers = [ctypes.c_long(arg if arg < 1 << 63 else arg - (1 << 64)) for arg in (nr, *call.args)]
        registers += [ctypes.c_long(0)] * (7 - len(registers))
        mark = ctypes.c_long(MARK + number)
        _LIBC.syscall(mark)
        result = _LIBC.syscall(*registers)
        error = ctypes.get_errno()
        _LIBC.syscall(mark)
        after = ctypes.string_at(M, PAGE)
        changed = [i for i in range(PAGE) if after[i] != before[i]]
        stored = []
        while changed:
            end = next((i for i in range(changed[0], PAGE) if i not in set(changed)), PAGE)
            stored.append(f"@{changed[0]} {after[changed[0] : end].hex()}")
            changed = [i for i in changed if i >= end]
        sys.stdout.write(" ".join([str(-error if result == -1 else result), *stored]) + "\n")
        sys.stdout.flush()


def record_calls() -> str:
    """The text of calls.txt."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        root = str(HERE.parents[2])
        command = ["strace", "-o", str(trace), sys.executable, "-m", "tests.golden.strace.record", "play"]
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONMALLOC": "malloc"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        effects = done.stdout.splitlines()
        lines = trace.read_text(errors="surrogateescape").splitlines()
    text = []
    for number, (call, effect) in enumerate(zip(CALLS, effects, strict=True)):
        name = call.name if isinstance(call.name, str) else f"syscall_{call.name:#x}"
        begin, end = (i for i, line in enumerate(lines) if line.startswith(f"syscall_{MARK + number:#x}("))
        [line] = [line for line in lines[begin + 1 : end] if re.match(re.escape(name) + r"\(", line)]
        text.append(f"{line}\n    {effect}\n")
    return "".join(text)


def record_processes() -> str:
    """The text of processes.txt: each case under its name, without what the C library does first and last."""
    text = []
    with tempfile.TemporaryDirectory() as folder:
        program, trace = Path(folder) / "processes", Path(folder) / "trace"
        source = HERE / "processes.c"
        subprocess.run(["cc", "-O0", "-static", "-o", str(program), str(source)], check=True)
        for name in re.findall(r'strcmp\(name, "(.*?)"\)', source.read_text()):
            command = ["strace", "-f", "-o", str(trace), str(program), name]
            subprocess.run(command, check=False, capture_output=True, start_new_session=True)
            lines = trace.read_text().splitlines()
            begin = next(i for i, line in enumerate(lines) if f"syscall_{MARK:#x}(" in line)
            text += [f"{name}:", *(f"    {line}" for line in lines[begin + 1 :])]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["play"]:
        play()
    else:
        (HERE / "calls.txt").write_text(record_calls())
        (HERE / "processes.txt").write_text(record_processes())
