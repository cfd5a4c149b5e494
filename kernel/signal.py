"""Signals: numbers, default actions, dispositions.

Mirrors include/linux/signal.h and the tables of kernel/signal.c; man page signal(7).  Sending one is in `kill.py`;
what a pending one does (run a handler, or end the task) is decided in `exit.py` when the task returns to its program.

Deliberately different: no masks (a pending signal is one bit and is always deliverable), no job control
(stop signals are ignored), real-time signals behave as ordinary ones, and a handler is a Python function.
A handler that raises leaves the interrupted call by that exception, which is what siglongjmp() is to a
C program.
"""

from __future__ import annotations

import enum
import signal as host
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "CLD_EXITED", "CLD_KILLED", "NSIG", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGINT", "SIGKILL", "SIGPIPE", "SIGSEGV",
    "SIGSTOP", "SIGTERM", "SI_KERNEL", "SI_USER", "Disposition", "Handler", "SigHand", "SigInfo", "is_fatal",
    "signal_name",
]  # fmt: skip

NSIG = 64
SIGINT, SIGBUS, SIGKILL, SIGSEGV, SIGPIPE, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP = (
    2,
    7,
    9,
    11,
    13,
    15,
    17,
    18,
    19,
)
SI_USER, SI_KERNEL = 0, 0x80
CLD_EXITED, CLD_KILLED = 1, 2
_IGNORED_BY_DEFAULT = frozenset({SIGCHLD, SIGCONT, 23, 28})  # and SIGURG, SIGWINCH
_STOPS = frozenset({SIGSTOP, 20, 21, 22})  # SIGTSTP, SIGTTIN, SIGTTOU


class Disposition(enum.Enum):
    """What a process has asked to be done with a signal, other than calling a handler."""

    SIG_DFL = 0
    SIG_IGN = 1


@dataclass(frozen=True, slots=True)
class SigInfo:
    """siginfo_t: what a handler is told.

    code: SI_USER, SEGV_MAPERR, ...  addr: the faulting address of SIGSEGV and SIGBUS.  pid, uid: who sent it, or the
    child that SIGCHLD is about, and status how that child has ended.
    """

    signo: int
    code: int = 0
    addr: int = 0
    pid: int = 0
    uid: int = 0
    status: int = 0


Handler = Callable[[int, SigInfo], object]


@dataclass
class SigHand:
    """struct sighand_struct: the dispositions of a process, shared by its threads. Absent = SIG_DFL."""

    action: dict[int, Disposition | Handler] = field(default_factory=dict)

    def copy(self) -> SigHand:
        return SigHand(dict(self.action))

    def flush_handlers(self) -> None:
        """flush_signal_handlers() at execve(): handlers are gone with the program, ignored signals stay ignored."""
        self.action = {sig: act for sig, act in self.action.items() if act is Disposition.SIG_IGN}


def signal_name(sig: int) -> str:
    """`SIGKILL` for 9; of the real-time ones SIGRTMIN for 32 and `SIGRT_n` for those above, as strace has it."""
    if sig >= 32:
        return f"SIGRT_{sig - 32}" if sig > 32 else "SIGRTMIN"
    try:
        return host.Signals(sig).name
    except ValueError:
        return f"SIG_{sig}"


def is_fatal(sig: int) -> bool:
    """Whether the default action of a signal ends the process."""
    return sig not in _IGNORED_BY_DEFAULT and sig not in _STOPS
