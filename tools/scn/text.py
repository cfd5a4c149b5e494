"""How answers are written: errno names, run-length lists, node masks, policy modes.

Mirrors the printing half of the recorder byte for byte; the same functions serve every operation.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from itertools import groupby

__all__ = ["SENTINEL", "ename", "mask_text", "mode_text", "result", "rle", "status_text", "words_text"]

# The names that the recorder knows; any other number is written as E and the number.
_NAMES = (
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "EBADF", "ECHILD", "EAGAIN", "ENOMEM", "EACCES",
    "EFAULT", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "EFBIG",
    "ENOSPC", "EROFS", "ERANGE", "ENOSYS", "EOVERFLOW", "EOPNOTSUPP", "ELOOP", "EUCLEAN", "ENOTEMPTY", "EDOM",
)  # fmt: skip
_NUMBER_TO_NAME = {getattr(errno, name): name for name in _NAMES}

_MODE_NAMES = ("default", "preferred", "bind", "interleave", "local", "preferred_many", "weighted_interleave")
_MODE_FLAGS = ((1 << 15, "|static"), (1 << 14, "|relative"), (1 << 13, "|balancing"))

# What a status entry holds before the call; the kernel never writes it.
SENTINEL = 0x7FFFFFF1


def ename(number: int) -> str:
    """``EINVAL`` for 22."""
    return _NUMBER_TO_NAME.get(number, f"E{number}")


def result(ret: int) -> str:
    """``ret=N`` or, for a negative errno, ``ret=-1 err=ENAME``."""
    return f"ret=-1 err={ename(-ret)}" if ret < 0 else f"ret={ret}"


def rle(items: Iterable[str]) -> str:
    """``0*4,1``: equal neighbours once, with their number; ``none`` for an empty list."""
    runs = [(item, sum(1 for _ in group)) for item, group in groupby(items)]
    return ",".join(item if n == 1 else f"{item}*{n}" for item, n in runs) or "none"


def status_text(value: int) -> str:
    """One entry of move_pages' status array."""
    if value == SENTINEL:
        return "?"
    return f"-{ename(-value)}" if value < 0 else str(value)


def mask_text(mask: bytes) -> str:
    """``{0,2-3}``: the set bits of a mask."""
    bits, pieces, low = int.from_bytes(mask, "little"), [], 0
    while bits >> low:
        low += ((bits >> low) & -(bits >> low)).bit_length() - 1  # the next set bit
        run = bits >> low
        length = (~run & (run + 1)).bit_length() - 1  # how many are set from there
        pieces.append(str(low) if length == 1 else f"{low}-{low + length - 1}")
        low += length
    return "{" + ",".join(pieces) + "}"


def words_text(mask: bytes) -> str:
    """``d,0``: a mask as 64-bit words in hexadecimal; the last one may be short."""
    return ",".join(f"{int.from_bytes(mask[at : at + 8], 'little'):x}" for at in range(0, len(mask), 8))


def mode_text(mode: int) -> str:
    """``bind|static``: a policy mode with its flags (``mode`` is a C int)."""
    number = mode & 0x1FFF
    name = _MODE_NAMES[number] if number < len(_MODE_NAMES) else str(number)
    return name + "".join(text for bit, text in _MODE_FLAGS if mode & bit)
