"""For each kind of argument, the decoder that prints it."""

from __future__ import annotations

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace import clone, cred, files, limits, mem, mounts, numa, prctl, process, signals
from numalab.syscalls.strace.forms import address, decimal, hexadecimal
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW", "show"]


def _hexadecimal(view: View, arg: Arg, value: int) -> str:
    return hexadecimal(value)


SHOW: dict[Kind, Show] = {
    Kind.INT: decimal,
    Kind.UINT: decimal,
    Kind.LONG: decimal,
    Kind.ULONG: decimal,
    Kind.SIZE: decimal,
    Kind.FD: decimal,
    Kind.PID: decimal,
    Kind.HEX: _hexadecimal,
    Kind.HEX32: _hexadecimal,
    Kind.ADDR: address,
}
for _family in (numa, mem, files, mounts, process, clone, prctl, cred, limits, signals):
    SHOW |= _family.SHOW


def show(view: View, index: int) -> str:
    """One argument of a call as strace prints it; nothing if it means nothing in this call."""
    arg = view.row.args[index]
    return SHOW[arg.kind](view, arg, view.value(index))
