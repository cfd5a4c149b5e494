"""Arguments of mmap and its family: mprotect, mremap, madvise, mlock, msync, mincore."""

from __future__ import annotations

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.strace.forms import Names, after, all_of, array, flags, one_of, pointer
from numalab.syscalls.strace.view import Show, View

__all__ = ["SHOW", "huge_shift"]

_PROT: Names = [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (8, "PROT_SEM"),
                (0x01000000, "PROT_GROWSDOWN"), (0x02000000, "PROT_GROWSUP")]  # fmt: skip
_MAP_TYPES = {0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
_MAP: Names = [
    (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x40, "MAP_32BIT"), (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"), (0x10000, "MAP_NONBLOCK"), (0x100, "MAP_GROWSDOWN"), (0x800, "MAP_DENYWRITE"),
    (0x1000, "MAP_EXECUTABLE"), (0x2000, "MAP_LOCKED"), (0x20000, "MAP_STACK"), (0x40000, "MAP_HUGETLB"),
    (0x80000, "MAP_SYNC"), (0x100000, "MAP_FIXED_NOREPLACE"),
]  # fmt: skip
_HUGE_SHIFT, _HUGE_MASK = 26, 63
_MREMAP_ELSEWHERE = 1 | 2  # MREMAP_MAYMOVE and MREMAP_FIXED
_MREMAP: Names = [(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")]
_MLOCK: Names = [(1, "MLOCK_ONFAULT")]
_MCL: Names = [(1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT")]
_MS: Names = [(4, "MS_SYNC"), (1, "MS_ASYNC"), (2, "MS_INVALIDATE")]
_ADVICE = {
    0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED", 8: "MADV_FREE",
    9: "MADV_REMOVE", 10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE", 13: "MADV_UNMERGEABLE",
    14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP", 17: "MADV_DODUMP", 18: "MADV_WIPEONFORK",
    19: "MADV_KEEPONFORK", 20: "MADV_COLD", 21: "MADV_PAGEOUT", 22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE",
    24: "MADV_DONTNEED_LOCKED", 25: "MADV_COLLAPSE", 100: "MADV_HWPOISON", 101: "MADV_SOFT_OFFLINE",
}  # fmt: skip


def huge_shift(value: int, prefix: str) -> tuple[int, list[str]]:
    """Takes the size of huge pages out of a flag word: the other flags, and the size as strace puts it behind them."""
    size = value >> _HUGE_SHIFT & _HUGE_MASK
    return value & ~(_HUGE_MASK << _HUGE_SHIFT), [f"{size}<<{prefix}_HUGE_SHIFT"] if size else []


def _map_flags(view: View, arg: Arg, value: int) -> str:
    """MAP_*: the kind of mapping is a number in the low four bits, the rest are flags."""
    value, huge = huge_shift(value & 0xFFFFFFFF, "MAP")
    kind = _MAP_TYPES.get(value & 0xF) or f"{value & 0xF:#x} /* MAP_??? */"
    return "|".join([kind, *all_of(value & ~0xF, _MAP), *huge])


def _new_address(view: View, arg: Arg, addr: int) -> str:
    """mremap's fifth argument means something only with the flags that say so."""
    return pointer(addr) if view.named("flags") & _MREMAP_ELSEWHERE == _MREMAP_ELSEWHERE else ""


def _residency(view: View, arg: Arg, addr: int) -> str:
    """What mincore says of each page."""
    return array(view, addr, -(-view.count(arg) // 4096), "B", lambda page: str(page & 1))


SHOW: dict[Kind, Show] = {
    Kind.PROT: flags(_PROT, "PROT_???", "PROT_NONE"),
    Kind.MAP_FLAGS: _map_flags,
    Kind.MREMAP_FLAGS: flags(_MREMAP, "MREMAP_???"),
    Kind.MREMAP_ADDR: _new_address,
    Kind.ADVICE: one_of(_ADVICE, "MADV_???"),
    Kind.MLOCK_FLAGS: flags(_MLOCK, "MLOCK_???"),
    Kind.MCL_FLAGS: flags(_MCL, "MCL_???"),
    Kind.MS_FLAGS: flags(_MS, "MS_???"),
    Kind.VEC_OUT: after(_residency),
}
