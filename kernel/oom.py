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


def out_of_memory(k: Kernel, task: Task) -> None:
    """Kill the task that could not get memory: SIGKILL is pending when this returns, and it dies on its way back.

    Its memory is freed when it dies; nobody else is harmed.
    """
    k.hw.trace(EV_MARK_VICTIM, task.cpu, task.pid)
    send_signal(k, task, SIGKILL)
