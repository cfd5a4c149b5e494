import numpy as np
from numpy.typing import NDArray

from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct

def do_huge_pmd_anonymous_page(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, va: int, write: bool, gfp: int
) -> int: ...
def split_pmd(mem: MemMap, mm: MmStruct, va: int) -> None: ...
def split_pages(mem: MemMap, pfns: NDArray[np.uint32]) -> int: ...
