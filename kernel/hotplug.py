"""What the kernel does when a node gets memory, or loses the last of it.

Mirrors the memory notifiers: of online_pages() and offline_pages() (kswapd), and of kernel/cgroup/cpuset.c.
"""

from __future__ import annotations

from numalab.kernel.cpuset import cpuset_handle_hotplug
from numalab.kernel.kswapd import kswapd_run_or_stop
from numalab.kernel.state import Kernel

__all__ = ["hotplug_init"]


def hotplug_init(k: Kernel) -> None:
    """From now on mm tells when N_MEMORY has changed."""

    def node_states_changed(nid: int) -> None:
        kswapd_run_or_stop(k, nid)
        cpuset_handle_hotplug(k)

    k.mem.node_states_changed = node_states_changed
