"""/sys/devices/system/node: the machine's nodes as programs find them.

Mirrors drivers/base/node.c; Documentation/ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from numalab.arch.topology import Node
from numalab.kernel.fs.inode import Directory, Inode, PseudoFile, Symlink, text_file
from numalab.kernel.fs.seq import bitmap_hex, bitmap_list, lines
from numalab.kernel.fs.sysfs_memory import find_block
from numalab.kernel.state import Kernel
from numalab.mm.memory_block import memory_blocks
from numalab.mm.vmstat import node_meminfo, node_vmstat, numastat

__all__ = ["add_sysfs_node"]

_NODES = "devices/system/node"


def add_sysfs_node(k: Kernel, sys: Directory) -> None:
    """Fill /sys/devices/system/node."""
    topology = k.topology
    # A node stays online when its memory goes: it keeps its directory, and may have CPUs.
    online = sum(1 << nid for nid in topology.node_ids)
    masks: dict[str, Callable[[], int]] = {
        "possible": lambda: online,
        "online": lambda: online,
        "has_normal_memory": lambda: k.mem.normal_nodes,
        "has_memory": lambda: k.mem.memory_nodes,
        "has_cpu": lambda: topology.cpu_nodes,
        "has_generic_initiator": lambda: 0,
    }
    for name, mask in masks.items():
        sys.add(f"{_NODES}/{name}", _mask_file(mask))
    for node in topology.nodes:
        _add_node(k, sys, node)


def _mask_file(mask: Callable[[], int]) -> PseudoFile:
    return text_file(lambda: bitmap_list(mask()) + "\n")


class NodeDirectory(Directory):
    """nodeN: its files, and a link to each of its memory blocks, made when somebody looks."""

    def __init__(self, k: Kernel, nid: int) -> None:
        super().__init__()
        self._k = k
        self._nid = nid

    def lookup(self, name: str) -> Inode | None:
        block = None if name in self.entries else find_block(self._k, name)
        if block is not None and block.number in memory_blocks(self._k.mem, self._nid):
            self.link(name, Symlink(lambda: f"../../memory/{name}"))
        return self.entries.get(name)

    def names(self) -> Iterable[str]:
        blocks = [f"memory{number}" for number in memory_blocks(self._k.mem, self._nid)]
        return [*blocks, *(name for name in self.entries if name not in blocks)]


def _constant(text: str) -> Callable[[], str]:
    return lambda: text + "\n"


def _add_node(k: Kernel, sys: Directory, node: Node) -> None:
    """One nodeN directory; a node without CPUs has an empty cpulist, one without memory a meminfo of zeros."""
    topology = k.topology
    base = f"{_NODES}/node{node.id}/"
    sys.add(base.rstrip("/"), NodeDirectory(k, node.id))
    cpus = sum(1 << cpu for cpu in node.cpus)
    distances = " ".join(str(topology.distance[node.id][other]) for other in topology.node_ids)
    sys.add(base + "distance", text_file(_constant(distances)))
    sys.add(base + "cpulist", text_file(_constant(bitmap_list(cpus))))
    sys.add(base + "cpumap", text_file(_constant(bitmap_hex(cpus, topology.nr_cpus))))
    sys.add(base + "meminfo", text_file(lambda: _meminfo(k, node.id)))
    sys.add(base + "numastat", text_file(lambda: _counters(numastat(k.mem, node.id))))
    sys.add(base + "vmstat", text_file(lambda: _counters(node_vmstat(k.mem, node.id))))
    for cpu in node.cpus:
        sys.add(f"{base}cpu{cpu}", _link(f"../../cpu/cpu{cpu}"))


def _meminfo(k: Kernel, nid: int) -> str:
    """nodeN/meminfo: labels in a column of 15, values right-aligned in 8, kB."""
    rows = node_meminfo(k.mem, nid)
    huge = k.mem.hstate
    pages = {
        "Total": huge.nr_huge_pages_node[nid],
        "Free": len(huge.free_lists[nid]),
        "Surp": huge.surplus_huge_pages_node[nid],
    }
    return lines(
        *(f"Node {nid} {name + ':':<15} {value:8} kB" for name, value in rows.items()),
        *(f"Node {nid} {f'HugePages_{name}:':<16} {value:5}" for name, value in pages.items()),
    )


def _counters(values: dict[str, int]) -> str:
    return lines(*(f"{name} {value}" for name, value in values.items()))


def _link(target: str) -> Symlink:
    return Symlink(lambda: target)
