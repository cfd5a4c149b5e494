import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import MemMap

def unmap_and_remap(mem: MemMap, pfns: npt.NDArray[np.uint32], size: int, how: str = ...) -> int: ...
