from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sortedcontainers import SortedDict
from typing_extensions import disjoint_base

from numalab.arch._hw import Hardware
from numalab.arch.timers import Timers
from numalab.arch.topology import Topology
from numalab.mm._page_list import PageList
from numalab.mm.backing_dev import FileDisk
from numalab.mm.filemap import MappedFile
from numalab.mm.gap_tree import GapTree
from numalab.mm.hstate import Hstate
from numalab.mm.huge_memory import ThpSettings
from numalab.mm.kernels import Kernels
from numalab.mm.migrate.ledger import Ledger
from numalab.mm.mmap_lock import MmapLock
from numalab.mm.mutex import Mutex
from numalab.mm.preempt import Point
from numalab.mm.swapfile import SwapArea
from numalab.mm.waits import Waits
from numalab.mm.zones import ZoneRows

CONFIG_DEBUG_VM: bool

@disjoint_base
class MemMap:
    hw: Hardware
    # Bound by mm/mmzone.py: what the C half points at, as numpy arrays.
    hot: npt.NDArray[Any]
    cold: npt.NDArray[Any]
    order: npt.NDArray[np.uint8]
    section_node: npt.NDArray[np.uint8]
    section_zone: npt.NDArray[np.uint16]
    zones: npt.NDArray[Any]
    zonelist: npt.NDArray[np.int32]
    pcps: npt.NDArray[Any]
    trail_top: npt.NDArray[np.uint32]
    lrus: npt.NDArray[Any]
    chunks: npt.NDArray[np.uint32]
    fbatches: npt.NDArray[Any]
    node_stat: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    swap: npt.NDArray[Any]
    weights: npt.NDArray[np.uint8]
    # Python's own, set by mm/mmzone.py and by whoever migrated last.
    k: Kernels
    topology: Topology
    ledger: Ledger
    ledgers: deque[Ledger]
    explain: bool
    swap_areas: list[SwapArea | None]
    bdi: npt.NDArray[Any]
    bdis: list[FileDisk | None]
    timers: Timers
    waits: Waits
    preempt: Callable[[Point, int], None] | None
    unflushed: list[Callable[[], None]]
    wake_kswapd: Callable[[int], None]
    out_of_memory: Callable[[int | None], bool]
    node_states_changed: Callable[[int], None]
    zone_rows: ZoneRows
    isolate_zone: int  # the zone of what is isolated or offline, -1 = there is none yet
    isolating: int  # the zone whose frames it has now, -1 = nobody's
    offline_blocks: set[int]
    hotplug_lock: Mutex
    page_cluster: int
    swappiness: int
    max_map_count: int
    lock_owners: dict[int, str]
    held: Counter[int]
    page_lists: list[PageList]
    taskless: list[MmStruct]
    engine: str
    thp: ThpSettings
    hstate: Hstate
    v5_quirks: bool
    asid_top: int
    anon_top: int
    memory_nodes: int
    normal_nodes: int
    zero_pfn: int
    debug: bool
    corrupted: int
    def __new__(cls, hw: Hardware) -> Self: ...
    def bind(self, name: str, array: npt.NDArray[Any]) -> None: ...
    def node_of(self, pfn: int) -> int: ...
    def alloc_asid(self) -> int: ...
    def mm_of(self, asid: int) -> MmStruct: ...
    def rmap_root(self, id: int) -> RmapRoot | None: ...
    def mappings(self) -> list[AddressSpace]: ...

@disjoint_base
class MemPolicy:
    user_nodemask: int
    cpuset_mems_allowed: int
    def __init__(
        self,
        mode: int,
        flags: int = 0,
        nodes: int = 0,
        home_node: int = -1,
        user_nodemask: int = 0,
        cpuset_mems_allowed: int = 0,
    ) -> None: ...
    @property
    def mode(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def home_node(self) -> int: ...

@disjoint_base
class AllocCtx:
    cpu: int
    nid: int
    mems_allowed: int
    gfp: int
    policy: MemPolicy | None
    il_prev: int
    il_weight: int
    min_flt: int
    maj_flt: int
    ledger: Ledger | None
    def __init__(self, cpu: int, nid: int, mems_allowed: int) -> None: ...

@disjoint_base
class VMA:
    mm: MmStruct
    @property
    def file(self) -> MappedFile | None: ...
    chain: list[AnonVma]
    slots: list[int]
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def pgoff(self) -> int: ...
    flags: int
    policy: MemPolicy | None
    anon_vma: AnonVma | None
    vm_private_data: object
    def __init__(self, mm: MmStruct, start: int, end: int, pgoff: int, flags: int) -> None: ...
    def set_range(self, start: int, end: int, pgoff: int) -> None: ...
    def attach_file(self, file: MappedFile) -> None: ...
    def detach_file(self) -> MappedFile | None: ...
    @property
    def prot(self) -> int: ...
    @property
    def address(self) -> int: ...

@disjoint_base
class RmapRoot:
    def __init__(self, mem: MemMap) -> None: ...
    @property
    def mem(self) -> MemMap: ...
    @property
    def id(self) -> int: ...
    @property
    def vmas(self) -> list[VMA]: ...
    def close(self) -> None: ...
    def addresses(self) -> list[int]: ...
    def areas(self, first: int, last: int) -> list[VMA]: ...

@disjoint_base
class ShmemSbInfo:
    used_blocks: int
    def __init__(self, max_blocks: int) -> None: ...
    @property
    def max_blocks(self) -> int: ...

@disjoint_base
class AddressSpace(RmapRoot):
    i_size: int
    nrpages: int
    nr_swapped: int
    wb_err: int
    wb_err_seen: bool
    @property
    def policies(self) -> list[tuple[int, int, MemPolicy]]: ...
    def replace_policies(self, low: int, high: int, policies: list[tuple[int, int, MemPolicy]]) -> None: ...
    def __init__(self, mem: MemMap, i_size: int, sb: ShmemSbInfo | None = None, bdi: int = 0) -> None: ...
    @property
    def sb(self) -> ShmemSbInfo | None: ...
    @property
    def bdi(self) -> int: ...
    def blocks(self, start: int = 0) -> list[tuple[int, int]]: ...
    def block(self, index: int) -> int: ...
    def set_block(self, index: int, block: int) -> None: ...
    @property
    def size(self) -> int: ...
    def load(self, index: int) -> int: ...
    def entries(self, start: int = 0, end: int = ...) -> list[tuple[int, int]]: ...
    def store(self, index: int, entry: int) -> None: ...

@disjoint_base
class AnonVma(RmapRoot):
    num_children: int
    num_active_vmas: int
    @property
    def parent(self) -> AnonVma: ...
    @property
    def root(self) -> AnonVma: ...
    def __init__(self, mem: MemMap, parent: AnonVma | None = None) -> None: ...
    def attach(self, vma: VMA) -> None: ...
    def detach(self, vma: VMA) -> None: ...

@disjoint_base
class MmStruct:
    pgd: int
    rss_anon: int
    rss_file: int
    rss_shmem: int
    rss_swap: int
    nr_tables: int
    # Python's own, set by mm/address_space.py.
    vmas: SortedDict[int, VMA]
    gaps: GapTree
    gaps_changed: set[int]
    start_brk: int
    brk: int
    start_stack: int
    def_flags: int
    thp_disabled: bool
    mmap_lock: MmapLock
    def __init__(self, mem: MemMap, pgd: int, asid: int) -> None: ...
    @property
    def mem(self) -> MemMap: ...
    @property
    def asid(self) -> int: ...
    def close(self) -> None: ...
    def vmas_changed(self) -> None: ...
    def sync_table(self) -> None: ...
    def table_addresses(self) -> list[int] | None: ...

def struct_sizes() -> dict[str, int]: ...
def read_struct(name: str, data: bytes | npt.NDArray[Any]) -> Mapping[str, Any]: ...
