"""What decoders are made of: numbers, flags, strings, arrays and structures as strace writes them.

Flags stand by name with unknown bits in hex behind them; arrays show 32 elements, strings 32 bytes; a pointer that
is not followed, or cannot be, is a number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from numalab.syscalls.abi import PAGE_SIZE
from numalab.syscalls.kinds import Arg
from numalab.syscalls.strace.view import Show, View

__all__ = [
    "Names", "address", "after", "all_of", "array", "at_address", "buffer", "decimal", "flags", "hexadecimal", "join",
    "one_of", "path", "pointer", "string", "structure", "text_at",
]  # fmt: skip

_PATH_MAX = 4096
_MOST_ELEMENTS = 32
_MOST_BYTES = 32

Names = Sequence[tuple[int, str]]
"""Flags in the order in which they are printed. One of several bits comes before its parts."""


# Numbers


def decimal(view: View, arg: Arg, value: int) -> str:
    return str(value)


def hexadecimal(value: int) -> str:
    """printf's %#x: zero has no prefix."""
    return f"{value:#x}" if value else "0"


def pointer(addr: int) -> str:
    return f"{addr:#x}" if addr else "NULL"


def address(view: View, arg: Arg, addr: int) -> str:
    """A pointer that is not followed."""
    return pointer(addr)


# Flags and enumerations


def _split(value: int, names: Names) -> tuple[list[str], int]:
    """The names of the flags in a word, and the bits that have none."""
    found = []
    for bits, name in names:
        if value & bits == bits:
            found.append(name)
            value &= ~bits
    return found, value


def all_of(value: int, names: Names) -> list[str]:
    """Flags by name, unknown bits in hex: for words of which something else is printed first."""
    found, rest = _split(value, names)
    return [*found, *([f"{rest:#x}"] if rest else [])]


def join(value: int, names: Names, none: str, unknown: str) -> str:
    """Flags by name, unknown bits in hex behind them; a word of nothing but unknown bits says so in a comment."""
    found, rest = _split(value, names)
    if not found:
        return f"{rest:#x} /* {unknown} */" if rest else none
    return "|".join(all_of(value, names))


def flags(names: Names, unknown: str, none: str = "0") -> Show:
    """A word of flags. unknown: what is said of a word without a known bit; none: what 0 is called."""
    return lambda view, arg, value: join(value if value >= 0 else value & 0xFFFFFFFF, names, none, unknown)


def one_of(names: dict[int, str], unknown: str, bits: int = 32) -> Show:
    """A number that has a name."""
    mask = (1 << bits) - 1
    return lambda view, arg, value: names.get(value) or f"{hexadecimal(value & mask)} /* {unknown} */"


# Strings

_ESCAPES = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quote(data: bytes) -> str:
    """A C string literal, octal escapes without needless zeros."""
    text = ""
    for i, byte in enumerate(data):
        if byte in _ESCAPES:
            text += _ESCAPES[byte]
        elif 32 <= byte < 127:
            text += chr(byte)
        else:
            digit_follows = i + 1 < len(data) and 48 <= data[i + 1] <= 55
            text += f"\\{byte:03o}" if digit_follows else f"\\{byte:o}"
    return f'"{text}"'


def text_at(view: View, addr: int, limit: int, *, ended: bool = True) -> str:
    """A C string in quotes, with dots if it is longer than `limit`; an address if it cannot be read.

    ended: whether the NUL of a string that has `limit` bytes is looked for; without, it gets dots as well.
    """
    found = b""
    size = limit + ended
    while len(found) < size:
        at = addr + len(found)
        data = view.peek(at, min(size - len(found), PAGE_SIZE - at % PAGE_SIZE)) if addr else None
        if data is None:
            return pointer(addr)
        text, nul, _ = data.partition(b"\0")
        found += text
        if nul:
            return quote(found)
    return quote(found[:limit]) + "..."


def string(view: View, arg: Arg, addr: int) -> str:
    return text_at(view, addr, _MOST_BYTES)


def path(view: View, arg: Arg, addr: int) -> str:
    return text_at(view, addr, _PATH_MAX - 1)


def buffer(view: View, addr: int, count: int) -> str:
    """Bytes that need no NUL: the first 32 in quotes, dots if there are more."""
    if not addr:
        return "NULL"
    data = view.peek(addr, min(count, _MOST_BYTES)) if count else b""
    return pointer(addr) if data is None else quote(data) + ("..." if count > _MOST_BYTES else "")


# Arrays and structures


def array(
    view: View, addr: int, count: int, form: str, text: Callable[..., str], most: int = _MOST_ELEMENTS
) -> str:
    """Up to `most` elements in brackets, with dots for the rest; an address if the first cannot be read.

    form: a `struct` format of one element, whose fields `text` gets.
    """
    size = struct.calcsize("<" + form)
    if addr == 0 or addr + count * size >= 1 << 64:
        return pointer(addr)
    parts: list[str] = []
    for i in range(min(count, most)):
        data = view.peek(addr + i * size, size)
        if data is None:
            if not parts:
                return pointer(addr)
            parts.append(f"... /* {addr + i * size:#x} */")
            return "[" + ", ".join(parts) + "]"
        parts.append(text(*struct.unpack("<" + form, data)))
    if count > most:
        parts.append("...")
    return "[" + ", ".join(parts) + "]"


def at_address(view: View, addr: int, form: str, text: Callable[..., str]) -> str:
    """A structure: its fields, a `struct` format, are given to `text`; an address if it cannot be read."""
    data = view.peek(addr, struct.calcsize("<" + form)) if addr else None
    return pointer(addr) if data is None else text(*struct.unpack("<" + form, data))


def structure(form: str, text: Callable[..., str]) -> Show:
    """A pointer to a structure."""
    return lambda view, arg, addr: at_address(view, addr, form, text)


def after(show: Show) -> Show:
    """For what the call fills in: the address alone if it failed."""
    return lambda view, arg, addr: pointer(addr) if view.failed else show(view, arg, addr)
