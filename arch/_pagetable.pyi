import numpy as np
import numpy.typing as npt

from numalab.arch._hw import Hardware

PTE_PRESENT: int
PTE_RW: int
PTE_USER: int
PTE_ACCESSED: int
PTE_DIRTY: int
PTE_PSE: int
PTE_PROTNONE: int
PTE_SPECIAL: int
PTRS_PER_TABLE: int
PMD_SHIFT: int
SWP_TYPE_SHIFT: int
SWP_OFFSET_SHIFT: int
SWP_MIGRATION_READ: int
SWP_MIGRATION_READ_EXCLUSIVE: int
SWP_MIGRATION_WRITE: int
MAX_SWAPFILES: int
PTE_ADDR_MASK: int
PAGE_NX: int

def walk(hw: Hardware, pgd: int, va: int) -> int: ...
def walk_batch(
    hw: Hardware, pgd: int, vaddrs: npt.NDArray[np.uint64], ptes: npt.NDArray[np.uint64]
) -> None: ...
def walk_range(hw: Hardware, pgd: int, start: int, end: int, out: npt.NDArray[np.uint64]) -> int: ...
