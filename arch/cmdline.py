"""Sizes and numbers as people write them, in machine files, one-line specs and boot parameters.

Mirrors lib/cmdline.c (memparse, get_option). Deliberately different: what cannot be understood is an error, and sizes
are whole pages.
"""

import re

PAGE_SIZE = 4096
MAX_PFN = 0xFFFFFFFF
"""Memory and swap areas end below this page: page numbers have 32 bits, and the last one means "no page"."""


class TopologyError(ValueError):
    """A machine file or spec is wrong. The message is one line: what is wrong, where, what would be right."""


def shown(value: object) -> str:
    """A value as a message can show it: on one line that is not too long."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python likes to write
        text = "a very large number"
    return text if len(text) <= 60 else f"{text[:57]}..."


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": PAGE_SIZE}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|0{1,18}|[1-9][0-9]{0,17})\s*(p|pages?|[kKmMgGtT](?:i?[bB])?)?")


def parse_size(text: object, where: str, *, zero: bool = False) -> int:
    """Frames in a size that a person wrote: `512M`, `2G`, `1T`, `64K`, `16p` (pages), or 0 if zero is allowed.

    Raises TopologyError, naming `where`, for anything else, for a part of a page, and for 0 where it makes no sense.
    """
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if zero and (text == 0 or text == "0"):
        return 0
    if match is None or match[2] is None or isinstance(text, bool):
        raise TopologyError(f"{where}: {shown(text)} is not a size: write 512M, 2G or, in pages, 16p")
    size = int(match[1], 0) * _UNITS[match[2][0].upper()]
    if size % PAGE_SIZE:
        raise TopologyError(f"{where}: {shown(text)} is not a whole number of 4 KiB pages")
    if size == 0 and not zero:
        raise TopologyError(f"{where}: {shown(text)} is nothing: write a size such as 512M")
    if size > 1 << 52:
        raise TopologyError(
            f"{where}: {shown(text)} is more than 52 bits of physical address can reach (4096T)"
        )
    return size // PAGE_SIZE


def parse_count(text: str, where: str) -> int:
    """A number of something, at least 1. Raises TopologyError, naming `where`."""
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) == 0:
        raise TopologyError(f"{where}: {shown(text)} is not a count: write a number such as 4")
    return int(text)


def size_text(pages: int) -> str:
    """A size as parse_size() takes it, in the largest unit that divides it: `512M`, `12K`."""
    unit = next(unit for unit in "TGMK" if pages * PAGE_SIZE % _UNITS[unit] == 0)
    return f"{pages * PAGE_SIZE // _UNITS[unit]}{unit}"
