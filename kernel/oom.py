"""Out of memory: who dies when a fault finds no frame.

Mirrors mm/oom_kill.c.  Deliberately different: the victim is always the task whose fault found no memory, as
with vm.oom_kill_allocating_task=1, so that it can be told beforehand; Linux picks the largest process.
"""

from __future__ import annotations

from numalab.arch._hw import EV_MARK_VICTIM
from numalab.kernel.kill import send_signal
from numalab.kernel.signal import SIGKILL
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task

__all__ = ["out_of_memory"]

_PAGE_KB = 4


def _trace_mark_victim(k: Kernel, task: Task) -> None:
    """trace_mark_victim(): who it is, and how large, in KiB."""
    mm = task.mm
    assert mm is not None
    anon, shared = mm.rss_anon * _PAGE_KB, (mm.rss_file * _PAGE_KB, mm.rss_shmem * _PAGE_KB)
    total = sum(vma.end - vma.start for vma in mm.vmas.values()) >> 10
    k.hw.trace(
        EV_MARK_VICTIM,
        task.pid | task.cred.uid << 32,
        task.comm,
        total,
        anon,
        *shared,
        mm.nr_tables * _PAGE_KB,
    )


def out_of_memory(k: Kernel, task: Task) -> None:
    """Kill the task that could not get memory: SIGKILL is pending when this returns, and it dies on its way back.

    Its memory is freed when it dies; nobody else is harmed.
    """
    if k.hw.trace_mask >> EV_MARK_VICTIM & 1:
        _trace_mark_victim(k, task)
    send_signal(k, task, SIGKILL)
