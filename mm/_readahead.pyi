import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap

def page_cache_ra_unbounded(
    mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, start: int, n: int, out: npt.NDArray[np.uint32]
) -> int: ...
def end_read(mem: MemMap, pfns: npt.NDArray[np.uint32], ok: bool) -> None: ...
