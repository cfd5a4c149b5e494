"""A NUMA machine in one Python process.

    import numalab

    def main(sys):
        addr = sys.mmap(4 * 4096)
        sys.memory.write(addr, b"hello")
        print(sys.move_pages(0, [addr], [1]).status)

    with numalab.boot("quad") as machine:
        status = machine.run(main)

The parts stand in `numalab.arch`, `mm`, `kernel`, `syscalls` and `tools`; each floor uses those below it only.  What is
named here is loaded when it is first used, so that a part can be imported without the rest.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numalab.arch.costs import Costs
    from numalab.arch.topology import Topology, TopologyError
    from numalab.kernel.machine import Machine
    from numalab.kernel.sched import Deadlock
    from numalab.kernel.state import KernelBug
    from numalab.kernel.task import Task
    from numalab.mm.invariants import InvariantError
    from numalab.syscalls import abi
    from numalab.syscalls.sys import Sys

    __version__: str

__all__ = [
    "Deadlock", "InvariantError", "KernelBug", "Machine", "Sys", "Task", "TopologyError", "__version__", "abi", "boot",
]  # fmt: skip

ENGINES = ("batched", "direct", "swap")

_WHERE = {
    "Deadlock": "numalab.kernel.sched",
    "InvariantError": "numalab.mm.invariants",
    "KernelBug": "numalab.kernel.state",
    "Machine": "numalab.kernel.machine",
    "Sys": "numalab.syscalls.sys",
    "Task": "numalab.kernel.task",
    "TopologyError": "numalab.arch.topology",
}


def boot(
    spec: str | os.PathLike[str] | Topology = "quad",
    seed: int = 0,
    *,
    migration: str = "batched",
    costs: str | Costs | None = None,
    twins: bool = False,
    debug_vm: bool | None = None,
    v5_quirks: bool = False,
) -> Machine:
    """Boot a machine.

    spec: a preset (quad, dual, asym, odd, eight, movable), the path of a machine file, `4x512M`, `numa=fake=4`, or a
    Topology.
    seed: decides which runnable program goes next; the same seed gives the same run.  migration: the engine that
    moves pages.  costs: the preset of virtual costs.  twins: run on the plain-Python kernels, a hundred times
    slower.  debug_vm: poison freed frames, and check the state of memory whenever the machine has been run; None:
    if numalab is a debug build.
    v5_quirks: the swap engine makes the mistakes of its version 5 of October 2005.

    Raises TopologyError for a bad spec, ValueError for an unknown engine or cost preset, TypeError for a seed that is
    no whole number or a switch that is neither on nor off, MemoryError when the host refuses the address space.
    """
    from numalab.arch import topology  # noqa: PLC0415
    from numalab.arch.cmdline import shown  # noqa: PLC0415
    from numalab.arch.shape import is_number  # noqa: PLC0415
    from numalab.kernel.machine import Machine  # noqa: PLC0415
    from numalab.kernel.main import start_kernel  # noqa: PLC0415
    from numalab.syscalls import program  # noqa: PLC0415

    if not is_number(seed):
        raise TypeError(f"seed is a whole number, not {shown(seed)}")
    for name, switch in (("twins", twins), ("debug_vm", debug_vm), ("v5_quirks", v5_quirks)):
        if not isinstance(switch, bool) and not (name == "debug_vm" and switch is None):
            raise TypeError(f"{name} is True or False, not {shown(switch)}")
    if migration not in ENGINES:
        raise ValueError(f"migration engine {shown(migration)} is unknown: use {', '.join(ENGINES)}")
    kernel = start_kernel(topology.load(spec), seed=seed, costs=costs, twins=twins, debug_vm=debug_vm)
    kernel.mem.engine, kernel.mem.v5_quirks = migration, v5_quirks
    return Machine(kernel, program)


def __getattr__(name: str) -> Any:
    """Load what `__all__` names when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("numalab")
    if name == "abi":
        return importlib.import_module("numalab.syscalls.abi")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'numalab' has no attribute {name!r}")
