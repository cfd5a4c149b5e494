"""The lines that were asked, and how a usage text is left out: ours is told in words of our own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["HERE", "MACHINES", "commands", "without_usage"]

HERE = Path(__file__).parent
MACHINES = ("quad", "odd")
_USAGE = re.compile(r"usage:? (?:numactl|migratepages|migspeed) |Usage: |memhog \[-fFILE\]")


def commands(machine: str) -> list[str]:
    """The lines for a machine."""
    return (HERE / "commands" / f"{machine}.txt").read_text().splitlines()


def without_usage(lines: Iterable[str]) -> str:
    """The lines without what follows the beginning of a usage text on the same stream."""
    kept, cut = [], ""
    for line in lines:
        stream = line[:1]
        if stream == cut:
            continue
        found = _USAGE.search(line) if stream in "12" else None
        cut = stream if found else ""
        kept.append(f"{line[: found.start()]}USAGE\n" if found else f"{line}\n")
    return "".join(kept)
