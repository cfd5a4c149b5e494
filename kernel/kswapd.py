"""kswapd: the kernel task of each node that reclaims memory before programs have to.

Mirrors kswapd() and wakeup_kswapd() of mm/vmscan.c. Deliberately different: between two wakings the task has no Python
frame; each waking begins one that balances the node and ends.
"""

from __future__ import annotations

from functools import partial

from numalab.kernel.fork import create_kthread
from numalab.kernel.state import Kernel
from numalab.kernel.task import KTHREADD_PID, State, Task
from numalab.mm.nodemask import nodes_in
from numalab.mm.vmscan import balance_pgdat, pgdat_balanced

__all__ = ["kswapd_run"]


def kswapd_run(k: Kernel) -> None:
    """A kswapd for every node with memory, asleep, on a CPU of its node if that has one."""
    tasks: dict[int, Task] = {}
    for node in k.topology.nodes:
        if node.ranges:
            task = tasks[node.id] = create_kthread(k, f"kswapd{node.id}", pid=KTHREADD_PID + 1 + len(tasks))
            if node.cpus:
                k.sched.set_task_cpu(task, node.cpus[0])

    def wake(nodes: int) -> None:
        for nid in nodes_in(nodes):
            task = tasks.get(nid)
            if task is not None and task.state is State.INTERRUPTIBLE and not pgdat_balanced(k.mem, nid):
                task.program = partial(_balance, k, task, nid)
                k.sched.wake_up_new_task(task)

    k.mem.wake_kswapd = wake


def _balance(k: Kernel, task: Task, nid: int) -> None:
    try:
        balance_pgdat(k.mem, nid, task.cpu)
    except Exception as bug:  # noqa: BLE001
        k.record_bug(task, bug)
    k.sched.exit_current()
    task.state = State.INTERRUPTIBLE
