"""Kinds of system call arguments: how each is converted to what the handler gets, and how a tracer prints it.

Mirrors the C types in the SYSCALL_DEFINE lines of Linux.  A row of the table writes its arguments as one line,
`addr:addr length:size mode:mpol_mode nodemask:nodemask@maxnode maxnode:ulong flags:mbind_flags`: name, kind, and after
an `@` the argument that says how large the thing is that a pointer points to.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Arg", "Kind", "convert", "parse_args"]


class Kind(enum.StrEnum):
    """What an argument means. Those that end in _out are pointers to what the call fills in.

    Three things go by the kind: the C type a register is converted to (`convert()` below), what a Python value for it
    becomes in memory (`marshal.py`), and how it is printed (`strace/kinds.py`).  A new kind needs a row in each that
    applies; a test sees to it that none is forgotten.
    """

    # plain numbers
    INT = "int"
    UINT = "uint"
    LONG = "long"
    ULONG = "ulong"
    HEX = "hex"
    HEX32 = "hex32"
    SIZE = "size"
    ADDR = "addr"
    FD = "fd"
    DIRFD = "dirfd"
    PID = "pid"
    UID = "uid"
    LENGTH = "length"
    # flag words and enumerations
    PROT = "prot"
    MAP_FLAGS = "map_flags"
    MREMAP_FLAGS = "mremap_flags"
    ADVICE = "advice"
    MLOCK_FLAGS = "mlock_flags"
    MCL_FLAGS = "mcl_flags"
    MPOL_MODE = "mpol_mode"
    MBIND_FLAGS = "mbind_flags"
    MOVE_FLAGS = "move_flags"
    GETPOL_FLAGS = "getpol_flags"
    OPEN_FLAGS = "open_flags"
    OPEN_MODE = "open_mode"
    DUP3_FLAGS = "dup3_flags"
    FILE_MODE = "file_mode"
    WHENCE = "whence"
    AT_FLAGS = "at_flags"
    MS_FLAGS = "ms_flags"
    FALLOC_MODE = "falloc_mode"
    MFD_FLAGS = "mfd_flags"
    PIDFD_FLAGS = "pidfd_flags"
    SPLICE_FLAGS = "splice_flags"
    MOUNT_FLAGS = "mount_flags"
    SWAP_FLAGS = "swap_flags"
    CLONE_FLAGS = "clone_flags"
    CLONE_ARG = "clone_arg"
    UMOUNT_FLAGS = "umount_flags"
    WAIT_OPTIONS = "wait_options"
    SIGNAL = "signal"
    CLOCK = "clock"
    RESOURCE = "resource"
    RUSAGE_WHO = "rusage_who"
    PRCTL_OPTION = "prctl_option"
    PRCTL_ARG = "prctl_arg"
    # pointers
    PATH = "path"
    STRING = "string"
    STRINGS = "strings"
    ENVIRONMENT = "environment"
    MREMAP_ADDR = "mremap_addr"
    MOUNT_TYPE = "mount_type"
    MOUNT_DATA = "mount_data"
    BUF = "buf"
    BUF_OUT = "buf_out"
    DIRENTS_OUT = "dirents_out"
    IOVEC = "iovec"
    REMOTE_IOVEC = "remote_iovec"
    NODEMASK = "nodemask"
    NODEMASK_OUT = "nodemask_out"
    MODE_OUT = "mode_out"
    PAGES = "pages"
    NODES = "nodes"
    STATUS_OUT = "status_out"
    VEC_OUT = "vec_out"
    CPUMASK = "cpumask"
    CPUMASK_OUT = "cpumask_out"
    UINT_OUT = "uint_out"
    PIPE_OUT = "pipe_out"
    WSTATUS_OUT = "wstatus_out"
    CLONE_ARGS = "clone_args"
    CAP_HEADER = "cap_header"
    CAP_DATA = "cap_data"
    CAP_DATA_OUT = "cap_data_out"
    TIMESPEC = "timespec"
    TIMESPEC_OUT = "timespec_out"
    REMAIN_OUT = "remain_out"
    RLIMIT = "rlimit"
    RLIMIT_OUT = "rlimit_out"
    RUSAGE_OUT = "rusage_out"
    STAT_OUT = "stat_out"


_SIGNED_32 = frozenset({Kind.INT, Kind.FD, Kind.DIRFD, Kind.PID, Kind.MPOL_MODE, Kind.ADVICE, Kind.SIGNAL, Kind.CLOCK,
                        Kind.RUSAGE_WHO, Kind.PRCTL_OPTION, Kind.AT_FLAGS, Kind.MS_FLAGS,
                        Kind.UMOUNT_FLAGS, Kind.FALLOC_MODE})  # fmt: skip
_UNSIGNED_32 = frozenset({Kind.UINT, Kind.HEX32, Kind.UID, Kind.MBIND_FLAGS, Kind.MOVE_FLAGS, Kind.MLOCK_FLAGS,
                          Kind.MCL_FLAGS, Kind.WAIT_OPTIONS, Kind.WHENCE, Kind.RESOURCE, Kind.OPEN_FLAGS,
                          Kind.OPEN_MODE, Kind.FILE_MODE, Kind.DUP3_FLAGS, Kind.MFD_FLAGS, Kind.PIDFD_FLAGS,
                          Kind.SPLICE_FLAGS, Kind.SWAP_FLAGS})  # fmt: skip
_SIGNED_64 = frozenset({Kind.LONG, Kind.LENGTH})


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument. size_in: the number of the argument that counts what this one points to, -1 = none."""

    name: str
    kind: Kind
    size_in: int = -1


def parse_args(spec: str) -> tuple[Arg, ...]:
    """The arguments that a row of the table names. Raises ValueError for an unknown kind or name."""
    words = [word.replace("@", ":").split(":") for word in spec.split()]
    names = [word[0] for word in words]
    return tuple(
        Arg(name, Kind(kind), names.index(link[0]) if link else -1) for name, kind, *link in words
    )  # fmt: skip


def convert(kind: Kind, raw: int) -> int:
    """A register's 64 bits as the C type of the argument: 32 or 64 bits, signed or not."""
    if kind in _SIGNED_32:
        raw &= 0xFFFFFFFF
        return raw - (1 << 32) if raw >> 31 else raw
    if kind in _UNSIGNED_32:
        return raw & 0xFFFFFFFF
    if kind in _SIGNED_64:
        return raw - (1 << 64) if raw >> 63 else raw
    return raw
