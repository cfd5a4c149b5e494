"""Booting: from a Hardware to a running kernel.

Mirrors start_kernel() of init/main.c; read it as the list of what a machine consists of.
"""

from __future__ import annotations

from numalab.arch._hw import Hardware
from numalab.arch.costs import Costs
from numalab.arch.topology import Topology
from numalab.kernel.cgroup import cgroup_init
from numalab.kernel.fork import create_init, create_kthread
from numalab.kernel.fs.block import add_disks
from numalab.kernel.fs.tree import build_tree
from numalab.kernel.hotplug import hotplug_init
from numalab.kernel.kswapd import kswapd_init
from numalab.kernel.oom import oom_init
from numalab.kernel.sched import Scheduler
from numalab.kernel.state import Kernel
from numalab.kernel.task import KTHREADD_PID
from numalab.kernel.ucount import fork_init
from numalab.mm import mmzone
from numalab.mm._mm_types import CONFIG_DEBUG_VM
from numalab.mm.memory_hotplug import add_memory
from numalab.mm.page_reporting import PageReporting

__all__ = ["start_kernel"]


def start_kernel(
    topology: Topology,
    *,
    seed: int = 0,
    costs: str | Costs | None = None,
    twins: bool = False,
    debug_vm: bool | None = None,
) -> Kernel:
    """A machine with its first two tasks: init, which has memory, and kthreadd, which has none.

    seed: decides every choice of the scheduler.  costs: a preset of arch.costs.  twins: run on the plain-Python
    kernels.  debug_vm: poison freed frames, check the invariants after every run; None: in a debug build.
    Raises ValueError for unknown costs, TopologyError for a machine too small to hold a program, MemoryError when the
    host refuses the address space.
    """
    if debug_vm is None:
        debug_vm = CONFIG_DEBUG_VM
    hw = Hardware(topology, costs)
    mem = mmzone.build(hw, twins=twins, debug_vm=debug_vm)
    add_memory(mem)
    cgroup_root = cgroup_init(topology, mem.memory_nodes)
    sched = Scheduler(hw, seed, mem.timers, PageReporting(mem))
    k = Kernel(hw, mem, topology, sched, cgroup_root, debug_vm=debug_vm)
    mem.waits = k.sched
    k.syscall_cost = hw.cost["syscall"]
    k.memhp_default_online_type = topology.boot["memhp_default_state"]
    create_init(k)
    create_kthread(k, "kthreadd", pid=KTHREADD_PID)
    kswapd_init(k)
    oom_init(k)
    hotplug_init(k)
    fork_init(k)
    build_tree(k)
    add_disks(k)
    return k
