import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import MemMap, MmStruct

def pagemap_range(mem: MemMap, mm: MmStruct, start: int, out: npt.NDArray[np.uint64]) -> None: ...
def numa_stats(
    mem: MemMap, mm: MmStruct, start: int, end: int
) -> tuple[int, int, int, int, int, int, int, npt.NDArray[np.int64]]: ...
def smaps_stats(mem: MemMap, mm: MmStruct, start: int, end: int) -> tuple[int, ...]: ...
