"""/sys/devices/virtual/memory_tiering: tiers of memory, and whether reclaim moves pages to a slower one.

Mirrors mm/memory-tiers.c; Documentation/ABI/testing/sysfs-kernel-mm-memory-tiers and -numa. Nobody has told the
kernel how fast a node is (no HMAT, no CXL device), so all memory counts as DRAM, whether its node has CPUs or not:
there is one tier, and no node to demote to.
"""

from __future__ import annotations

from numalab.kernel.fs.inode import Directory, Opening, PseudoFile, text_file
from numalab.kernel.fs.seq import bitmap_list
from numalab.kernel.fs.sysfs_mm import kstrtobool
from numalab.kernel.state import Kernel

__all__ = ["add_sysfs_tiers"]

MEMTIER_CHUNK_BITS = 7
MEMTIER_ADISTANCE_DRAM = (4 << MEMTIER_CHUNK_BITS) + (1 << MEMTIER_CHUNK_BITS - 1)


def add_sysfs_tiers(k: Kernel, sys: Directory) -> None:
    """The tier of DRAM, and the switch."""
    tier = f"memory_tier{MEMTIER_ADISTANCE_DRAM >> MEMTIER_CHUNK_BITS}"
    sys.add(
        f"devices/virtual/memory_tiering/{tier}/nodelist",
        text_file(lambda: bitmap_list(k.mem.memory_nodes) + "\n"),
    )
    sys.add("kernel/mm/numa/demotion_enabled", _demotion_file(k))


def _demotion_file(k: Kernel) -> PseudoFile:
    def store(opening: Opening, text: str) -> None:
        k.demotion_enabled = kstrtobool(text)

    return PseudoFile(0o644, lambda opening: "true\n" if k.demotion_enabled else "false\n", store)
