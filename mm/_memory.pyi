from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MmStruct

def fault_range(
    mem: MemMap, mm: MmStruct, vma: VMA, ctx: AllocCtx, start: int, end: int, write: bool
) -> tuple[int, int, int]: ...
def zap_range(
    mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, locked: bool = False, file: bool = False
) -> tuple[int, int, int]: ...
def free_tables(
    mem: MemMap, mm: MmStruct, cpu: int, start: int, end: int, floor: int, ceiling: int
) -> None: ...
def copy_range(
    mem: MemMap,
    dst: MmStruct,
    src: MmStruct,
    dst_vma: VMA,
    src_vma: VMA,
    ctx: AllocCtx,
    start: int,
    end: int,
) -> tuple[int, int, int]: ...
def protect_range(mem: MemMap, mm: MmStruct, vma: VMA, start: int, end: int) -> None: ...
def move_range(
    mem: MemMap, mm: MmStruct, ctx: AllocCtx, old: int, new: int, length: int
) -> tuple[int, int, int]: ...
