import numpy as np
import numpy.typing as npt

from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import MemMap, MmStruct
from numalab.mm._page_list import PageList

def isolate_lru(
    mem: MemMap, node: int, kind: int, out: npt.NDArray[np.uint32], highest: int = 3
) -> tuple[int, int]: ...
def deactivate(mem: MemMap, pfns: npt.NDArray[np.uint32]) -> None: ...
def cold_range(
    mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, pagelist: PageList, pageout: bool
) -> None: ...
def pageout_batch(
    mem: MemMap,
    cpu: int,
    pfns: npt.NDArray[np.uint32],
    at: int,
    flags: int,
    stats: MigrateStats,
    left: npt.NDArray[np.uint32],
    why_left: npt.NDArray[np.uint8],
) -> tuple[int, int]: ...
def end_writeback(mem: MemMap, pfns: npt.NDArray[np.uint32], ok: bool) -> None: ...
