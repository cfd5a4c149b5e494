from numalab.mm._mm_types import AddressSpace, AllocCtx, MemMap

def swapin_range(
    mem: MemMap, ctx: AllocCtx, mapping: AddressSpace, start: int, end: int, types: int
) -> tuple[int, int, int]: ...
