"""Numbers as C's library reads them: ``strtoul`` and ``strtol``.

A scenario is read by the recorder with these two functions, so what ``0x``, ``08``, ``-1`` or forty
nines mean is decided by them: leading blanks and a sign are taken, as many digits as fit the base
follow, too large a number saturates, and where no digit stands the answer is 0 and nothing is used up.

A *C string* is, here and everywhere in the scenario language, a ``str`` of one character a byte (latin-1).
"""

from __future__ import annotations

__all__ = ["LONG_MAX", "LONG_MIN", "ULONG_MAX", "strtol", "strtoul", "to_int32", "to_long", "to_ulong"]

ULONG_MAX = (1 << 64) - 1
LONG_MAX = (1 << 63) - 1
LONG_MIN = -(1 << 63)

_SPACE = " \t\n\v\f\r"
_DIGITS = {c: i for i, c in enumerate("0123456789abcdef")} | {c: i for i, c in enumerate("0123456789ABCDEF")}


def to_ulong(value: int) -> int:
    """``value`` as an unsigned long."""
    return value & ULONG_MAX


def to_long(value: int) -> int:
    """``value`` as a long."""
    value &= ULONG_MAX
    return value - (1 << 64) if value > LONG_MAX else value


def to_int32(value: int) -> int:
    """``value`` as an int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _scan(text: str, start: int, base: int) -> tuple[bool, int, int]:
    """Sign, magnitude and the index after the number; that index is ``start`` when there is no number."""
    i = start
    while i < len(text) and text[i] in _SPACE:
        i += 1
    negative = False
    if i < len(text) and text[i] in "+-":
        negative = text[i] == "-"
        i += 1
    if base in (0, 16) and text[i : i + 2] in ("0x", "0X") and text[i + 2 : i + 3] in _DIGITS:
        # The prefix counts only with a hex digit behind it: "0xg" is the number 0 followed by "xg".
        base, i = 16, i + 2
    elif base == 0:
        base = 8 if text[i : i + 1] == "0" else 10
    first, value = i, 0
    while i < len(text) and (digit := _DIGITS.get(text[i], 99)) < base:
        value = value * base + digit
        i += 1
    return (negative, value, i) if i > first else (False, 0, start)


def strtoul(text: str, start: int = 0, base: int = 0) -> tuple[int, int]:
    """The unsigned long at ``start`` and the index after it (``start`` itself if there is none)."""
    negative, value, end = _scan(text, start, base)
    if value > ULONG_MAX:
        return ULONG_MAX, end
    return to_ulong(-value if negative else value), end


def strtol(text: str, start: int = 0, base: int = 0) -> tuple[int, int]:
    """The long at ``start`` and the index after it (``start`` itself if there is none)."""
    negative, value, end = _scan(text, start, base)
    return max(LONG_MIN, min(LONG_MAX, -value if negative else value)), end
