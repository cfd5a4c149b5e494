"""Machine: what `numalab.boot()` returns, the handle on one running machine.

It stands outside of the machine, as a person in front of it does: starts programs, lets time pass, looks at
state, pulls the plug.  Nothing inside refers to it, so a machine that nobody holds any more gives its host memory
back.  How a program's `sys` looks is not known here; the floor above brings it as an `Abi`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TextIO, overload

from numalab.arch._hw import Hardware
from numalab.arch._pagetable_reference import pte_mapped, pte_pfn
from numalab.arch.cmdline import shown
from numalab.arch.events import select
from numalab.arch.shape import is_number
from numalab.arch.topology import Topology
from numalab.kernel import fork
from numalab.kernel.cgroup import cgroup_release
from numalab.kernel.cred import Cred, setresuid
from numalab.kernel.fs.file import O_RDONLY
from numalab.kernel.fs.inode import NO_SUPER
from numalab.kernel.fs.namei import open_path
from numalab.kernel.fs.path import Path
from numalab.kernel.sched import Deadlock, Scheduler
from numalab.kernel.signal import SigInfo
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.kernel.trace.trace import Trace
from numalab.mm._mm_types import MemMap
from numalab.mm.invariants import Broken, InvariantError, check_invariants
from numalab.mm.migrate.engine import ENGINES
from numalab.mm.obstacles import Obstacles

__all__ = ["Abi", "Explainer", "Injection", "Machine", "Tracer"]

Main = Callable[..., object]
#: (uid_t)-1 is nobody's.
NO_UID = (1 << 32) - 1


class Abi(Protocol):
    """What the border above the kernel offers to a Machine."""

    def program_of(self, k: Kernel, main: Main, argv: list[str]) -> fork.Program:
        """What a task runs for a Python function `main(sys)`."""
        ...

    def tracer(self, out: TextIO, **options: Any) -> Tracer:
        """strace, printing to `out`. Raises ValueError for options that are none."""
        ...

    def syscall_name(self, number: int) -> str:
        """What a system call is called."""
        ...

    def explainer(self, k: Kernel, tell: Callable[[Any], object] | None) -> Explainer:
        """What explains the calls of a kernel; `tell` is called with each."""
        ...

    def injection(self, k: Kernel, calls: str, error: str | int, when: str | int) -> Injection:
        """What gives an error in place of some calls. Raises ValueError for arguments that are none."""
        ...


class Explainer(Protocol):
    """What keeps the last calls that migrate or change a policy."""

    def on_syscall(self, event: Any) -> None: ...

    def last(self) -> Any: ...

    def explanations(self) -> list[Any]: ...


class Injection(Protocol):
    """An error in place of some calls. hits: how many have got it."""

    hits: int

    def of(self, task: Task, name: str) -> int: ...

    def off(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Tracer(Protocol):
    """What watches system calls, signals and exits."""

    def on_syscall(self, event: Any) -> None: ...

    def on_signal(self, task: Task, info: SigInfo, ignored: bool) -> None: ...

    def on_exit(self, task: Task) -> None: ...

    def close(self) -> None: ...


def _shut_down(k: Kernel) -> None:
    """Unwind the programs that are still there and give the host its memory back.

    RAM goes at once.  What describes it goes with the last reference, so that references in circles are cut here:
    files know the kernel that knows them, areas know their address space, tasks know each other.
    """
    if k.closed:
        return
    k.closed = True
    k.sched.discard(list(k.pids))
    k.hw.close()
    for mm in k.mms():
        for vma in mm.vmas.values():
            vma.anon_vma = None
            vma.chain.clear()
        mm.vmas.clear()
    for task in k.pids:
        task.mm = task.parent = None
        task.children.clear()
        task.signal.threads.clear()
    cgroup_release(k.cgroup_root)
    k.sched.switch_watchers.clear()
    k.tracers.clear()
    k.mem.wake_kswapd = k.mem.node_states_changed = lambda nodes: None
    k.mem.out_of_memory = lambda nodes: False
    k.mem.swap_areas.clear()
    k.pids.clear()
    k.kswapd.clear()
    k.root.entries.clear()
    k.mounts.clear()
    k.super_blocks.clear()
    k.root.sb = k.shm_mnt = NO_SUPER


class Machine:
    """One running machine.

    kernel, hw, mem, topology, sched: its parts, for those who want to look inside.
    """

    def __init__(self, kernel: Kernel, abi: Abi) -> None:
        self.kernel = kernel
        self._abi = abi
        self._tracer: Tracer | None = None
        self._explainer: Explainer | None = None
        self._trace: Trace | None = None
        self._finalizer = weakref.finalize(self, _shut_down, kernel)
        self._finalizer.atexit = False  # the host takes everything back then anyway

    def __repr__(self) -> str:
        state = "closed" if self.kernel.closed else f"{len(self.tasks)} tasks, {self.now} ns"
        return f"<Machine {self.topology.name}: {state}>"

    @property
    def hw(self) -> Hardware:
        return self.kernel.hw

    @property
    def mem(self) -> MemMap:
        return self.kernel.mem

    @property
    def topology(self) -> Topology:
        return self.kernel.topology

    @property
    def sched(self) -> Scheduler:
        return self.kernel.sched

    @property
    def now(self) -> int:
        """Virtual time since boot in ns."""
        return self.kernel.hw.now

    @property
    def tasks(self) -> list[Task]:
        """All tasks, by pid: init, kernel tasks, programs, zombies."""
        return list(self.kernel.pids)

    # Running programs

    def spawn(self, main: Main, *argv: str, uid: int = 0) -> Task:
        """Start `main(sys)` as a new process, a child of init, which runs when the machine is run.

        argv: what the program finds in `sys.argv`.  uid: the user it runs as; root by default.
        Raises KernelError (ENOMEM, EAGAIN) when there is no room for it, TypeError or ValueError for a uid that is
        none, and words that are no text.
        """
        self._check_open()
        if not is_number(uid):
            raise TypeError(f"uid is a whole number, not {shown(uid)}")
        if not 0 <= uid < NO_UID:
            raise ValueError(f"uid is 0 to {NO_UID - 1}, not {shown(uid)}")
        for word in argv:
            if not isinstance(word, str):
                raise TypeError(f"the words of a program are text, not {shown(word)}")
        cred = Cred() if uid == 0 else setresuid(Cred(), uid, uid, uid)
        program = self._abi.program_of(self.kernel, main, list(argv))
        return fork.spawn(self.kernel, str(getattr(main, "__name__", "python")), program, cred)

    @overload
    def run(self, main: None = None) -> None: ...

    @overload
    def run(self, main: Main, *args: str, argv: Sequence[str] | None = None) -> int: ...

    def run(self, main: Main | None = None, *args: str, argv: Sequence[str] | None = None) -> int | None:
        """Run the machine until every program has ended.

        main: started first, with `args` (or `argv`) as its `sys.argv`; its exit status is returned: 0..255, or
        -signum when a signal ended it.  Without main, nothing is returned.

        An exception that a program started from outside does not catch comes out here, after its task is reaped;
        programs that are still there go on at the next run.  Raises Deadlock when nothing can run any more,
        KernelBug when the kernel itself failed, RuntimeError when called by a program of this machine.
        """
        self._check_open()
        task = self.spawn(main, *(args if argv is None else argv)) if main is not None else None
        if not self.run_until(lambda: not self.kernel.nr_programs):
            raise Deadlock(self.who_waits())
        if self.kernel.debug_vm:
            self.check_invariants()
        return task.exit_status if task is not None else None

    def run_until(self, done: Callable[[], bool]) -> bool:
        """Run the machine until `done()` holds, which is asked whenever a task has stopped running.

        Returns False if nothing can run any more before that.  Raises as run() does, but for Deadlock.
        """
        self._check_open()
        k = self.kernel
        finished = k.sched.run(lambda: bool(k.failures) or done())
        self._raise_failure()
        return finished

    def _raise_failure(self) -> None:
        """Raise what a program did not catch; of several, the first: the others' turn comes at the next run."""
        if self.kernel.failures:
            task = self.kernel.failures.pop(0)
            error, task.exception = task.exception, None
            assert error is not None
            raise error

    def who_waits(self) -> str:
        """What to say when nothing can run any more."""
        waiting = "; ".join(
            f"task {task.pid} ({task.comm}) waits for {task.waiting_on}"
            for task in self.tasks
            if task.alive and not task.unkillable
        )
        return f"nothing can run any more: {waiting}"

    # Standing in its way

    @property
    def engine(self) -> str:
        """The engine that moves pages: batched, direct or swap. It can be changed between two calls."""
        return self.mem.engine

    @engine.setter
    def engine(self, name: str) -> None:
        if name not in tuple(ENGINES):
            raise ValueError(f"migration engine {shown(name)} is unknown: use {', '.join(sorted(ENGINES))}")
        self.mem.engine = name

    @property
    def obstacles(self) -> Obstacles:
        """What can be put in the way of a page: locks, pins, references, writeback."""
        return Obstacles(self.mem)

    def inject(self, calls: str, error: str | int, when: str | int = "1+") -> Injection:
        """Let calls fail without being carried out, as strace's `-e inject=CALLS:error=ERROR:when=WHEN` does.

        It lasts until `.off()`, or to the end of a `with`; `.hits` counts.  calls: `mbind,move_pages`, `%memory`...;
        error: `EPERM`...; when: 2, `2+`, `1+3`, `2..4`, counted by task.  Raises ValueError for what is none of these.
        """
        return self._abi.injection(self.kernel, calls, error, when)

    def page_of(self, task: Task, addr: int) -> int:
        """The frame that holds a page of a program. Raises ValueError if none does."""
        self._check_open()
        if task.mm is None:
            raise ValueError(f"task {task.pid} has no memory")
        pte = self.mem.k.pagetable.walk(self.hw, task.mm.pgd, addr)
        if not pte_mapped(pte):
            raise ValueError(f"no page is present at {addr:#x} of task {task.pid}")
        return pte_pfn(pte)

    # Looking at it

    def read_file(self, path: str) -> str:
        """A file of the machine as text, read as init does: `machine.read_file("/proc/vmstat")`.

        Raises KernelError (ENOENT, ...).
        """
        self._check_open()
        file = open_path(Path(self.kernel.root), path, O_RDONLY, 0, self.kernel.init)
        pieces = []
        try:
            while data := file.read(1 << 16):
                pieces.append(data)
        finally:
            file.fput(self.kernel.init.ctx.cpu)
        return b"".join(pieces).decode("utf-8", "replace")

    def node_pages(self, nid: int) -> tuple[int, int]:
        """Frames of a node: (all, free). Free ones in per-CPU lists count as free. Raises ValueError: no such node."""
        if nid not in self.topology.node_ids:
            raise ValueError(f"node {nid} does not exist")
        zones = self.mem.zones
        mine = zones["node"] == nid
        total, free = int(zones["managed"][mine].sum()), int(zones["free"][mine].sum())
        # Linux's MemFree leaves out what lies in per-CPU lists, which makes "freed everything" hard to see.
        per_cpu = self.mem.pcps["count"].reshape(len(zones), -1)[mine]
        return total, free + int(per_cpu.sum())

    def check_invariants(self) -> list[Broken]:
        """Check that the state of memory is consistent; returns an empty list. Raises InvariantError if it is not."""
        self._check_open()
        k = self.kernel
        broken = check_invariants(k.mem, list(k.mms()), [task.ctx for task in k.pids])
        if broken:
            raise InvariantError(broken)
        return broken

    def strace(self, on: bool = True, out: TextIO | None = None, **options: Any) -> None:
        """Print every system call as strace does, to `out` or standard error; or stop doing so.

        options: those of syscalls.strace, such as `trace="%memory"`, or `summary=True` for a table at the end.
        Raises ValueError for a trace set that is none; everything is then as it was.  OSError: what has been traced
        until now could not be written.
        """
        k = self.kernel
        new = self._abi.tracer(sys.stderr if out is None else out, **options) if on else None
        old, self._tracer = self._tracer, new
        if old is not None:
            k.tracers.remove(old.on_syscall)
            k.signal_watchers.remove(old.on_signal)
            k.exit_watchers.remove(old.on_exit)
            old.close()
        if new is not None:
            k.tracers.append(new.on_syscall)
            k.signal_watchers.append(new.on_signal)
            k.exit_watchers.append(new.on_exit)

    def trace(self, *events: str) -> Trace:
        """Record trace events from now on, until ``stop()`` or the end of a ``with``; one that is on is stopped.

        events: ``"migrate"``, ``"kmem:mm_page_alloc"``, ``"mm_vmscan_*"``; by default all but those that come page by
        page.  Raises ValueError for one that is none.
        """
        self._check_open()
        select(events)
        if self._trace is not None:
            self._trace.stop()
        self._trace = Trace(self.kernel, events, self._abi.syscall_name)
        return self._trace

    def explain_calls(self, on: bool = True, tell: Callable[[Any], object] | None = None) -> None:
        """Keep what calls do to pages from now on, for explain(); or stop, and forget it.

        A migration takes about a sixth longer meanwhile.  tell: called with the Explanation of each call.
        """
        k, old = self.kernel, self._explainer
        if old is not None:
            k.tracers.remove(old.on_syscall)
        self._explainer = self._abi.explainer(k, tell) if on else None
        if self._explainer is not None:
            k.tracers.append(self._explainer.on_syscall)
        k.mem.explain = on

    def explain(self) -> Any:
        """The last call that migrated, changed a policy or was refused: a syscalls.explain.Explanation, or None.

        Its `runs` have the pages, and str() is the text.  Raises RuntimeError if explain_calls() was not called before.
        """
        return self._explaining().last()

    @property
    def explanations(self) -> list[Any]:
        """As explain(), for all calls that are kept, the last one last."""
        return self._explaining().explanations()

    def _explaining(self) -> Explainer:
        if self._explainer is None:
            raise RuntimeError("nothing is kept of calls: say machine.explain_calls() before them")
        return self._explainer

    # The end

    @property
    def closed(self) -> bool:
        """Whether the machine has been switched off."""
        return self.kernel.closed

    def close(self) -> None:
        """Switch it off: programs that have not ended are unwound, the host gets its memory back.

        Raises RuntimeError when called by a program of this machine.
        """
        if self.kernel.sched.running:
            raise RuntimeError("a program cannot close its machine")
        if self._trace is not None:
            self._trace.stop()
        self._finalizer()

    def _check_open(self) -> None:
        if self.kernel.closed:
            raise RuntimeError("the machine is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
