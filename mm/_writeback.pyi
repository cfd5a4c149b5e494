import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import AddressSpace, MemMap

def write_cache_pages(
    mem: MemMap, mapping: AddressSpace, start: int, end: int, out: npt.NDArray[np.uint32]
) -> tuple[int, int]: ...
def free_blocks(mem: MemMap, mapping: AddressSpace, start: int) -> None: ...
