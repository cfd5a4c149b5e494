"""Block devices: a disk under a name in /dev. Programs can swap to it or mount it; its bytes they cannot read.

A machine has two: /dev/ram0, which it swaps to, and /dev/vda with an empty file system, mounted on /mnt.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from numalab.arch.disk import Disk
from numalab.kernel.fs.ext2 import Ext2
from numalab.kernel.fs.inode import Directory, Inode
from numalab.kernel.fs.namei import resolve
from numalab.kernel.fs.namespace import do_add_mount, is_mounted
from numalab.kernel.fs.path import Path
from numalab.kernel.fs.seq import lines
from numalab.mm.swapfile import swap_areas, swapon

if TYPE_CHECKING:
    from numalab.kernel.state import Kernel
    from numalab.mm._mm_types import MemMap

__all__ = ["BlockDevice", "add_disks", "disk_state", "swaps"]

_PAGE_KB = 4
_VDA_PAGES = 1 << 20  # 4 GiB, of which nothing is taken on the host before it is written


class BlockDevice(Inode):
    """A disk that has a name. root: of what is on it, None = nothing that could be mounted.

    As with bd_claim(), a file system or a swap area has it for itself.
    """

    def __init__(self, disk: Disk, root: Directory | None = None) -> None:
        super().__init__(stat.S_IFBLK | 0o660)
        self.disk = disk
        self.root = root

    def holds_files(self, k: Kernel) -> bool:
        """Whether its file system is mounted, or has open files still."""
        return self.root is not None and (self.root.sb.users > 0 or is_mounted(k, self.root.sb))


def add_disks(k: Kernel) -> None:
    """The disks of a machine; /dev/ram0 is as large as the boot parameter ``swap`` says."""
    vda = Disk(k.hw, k.mem.timers, "/dev/vda", _VDA_PAGES, dev=(254, 0))
    root = Ext2(k, vda).make_root()
    k.root.add("dev/vda", BlockDevice(vda, root))
    k.root.add("mnt", Directory())
    do_add_mount(k, resolve(Path(k.root), "mnt", k.init.cred), root)
    pages = int(k.topology.boot["swap"]) >> 12
    if pages < 2:
        return
    disk = Disk(k.hw, k.mem.timers, "/dev/ram0", pages, dev=(1, 0))
    k.root.add("dev/ram0", BlockDevice(disk))
    swapon(k.mem, disk)


def disk_state(mem: MemMap, latency: int, page_ns: int, *, failing: bool = False) -> None:
    """Let every disk take so long, in ns a request and ns a page, and perhaps fail at whatever it is asked for."""
    disks = [area.disk for area in swap_areas(mem)] + [store.disk for store in mem.bdis if store is not None]
    for disk in disks:
        disk.latency, disk.page_ns, disk.failing = latency, page_ns, failing
    for area in swap_areas(mem):
        area.sync()


def swaps(mem: MemMap) -> str:
    """/proc/swaps."""
    rows = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"]
    for area in swap_areas(mem):
        size, used = area.size * _PAGE_KB, area.used * _PAGE_KB
        tabs = "\t" if size >= 10_000_000 else "\t\t"
        more = "\t" if used >= 10_000_000 else "\t\t"
        rows.append(f"{area.disk.name:<40}partition\t{size}{tabs}{used}{more}{area.prio}")
    return lines(*rows)
