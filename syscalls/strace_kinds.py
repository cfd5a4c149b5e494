"""How strace prints each kind of argument.

Mirrors strace's own decoders (numa.c, mem.c, sched.c, capability.c, ...): flag words by name with unknown bits in hex
behind them, masks as words of 16 digits in brackets, arrays of at most 32 elements, strings of at most 32 bytes.

Each decoder takes a View of the call, the argument, and its value; `_SHOW` at the end says which kind has which.  A
decoder for what the call fills in is wrapped in `_after()`: if the call failed, only the address is shown.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numalab.arch.errno import errno_name
from numalab.kernel.cred import Cap
from numalab.kernel.signal import signal_name
from numalab.kernel.task import RLIM_INFINITY, Task
from numalab.syscalls.kinds import Arg, Kind, convert
from numalab.syscalls.peek import peek
from numalab.syscalls.table import Syscall

__all__ = ["View", "show"]

_MOST_ELEMENTS = 32
_MOST_BYTES = 32
_ULONG_MAX = (1 << 64) - 1

Names = Sequence[tuple[int, str]]

_PROT: Names = [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (8, "PROT_SEM"),
                (0x01000000, "PROT_GROWSDOWN"), (0x02000000, "PROT_GROWSUP")]  # fmt: skip
_MAP: Names = [
    (0x40, "MAP_32BIT"), (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"), (0x10000, "MAP_NONBLOCK"), (0x100, "MAP_GROWSDOWN"), (0x800, "MAP_DENYWRITE"),
    (0x1000, "MAP_EXECUTABLE"), (0x2000, "MAP_LOCKED"), (0x20000, "MAP_STACK"), (0x40000, "MAP_HUGETLB"),
    (0x80000, "MAP_SYNC"), (0x100000, "MAP_FIXED_NOREPLACE"),
]  # fmt: skip
_MAP_TYPES = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
_MREMAP_FIXED, _MREMAP_DONTUNMAP = 2, 4
_MREMAP: Names = [(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")]
_MLOCK: Names = [(1, "MLOCK_ONFAULT")]
_MCL: Names = [(1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT")]
_MBIND: Names = [(1, "MPOL_MF_STRICT"), (2, "MPOL_MF_MOVE"), (4, "MPOL_MF_MOVE_ALL")]
_GETPOL: Names = [(1, "MPOL_F_NODE"), (2, "MPOL_F_ADDR"), (4, "MPOL_F_MEMS_ALLOWED")]
_MODE_FLAGS: Names = [(1 << 15, "MPOL_F_STATIC_NODES"), (1 << 14, "MPOL_F_RELATIVE_NODES"),
                      (1 << 13, "MPOL_F_NUMA_BALANCING")]  # fmt: skip
_MODES = ("MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
          "MPOL_WEIGHTED_INTERLEAVE")  # fmt: skip
_OPEN: Names = [(0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o400, "O_NOCTTY"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"),
                (0o4000, "O_NONBLOCK"), (0o200000, "O_DIRECTORY"), (0o400000, "O_NOFOLLOW"),
                (0o2000000, "O_CLOEXEC")]  # fmt: skip
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_WAIT: Names = [(1, "WNOHANG"), (2, "WSTOPPED"), (8, "WCONTINUED"), (0x20000000, "__WNOTHREAD"),
                (0x40000000, "__WALL"), (0x80000000, "__WCLONE")]  # fmt: skip
_ADVICE = {
    0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED", 8: "MADV_FREE",
    9: "MADV_REMOVE", 10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE", 13: "MADV_UNMERGEABLE",
    14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP", 17: "MADV_DODUMP", 18: "MADV_WIPEONFORK",
    19: "MADV_KEEPONFORK", 20: "MADV_COLD", 21: "MADV_PAGEOUT", 22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE",
    24: "MADV_DONTNEED_LOCKED", 25: "MADV_COLLAPSE",
}  # fmt: skip
_PRCTL = {3: "PR_GET_DUMPABLE", 4: "PR_SET_DUMPABLE", 7: "PR_GET_KEEPCAPS", 8: "PR_SET_KEEPCAPS", 15: "PR_SET_NAME",
          16: "PR_GET_NAME"}  # fmt: skip
_AT: Names = [(0x100, "AT_SYMLINK_NOFOLLOW"), (0x400, "AT_SYMLINK_FOLLOW"), (0x800, "AT_NO_AUTOMOUNT"),
              (0x1000, "AT_EMPTY_PATH")]  # fmt: skip
_UNLINKAT: Names = [(0x200, "AT_REMOVEDIR")]
_MS: Names = [(1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")]
_FALLOC: Names = [(1, "FALLOC_FL_KEEP_SIZE"), (2, "FALLOC_FL_PUNCH_HOLE"), (4, "FALLOC_FL_NO_HIDE_STALE"),
                  (8, "FALLOC_FL_COLLAPSE_RANGE"), (0x10, "FALLOC_FL_ZERO_RANGE"), (0x20, "FALLOC_FL_INSERT_RANGE"),
                  (0x40, "FALLOC_FL_UNSHARE_RANGE")]  # fmt: skip
_MFD: Names = [(1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB"), (8, "MFD_NOEXEC_SEAL"),
               (0x10, "MFD_EXEC")]  # fmt: skip
_SPECIAL_MODES: Names = [(stat.S_ISUID, "S_ISUID"), (stat.S_ISGID, "S_ISGID"), (stat.S_ISVTX, "S_ISVTX")]
_UMOUNT: Names = [(1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW")]
_TYPES = {stat.S_IFREG: "S_IFREG", stat.S_IFDIR: "S_IFDIR", stat.S_IFLNK: "S_IFLNK", stat.S_IFBLK: "S_IFBLK",
          stat.S_IFIFO: "S_IFIFO"}  # fmt: skip
_WHENCE = {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END"}
_CLOCKS = {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC"}
_RUSAGE_WHO = {0: "RUSAGE_SELF", -1: "RUSAGE_CHILDREN", 1: "RUSAGE_THREAD"}
_RESOURCES = ("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS",
              "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME")  # fmt: skip
_DUMPABLE = ("SUID_DUMP_DISABLE", "SUID_DUMP_USER", "SUID_DUMP_ROOT")
_CAP_VERSIONS = {0x19980330: "_LINUX_CAPABILITY_VERSION_1", 0x20071026: "_LINUX_CAPABILITY_VERSION_2",
                 0x20080522: "_LINUX_CAPABILITY_VERSION_3"}  # fmt: skip


@dataclass
class View:
    """A call as the decoders see it: its registers, and its result once it has one."""

    task: Task
    row: Syscall
    raw: tuple[int, ...]
    result: int | None = None

    @property
    def failed(self) -> bool:
        return self.result is not None and -4095 <= self.result < 0

    def value(self, index: int) -> int:
        """An argument as its C type has it."""
        return convert(self.row.args[index].kind, self.raw[index])

    def count(self, arg: Arg) -> int:
        """The argument that counts what this one points to."""
        return self.value(arg.size_in)

    def peek(self, addr: int, n: int) -> bytes | None:
        return peek(self.task, addr, n)


def show(view: View, index: int) -> str:
    """One argument as strace prints it."""
    arg = view.row.args[index]
    return _SHOW.get(arg.kind, _decimal)(view, arg, view.value(index))


Show = Callable[[View, Arg, int], str]


# Numbers and flags


def _decimal(view: View, arg: Arg, value: int) -> str:
    return str(value)


def _address(view: View, arg: Arg, value: int) -> str:
    """A pointer that is not followed."""
    return f"{value:#x}" if value else "NULL"


def _plain_address(view: View, arg: Arg, value: int) -> str:
    # mremap's fifth argument means something only with a flag that says so.
    if arg.name == "new_addr" and not view.value(3) & (_MREMAP_FIXED | _MREMAP_DONTUNMAP):
        return ""
    return _address(view, arg, value)


def _octal(view: View, arg: Arg, value: int) -> str:
    """Permissions of a file: three digits at least, with the 0 of C's octal in front."""
    # The mode of open(2) means something only if it may create.
    if arg.name == "mode" and view.row.name in ("open", "openat"):
        flags = next(i for i, other in enumerate(view.row.args) if other.kind is Kind.OPEN_FLAGS)
        if not view.value(flags) & 0o100:
            return ""
    return f"0{value:o}" if value else "000"


def _uid(view: View, arg: Arg, value: int) -> str:
    return "-1" if value == 0xFFFFFFFF else str(value)


def _flags(names: Names, none: str = "0", unknown: str = "???") -> Show:
    def text(view: View, arg: Arg, value: int) -> str:
        return _join(value, names, none, unknown)

    return text


def _join(value: int, names: Names, none: str, unknown: str) -> str:
    """Flags by name, what is left over in hex behind them; a word of nothing but unknown bits says so in a comment."""
    parts = []
    for bit, name in names:
        if value & bit:
            parts.append(name)
            value &= ~bit
    if not parts:
        return f"{value:#x} /* {unknown} */" if value else none
    return "|".join([*parts, *([f"{value:#x}"] if value else [])])


def _one_of(names: dict[int, str], unknown: str) -> Show:
    return lambda view, arg, value: names.get(value) or f"{value & 0xFFFFFFFF:#x} /* {unknown} */"


def _map_flags(view: View, arg: Arg, value: int) -> str:
    """MAP_*: the kind of mapping is a number in the low four bits, the rest are flags."""
    kind, rest = _MAP_TYPES.get(value & 0xF), value & ~0xF
    if kind is None:
        kind = f"{value & 0xF:#x} /* MAP_??? */"
    return kind + ("|" + _join(rest, _MAP, "", "MAP_???") if rest else "")


def _mode(value: int) -> str:
    """A policy mode: a number, and its own flags in the bits above."""
    base, flags = value & ~0xE000, value & 0xE000
    name = _MODES[base] if 0 <= base < len(_MODES) else f"{base & 0xFFFFFFFF:#x} /* MPOL_??? */"
    return name + ("|" + _join(flags, _MODE_FLAGS, "", "") if flags else "")


def _open_flags(view: View, arg: Arg, value: int) -> str:
    """O_*: the access mode is a number in the low two bits."""
    rest = value & ~3
    return _ACCESS[value & 3] + ("|" + _join(rest, _OPEN, "", "O_???") if rest else "")


def _signal(view: View, arg: Arg, value: int) -> str:
    return signal_name(value) if 0 < value <= 64 else str(value)


def _dirfd(view: View, arg: Arg, value: int) -> str:
    return "AT_FDCWD" if value == -100 else str(value)


def _resource(view: View, arg: Arg, value: int) -> str:
    return f"RLIMIT_{_RESOURCES[value]}" if value < len(_RESOURCES) else f"{value:#x} /* RLIMIT_??? */"


def _prctl_arg(view: View, arg: Arg, value: int) -> str:
    """Only as many arguments as the option has; all of them for one that is not known."""
    option, number = view.value(0), int(arg.name[-1])
    if option in (3, 7):
        return ""
    if option in (4, 8, 15, 16):
        if number > 2:
            return ""
        if option == 4 and value < len(_DUMPABLE):
            return _DUMPABLE[value]
        return (
            _string(view, value, 16)
            if option in (15, 16) and not view.failed
            else _number_or_null(value, option)
        )
    return f"{value:#x}" if value else "0"


def _number_or_null(value: int, option: int) -> str:
    """A prctl argument that is not followed: a pointer for the name options, a number otherwise."""
    return f"{value:#x}" if value else "NULL" if option in (15, 16) else "0"


# What pointers point to


def _string(view: View, addr: int, limit: int) -> str:
    """A C string in quotes; an address if it cannot be read."""
    found = b""
    while len(found) < limit:
        byte = view.peek(addr + len(found), 1)
        if byte is None:
            return f"{addr:#x}" if addr else "NULL"
        if byte == b"\0":
            return _quote(found)
        found += byte
    return _quote(found) + "..."


def _quote(data: bytes) -> str:
    """A C string literal, octal escapes without needless zeros, as strace writes it."""
    escapes = {
        7: "\\a",
        8: "\\b",
        9: "\\t",
        10: "\\n",
        11: "\\v",
        12: "\\f",
        13: "\\r",
        34: '\\"',
        92: "\\\\",
    }
    text = ""
    for i, byte in enumerate(data):
        if byte in escapes:
            text += escapes[byte]
        elif 32 <= byte < 127:
            text += chr(byte)
        else:
            digit_follows = i + 1 < len(data) and 48 <= data[i + 1] <= 55
            text += f"\\{byte:03o}" if digit_follows else f"\\{byte:o}"
    return f'"{text}"'


def _path(view: View, arg: Arg, addr: int) -> str:
    return _string(view, addr, 4096)


def _buffer(view: View, addr: int, count: int) -> str:
    """What read and write carry: its first 32 bytes in quotes, dots if there is more."""
    data = view.peek(addr, min(count, _MOST_BYTES)) if count else b""
    if data is None:
        return f"{addr:#x}" if addr else "NULL"
    return _quote(data) + ("..." if count > _MOST_BYTES else "")


def _buf(view: View, arg: Arg, addr: int) -> str:
    return _buffer(view, addr, view.count(arg))


def _buf_out(view: View, arg: Arg, addr: int) -> str:
    """What read has filled in: as many bytes as it returned."""
    return _address(view, arg, addr) if view.failed else _buffer(view, addr, view.result or 0)


def _after(decode: Show) -> Show:
    """For what the call fills in: the address alone if it failed."""
    return lambda view, arg, addr: _address(view, arg, addr) if view.failed else decode(view, arg, addr)


def _array(
    view: View, addr: int, count: int, form: str, text: Callable[[int], str], most: int = _MOST_ELEMENTS
) -> str:
    """Up to `most` elements in brackets, with dots for the rest; an address if the first cannot be read."""
    if addr == 0:
        return "NULL"
    if count == 0:
        return "[]"
    size = struct.calcsize(form)
    parts: list[str] = []
    for i in range(min(count, most)):
        data = view.peek(addr + i * size, size)
        if data is None:
            if not parts:
                return f"{addr:#x}"
            parts.append(f"... /* {addr + i * size:#x} */")
            return "[" + ", ".join(parts) + "]"
        parts.append(text(struct.unpack("<" + form, data)[0]))
    if count > most:
        parts.append("...")
    return "[" + ", ".join(parts) + "]"


def _mask_word(word: int) -> str:
    # printf's %#0*lx, 16 wide with the prefix, which zero does not get.
    return f"{word:#016x}" if word else "0" * 16


def _nodemask(view: View, arg: Arg, addr: int) -> str:
    """The words that hold maxnode - 1 bits; the address if there are none."""
    maxnode = view.count(arg)
    words = (maxnode + 62 & _ULONG_MAX) // 64
    if addr and maxnode and words < max(1, maxnode // 64):
        return f"{addr:#x}"
    return _array(view, addr, words, "Q", _mask_word, 32)


def _pages(view: View, arg: Arg, addr: int) -> str:
    return _array(view, addr, view.count(arg), "Q", lambda page: f"{page:#x}" if page else "NULL")


def _nodes(view: View, arg: Arg, addr: int) -> str:
    return _array(view, addr, view.count(arg), "i", str)


def _statuses(view: View, arg: Arg, addr: int) -> str:
    """move_pages' answers: nodes, or errors by name."""

    def text(status: int) -> str:
        return f"-{errno_name(status)}" if -4095 <= status < 0 else str(status)

    return _array(view, addr, view.count(arg), "i", text)


def _cpumask(view: View, arg: Arg, addr: int) -> str:
    """A CPU mask as a list of numbers; of what the kernel stored only as many bytes as it said."""
    size = (
        view.result if view.result is not None and view.row.name == "sched_getaffinity" else view.count(arg)
    )
    data = view.peek(addr, min(size, 1024)) if size else None
    if data is None:
        return _address(view, arg, addr)
    mask = int.from_bytes(data, "little")
    return "[" + " ".join(str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1) + "]"


def _struct(form: str, text: Callable[..., str]) -> Show:
    """A structure at an address, its fields given to `text`."""

    def decode(view: View, arg: Arg, addr: int) -> str:
        data = view.peek(addr, struct.calcsize("<" + form)) if addr else None
        return _address(view, arg, addr) if data is None else text(*struct.unpack("<" + form, data))

    return decode


def _wait_status(status: int) -> str:
    """A status word as the macros of wait(2) take it apart."""
    signum = status & 0x7F
    if signum:
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(signum)}}}]"
    return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8}}}]"


def _wstatus(view: View, arg: Arg, addr: int) -> str:
    """Nothing is stored when nobody had ended (WNOHANG)."""
    if not view.result:
        return _address(view, arg, addr)
    return _struct("i", _wait_status)(view, arg, addr)


def _timespec(sec: int, nsec: int) -> str:
    return f"{{tv_sec={sec}, tv_nsec={nsec}}}"


def _limit(value: int) -> str:
    """A resource limit, in units of 1024 where that is exact."""
    if value == RLIM_INFINITY:
        return "RLIM64_INFINITY"
    return f"{value >> 10}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def _rlimit(soft: int, hard: int) -> str:
    return f"{{rlim_cur={_limit(soft)}, rlim_max={_limit(hard)}}}"


def _rusage(view: View, arg: Arg, addr: int) -> str:
    """struct rusage, abbreviated to the times, which are all 0 here."""
    zero = "{tv_sec=0, tv_usec=0}"
    return _struct("q", lambda utime: f"{{ru_utime={zero}, ru_stime={zero}, ...}}")(view, arg, addr)


def _stat(*fields: int) -> str:
    """struct stat, abbreviated: type and permissions, and the size."""
    mode, size = fields[3], fields[7]
    special = "|".join(name for bit, name in _SPECIAL_MODES if mode & bit)
    kind = _TYPES[stat.S_IFMT(mode)] + ("|" + special if special else "")
    return f"{{st_mode={kind}|0{mode & 0o777:03o}, st_size={size}, ...}}"


def _cap_header(version: int, pid: int) -> str:
    name = _CAP_VERSIONS.get(version) or f"{version:#x} /* _LINUX_CAPABILITY_VERSION_??? */"
    return f"{{version={name}, pid={pid}}}"


def _cap_set(value: int) -> str:
    """A capability set as the C expression for it."""
    if not value:
        return "0"
    return "|".join(f"1<<{cap.name}" for cap in Cap if value >> cap & 1) or f"{value:#x}"


def _cap_data(*words: int) -> str:
    effective, permitted, inheritable = (
        low | high << 32 for low, high in zip(words[:3], words[3:], strict=True)
    )
    sets = (("effective", effective), ("permitted", permitted), ("inheritable", inheritable))
    return "{" + ", ".join(f"{name}={_cap_set(value)}" for name, value in sets) + "}"


_SHOW: dict[Kind, Show] = {
    Kind.ULONG: _decimal,
    Kind.ADDR: _plain_address,
    Kind.DIRFD: _dirfd,
    Kind.UID: _uid,
    Kind.PROT: _flags(_PROT, "PROT_NONE", "PROT_???"),
    Kind.MAP_FLAGS: _map_flags,
    Kind.MREMAP_FLAGS: _flags(_MREMAP, "0", "MREMAP_???"),
    Kind.ADVICE: _one_of(_ADVICE, "MADV_???"),
    Kind.MLOCK_FLAGS: _flags(_MLOCK, "0", "MLOCK_???"),
    Kind.MCL_FLAGS: _flags(_MCL, "0", "MCL_???"),
    Kind.MPOL_MODE: lambda view, arg, value: _mode(value),
    Kind.MBIND_FLAGS: _flags(_MBIND, "0", "MPOL_???"),
    Kind.MOVE_FLAGS: _flags(_MBIND, "0", "MPOL_???"),
    Kind.GETPOL_FLAGS: _flags(_GETPOL, "0", "MPOL_???"),
    Kind.OPEN_FLAGS: _open_flags,
    Kind.FILE_MODE: _octal,
    Kind.WHENCE: _one_of(_WHENCE, "SEEK_???"),
    Kind.AT_FLAGS: _flags(_AT, "0", "AT_???"),
    Kind.UNLINKAT_FLAGS: _flags(_UNLINKAT, "0", "AT_???"),
    Kind.MS_FLAGS: _flags(_MS, "0", "MS_???"),
    Kind.FALLOC_MODE: _flags(_FALLOC, "0", "FALLOC_FL_???"),
    Kind.UMOUNT_FLAGS: _flags(_UMOUNT, "0", "MNT_???"),
    Kind.MFD_FLAGS: _flags(_MFD, "0", "MFD_???"),
    Kind.WAIT_OPTIONS: _flags(_WAIT, "0", "W???"),
    Kind.SIGNAL: _signal,
    Kind.CLOCK: _one_of(_CLOCKS, "CLOCK_???"),
    Kind.RESOURCE: _resource,
    Kind.RUSAGE_WHO: _one_of(_RUSAGE_WHO, "RUSAGE_???"),
    Kind.PRCTL_OPTION: _one_of(_PRCTL, "PR_???"),
    Kind.PRCTL_ARG: _prctl_arg,
    Kind.PATH: _path,
    Kind.BUF: _buf,
    Kind.BUF_OUT: _buf_out,
    Kind.NODEMASK: _nodemask,
    Kind.NODEMASK_OUT: _after(_nodemask),
    Kind.MODE_OUT: _after(_struct("i", lambda mode: f"[{_mode(mode)}]")),
    Kind.PAGES: _pages,
    Kind.NODES: _nodes,
    Kind.STATUS_OUT: _after(_statuses),
    Kind.VEC_OUT: _address,
    Kind.CPUMASK: _cpumask,
    Kind.CPUMASK_OUT: _after(_cpumask),
    Kind.PIPE_OUT: _after(_struct("ii", lambda read, write: f"[{read}, {write}]")),
    Kind.UINT_OUT: _after(_struct("I", lambda value: f"[{value}]")),
    Kind.WSTATUS_OUT: _after(_wstatus),
    Kind.CAP_HEADER: _struct("Ii", _cap_header),
    Kind.CAP_DATA: _struct("6I", _cap_data),
    Kind.CAP_DATA_OUT: _after(_struct("6I", _cap_data)),
    Kind.TIMESPEC: _struct("qq", _timespec),
    Kind.TIMESPEC_OUT: _after(_struct("qq", _timespec)),
    Kind.RLIMIT: _struct("QQ", _rlimit),
    Kind.RLIMIT_OUT: _after(_struct("QQ", _rlimit)),
    Kind.RUSAGE_OUT: _after(_rusage),
    Kind.STAT_OUT: _after(_struct("3Q3I4xQ3q6Q24x", _stat)),
}
