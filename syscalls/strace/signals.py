"""Signals: their names as arguments, what arrives as a line of its own, and how a task ended."""

from __future__ import annotations

from numalab.kernel.signal import (
    CLD_EXITED,
    CLD_KILLED,
    SI_KERNEL,
    SI_USER,
    SIGBUS,
    SIGCHLD,
    SIGSEGV,
    SigInfo,
    signal_name,
)
from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import pointer
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW", "ending", "siginfo", "signal_number"]

_CODES = {
    SIGSEGV: {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 3: "SEGV_BNDERR", 4: "SEGV_PKUERR"},
    SIGBUS: {1: "BUS_ADRALN", 2: "BUS_ADRERR", 3: "BUS_OBJERR", 4: "BUS_MCEERR_AR", 5: "BUS_MCEERR_AO"},
    SIGCHLD: {CLD_EXITED: "CLD_EXITED", CLD_KILLED: "CLD_KILLED"},
}  # fmt: skip
_ANY_CODE = {SI_USER: "SI_USER", SI_KERNEL: "SI_KERNEL"}


def signal_number(sig: int) -> str:
    """A signal as a number has it: what is none stays a number."""
    return signal_name(sig) if 0 < sig <= 64 else str(sig)


def _signal(view: View, arg: Arg, value: int) -> str:
    return signal_number(value)


def siginfo(info: SigInfo) -> str:
    """The line for a signal that arrives: who sent it, or which child ended how, or which address was at fault."""
    codes = {**_ANY_CODE, **_CODES.get(info.signo, {})}
    fields = [f"si_signo={signal_name(info.signo)}", f"si_code={codes.get(info.code, info.code)}"]
    if info.code == SI_USER:
        fields += [f"si_pid={info.pid}", f"si_uid={info.uid}"]
    elif info.signo == SIGCHLD:
        status = signal_name(info.status) if info.code == CLD_KILLED else info.status
        fields += [
            f"si_pid={info.pid}",
            f"si_uid={info.uid}",
            f"si_status={status}",
            "si_utime=0",
            "si_stime=0",
        ]
    elif info.signo in (SIGSEGV, SIGBUS):
        fields.append(f"si_addr={pointer(info.addr)}")
    return f"--- {signal_name(info.signo)} {{{', '.join(fields)}}} ---"


def ending(code: int) -> str:
    """The line for a task that has ended, with an exit code as wait4 reports it."""
    signum = code & 0x7F
    how = f"killed by {signal_name(signum)}" if signum else f"exited with {code >> 8}"
    return f"+++ {how} +++"


SHOW: dict[Kind, Show] = {Kind.SIGNAL: _signal}
