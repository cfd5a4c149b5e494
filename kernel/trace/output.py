"""Events as text, as /sys/kernel/tracing/trace has it.

Mirrors kernel/trace/trace_output.c: a header, and a line an event, `comm-pid [cpu] flags seconds: event: fields`. None
of the flags is ever set: no interrupt is off, nobody holds a spinlock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.arch.events import Record
    from numalab.kernel.trace.trace import Trace

__all__ = ["line", "lines"]

_HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {kept}/{written}   #P:{cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |"""


def line(record: Record, comm: str) -> str:
    """One line. comm: the name of the task."""
    seconds = f"{record.time // 10**9:5}.{record.time // 1000 % 10**6:06d}"
    return f"{comm:>16}-{record.pid:<7} [{record.cpu:03d}] ..... {seconds}: {record.name}: {record.text()}"


def lines(trace: Trace) -> Iterator[str]:
    """The whole text. What was lost stands where it was."""
    kept = len(trace)
    yield from _HEADER.format(kept=kept, written=kept + trace.lost, cpus=trace.nr_cpus).split("\n")
    expected = None
    for record in trace:
        if expected is not None and record.seq > expected:
            yield f"CPU:{record.cpu} [LOST {record.seq - expected} EVENTS]"
        expected = record.seq + 1
        yield line(record, trace.comms.get(record.pid, "<...>"))
