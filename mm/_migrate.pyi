import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from numalab.mm._mm_types import AllocCtx, MemMap, MemPolicy, MmStruct
from numalab.mm._page_list import PageList, PageLog

@disjoint_base
class Target:
    def __init__(
        self,
        nid: int = -1,
        policy: MemPolicy | None = None,
        ilx: int = 0,
        nodes: int = 0,
        movable: bool = True,
    ) -> None: ...
    @property
    def nid(self) -> int: ...
    @property
    def policy(self) -> MemPolicy | None: ...
    @property
    def ilx(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def gfp(self) -> int: ...

@disjoint_base
class MigrateStats:
    moved: int
    freed: int
    batches: int
    def __init__(self, log: PageLog | None = None) -> None: ...
    @property
    def log(self) -> PageLog | None: ...
    @property
    def reasons(self) -> list[int]: ...
    @property
    def phases(self) -> list[int]: ...
    def charge(self, phase: int, ns: int) -> None: ...
    def count(self, reason: int) -> None: ...

def queue_range(
    mem: MemMap,
    mm: MmStruct,
    start: int,
    end: int,
    nodes: int,
    invert: bool,
    flags: int,
    pagelist: PageList,
    migratable: bool = True,
) -> tuple[int, int, int]: ...
def pages_status(
    mem: MemMap, mm: MmStruct, addresses: npt.NDArray[np.uint64], status: npt.NDArray[np.int32]
) -> None: ...
def queue_addresses(
    mem: MemMap,
    mm: MmStruct,
    addresses: npt.NDArray[np.uint64],
    node: int,
    move_all: bool,
    status: npt.NDArray[np.int32],
    pagelist: PageList,
    waiting: bool = False,
    never: int = ...,
) -> tuple[int, int, bool]: ...
def migrate_batch(
    mem: MemMap,
    ctx: AllocCtx,
    pfns: npt.NDArray[np.uint32],
    at: int,
    target: Target,
    stats: MigrateStats,
    left: npt.NDArray[np.uint32],
    why_left: npt.NDArray[np.uint8],
) -> tuple[int, int, int]: ...
