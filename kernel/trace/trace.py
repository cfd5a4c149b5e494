"""A trace: the events of a machine from when it is switched on until it is switched off.

Mirrors kernel/trace/trace.c in what a person sees of it: events are chosen by system and name, names of tasks are
remembered for their pids (saved_cmdlines), and what the ring lost is said. The ring is emptied whenever a system call
begins or ends and whenever another task is about to run; so only what records more than 65 536 events in one go loses
the oldest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from numalab.arch._hw import EV_NODE_FREE
from numalab.arch.events import PER_PAGE, Record, decode, select
from numalab.kernel.trace import perfetto
from numalab.kernel.trace.output import lines
from numalab.mm.swapfile import swap_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.kernel.state import Kernel
    from numalab.kernel.task import Task

__all__ = ["Trace"]


class Trace:
    """What has been recorded so far. events: as trace-cmd's -e has them; by default all that do not come page by page.

    Only one can be on. lost: events that were overwritten before they could be taken; comms: names of tasks, by pid.
    Raises ValueError for an event that is none.
    """

    def __init__(self, k: Kernel, events: Sequence[str], syscall_name: Callable[[int], str]) -> None:
        self._mask = select(events) if events else select(["all"]) & ~select(PER_PAGE)
        self._k = k
        self.syscall_name = syscall_name
        self.lost = 0
        self.comms: dict[int, str] = {0: "<idle>"}
        self._taken: list[tuple[int, NDArray[Any]]] = []  # entries of the ring, and the number of the first
        self._at = k.hw.ring_head
        self._free: list[int] = []  # pages of each node, when last seen
        self._runs: Task | None = None
        self.disks = {area.disk.dev: area.disk.name for area in swap_areas(k.mem)}
        self.disks |= {file.disk.dev: file.disk.name for file in k.mem.bdis if file is not None}
        self.on = True
        k.hw.trace_mask |= self._mask
        k.sched.switch_watchers.append(self._on_switch)
        k.tracers.append(self._on_syscall)

    def stop(self) -> None:
        """Record no more. Switching it off twice does nothing."""
        if not self.on:
            return
        self._take()
        self._name(self._runs)
        self.on = False
        self._k.hw.trace_mask &= ~self._mask
        self._k.sched.switch_watchers.remove(self._on_switch)
        self._k.tracers.remove(self._on_syscall)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Record]:
        """The events, oldest first. Where their ``seq`` jumps, some are lost."""
        if self.on:
            self._take()
            self._name(self._runs)
        for first, entries in self._taken:
            yield from decode(self._k.hw, entries, first)

    def __len__(self) -> int:
        """Events that are kept."""
        if self.on:
            self._take()
        return sum(len(entries) for _, entries in self._taken)

    @property
    def nr_cpus(self) -> int:
        return self._k.hw.nr_cpus

    def text(self) -> Iterator[str]:
        """The lines of /sys/kernel/tracing/trace."""
        return lines(self)

    def save(self, path: str) -> None:
        """Write it into a file: for Perfetto if its name ends in .json, else as text. Raises OSError."""
        with open(path, "w", encoding="utf-8") as file:
            if path.endswith(".json"):
                perfetto.write(self, file)
            else:
                file.writelines(line + "\n" for line in self.text())

    # Taking events out of the ring

    def _on_syscall(self, event: object) -> None:
        self._take()

    def _on_switch(self, task: Task) -> None:
        self._take()
        self._name(self._runs)
        self._name(task)
        self._runs = task

    def _name(self, task: Task | None) -> None:
        if task is not None:
            self.comms[task.pid] = task.comm

    def _take(self) -> None:
        hw = self._k.hw
        if self._mask >> EV_NODE_FREE & 1 and not self._k.closed:
            self._count_free()
        first = max(self._at, hw.ring_head - len(hw.ring))
        self.lost += first - self._at
        if first < hw.ring_head:
            self._taken.append((first, hw.ring[np.arange(first, hw.ring_head) % len(hw.ring)]))
        self._at = hw.ring_head

    def _count_free(self) -> None:
        zones = self._k.mem.zones
        now = np.bincount(zones["node"], weights=zones["free"]).astype(int).tolist()
        for nid, pages in enumerate(now):
            if pages != (self._free[nid] if nid < len(self._free) else 0):
                self._k.hw.trace(EV_NODE_FREE, nid, pages)
        self._free = now
