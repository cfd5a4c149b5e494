"""Arguments of calls on files: open, read, stat, lseek, fallocate, memfd_create, vmsplice."""

from __future__ import annotations

import stat

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.readdir import dirents
from numalab.syscalls.stat import STAT
from numalab.syscalls.strace.forms import (
    Names,
    after,
    all_of,
    array,
    buffer,
    flags,
    hexadecimal,
    join,
    one_of,
    path,
    pointer,
    string,
    structure,
)
from numalab.syscalls.strace.mem import huge_shift
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW", "octal"]

_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_CREAT, _TMPFILE = 0o100, 0o20000000
_OPEN: Names = [
    (0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o400, "O_NOCTTY"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"), (0o4010000, "O_SYNC"), (0o4000000, "__O_SYNC"), (0o10000, "O_DSYNC"),
    (0o40000, "O_DIRECT"), (0o100000, "O_LARGEFILE"), (0o400000, "O_NOFOLLOW"), (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"), (0o10000000, "O_PATH"), (0o20200000, "O_TMPFILE"), (0o20000000, "__O_TMPFILE"),
    (0o200000, "O_DIRECTORY"), (0o20000, "FASYNC"),
]  # fmt: skip
_AT: Names = [(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"),
              (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH"), (0x8000, "AT_RECURSIVE")]  # fmt: skip
_FALLOC: Names = [(1, "FALLOC_FL_KEEP_SIZE"), (2, "FALLOC_FL_PUNCH_HOLE"), (4, "FALLOC_FL_NO_HIDE_STALE"),
                  (8, "FALLOC_FL_COLLAPSE_RANGE"), (0x10, "FALLOC_FL_ZERO_RANGE"), (0x20, "FALLOC_FL_INSERT_RANGE"),
                  (0x40, "FALLOC_FL_UNSHARE_RANGE")]  # fmt: skip
_MFD: Names = [(1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB"), (8, "MFD_NOEXEC_SEAL"),
               (0x10, "MFD_EXEC")]  # fmt: skip
_SPLICE: Names = [(1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT")]
_WHENCE = {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE"}
_SPECIAL_MODES: Names = [(stat.S_ISUID, "S_ISUID"), (stat.S_ISGID, "S_ISGID"), (stat.S_ISVTX, "S_ISVTX")]
_TYPES = {stat.S_IFREG: "S_IFREG", stat.S_IFDIR: "S_IFDIR", stat.S_IFLNK: "S_IFLNK", stat.S_IFBLK: "S_IFBLK",
          stat.S_IFCHR: "S_IFCHR", stat.S_IFIFO: "S_IFIFO", stat.S_IFSOCK: "S_IFSOCK"}  # fmt: skip
_AT_FDCWD = -100


def octal(mode: int) -> str:
    """Permissions: three digits at least."""
    return f"0{mode:o}".zfill(3)


def _open_flags(view: View, arg: Arg, value: int) -> str:
    """O_*: the access mode is a number in the low two bits."""
    return "|".join([_ACCESS[value & 3], *all_of(value & ~3, _OPEN)])


def _mode(view: View, arg: Arg, value: int) -> str:
    return octal(value & 0xFFFF)


def _open_mode(view: View, arg: Arg, value: int) -> str:
    """The mode of open(2) means something only if it may create."""
    return octal(value & 0xFFFF) if view.named("flags") & (_CREAT | _TMPFILE) else ""


def _mfd_flags(view: View, arg: Arg, value: int) -> str:
    value, huge = huge_shift(value, "MFD")
    rest = join(value, _MFD, "" if huge else "0", "MFD_???")
    return "|".join([*([rest] if rest else []), *huge])


def _dirfd(view: View, arg: Arg, value: int) -> str:
    return "AT_FDCWD" if value == _AT_FDCWD else str(value)


def _length(view: View, arg: Arg, value: int) -> str:
    """The length of a file, which strace takes for unsigned."""
    return str(value % (1 << 64))


def _buf(view: View, arg: Arg, addr: int) -> str:
    return buffer(view, addr, view.count(arg))


def _buf_out(view: View, arg: Arg, addr: int) -> str:
    """What read has filled in: as many bytes as it returned."""
    return buffer(view, addr, view.result or 0)


def _dirents(view: View, arg: Arg, addr: int) -> str:
    """What getdents64() has stored, counted."""
    data = view.peek(addr, view.result or 0)
    return pointer(addr) if data is None else f"{pointer(addr)} /* {len(dirents(data))} entries */"


def _iovec(view: View, arg: Arg, addr: int) -> str:
    """struct iovec: of one's own memory what lies there, of another's the address."""

    def segment(base: int, length: int) -> str:
        what = pointer(base) if arg.kind is Kind.REMOTE_IOVEC else buffer(view, base, length)
        return f"{{iov_base={what}, iov_len={length}}}"

    return array(view, addr, view.count(arg), "QQ", segment)


def _stat(*fields: int) -> str:
    """struct stat, abbreviated: type and permissions, and the size, or of a device its number."""
    mode, rdev, size = fields[3], fields[6], fields[7]
    special = "|".join(name for bit, name in _SPECIAL_MODES if mode & bit)
    kind = _TYPES[stat.S_IFMT(mode)] + ("|" + special if special else "")
    what = f"st_rdev={_makedev(rdev)}" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else f"st_size={size}"
    return f"{{st_mode={kind}|0{mode & 0o777:03o}, {what}, ...}}"


def _makedev(dev: int) -> str:
    major = dev >> 8 & 0xFFF | dev >> 32 & 0xFFFFF000
    minor = dev & 0xFF | dev >> 12 & 0xFFFFFF00
    return f"makedev({hexadecimal(major)}, {hexadecimal(minor)})"


SHOW: dict[Kind, Show] = {
    Kind.PATH: path,
    Kind.STRING: string,
    Kind.DIRFD: _dirfd,
    Kind.OPEN_FLAGS: _open_flags,
    Kind.OPEN_MODE: _open_mode,
    Kind.FILE_MODE: _mode,
    Kind.DUP3_FLAGS: flags(_OPEN, "O_???"),
    Kind.WHENCE: one_of(_WHENCE, "SEEK_???"),
    Kind.LENGTH: _length,
    Kind.AT_FLAGS: flags(_AT, "AT_???"),
    Kind.FALLOC_MODE: flags(_FALLOC, "FALLOC_FL_???"),
    Kind.MFD_FLAGS: _mfd_flags,
    Kind.SPLICE_FLAGS: flags(_SPLICE, "SPLICE_F_???"),
    Kind.IOVEC: _iovec,
    Kind.REMOTE_IOVEC: _iovec,
    Kind.BUF: _buf,
    Kind.BUF_OUT: after(_buf_out),
    Kind.DIRENTS_OUT: after(_dirents),
    Kind.PIPE_OUT: after(structure("ii", lambda read, write: f"[{read}, {write}]")),
    Kind.STAT_OUT: after(structure(STAT.format.removeprefix("<"), _stat)),
}
