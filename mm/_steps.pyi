import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from numalab.mm._migrate import MigrateStats, Target
from numalab.mm._mm_types import AllocCtx, MemMap

@disjoint_base
class MigrateBatch:
    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> int: ...

@disjoint_base
class PageoutBatch:
    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> int: ...

def migrate_begin(mem: MemMap, stats: MigrateStats) -> MigrateBatch: ...
def migrate_unmap(
    mem: MemMap, cpu: int, b: MigrateBatch, pfns: npt.NDArray[np.uint32], at: int, stats: MigrateStats
) -> None: ...
def migrate_flush(mem: MemMap, b: MigrateBatch, stats: MigrateStats) -> None: ...
def migrate_copy(
    mem: MemMap, ctx: AllocCtx, b: MigrateBatch, at: int, target: Target, stats: MigrateStats
) -> int: ...
def migrate_remap(mem: MemMap, ctx: AllocCtx, b: MigrateBatch, at: int, stats: MigrateStats) -> None: ...
def migrate_end(
    mem: MemMap,
    b: MigrateBatch,
    stats: MigrateStats,
    left: npt.NDArray[np.uint32],
    why_left: npt.NDArray[np.uint8],
) -> tuple[int, int]: ...
def pageout_begin(mem: MemMap, stats: MigrateStats) -> PageoutBatch: ...
def pageout_unmap(
    mem: MemMap,
    cpu: int,
    b: PageoutBatch,
    pfns: npt.NDArray[np.uint32],
    at: int,
    flags: int,
    stats: MigrateStats,
) -> None: ...
def pageout_flush(mem: MemMap, b: PageoutBatch, stats: MigrateStats) -> None: ...
def pageout_write(
    mem: MemMap, cpu: int, b: PageoutBatch, at: int, flags: int, stats: MigrateStats
) -> bool: ...
def pageout_end(
    mem: MemMap,
    b: PageoutBatch,
    stats: MigrateStats,
    left: npt.NDArray[np.uint32],
    why_left: npt.NDArray[np.uint8],
) -> int: ...
