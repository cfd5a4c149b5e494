"""Arguments of setuid and its family, capget and capset."""

from __future__ import annotations

from numalab.kernel.cred import Cap
from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import Names, after, at_address, join, one_of, structure
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW"]

_VERSION_1 = 0x19980330
_TWO_WORDS = {0x20071026: "_LINUX_CAPABILITY_VERSION_2", 0x20080522: "_LINUX_CAPABILITY_VERSION_3"}
_VERSIONS = {_VERSION_1: "_LINUX_CAPABILITY_VERSION_1", **_TWO_WORDS}
_version = one_of(_VERSIONS, "_LINUX_CAPABILITY_VERSION_???")
_CAPS: list[Names] = [
    [(1 << cap % 32, f"1<<{cap.name}") for cap in Cap if cap // 32 == word] for word in range(2)
]  # fmt: skip


def _uid(view: View, arg: Arg, value: int) -> str:
    return "-1" if value == 0xFFFFFFFF else str(value)


def _set(words: tuple[int, ...]) -> str:
    """A capability set as the C expression for it, word by word."""
    parts = (join(word, names, "", "CAP_???") for word, names in zip(words, _CAPS, strict=False) if word)
    return "|".join(parts) or "0"


def _header(view: View, arg: Arg, addr: int) -> str:
    def text(version: int, pid: int) -> str:
        return f"{{version={_version(view, arg, version)}, pid={pid}}}"

    return at_address(view, addr, "Ii", text)


def _data(view: View, arg: Arg, addr: int) -> str:
    """The three sets: one word each, or two, as the version in the header has it."""
    header = view.peek(view.raw[0], 4)
    words = 2 if header is not None and int.from_bytes(header, "little") in _TWO_WORDS else 1

    def text(*low_and_high: int) -> str:
        sets = (low_and_high[i::3] for i in range(3))
        named = zip(("effective", "permitted", "inheritable"), sets, strict=True)
        return "{" + ", ".join(f"{name}={_set(words)}" for name, words in named) + "}"

    return at_address(view, addr, f"{3 * words}I", text)


SHOW: dict[Kind, Show] = {
    Kind.UID: _uid,
    Kind.UINT_OUT: after(structure("I", lambda value: f"[{value}]")),
    Kind.CAP_HEADER: _header,
    Kind.CAP_DATA: _data,
    Kind.CAP_DATA_OUT: after(_data),
}
