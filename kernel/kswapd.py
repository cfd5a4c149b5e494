"""kswapd: the kernel task of each node that reclaims memory before programs have to.

Mirrors kswapd(), kswapd_run(), kswapd_stop() and wakeup_kswapd() of mm/vmscan.c. Deliberately different: between two
wakings the task has no Python frame; each waking begins one that balances the node and ends.
"""

from __future__ import annotations

from functools import partial

from numalab.arch._hw import EV_MM_VMSCAN_KSWAPD_SLEEP, EV_MM_VMSCAN_KSWAPD_WAKE
from numalab.kernel.exit import kthread_exit
from numalab.kernel.fork import create_kthread
from numalab.kernel.state import Kernel
from numalab.kernel.task import KTHREADD_PID, State, Task
from numalab.mm.nodemask import nodes_in
from numalab.mm.vmscan import balance_pgdat, pgdat_balanced

__all__ = ["kswapd_init", "kswapd_run_or_stop"]


def kswapd_init(k: Kernel) -> None:
    """A kswapd for every node with memory; mm can wake them from now on."""
    for number, nid in enumerate(nodes_in(k.mem.memory_nodes)):
        _kswapd_run(k, nid, KTHREADD_PID + 1 + number)

    def wake(nodes: int) -> None:
        for nid in nodes_in(nodes):
            task = k.kswapd.get(nid)
            if task is not None and task.state is State.INTERRUPTIBLE and not pgdat_balanced(k.mem, nid):
                task.program = partial(_balance, k, task, nid)
                k.sched.wake_up_new_task(task)

    k.mem.wake_kswapd = wake


def _kswapd_run(k: Kernel, nid: int, pid: int | None = None) -> None:
    """kswapd_run(): asleep, on a CPU of its node if that has one."""
    task = k.kswapd[nid] = create_kthread(k, f"kswapd{nid}", pid=pid)
    cpus = k.topology.node(nid).cpus
    if cpus:
        k.sched.set_task_cpu(task, cpus[0])


def kswapd_run_or_stop(k: Kernel, nid: int) -> None:
    """kswapd_run(), kswapd_stop(): a node has one as long as it has memory. One that is at work ends behind it."""
    has_memory = k.mem.memory_nodes >> nid & 1
    if has_memory and nid not in k.kswapd:
        _kswapd_run(k, nid)
    elif not has_memory and nid in k.kswapd:
        task = k.kswapd.pop(nid)
        if task.state is State.INTERRUPTIBLE:
            kthread_exit(k, task)


def _balance(k: Kernel, task: Task, nid: int) -> None:
    k.hw.trace(EV_MM_VMSCAN_KSWAPD_WAKE, nid)
    try:
        balance_pgdat(k.mem, nid, task.cpu)
    except Exception as bug:  # noqa: BLE001
        k.record_bug(task, bug)
    k.hw.trace(EV_MM_VMSCAN_KSWAPD_SLEEP, nid)
    k.sched.exit_current()
    task.state = State.INTERRUPTIBLE
    if k.kswapd.get(nid) is not task:
        kthread_exit(k, task)
