"""Arguments of wait4, getrusage, execve, sched_setaffinity, nanosleep, and of calls that say who and when."""

from __future__ import annotations

import struct

from numalab.arch.errno import EINTR
from numalab.kernel.signal import signal_name
from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import (
    Names,
    after,
    at_address,
    flags,
    one_of,
    pointer,
    string,
    structure,
)
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW"]

_WAIT: Names = [(1, "WNOHANG"), (4, "WEXITED"), (2, "WSTOPPED"), (8, "WCONTINUED"), (0x01000000, "WNOWAIT"),
                (0x80000000, "__WCLONE"), (0x40000000, "__WALL"), (0x20000000, "__WNOTHREAD")]  # fmt: skip
_CLOCKS = {
    i: f"CLOCK_{name}" for i, name in enumerate((
        "REALTIME", "MONOTONIC", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID", "MONOTONIC_RAW", "REALTIME_COARSE",
        "MONOTONIC_COARSE", "BOOTTIME", "REALTIME_ALARM", "BOOTTIME_ALARM", "SGI_CYCLE", "TAI"))
}  # fmt: skip
_RUSAGE_WHO = {0: "RUSAGE_SELF", -1: "RUSAGE_CHILDREN", 1: "RUSAGE_THREAD", -2: "RUSAGE_BOTH"}
_PIDFD: Names = [(0o4000, "PIDFD_NONBLOCK")]
_MOST_STRINGS = 32
_MOST_CPU_BYTES = 128


def _wait_status(status: int) -> str:
    """A status word as the macros of wait(2) take it apart."""
    signum = status & 0x7F
    if signum:
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(signum)}}}]"
    return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8}}}]"


def _nobody_ended(view: View) -> bool:
    """Whether wait4 came back without a child (WNOHANG), and so stored nothing."""
    return view.row.name == "wait4" and not view.result


def _wstatus(view: View, arg: Arg, addr: int) -> str:
    return pointer(addr) if _nobody_ended(view) else at_address(view, addr, "i", _wait_status)


def _rusage(view: View, arg: Arg, addr: int) -> str:
    """struct rusage, abbreviated to the times."""

    def text(*times: int) -> str:
        user, system = (f"{{tv_sec={times[i]}, tv_usec={times[i + 1]}}}" for i in (0, 2))
        return f"{{ru_utime={user}, ru_stime={system}, ...}}"

    return pointer(addr) if _nobody_ended(view) else at_address(view, addr, "4q", text)


def _timespec(sec: int, nsec: int) -> str:
    return f"{{tv_sec={sec}, tv_nsec={nsec}}}"


def _remaining(view: View, arg: Arg, addr: int) -> str:
    """What nanosleep stores only if it was interrupted."""
    return at_address(view, addr, "qQ", _timespec) if view.result == -EINTR else pointer(addr)


def _cpumask(view: View, arg: Arg, addr: int) -> str:
    """A CPU mask as a list of numbers; of what the kernel stored only as many bytes as it said."""
    size = view.result if arg.kind is Kind.CPUMASK_OUT and view.result is not None else view.count(arg)
    data = view.peek(addr, min(size, _MOST_CPU_BYTES)) if addr else None
    if data is None:
        return pointer(addr)
    mask = int.from_bytes(data, "little")
    cpus = [str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1]
    return "[" + " ".join([*cpus, *(["..."] if size > _MOST_CPU_BYTES else [])]) + "]"


def _strings(view: View, arg: Arg, addr: int) -> str:
    """argv: strings up to a NULL."""
    parts: list[str] = []
    for at in range(addr, addr + 8 * _MOST_STRINGS, 8):
        data = view.peek(at, 8)
        if data is None:
            return f"[{', '.join([*parts, f'... /* {at:#x} */'])}]" if parts else pointer(addr)
        [each] = struct.unpack("<Q", data)
        if not each:
            return f"[{', '.join(parts)}]"
        parts.append(string(view, arg, each))
    after_last = view.peek(addr + 8 * _MOST_STRINGS, 8)
    return f"[{', '.join(parts)}{'' if after_last == bytes(8) else ', ...'}]"


def _environment(view: View, arg: Arg, addr: int) -> str:
    """envp: how many strings it has."""
    if not addr:
        return "NULL"
    count, ended = 0, ""
    while (data := view.peek(addr + 8 * count, 8)) != bytes(8):
        if data is None:
            ended = ", unterminated"
            break
        count += 1
    if ended and not count:
        return pointer(addr)
    return f"{addr:#x} /* {count} var{'' if count == 1 else 's'}{ended} */"


SHOW: dict[Kind, Show] = {
    Kind.WAIT_OPTIONS: flags(_WAIT, "W???"),
    Kind.WSTATUS_OUT: after(_wstatus),
    Kind.RUSAGE_WHO: one_of(_RUSAGE_WHO, "RUSAGE_???"),
    Kind.RUSAGE_OUT: after(_rusage),
    Kind.PIDFD_FLAGS: flags(_PIDFD, "PIDFD_???"),
    Kind.STRINGS: _strings,
    Kind.ENVIRONMENT: _environment,
    Kind.CPUMASK: _cpumask,
    Kind.CPUMASK_OUT: after(_cpumask),
    Kind.CLOCK: one_of(_CLOCKS, "CLOCK_???"),
    Kind.TIMESPEC: structure("qQ", _timespec),
    Kind.TIMESPEC_OUT: after(structure("qQ", _timespec)),
    Kind.REMAIN_OUT: _remaining,
}
