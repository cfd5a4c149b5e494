"""Arguments of clone and clone3."""

from __future__ import annotations

import struct

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import Names, all_of, array, hexadecimal, pointer
from numalab.syscalls.strace.signals import signal_number
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW"]

_CSIGNAL = 0xFF
_PIDFD, _SETTLS, _PARENT_SETTID = 0x1000, 0x80000, 0x100000
_CHILD_CLEARTID, _CHILD_SETTID, _INTO_CGROUP = 0x200000, 0x1000000, 0x200000000
_CLONE: Names = [
    (0x100, "CLONE_VM"), (0x200, "CLONE_FS"), (0x400, "CLONE_FILES"), (0x800, "CLONE_SIGHAND"), (_PIDFD, "CLONE_PIDFD"),
    (0x2000, "CLONE_PTRACE"), (0x4000, "CLONE_VFORK"), (0x8000, "CLONE_PARENT"), (0x10000, "CLONE_THREAD"),
    (0x20000, "CLONE_NEWNS"), (0x40000, "CLONE_SYSVSEM"), (_SETTLS, "CLONE_SETTLS"),
    (_PARENT_SETTID, "CLONE_PARENT_SETTID"), (_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"), (0x800000, "CLONE_UNTRACED"),
    (_CHILD_SETTID, "CLONE_CHILD_SETTID"), (0x2000000, "CLONE_NEWCGROUP"), (0x4000000, "CLONE_NEWUTS"),
    (0x8000000, "CLONE_NEWIPC"), (0x10000000, "CLONE_NEWUSER"), (0x20000000, "CLONE_NEWPID"),
    (0x40000000, "CLONE_NEWNET"), (0x80000000, "CLONE_IO"),
]  # fmt: skip
_CLONE3: Names = [*_CLONE, (0x100000000, "CLONE_CLEAR_SIGHAND"), (_INTO_CGROUP, "CLONE_INTO_CGROUP")]
_ARGS_SIZE_VER0 = 64
_ARGS_SIZE = 88


def _clone(view: View, arg: Arg, flags: int) -> str:
    """All arguments of clone(2), by name: those that the flags ask for."""
    stack, parent_tid, child_tid, tls = view.raw[1:5]
    signal = [signal_number(flags & _CSIGNAL)] if flags & _CSIGNAL else []
    words = "|".join([*all_of(flags & ~_CSIGNAL, _CLONE), *signal]) or "0"
    parts = [f"child_stack={pointer(stack)}", f"flags={words}"]
    if flags & (_PARENT_SETTID | _PIDFD):
        parts.append(f"parent_tid={pointer(parent_tid)}")
    if flags & _SETTLS:
        parts.append(f"tls={pointer(tls)}")
    if flags & (_CHILD_SETTID | _CHILD_CLEARTID):
        parts.append(f"child_tidptr={pointer(child_tid)}")
    return ", ".join(parts)


def _nothing(view: View, arg: Arg, value: int) -> str:
    """What is printed together with the flags."""
    return ""


def _clone_args(view: View, arg: Arg, addr: int) -> str:
    """struct clone_args, as much of it as there is."""
    size = view.count(arg)
    data = view.peek(addr, min(size, _ARGS_SIZE)) if size >= _ARGS_SIZE_VER0 else None
    if data is None:
        return pointer(addr)
    (flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
     cgroup) = struct.unpack("<11Q", data.ljust(_ARGS_SIZE, b"\0"))  # fmt: skip
    parts = [f"flags={'|'.join(all_of(flags, _CLONE3)) or '0'}"]
    if flags & _PIDFD:
        parts.append(f"pidfd={pointer(pidfd)}")
    if flags & (_CHILD_SETTID | _CHILD_CLEARTID):
        parts.append(f"child_tid={pointer(child_tid)}")
    if flags & _PARENT_SETTID:
        parts.append(f"parent_tid={pointer(parent_tid)}")
    parts.append(f"exit_signal={signal_number(exit_signal)}")
    parts += [f"stack={pointer(stack)}", f"stack_size={hexadecimal(stack_size)}"]
    if flags & _SETTLS:
        parts.append(f"tls={pointer(tls)}")
    if set_tid or set_tid_size:
        parts += [f"set_tid={array(view, set_tid, set_tid_size, 'i', str)}", f"set_tid_size={set_tid_size}"]
    if flags & _INTO_CGROUP or cgroup:
        parts.append(f"cgroup={cgroup}")
    return "{" + ", ".join(parts) + "}"


SHOW: dict[Kind, Show] = {
    Kind.CLONE_FLAGS: _clone,
    Kind.CLONE_ARG: _nothing,
    Kind.CLONE_ARGS: _clone_args,
}
