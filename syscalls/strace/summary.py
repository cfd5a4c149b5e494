"""The table of `strace -c`: for each call how often it was made, how long it took, how often it failed.

Time is virtual: that of the CPU, as strace's is the system time; or with `wall` from the beginning to the end,
with what the task slept and what others ran meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Summary"]

_NS_PER_US = 1000


@dataclass
class _Count:
    number: int
    calls: int = 0
    errors: int = 0
    time: int = 0


class Summary:
    """Counts calls, and prints the table."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def add(self, name: str, number: int, time: int, *, failed: bool) -> None:
        """One call that has ended. time: in ns."""
        count = self._counts.setdefault(name, _Count(number))
        count.calls += 1
        count.errors += failed
        count.time += time

    def lines(self) -> Iterator[str]:
        """The table, the dearest call first, those that cost the same by number; nothing if there was no call."""
        if not self._counts:
            return
        counts = sorted(self._counts.items(), key=lambda item: (-item[1].time, item[1].number))
        width = max(16, *(len(name) + 1 for name in self._counts))
        rule = " ".join("-" * n for n in (6, 11, 11, 9, 9, width))
        total = _Count(0, *(sum(getattr(c, what) for _, c in counts) for what in ("calls", "errors", "time")))
        yield f"{'% time':>6} {'seconds':>11} {'usecs/call':>11} {'calls':>9} {'errors':>9} syscall"
        yield rule
        for name, count in counts:
            yield _line(name, count, 100 * count.time / total.time if total.time else 0)
        yield rule
        yield _line("total", total, 100)


def _line(name: str, count: _Count, percent: float) -> str:
    seconds, average = count.time / 1e9, count.time // count.calls // _NS_PER_US
    return f"{percent:6.2f} {seconds:11.6f} {average:11} {count.calls:9} {count.errors or '':>9} {name}"
