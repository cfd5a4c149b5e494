from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import MemMap

_U32: TypeAlias = npt.NDArray[np.uint32]

def alloc0(mem: MemMap, index: int, out: _U32) -> int: ...
def free0(mem: MemMap, index: int, pfns: _U32) -> None: ...

class Floor:
    def __init__(
        self, hot: npt.NDArray[np.uint8], order: npt.NDArray[np.uint8], start: int, end: int
    ) -> None: ...
    def alloc0(self, out: _U32) -> int: ...
    def free0(self, pfns: _U32) -> None: ...
