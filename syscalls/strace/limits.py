"""Arguments of getrlimit, setrlimit and prlimit64."""

from __future__ import annotations

from numalab.kernel.task import RLIM_INFINITY
from numalab.syscalls.kinds import Kind
from numalab.syscalls.strace.forms import after, one_of, structure
from numalab.syscalls.strace.view import Show

__all__ = ["SHOW"]

_RESOURCES = {
    i: f"RLIMIT_{name}" for i, name in enumerate((
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
        "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"))
}  # fmt: skip


def _limit(value: int) -> str:
    """A limit, in units of 1024 where that is exact."""
    if value == RLIM_INFINITY:
        return "RLIM64_INFINITY"
    return f"{value >> 10}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def _rlimit(soft: int, hard: int) -> str:
    return f"{{rlim_cur={_limit(soft)}, rlim_max={_limit(hard)}}}"


SHOW: dict[Kind, Show] = {
    Kind.RESOURCE: one_of(_RESOURCES, "RLIMIT_???"),
    Kind.RLIMIT: structure("QQ", _rlimit),
    Kind.RLIMIT_OUT: after(structure("QQ", _rlimit)),
}
