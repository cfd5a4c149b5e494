"""The machines that scenarios are recorded on, as arguments of QEMU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["MACHINES", "Machine"]


@dataclass(frozen=True)
class Machine:
    """Nodes as (MiB, CPUs), in QEMU's order; ``distances`` row by row, none for 10 and 20.

    slots: by node, MiB that are plugged in and not there at boot; parameters: more for the kernel's command line.
    """

    nodes: Sequence[tuple[int, int]]
    distances: Sequence[Sequence[int]] = ()
    slots: Mapping[int, int] = field(default_factory=dict)
    parameters: str = ""

    def arguments(self) -> list[str]:
        """What QEMU is told of it."""
        words = [
            "-smp",
            str(sum(cpus for _, cpus in self.nodes)),
            "-m",
            f"{sum(mib for mib, _ in self.nodes)}M"
            + (f",slots={len(self.slots)},maxmem=8G" if self.slots else ""),
        ]
        first_cpu = 0
        for node, (mib, cpus) in enumerate(self.nodes):
            text = f"node,nodeid={node}"
            if cpus:
                text += f",cpus={first_cpu}-{first_cpu + cpus - 1}"
                first_cpu += cpus
            if mib:
                words += ["-object", f"memory-backend-ram,id=m{node},size={mib}M"]
                text += f",memdev=m{node}"
            words += ["-numa", text]
        for node, mib in self.slots.items():
            words += ["-object", f"memory-backend-ram,id=d{node},size={mib}M"]
            words += ["-device", f"pc-dimm,memdev=d{node},node={node}"]
        for src, row in enumerate(self.distances):
            for dst, distance in enumerate(row):
                words += ["-numa", f"dist,src={src},dst={dst},val={distance}"]
        return words


MACHINES = {
    "quad": Machine([(512, 1)] * 4),
    "dual": Machine([(512, 2)] * 2),
    "asym": Machine([(512, 1)] * 4, [[10, 16, 22, 32], [16, 10, 28, 24], [22, 30, 10, 14], [40, 24, 14, 10]]),
    # Linux numbers the nodes that have CPUs first: of these the second becomes node 3, the third node 1.
    "odd": Machine([(768, 1), (512, 0), (0, 1), (512, 1)]),
    # Memory above 2 GiB lies at 4 GiB, so node 4 has some on both sides.
    "eight": Machine(
        [(768, 2), (512, 1), (0, 1), (512, 1), (512, 1), (0, 1), (512, 0), (256, 0)],
        [
            [10, 16, 22, 28, 40, 34, 17, 45],
            [16, 10, 21, 24, 32, 36, 26, 19],
            [22, 20, 10, 14, 21, 21, 30, 31],
            [28, 24, 14, 10, 18, 25, 33, 20],
            [42, 31, 20, 18, 10, 12, 24, 24],
            [34, 36, 21, 26, 12, 10, 22, 28],
            [17, 26, 30, 33, 24, 23, 10, 15],
            [45, 18, 30, 20, 25, 28, 15, 10],
        ],
    ),
    "movable": Machine(
        [(512, 1), (512, 1), (0, 1), (0, 0)],
        slots={2: 512, 3: 512},
        parameters="memhp_default_state=online_movable",
    ),
}
