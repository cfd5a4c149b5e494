"""Two machines in step, one on the compiled kernels and one on their plain-Python twins: equal to the last byte.

``Pair.both(action)`` lets the same thing happen on both and compares what came of it: results, every array that mm
keeps, RAM, TLBs, the clock, the trace events, the counters of tasks and address spaces. Only what is dead may differ:
the rest of an array behind its count, and the PTE of an empty TLB entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from numalab.arch.errno import KernelError
from numalab.arch.events import select
from numalab.arch.topology import Topology
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.invariants_memory import FBATCHES
from numalab.mm.memory import UserFault
from numalab.mm.page_alloc import OutOfMemory
from numalab.mm.swapfile import swap_areas
from numalab.mm.waits import Stuck

from tests.mm_machine import MmMachine

__all__ = ["Action", "Machine", "Pair"]

Array = npt.NDArray[Any]


class Machine(MmMachine):
    """One of the two. tasks: one on each CPU; kept: whatever a test wants to find again on this machine."""

    def __init__(self, spec: Topology, *, debug_vm: bool = False, twins: bool = False) -> None:
        super().__init__(spec, debug_vm=debug_vm, twins=twins)
        self.k = self.mem.k
        self.hw.trace_mask = select(["all"])
        self.tasks = [self.task(cpu) for cpu in range(self.hw.nr_cpus)]
        self.kept: dict[str, Any] = {}


Action = Callable[[Machine], object]


class Pair:
    """The two machines; ``tune`` is applied to both before anything else.

    stepwise: batches go page by page and phase by phase, as under the explorer, though nobody comes in between.
    """

    def __init__(
        self, spec: Topology, tune: Action | None = None, *, debug_vm: bool = False, stepwise: bool = False
    ) -> None:
        self.ours = Machine(spec, debug_vm=debug_vm)
        self.theirs = Machine(spec, debug_vm=debug_vm, twins=True)
        for machine in (self.ours, self.theirs) if stepwise else ():
            machine.mem.preempt = lambda point, at: None
        assert self.theirs.k.memory.__name__.endswith("_reference")
        if tune is not None:
            self.both(tune)

    def both(self, action: Action, note: object = None) -> Any:
        """Let ``action`` happen on both machines; returns what it answered. Raises AssertionError if they differ."""
        ours, theirs = _outcome(action, self.ours), _outcome(action, self.theirs)
        assert ours == theirs, f"{note}: the kernel answers {ours}, its twin {theirs}"
        self.compare(note)
        return ours

    def compare(self, note: object = None) -> None:
        """Raises AssertionError with the first place where the two machines differ."""
        for (name, ours), (_, theirs) in zip(_state(self.ours), _state(self.theirs), strict=True):
            if ours.shape != theirs.shape or not np.array_equal(_bits(ours), _bits(theirs)):
                raise AssertionError(f"{note}: {_difference(name, ours, theirs)}")

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _outcome(action: Action, machine: Machine) -> object:
    """What an action answers, in a form that can be compared."""
    try:
        return _plain(action(machine))
    except KernelError as error:
        return "KernelError", error.errno
    except UserFault as fault:
        return "UserFault", fault.addr, fault.code, fault.done
    except OutOfMemory:
        return "OutOfMemory"
    except AssertionError as error:  # a driver met an entry that it never meets in life
        return "AssertionError", str(error)
    except Stuck:  # it waits for a page that the test holds
        return "Stuck"


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, MmStruct):
        return value.asid
    return value


def _state(machine: Machine) -> Iterator[tuple[str, Array]]:
    """All that there is to compare, by name."""
    mem, hw = machine.mem, machine.hw
    yield "zones", mem.zones
    for z in mem.zones:
        # Of frames that were never used there is nothing to see; the frontier itself has been compared.
        used = slice(int(z["start"]), int(z["virgin"]))
        at = f"from frame {used.start}"
        yield f"hot {at}", mem.hot[used]
        yield f"cold {at}", mem.cold[used]
        yield f"order {at}", mem.order[used]
        yield f"ram {at}", hw.ram[used.start * 4096 : used.stop * 4096].view(np.uint64).reshape(-1, 512)
    yield "page sets", _live(mem.pcps)
    for name in FBATCHES:
        yield f"{name} batches", _live(mem.fbatches[name])
    yield "new ones in the mlock batches", mem.fbatches["mlock_new"]
    yield "lrus", mem.lrus
    yield "chunks", _chunks(mem.chunks)
    yield "node_stat", mem.node_stat
    for area in swap_areas(mem):
        row = mem.swap[area.type]
        yield (
            "swap area",
            np.array([int(row[name]) for name in ("pages", "used", "next", "flags", "prio", "turn")]),
        )
        yield "swap counts", area.map
        yield "swap cache", area.cache
        yield "swap contents", area.disk.store.view(np.uint64).reshape(-1, 512)[area.map > 0]
    for disk in filter(None, mem.bdis):
        yield "disk", np.array([int(disk.row[name]) for name in ("blocks", "nr_used", "next")])
        yield "blocks", disk.used
        yield "disk contents", disk.disk.store.view(np.uint64).reshape(-1, 512)[disk.used > 0]
    for mapping in mem.mappings():
        yield "pages of a file", np.array(mapping.entries())
        yield "blocks of a file", np.array(mapping.blocks())
        yield "counts of a file", np.array([mapping.nrpages, mapping.nr_swapped, mapping.wb_err])
    yield "event", mem.event
    yield "tlb tags", hw.tlb["tag"]
    yield "tlb ptes", np.where(hw.tlb["tag"] != 0, hw.tlb["pte"], 0)
    yield "corrupted", np.array([mem.corrupted])
    yield "clock", np.array([hw.now, hw.ring_head])
    yield "trace events", hw.ring[: hw.ring_head]
    yield "address spaces", np.array([_of_mm(mm) for mm in machine.mms])
    yield "tasks", np.array([_of_task(task) for task in (machine.ctx, *machine.tasks)])


def _bits(array: Array) -> Array:
    """An array of structs as numbers."""
    return array if array.dtype.names is None else array.view(np.uint32)


def _difference(name: str, ours: Array, theirs: Array) -> str:
    """The first place where two arrays differ, in words."""
    if ours.shape != theirs.shape:
        return f"{name} has the shape {ours.shape}, on twins {theirs.shape}"
    field = next((f for f in ours.dtype.names or () if not np.array_equal(ours[f], theirs[f])), None)
    if field is not None:
        name, ours, theirs = f"{name} {field}", ours[field], theirs[field]
    where = tuple(np.argwhere(ours != theirs)[0].tolist())
    return f"{name}{list(where)} is {ours[where]}, on twins {theirs[where]}"


def _live(stacks: Array) -> Array:
    """Arrays that are filled up to a count, without what lies behind it."""
    most = int(stacks["count"].max())
    return np.where(np.arange(most) < stacks["count"][:, None], stacks["pfn"][:, :most] + np.int64(1), 0)


def _chunks(chunks: Array) -> Array:
    """LRU chunks that were ever used, without slots that were not given out."""
    rows = chunks[: 64 * int(chunks[0])].reshape(-1, 64)
    given_out = np.arange(64) < 4 + rows[:, 2:3]
    given_out[0] = True
    return np.where(given_out, rows, 0)


def _of_mm(mm: MmStruct) -> tuple[int, ...]:
    return mm.asid, mm.pgd, mm.rss_anon, mm.rss_swap, mm.nr_tables, len(mm.vmas)


def _of_task(task: AllocCtx) -> tuple[int, ...]:
    return task.il_prev, task.il_weight, task.min_flt, task.maj_flt
