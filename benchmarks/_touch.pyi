import numpy as np
import numpy.typing as npt

from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct

BLOCKS: int
ARRAY: int
LIST: int

def touch_metadata(mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int) -> None: ...
def set_pages(mem: MemMap, pfns: npt.NDArray[np.uint32]) -> None: ...
def copy_pages(mem: MemMap, frm: npt.NDArray[np.uint32], to: npt.NDArray[np.uint32]) -> None: ...
def copy_out(mem: MemMap, frm: npt.NDArray[np.uint32], store: npt.NDArray[np.uint8]) -> None: ...

class Floor:
    def __init__(
        self,
        mem: MemMap,
        hot: npt.NDArray[np.uint8],
        cold: npt.NDArray[np.uint8],
        order: npt.NDArray[np.uint8],
        chunks: npt.NDArray[np.uint32],
        array: npt.NDArray[np.uint32],
        root: int,
    ) -> None: ...
    def reset(self, where: int, pfns: npt.NDArray[np.uint32]) -> None: ...
    def touch(self, va: int, pages: int, zero: bool) -> int: ...
