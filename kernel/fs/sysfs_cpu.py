"""/sys/devices/system/cpu: the machine's CPUs as programs find them.

Mirrors drivers/base/cpu.c and topology.c; Documentation/ABI/stable/sysfs-devices-system-cpu. All CPUs are online, and
stay so. They are the cores of one package, without threads and clusters, as on the machines that answers were
recorded from; what is near to what, the nodes say.
"""

from __future__ import annotations

from collections.abc import Iterable

from numalab.kernel.fs.inode import Directory, Inode, Symlink, text_file
from numalab.kernel.fs.seq import bitmap_hex, bitmap_list
from numalab.kernel.state import Kernel

__all__ = ["add_sysfs_cpu"]

_NR_CPUS = 8192  # what the kernel was built for
_NO_CLUSTER = 65535


def add_sysfs_cpu(k: Kernel, sys: Directory) -> None:
    """Fill /sys/devices/system/cpu."""
    everyone = bitmap_list((1 << k.topology.nr_cpus) - 1)
    texts = {
        "possible": everyone, "present": everyone, "online": everyone, "offline": "", "isolated": "",
        "kernel_max": str(_NR_CPUS - 1),
    }  # fmt: skip
    here = CpusDirectory(k)
    sys.add("devices/system/cpu", here)
    for name, text in texts.items():
        _add_text(here, name, text)


class CpusDirectory(Directory):
    """The directory of all CPUs. That of one is made when somebody looks: a large machine has many."""

    def __init__(self, k: Kernel) -> None:
        super().__init__()
        self._k = k

    def lookup(self, name: str) -> Inode | None:
        if name not in self.entries and name in self._cpus():
            directory = Directory(0o555)
            self.link(name, directory)
            _add_cpu(self._k, directory, int(name.removeprefix("cpu")))
        return self.entries.get(name)

    def names(self) -> Iterable[str]:
        return dict.fromkeys([*self._cpus(), *self.entries])

    def _cpus(self) -> list[str]:
        return [f"cpu{cpu}" for cpu in range(self._k.topology.nr_cpus)]


def _add_text(directory: Directory, path: str, text: object) -> None:
    directory.add(path, text_file(lambda: f"{text}\n"))


def _add_cpu(k: Kernel, directory: Directory, cpu: int) -> None:
    """Fill the directory of one CPU; the first cannot go offline, and has no file to say so."""
    nr_cpus = k.topology.nr_cpus
    node = f"node{k.topology.node_of_cpu(cpu)}"
    directory.add(node, Symlink(lambda: f"../../node/{node}"))
    if cpu:
        _add_text(directory, "online", 1)
    numbers = {"physical_package_id": 0, "die_id": 0, "cluster_id": _NO_CLUSTER, "core_id": cpu}
    for name, number in numbers.items():
        _add_text(directory, f"topology/{name}", number)
    alone, everyone = 1 << cpu, (1 << nr_cpus) - 1
    masks = {
        "thread_siblings": alone, "core_cpus": alone, "cluster_cpus": alone,
        "core_siblings": everyone, "die_cpus": everyone, "package_cpus": everyone,
    }  # fmt: skip
    for name, mask in masks.items():
        _add_text(directory, f"topology/{name}", bitmap_hex(mask, nr_cpus))
        _add_text(directory, f"topology/{name}_list", bitmap_list(mask))
