"""How numbers and masks are written in /proc and /sys.

Mirrors lib/vsprintf.c (%*pb, %*pbl) and the small helpers of fs/proc.
"""

from __future__ import annotations

from numalab.mm.nodemask import nodelist

__all__ = ["bitmap_hex", "bitmap_list", "lines"]


def bitmap_list(mask: int) -> str:
    """`%*pbl`: `0-1,3`; empty for an empty mask."""
    return nodelist(mask)


def bitmap_hex(mask: int, bits: int) -> str:
    """`%*pb`: groups of 32 bits in hex, highest first; the first group is only as wide as its bits need."""
    groups = []
    for shift in range((bits - 1) // 32 * 32, -1, -32):
        digits = -(-min(32, bits - shift) // 4)
        groups.append(f"{mask >> shift & 0xFFFFFFFF:0{digits}x}")
    return ",".join(groups)


def lines(*texts: str) -> str:
    """Texts as lines, each with its newline."""
    return "".join(f"{text}\n" for text in texts)
