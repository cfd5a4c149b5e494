"""Block devices: a disk under a name in /dev. Programs can swap to it; its bytes they cannot read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from numalab.arch.disk import Disk
from numalab.kernel.fs.inode import Inode
from numalab.kernel.fs.seq import lines
from numalab.mm.swapfile import swap_areas, swapon

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel
    from numalab.mm._mm_types import MemMap

__all__ = ["BlockDevice", "add_disks", "swaps"]

_PAGE_KB = 4


class BlockDevice(Inode):
    """A disk that has a name."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(stat.S_IFBLK | 0o660)
        self.disk = disk


def add_disks(k: Kernel) -> None:
    """/dev/ram0, as large as the boot parameter ``swap`` says, and swapped to from the start."""
    pages = int(k.topology.boot["swap"]) >> 12
    if pages < 2:
        return
    disk = Disk(k.hw, k.mem.timers, "/dev/ram0", pages)
    k.root.add("dev/ram0", BlockDevice(disk))
    swapon(k.mem, disk)


def swaps(mem: MemMap) -> str:
    """/proc/swaps."""
    rows = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"]
    for area in swap_areas(mem):
        size, used = area.size * _PAGE_KB, area.used * _PAGE_KB
        tabs = "\t" if size >= 10_000_000 else "\t\t"
        more = "\t" if used >= 10_000_000 else "\t\t"
        rows.append(f"{area.disk.name:<40}partition\t{size}{tabs}{used}{more}{area.prio}")
    return lines(*rows)
