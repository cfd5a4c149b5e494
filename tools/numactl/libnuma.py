"""What libnuma finds out when a program starts: the nodes and CPUs there are, and those the program may use."""

from __future__ import annotations

import sys as host
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["MAX_NODES", "NODES", "Numa", "mask_of", "runs", "warn"]

NODES = "/sys/devices/system/node"
MAX_NODES = 1024
"""Bits of a node mask of libnuma."""


def warn(text: str) -> None:
    """numa_warn()."""
    print(f"libnuma: Warning: {text}", file=host.stderr)


def mask_of(text: str) -> set[int]:
    """The bits of a mask as the kernel prints it: hexadecimal, with commas."""
    bits = int(text.replace(",", ""), 16)
    return {bit for bit in range(bits.bit_length()) if bits >> bit & 1}


def list_of(text: str) -> set[int]:
    """The numbers of a list as the kernel prints it: 0-2,5."""
    ranges = (part.partition("-") for part in text.strip().split(",") if part)
    return {n for first, _, last in ranges for n in range(int(first), int(last or first) + 1)}


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """The numbers in their order, those one behind the other together."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found


class Numa:
    """The machine as a program sees it."""

    def __init__(self, sys: Sys) -> None:
        self._sys = sys

    @cached_property
    def nodes(self) -> list[int]:
        """The nodes that are there, also those without memory."""
        return sorted(list_of(self._sys.read_file(f"{NODES}/online")))

    @cached_property
    def cpus(self) -> set[int]:
        """The CPUs that there may be."""
        return list_of(self._sys.read_file("/sys/devices/system/cpu/possible"))

    @cached_property
    def _status(self) -> dict[str, str]:
        lines = self._sys.read_file("/proc/self/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @cached_property
    def allowed_nodes(self) -> set[int]:
        """Those that the program's cpuset lets it allocate on."""
        return mask_of(self._status["Mems_allowed"])

    @cached_property
    def allowed_cpus(self) -> set[int]:
        """Those that the program may run on, as it began."""
        return mask_of(self._status["Cpus_allowed"]) & self.cpus

    def node_size(self, node: int) -> tuple[int, int]:
        """Bytes that a node has, and that are free."""
        words = [line.split() for line in self._sys.read_file(f"{NODES}/node{node}/meminfo").splitlines()]
        kb = {row[2]: int(row[3]) for row in words}
        return kb["MemTotal:"] << 10, kb["MemFree:"] << 10

    def node_cpus(self, node: int) -> set[int]:
        """The CPUs of a node."""
        return mask_of(self._sys.read_file(f"{NODES}/node{node}/cpumap"))

    def run_nodes(self) -> list[int]:
        """The nodes with CPUs that the program may run on now, as far as it may have memory there."""
        cpus = self._sys.sched_getaffinity(0).mask
        return [node for node in sorted(self.allowed_nodes) if self.node_cpus(node) & cpus]
