"""Kernel: all the state of one machine that Linux keeps in global variables.

Everything in this folder is handed a `Kernel`; several machines can thus live in one Python process.
`main.py` builds it; it never refers to the `Machine` that users hold, so a machine that is dropped goes away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numalab.kernel.cgroup import Cgroup
from numalab.kernel.fs.inode import NO_SUPER, Directory
from numalab.kernel.fs.namespace import Mount
from numalab.kernel.fs.super import SuperBlock
from numalab.kernel.sched import Scheduler
from numalab.kernel.signal import SigInfo
from numalab.kernel.task import PidMap, Task

if TYPE_CHECKING:
    from numalab.arch._hw import Hardware
    from numalab.arch.topology import Topology
    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct

__all__ = ["Kernel", "KernelBug"]


class KernelBug(RuntimeError):
    """The simulated kernel itself went wrong (an oops). Chained to the exception that says where."""


@dataclass
class Kernel:
    """One booted machine.

    max_threads: most tasks there may be.  nr_programs: tasks with a program to finish.  nproc: tasks of each user, by
    real id, zombies included (what RLIMIT_NPROC counts).
    failures: tasks whose program ended with an exception that nobody caught, in order; `Machine.run` raises them.
    tracers: called with every system call when it begins and when it ends; exit_watchers: with every task that ends;
    signal_watchers: with every signal that a task takes, or that is dropped because the task ignores it (True).
    injections: asked for the error that a call shall get instead of being carried out.
    """

    hw: Hardware
    mem: MemMap
    topology: Topology
    sched: Scheduler
    cgroup_root: Cgroup
    root: Directory = field(default_factory=Directory)
    pids: PidMap = field(default_factory=PidMap)
    max_threads: int = 0
    nr_programs: int = 0
    nproc: Counter[int] = field(default_factory=Counter)
    failures: list[Task] = field(default_factory=list)
    tracers: list[Callable[[Any], object]] = field(default_factory=list)
    exit_watchers: list[Callable[[Task], object]] = field(default_factory=list)
    signal_watchers: list[Callable[[Task, SigInfo, bool], object]] = field(default_factory=list)
    injections: list[Any] = field(default_factory=list)
    scratch_tags: int = 0
    anon_bdevs: int = 0  # made-up devices, by minor number
    mounts: list[Mount] = field(default_factory=list)
    super_blocks: list[SuperBlock] = field(default_factory=list)  # on disks, mounted or not
    shm_mnt: SuperBlock = NO_SUPER  # where files without a name are: shared anonymous memory and memfds
    memhp_default_online_type: str = "online"
    kswapd: dict[int, Task] = field(default_factory=dict)  # by node
    demotion_enabled: bool = False  # all memory is of one tier: there is nowhere to demote to
    oom_kill_allocating_task: int = 0
    abandoned: list[MmStruct | None] = field(default_factory=list)  # by tasks that the kernel failed (oops)
    closed: bool = False
    syscall_cost: int = 0
    debug_vm: bool = False

    @property
    def init(self) -> Task:
        """Pid 1, the parent of all who have lost theirs."""
        task = self.pids.find(1)
        assert task is not None
        return task

    def get_anon_bdev(self) -> int:
        """A device number for a file system that has no device."""
        self.anon_bdevs += 1
        return self.anon_bdevs

    @property
    def current_ctx(self) -> AllocCtx:
        """What mm knows of the task that the kernel works for now; outside of any program that is init."""
        return (self.sched.current or self.init).ctx

    def record_bug(self, task: Task, bug: Exception) -> None:
        """The kernel failed while it worked for a task: keep it for whoever runs the machine."""
        error = KernelBug(f"the kernel failed in task {task.pid} ({task.comm}): {bug!r}")
        error.__cause__ = bug
        task.exception = error
        if task not in self.failures:
            self.failures.append(task)

    def mms(self) -> Iterator[MmStruct]:
        """Every address space, each once, in the order of the pids that use it; then those that no task has."""
        seen: set[int] = set()
        for task in self.pids:
            if task.mm is not None and id(task.mm) not in seen:
                seen.add(id(task.mm))
                yield task.mm
        yield from self.mem.taskless
