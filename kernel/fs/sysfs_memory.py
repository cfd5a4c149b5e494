"""/sys/devices/system/memory: a directory for each memory block, through which it goes offline and comes online.

Mirrors drivers/base/memory.c, device_online() and device_offline() of drivers/base/core.c;
Documentation/ABI/testing/sysfs-devices-memory. Directories are made when somebody looks: a large machine has many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Inode, PseudoFile, Symlink, text_file
from numalab.kernel.fs.sysfs_mm import kstrtobool
from numalab.kernel.state import Kernel
from numalab.mm.memory_block import MemoryBlock, block_frames, block_zone, memory_block, memory_blocks
from numalab.mm.memory_hotplug import memory_block_offline, memory_block_online, zone_for_pfn_range
from numalab.mm.mmzone import ZONE_NAMES

__all__ = ["add_sysfs_memory", "find_block"]

_MEMORY = "devices/system/memory"
_STATES = ("offline", "online", "online_kernel", "online_movable")


def add_sysfs_memory(k: Kernel, sys: Directory) -> None:
    """Fill /sys/devices/system/memory."""
    base = MemoryDirectory(k)
    sys.add(_MEMORY, base)
    base.add("block_size_bytes", text_file(lambda: f"{block_frames(k.topology) << 12:x}\n"))
    base.add(
        "auto_online_blocks",
        _word(
            lambda: k.memhp_default_online_type,
            lambda text: setattr(k, "memhp_default_online_type", _state(text)),
        ),
    )


def _state(text: str) -> str:
    """mhp_online_type_from_str(): a word, with a newline behind it or not. Errors: EINVAL."""
    word = text.removesuffix("\n")
    if word not in _STATES:
        raise KernelError(EINVAL, f"{word!r} is none of {', '.join(_STATES)}")
    return word


def _word(show: Callable[[], object], store: Callable[[str], None]) -> PseudoFile:
    return PseudoFile(0o644, lambda opening: f"{show()}\n", lambda opening, text: store(text))


def find_block(k: Kernel, name: str) -> MemoryBlock | None:
    """The block that a name such as memory32 stands for, or None."""
    match = re.fullmatch(r"memory(0|[1-9][0-9]{0,6})", name, re.ASCII)
    return memory_block(k.mem, int(match[1])) if match else None


class MemoryDirectory(Directory):
    """The directory of all blocks."""

    def __init__(self, k: Kernel) -> None:
        super().__init__()
        self._k = k

    def lookup(self, name: str) -> Inode | None:
        if name not in self.entries and (block := find_block(self._k, name)) is not None:
            directory = Directory(0o555)
            self.link(name, directory)
            _add_block(self._k, directory, block)
        return self.entries.get(name)

    def names(self) -> Iterable[str]:
        blocks = [f"memory{number}" for number in memory_blocks(self._k.mem)]
        return [*blocks, *(name for name in self.entries if name not in blocks)]


def _add_block(k: Kernel, directory: Directory, block: MemoryBlock) -> None:
    """Fill the directory of one block."""
    here = MemoryBlockFiles(k, block)
    directory.add("online", _word(lambda: int(here.online), lambda text: here.store_online(kstrtobool(text))))
    directory.add("state", _word(lambda: "online" if here.online else "offline", here.store_state))
    directory.add("phys_index", text_file(lambda: f"{block.number:08x}\n"))
    directory.add("phys_device", text_file(lambda: "0\n"))
    directory.add(
        "removable", text_file(lambda: "1\n")
    )  # asked by old tools; it is only known when it is tried
    directory.add("valid_zones", text_file(lambda: here.valid_zones() + "\n"))
    for node in k.topology.nodes:
        if block.number in memory_blocks(k.mem, node.id):
            target = f"../../node/node{node.id}"
            directory.add(f"node{node.id}", Symlink(lambda target=target: target))  # type: ignore[misc]


class MemoryBlockFiles:
    """What the files of one block show, and what writing them does."""

    def __init__(self, k: Kernel, block: MemoryBlock) -> None:
        self._k = k
        self._block = block

    @property
    def online(self) -> bool:
        return self._block.number not in self._k.mem.offline_blocks

    def store_state(self, text: str) -> None:
        """state. Errors: EINVAL (no such word, or it is so already), and what going offline raises."""
        word = _state(text)
        if not (self._offline() if word == "offline" else self._online(word)):
            raise KernelError(EINVAL, f"the block is {'offline' if word == 'offline' else 'online'} already")

    def store_online(self, online: bool) -> None:
        """online. It does not matter if it is so already. Errors: what going offline raises."""
        if online:
            self._online("online")
        else:
            self._offline()

    def _offline(self) -> bool:
        return memory_block_offline(self._k.mem, self._k.current_ctx, self._block)

    def _online(self, word: str) -> bool:
        return memory_block_online(self._k.mem, self._block, word)

    def valid_zones(self) -> str:
        """The zone that it is in, "none" if there are several; offline, those it could go to, the usual one first."""
        mem, block = self._k.mem, self._block
        if self.online:
            zone = block_zone(mem, block)
            return "none" if zone is None else str(ZONE_NAMES[mem.zones["type"][zone]])
        kinds = (
            zone_for_pfn_range(mem, how, block.nid, block.start, block.end)
            for how in ("online", "online_kernel", "online_movable")
        )
        return " ".join(ZONE_NAMES[kind] for kind in dict.fromkeys(kinds))
