"""Small pictures of a machine in plain text: bars of pages per node.

Used by the demo and the shell.  Bars are block characters where the output can show them, ``#`` where it
cannot; colours are not used here, so the same text serves a terminal, a file and a test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

__all__ = ["bar", "bar_character", "bytes_text", "node_bars", "side_by_side", "time_text"]


def bar_character(stream: TextIO | None = None) -> str:
    """A full block if ``stream`` (standard output) can write it, else ``#``."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        "\u2588".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return "#"
    return "\u2588"


def bar(value: int, top: int, width: int, mark: str) -> str:
    """``value`` as a bar, ``width`` characters long for ``top``; anything above zero shows at least one."""
    if value <= 0 or top <= 0:
        return ""
    return mark * max(1, round(width * min(value, top) / top))


def node_bars(
    pages: Mapping[int, int], nodes: Iterable[int], *, top: int, width: int, mark: str
) -> list[str]:
    """One line a node: its number, a bar and the count, all of the same length."""
    lines = []
    for node in nodes:
        count = pages.get(node, 0)
        text = f"{bar(count, top, width, mark)} {count}" if count else "-"
        lines.append(f"node {node:<2} {text}".ljust(width + 15))
    return lines


def side_by_side(left: Sequence[str], right: Sequence[str], gap: str = "   ") -> list[str]:
    """Two columns of equal height."""
    return [(a + gap + b).rstrip() for a, b in zip(left, right, strict=True)]


def bytes_text(count: int) -> str:
    """``512 MiB``, ``1.5 GiB``: a size in the largest unit that it fills, with one decimal if that is not zero."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size - size // 20480:  # from there on it is 1.0 when rounded, no 1024 of the smaller unit
            return f"{count / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} B"


def time_text(ns: float) -> str:
    """``1.25 ms``: a time in ns with three significant digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            value = ns / size
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    return f"{ns:.0f} ns"
