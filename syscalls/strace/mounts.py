"""Arguments of mount, umount2 and swapon."""

from __future__ import annotations

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import Names, all_of, flags, join, path, pointer, string
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW"]

_MS_NAMES = (
    "RDONLY", "NOSUID", "NODEV", "NOEXEC", "SYNCHRONOUS", "REMOUNT", "MANDLOCK", "DIRSYNC", "NOSYMFOLLOW", "",
    "NOATIME", "NODIRATIME", "BIND", "MOVE", "REC", "SILENT", "POSIXACL", "UNBINDABLE", "PRIVATE", "SLAVE", "SHARED",
    "RELATIME", "KERNMOUNT", "I_VERSION", "STRICTATIME", "LAZYTIME", "SUBMOUNT", "NOREMOTELOCK", "NOSEC", "BORN",
    "ACTIVE", "NOUSER",
)  # fmt: skip
_MS: Names = [(1 << bit, f"MS_{name}") for bit, name in enumerate(_MS_NAMES) if name]
_MGC_VAL, _MGC_MASK = 0xC0ED0000, 0xFFFF0000
_REMOUNT = 0x20
_OTHER_WORK = 0x1000 | 0x2000 | 0x1E0000  # bind, move, propagation: neither type nor data mean anything
_UMOUNT: Names = [(1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW")]
_SWAP: Names = [(0x8000, "SWAP_FLAG_PREFER"), (0x10000, "SWAP_FLAG_DISCARD"), (0x20000, "SWAP_FLAG_DISCARD_ONCE"),
                (0x40000, "SWAP_FLAG_DISCARD_PAGES")]  # fmt: skip
_SWAP_PRIO_MASK = 0x7FFF


def _is_magic(value: int) -> bool:
    """Whether the flags carry the mark that mount(2) needed before Linux 2.4."""
    return value & _MGC_MASK == _MGC_VAL


def _mount_flags(view: View, arg: Arg, value: int) -> str:
    if _is_magic(value):
        return "|".join(["MS_MGC_VAL", *all_of(value & ~_MGC_MASK, _MS)])
    return join(value, _MS, "0", "MS_???")


def _type(view: View, arg: Arg, addr: int) -> str:
    work = _work(view)
    return pointer(addr) if work & (_REMOUNT | _OTHER_WORK) else path(view, arg, addr)


def _data(view: View, arg: Arg, addr: int) -> str:
    work = _work(view)
    return pointer(addr) if work & _OTHER_WORK and not work & _REMOUNT else string(view, arg, addr)


def _work(view: View) -> int:
    """The flags of a mount, which say whether its type and its data mean anything."""
    value = view.named("flags")
    return value & ~_MGC_MASK if _is_magic(value) else value


def _swap_flags(view: View, arg: Arg, value: int) -> str:
    """A priority in the low bits, flags above."""
    word, priority = value & ~_SWAP_PRIO_MASK, str(value & _SWAP_PRIO_MASK)
    return f"{join(word, _SWAP, '', 'SWAP_FLAG_???')}|{priority}" if word else priority


SHOW: dict[Kind, Show] = {
    Kind.MOUNT_TYPE: _type,
    Kind.MOUNT_FLAGS: _mount_flags,
    Kind.MOUNT_DATA: _data,
    Kind.UMOUNT_FLAGS: flags(_UMOUNT, "MNT_???"),
    Kind.SWAP_FLAGS: _swap_flags,
}
