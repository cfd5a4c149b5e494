from collections.abc import Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from numalab.arch.costs import Costs
from numalab.arch.topology import Topology

TLB_DTYPE: np.dtype[np.void]
RING_DTYPE: np.dtype[np.void]
MAX_NODES: int

EV_MM_PAGE_ALLOC: int
EV_MM_PAGE_FREE: int
EV_MM_MIGRATE_PAGES_START: int
EV_MM_MIGRATE_PAGES: int
EV_SET_MIGRATION_PTE: int
EV_REMOVE_MIGRATION_PTE: int
EV_MM_VMSCAN_LRU_ISOLATE: int
EV_MM_VMSCAN_LRU_SHRINK_INACTIVE: int
EV_MM_VMSCAN_DIRECT_RECLAIM_BEGIN: int
EV_MM_VMSCAN_DIRECT_RECLAIM_END: int
EV_MM_VMSCAN_KSWAPD_WAKE: int
EV_MM_VMSCAN_KSWAPD_SLEEP: int
EV_MARK_VICTIM: int
EV_TLB_FLUSH: int
EV_PAGE_FAULT_USER: int
EV_SCHED_SWITCH: int
EV_SCHED_WAKEUP: int
EV_SCHED_WAKEUP_NEW: int
EV_SCHED_PROCESS_FORK: int
EV_SCHED_PROCESS_EXIT: int
EV_BLOCK_RQ_ISSUE: int
EV_BLOCK_RQ_COMPLETE: int
EV_SYS_ENTER: int
EV_SYS_EXIT: int
EV_TASK_SLEEP: int
EV_MIGRATE_PASS: int
EV_NODE_FREE: int
NR_EVENTS: int

@disjoint_base
class Hardware:
    topology: Topology
    costs: Costs
    ram: npt.NDArray[np.uint8]
    tlb: npt.NDArray[np.void]
    ring: npt.NDArray[np.void]
    copy_cost: npt.NDArray[np.uint64]
    comm: str
    strings: list[str]
    closed: bool
    now: int
    cost: Mapping[str, int]
    trace_mask: int
    def __new__(cls, topology: str | PathLike[str] | Topology, costs: str | Costs | None = None) -> Self: ...
    @property
    def levels(self) -> int: ...
    @property
    def nr_frames(self) -> int: ...
    @property
    def nr_cpus(self) -> int: ...
    @property
    def ring_head(self) -> int: ...
    def advance(self, ns: int) -> int: ...
    def run_task(self, pid: int, cpu: int, comm: str) -> None: ...
    def trace(self, id: int, *args: int | str) -> None: ...
    def read_phys(self, pa: int, n: int) -> bytes: ...
    def write_phys(self, pa: int, data: bytes | bytearray | memoryview | npt.NDArray[Any]) -> None: ...
    def close(self) -> None: ...
    def discard(self, start: int, end: int) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
