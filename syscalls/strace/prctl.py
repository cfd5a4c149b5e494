"""Arguments of prctl: how many there are, and what they are, depends on the first."""

from __future__ import annotations

from collections.abc import Callable

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import hexadecimal, one_of, pointer, text_at
from numalab.syscalls.strace.view import Show, View

__all__ = ["DUMPABLE", "GET_DUMPABLE", "GET_NAME", "SHOW"]

GET_DUMPABLE, GET_NAME = 3, 16
# Each option and the forms of its arguments, a letter each (`_FORMS`); others have four in hex.
_OPTIONS = {
    2: ("PR_GET_PDEATHSIG", "p"), 3: ("PR_GET_DUMPABLE", ""), 4: ("PR_SET_DUMPABLE", "c"), 5: ("PR_GET_UNALIGN", "p"),
    7: ("PR_GET_KEEPCAPS", ""), 8: ("PR_SET_KEEPCAPS", "d"), 9: ("PR_GET_FPEMU", "p"), 10: ("PR_SET_FPEMU", "d"),
    11: ("PR_GET_FPEXC", "p"), 12: ("PR_SET_FPEXC", "d"), 13: ("PR_GET_TIMING", ""), 14: ("PR_SET_TIMING", "d"),
    15: ("PR_SET_NAME", "s"), 16: ("PR_GET_NAME", "s"), 19: ("PR_GET_ENDIAN", "p"), 20: ("PR_SET_ENDIAN", "d"),
    21: ("PR_GET_SECCOMP", ""), 25: ("PR_GET_TSC", "p"), 27: ("PR_GET_SECUREBITS", ""), 29: ("PR_SET_TIMERSLACK", "d"),
    30: ("PR_GET_TIMERSLACK", ""), 31: ("PR_TASK_PERF_EVENTS_DISABLE", ""), 32: ("PR_TASK_PERF_EVENTS_ENABLE", ""),
    34: ("PR_MCE_KILL_GET", "xxxx"), 37: ("PR_GET_CHILD_SUBREAPER", "p"), 39: ("PR_GET_NO_NEW_PRIVS", "xxxx"),
    40: ("PR_GET_TID_ADDRESS", "p"), 41: ("PR_SET_THP_DISABLE", "dxxx"), 42: ("PR_GET_THP_DISABLE", "xxxx"),
}  # fmt: skip
_option = one_of({number: name for number, (name, _) in _OPTIONS.items()}, "PR_???")
_NAME_BYTES = 15

DUMPABLE = {0: "SUID_DUMP_DISABLE", 1: "SUID_DUMP_USER", 2: "SUID_DUMP_ROOT"}


def _name(view: View, arg: Arg, addr: int) -> str:
    """The name of a task: 15 bytes, with a NUL behind them only if the call has filled it in."""
    if view.failed:
        return pointer(addr)
    return text_at(view, addr, _NAME_BYTES, ended=view.raw[0] == GET_NAME)


_FORMS: dict[str, Callable[[View, Arg, int], str]] = {
    "d": lambda view, arg, value: str(value),
    "x": lambda view, arg, value: hexadecimal(value),
    "p": lambda view, arg, value: pointer(value),
    "c": one_of(DUMPABLE, "SUID_DUMP_???", bits=64),
    "s": _name,
}


def _arg(view: View, arg: Arg, value: int) -> str:
    """An argument in the form that the option has for it, nothing if it has none."""
    forms = _OPTIONS.get(view.raw[0], ("", "xxxx"))[1]
    index = int(arg.name.removeprefix("arg")) - 2
    return _FORMS[forms[index]](view, arg, value) if index < len(forms) else ""


SHOW: dict[Kind, Show] = {Kind.PRCTL_OPTION: _option, Kind.PRCTL_ARG: _arg}
