"""Arguments for a system call, drawn by their kinds: mostly what the call could take, often what it should refuse.

Noise alone gets no further than the first check of a call. So most arguments are of their kind (an address in the
program's memory, a flag word of known bits, a descriptor that may be open), and any of them may be noise instead.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import reduce
from operator import or_

from numalab.syscalls.kinds import Kind
from numalab.syscalls.table import TABLE, Syscall

__all__ = ["ARENA_PAGES", "FIRST_FREE", "PAGE", "SLEEPS", "call", "structures"]

PAGE = 4096

#: The program's memory: its first pages hold structures that arguments point to, the rest is for everything else.
ARENA_PAGES = 64
MASKS, IOVECS, ADDRESSES, NODES, TIMES, PATHS_AT, TEXTS_AT = range(7)
FIRST_FREE = 7
SLOT = 64

EDGES = (0xFFFF_8880_0000_0000, 1 << 47, (1 << 47) - PAGE, 0x1_0000_0000, (1 << 64) - 1, 1 << 63, 1 << 56, 0)
PATHS = (
    b"/tmp/a", b"/tmp/b/", b"/tmp/b/c", b"/dev/shm/../../tmp/a", b"/proc/self/maps", b"tmpfs", b"cgroup2",
    b"/mnt/f", b"/mnt", b"/dev/ram0", b"/sys/fs/cgroup/g", b"/sys/fs/cgroup/g/cpuset.mems",
    b"/sys/fs/cgroup/g/cgroup.procs", b"/proc/self/numa_maps", b"/proc/self/pagemap", b"/proc/sys/vm/swappiness",
    b"/proc/sys/vm/nr_hugepages", b"/proc/sys/vm/drop_caches", b"/sys/kernel/mm/transparent_hugepage/enabled",
    b"/sys/kernel/mm/mempolicy/weighted_interleave/node1", b"/proc/vmstat", b"", b"/", b"..", b"/tmp/" + b"x" * 50,
)  # fmt: skip
TEXTS = (
    b"0",
    b"1",
    b"0-1",
    b"always",
    b"3\n",
    b"-1",
    b"99999999999999999999",
    b"0-",
    b"\xff\0",
    b"mpol=bind:0",
    b"",
)

ENDS_THE_TASK = frozenset({60, 231})
#: Who reads from or fills his own pipe sleeps for ever, as on Linux.
SLEEPS = frozenset({22, 278})

BITS: dict[Kind, tuple[int, ...]] = {
    Kind.PROT: (1, 2, 4, 1 << 24, 1 << 25),
    Kind.MAP_FLAGS: (1, 2, 3, 0x10, 0x20, 0x20, 0x20, 0x100, 0x2000, 0x4000, 0x8000, 0x40000, 0x100000),
    Kind.MREMAP_FLAGS: (1, 2, 4),
    Kind.MLOCK_FLAGS: (1,),
    Kind.MCL_FLAGS: (1, 2, 4),
    Kind.MBIND_FLAGS: (1, 2, 4),
    Kind.MOVE_FLAGS: (2, 4),
    Kind.GETPOL_FLAGS: (1, 2, 4),
    Kind.OPEN_FLAGS: (1, 2, 0o100, 0o200, 0o1000, 0o2000, 0o200000),
    Kind.AT_FLAGS: (0x100, 0x200, 0x1000),
    Kind.MS_FLAGS: (1, 2, 4),
    Kind.FALLOC_MODE: (1, 2, 3, 0x10),
    Kind.MFD_FLAGS: (1, 2, 4),
    Kind.WAIT_OPTIONS: (1, 1, 2),
}
ONE_OF: dict[Kind, tuple[int, ...]] = {
    Kind.ADVICE: (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25),
    Kind.MPOL_MODE: (
        *range(8),
        *(mode | 1 << 15 for mode in range(7)),
        *(mode | 1 << 14 for mode in range(7)),
        1 << 13 | 2,
    ),
    Kind.WHENCE: (0, 1, 2, 3, 4),
    Kind.SIGNAL: (0, 9, 10, 15, 17, 18, 19, 64, 65),
    Kind.RESOURCE: (*range(16),),
    Kind.PRCTL_OPTION: (3, 4, 7, 8, 15, 16, 41, 42),
    Kind.CLOCK: (0, 1, 2),
    Kind.UID: (0, 1000, 1000, 1001, (1 << 32) - 1),
    Kind.PID: (0, 0, 0, 1, 2, -1, *range(1, 24)),
    Kind.FD: (*range(9), -1),
    Kind.DIRFD: (-100, -100, *range(6)),
    Kind.FILE_MODE: (0o644, 0o755, 0, 0o1777),
    Kind.UINT: (0, 1, 8, 16, 64, 128),
    Kind.LENGTH: (0, 1, PAGE, 3 * PAGE, 10 * PAGE + 1),
    Kind.LONG: (0, 1, PAGE, 5 * PAGE, -1, 1 << 20),
    Kind.INT: (0, 1, 2, 255),
}
POINTS_AT: dict[Kind, int] = {
    Kind.NODEMASK: MASKS, Kind.CPUMASK: MASKS, Kind.IOVEC: IOVECS, Kind.REMOTE_IOVEC: IOVECS, Kind.PAGES: ADDRESSES,
    Kind.NODES: NODES, Kind.TIMESPEC: TIMES, Kind.RLIMIT: TIMES, Kind.PATH: PATHS_AT, Kind.STRING: PATHS_AT,
    Kind.MOUNT_TYPE: PATHS_AT, Kind.MOUNT_DATA: PATHS_AT,
}  # fmt: skip
ADDRESS_KINDS = frozenset({Kind.ADDR, Kind.MREMAP_ADDR})
SIZES = (0, 1, 2, 3, PAGE, PAGE, 2 * PAGE, 3 * PAGE, 7 * PAGE, 16 * PAGE, PAGE + 1, 64 * PAGE, 2 << 20)
COUNTS = (0, 1, 2, 3, 5, 8, 16, 63, 64, 65, 128, 512)


def structures(rng: random.Random, base: int) -> bytes:
    """What lies in the first pages of an arena at ``base``: masks, vectors, addresses, nodes, times, names."""

    def place() -> int:
        return base + PAGE * rng.randrange(FIRST_FREE, ARENA_PAGES)

    def page(make: Callable[[], bytes]) -> bytes:
        return b"".join(make()[:SLOT].ljust(SLOT, b"\0") for _ in range(PAGE // SLOT))

    def vector() -> bytes:
        return struct.pack("<8Q", *(word for _ in range(4) for word in (place(), rng.choice(SIZES))))

    return (
        page(lambda: struct.pack("<4Q", rng.randrange(32), *(rng.choice((0, 0, 1)) for _ in range(3))))
        + page(vector)
        + page(lambda: struct.pack("<8Q", *(place() for _ in range(8))))
        + page(lambda: struct.pack("<16i", *(rng.choice((0, 1, 2, 3, 3, 4, -1, 70)) for _ in range(16))))
        + page(
            lambda: struct.pack(
                "<2Q", rng.choice((*[0, 0, 1, 5] * 8, 1 << 20, 1 << 62)), rng.choice((0, 999, 1 << 30))
            )
        )
        + page(lambda: rng.choice(PATHS))
        + page(lambda: rng.choice(TEXTS))
    )


def noise(rng: random.Random, base: int) -> int:
    """Anything: an address or near one, a small number, a single bit, an edge, random bits."""
    near = base + rng.choice((0, 1, 8, PAGE * rng.randrange(ARENA_PAGES + 2)))
    return rng.choice(
        (
            near,
            rng.choice(COUNTS),
            1 << rng.randrange(64),
            rng.choice(EDGES),
            rng.getrandbits(64),
            -rng.randrange(100),
        )
    )


def argument(rng: random.Random, kind: Kind, base: int) -> int:
    """One argument of a kind, for a program whose arena is at ``base``; every seventh is noise."""
    if rng.randrange(7) == 0:
        return noise(rng, base)
    if (page := POINTS_AT.get(kind)) is not None:
        return 0 if rng.randrange(12) == 0 else base + PAGE * page + SLOT * rng.randrange(PAGE // SLOT)
    if kind is Kind.BUF and rng.randrange(2):
        return base + PAGE * TEXTS_AT + SLOT * rng.randrange(PAGE // SLOT)
    if (bits := BITS.get(kind)) is not None:
        return reduce(or_, rng.sample(bits, rng.randrange(min(len(bits), 4) + 1)), 0)
    if (known := ONE_OF.get(kind)) is not None:
        return rng.choice(known)
    if kind is Kind.SIZE:
        return rng.choice(SIZES)
    if kind is Kind.ULONG:
        return rng.choice(COUNTS)
    address = base + PAGE * rng.randrange(FIRST_FREE, ARENA_PAGES)
    if kind in ADDRESS_KINDS:
        return 0 if rng.randrange(6) == 0 else address
    if kind.endswith("_out") or kind is Kind.BUF:
        return address + rng.choice((0, 0, 8, PAGE - 4))
    return noise(rng, base)


def call(rng: random.Random, base: int) -> tuple[int, list[int]]:
    """A number and its arguments. Exit is tried as well, but not so often that nothing else is."""
    if rng.randrange(30) == 0:
        number = rng.getrandbits(rng.choice((9, 16, 32, 64)))
        if number & 0xFFFF_FFFF not in SLEEPS:
            return number, [noise(rng, base) for _ in range(rng.randrange(7))]
    while True:
        row: Syscall = rng.choice(TABLE)
        if row.number not in SLEEPS and (row.number not in ENDS_THE_TASK or rng.randrange(50) == 0):
            return row.number, [argument(rng, arg.kind, base) for arg in row.args]
