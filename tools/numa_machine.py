"""The machine of a test: what the pytest fixture `numa_machine` is. Usable without pytest as well.

    with NumaMachine("2x1G", seed=7) as lab:
        lab.patch(mylib, "libc")               # from now on mylib's ctypes calls act on the machine
        buffer = mylib.allocate(1 << 20, node=1)
        lab.assert_on_node(1, buffer.address, 1 << 20)

At the end of the `with` the state of the machine's memory is checked, and what was patched is as it was before.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from _ctypes import CFuncPtr
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeVar, cast, overload

import numalab
from numalab.arch.errno import KernelError
from numalab.kernel.fs.block import disk_state
from numalab.mm.obstacles import KINDS, obstruct
from numalab.syscalls.abi import MAP_ANONYMOUS, MAP_PRIVATE, MPOL_BIND, PROT_READ, PROT_WRITE
from numalab.syscalls.libc import Libc, LibcFunction
from numalab.syscalls.strace.tracer import Options, Strace
from numalab.syscalls.sys import Main, current
from numalab.tools.outside import Process
from numalab.tools.picture import bytes_text
from numalab.tools.placement import misplaced, places, shortened

if TYPE_CHECKING:
    from numalab.kernel.machine import Injection, Machine
    from numalab.kernel.task import Task
    from numalab.syscalls.explain import Explanation
    from numalab.syscalls.sys import Sys

__all__ = ["NumaMachine", "Switch"]

T = TypeVar("T")

PAGE_SIZE = 4096
_TAIL = 25  # lines of strace that a report shows
_LOW = 1  # of a zone's watermarks


class Switch(contextlib.ExitStack):
    """Something that is switched on: until `.off()`, to the end of a `with`, or for as long as the machine is there."""

    def off(self) -> None:
        """Switch it off, unless it is."""
        self.close()


class NumaMachine:
    """A machine, and on it the process that a test acts as.

    machine: the whole of it, as `numalab.boot()` returns it.  process: the test's own; sys and memory are its system
    calls, loads and stores.  libc: the C library as ctypes has it, for whoever calls: a program of the machine, or else
    the test's process.  seed: decides which program runs next; the same seed gives the same run.
    """

    def __init__(self, spec: str = "2x1G", *, seed: int = 0, uid: int = 0, **boot: Any) -> None:
        """spec, seed, boot: as numalab.boot() takes them. uid: the user whose process the test is, root by default.

        Raises ValueError (TopologyError) for arguments that make no machine.
        """
        self.seed = seed
        self._spec = spec
        self.machine: Machine = numalab.boot(spec, seed, **boot)
        self.machine.explain_calls()
        self._lines: deque[str] = deque([""], maxlen=_TAIL)
        self._trace()
        self._patched = contextlib.ExitStack()
        self._said: list[tuple[str, str]] = []
        self.process = Process(self.machine, uid=uid)
        self.sys, self.memory = self.process.sys, self.process.memory
        self.libc = Libc(self._act)

    def __repr__(self) -> str:
        return f"<NumaMachine {self._spec}, seed {self.seed}>"

    # Acting on it

    def _act(self, work: Callable[[Sys], T]) -> T:
        __tracebackhide__ = True
        sys = current()
        if sys is not None and self.machine.sched.current is sys.task:
            return work(sys)
        return self.process.do(work)

    def patch(self, target: object, name: str) -> None:
        """Let `target.name`, a ctypes.CDLL or one of its functions, act on this machine until it is closed.

        The prototypes that are declared there stay.  Raises TypeError for anything else.
        """
        real = getattr(target, name)
        if isinstance(real, ctypes.CDLL):
            ours: Libc | LibcFunction = Libc(self._act, like=real)
        elif isinstance(real, CFuncPtr):
            ours = LibcFunction(self._act, getattr(real, "__name__", ""), like=real)
        else:
            raise TypeError(
                f"{name} is {real!r}: what can be patched is a ctypes.CDLL, or one of its functions"
            )
        setattr(target, name, ours)
        self._patched.callback(setattr, target, name, real)

    def spawn(self, main: Main, *args: str, uid: int = 0) -> Task:
        """Start a program `main(sys)`, which runs whenever the machine does. Raises KernelError: there is no room."""
        return self.machine.spawn(main, *args, uid=uid)

    @overload
    def run(self) -> None: ...

    @overload
    def run(self, main: Main, *args: str) -> int: ...

    def run(self, main: Main | None = None, *args: str) -> int | None:
        """Run all programs that are there to their end, with one that is started now; returns its exit status.

        Raises what a program does not catch, and Deadlock.
        """
        return self.machine.run(main, *args) if main is not None else self.machine.run()

    def new_process(self, *, uid: int = 0) -> Process:
        """Another process like the test's own. Raises KernelError when there is no room for it."""
        return Process(self.machine, uid=uid)

    def read_file(self, path: str) -> str:
        """A file of the machine: `/proc/vmstat`, `/sys/devices/system/node/online`... Raises OSError, as `sys` does."""
        try:
            return self.machine.read_file(path)
        except KernelError as error:
            raise OSError(error.errno, os.strerror(error.errno), path) from None

    # Looking at it

    def nodes_of(self, addr: int, length: int = 1, *, process: Process | None = None) -> list[int | None]:
        """The node of each page that [addr, addr + length) touches; None for a page that is on none."""
        return [place.node for place in places((process or self.process).task, addr, length)]

    def assert_on_node(
        self, node: int | Collection[int], addr: int, length: int = 1, *, process: Process | None = None
    ) -> None:
        """All pages that [addr, addr + length) touches are on this node, or on these.

        The AssertionError says where each of the others is, and what the last call that met it did to it, and why.
        """
        __tracebackhide__ = True
        nodes = {node} if isinstance(node, int) else set(node)
        task = (process or self.process).task
        if message := misplaced(task, nodes, addr, length, self.machine.explanations):
            raise AssertionError("\n".join([message, *map(self._room, sorted(nodes))]))

    def _free(self, node: int) -> tuple[int, int]:
        """Free frames of a node, and how many it keeps (low watermarks and reserves): then others are asked."""
        zones = self.machine.mem.zones[self.machine.mem.zones["node"] == node]
        kept = zones["watermark"][:, _LOW] + zones["lowmem_reserve"].max(axis=1)
        return self.machine.node_pages(node)[1], int(kept.sum())

    def _room(self, node: int) -> str:
        if node not in self.machine.topology.node_ids:
            return f"there is no node {node}"
        free, kept = (bytes_text(frames * PAGE_SIZE) for frames in self._free(node))
        return f"node {node} has {free} free, and keeps {kept} of it"

    # What can go wrong

    def inject(self, calls: str, error: str | int, when: str | int = "1+") -> Injection:
        """Let system calls fail: `inject("mbind", "EPERM")`, in the words of strace's -e inject=.

        calls: `mbind,move_pages`, `%memory`...; when: 2, `2+`, `1+3`, `2..4`.  `.hits` of the result counts.
        """
        return self.machine.inject(calls, error, when)

    def obstacle(
        self, kind: str, addr: int, length: int = 1, *, ns: int | None = None, process: Process | None = None
    ) -> Switch:
        """Put something in the way of the pages that [addr, addr + length) touches: it keeps them from moving.

        kind: `lock` (somebody's page lock), `writeback`, `pin` (as RDMA has it), `hold` (a reference that nothing
        explains).  ns: for so much virtual time.  Raises ValueError when it is in the way of no page.
        """
        mm = (process or self.process).task.mm
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no obstacle: use {', '.join(KINDS)}")
        start = addr & -PAGE_SIZE
        ends = (
            obstruct(mm, kind, start, -(-(addr + length - start) // PAGE_SIZE), ns) if mm is not None else []
        )
        if not ends:
            raise ValueError(f"no page of {addr:#x} is in memory, or each has this obstacle already")
        switch = Switch()
        for end in ends:
            switch.callback(end)
        return switch

    def disks(self, *, failing: bool = False, latency: int = 0, page_ns: int = 0) -> Switch:
        """Let every disk, swap included, fail at all it is asked for, or take so long: ns a request and ns a page."""
        disk_state(self.machine.mem, latency, page_ns, failing=failing)
        switch = Switch()
        switch.callback(disk_state, self.machine.mem, 0, 0)
        return switch

    def eat(self, node: int, *, leave: int = 0) -> Switch:
        """Use up a node's memory but for `leave` bytes, so that allocations go elsewhere, or fail.

        It is locked memory of another process, down to the low watermark, from where on the kernel looks elsewhere.
        Who insists on the node, by MPOL_BIND or move_pages, still gets what lies between that and the lowest one.
        """
        free, kept = self._free(node)
        want = free - kept - -(-leave // PAGE_SIZE)
        want -= want // 512 + 8  # page tables
        if want <= 0:
            raise ValueError(f"node {node} has only {free} free frames, and keeps {kept} of them")
        eater = Process(self.machine, name="eater")
        eater.do(lambda sys: _eat(sys, node, want * PAGE_SIZE))
        switch = Switch()
        switch.callback(eater.end)
        return switch

    # The end

    def close(self) -> None:
        """Switch it off; what was patched is as it was before."""
        if not self.machine.closed:
            self._said = self.report()
            self._patched.close()
            self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Check that memory is consistent, unless something else is wrong already. Raises InvariantError."""
        try:
            if exc is None and not self.machine.closed:
                self.machine.check_invariants()
        finally:
            self.close()

    def report(self) -> list[tuple[str, str]]:
        """What a failed test shows of the machine: (title, text)."""
        if self.machine.closed:
            return self._said
        machine = self.machine
        lines = [
            f"machine {self._spec}, engine {machine.engine}, seed {self.seed}, {machine.now} ns since boot"
        ]
        for nid in machine.topology.node_ids:
            total, free = machine.node_pages(nid)
            lines.append(
                f"node {nid}: {bytes_text(total * PAGE_SIZE)}, {bytes_text((total - free) * PAGE_SIZE)} in use"
            )
        lines += [repr(injection) for injection in machine.kernel.injections]
        told = [told for told in machine.explanations if told.runs or told.areas or told.result < 0]
        calls = "\n".join(shortened(line.rstrip("\n")) for line in self._lines).rstrip("\n")
        sections = [("numa machine", "\n".join(lines)), ("its last system calls", calls)]
        return [
            *sections,
            ("the last of them that met pages or failed", "\n".join(_lines(told[-1])) if told else ""),
        ]

    def _trace(self) -> None:
        """Keep the last lines of strace."""
        tracer, kernel = Strace(cast("TextIO", _Tail(self._lines)), Options()), self.machine.kernel
        kernel.tracers.append(tracer.on_syscall)
        kernel.signal_watchers.append(tracer.on_signal)
        kernel.exit_watchers.append(tracer.on_exit)


class _Tail:
    """An output of which the last lines are kept."""

    def __init__(self, lines: deque[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> int:
        self._lines[-1] += text
        if text.endswith("\n"):
            self._lines.append("")
        return len(text)


def _lines(told: Explanation) -> Iterator[str]:
    return replace(told, text=shortened(told.text)).lines()


def _eat(sys: Sys, node: int, length: int) -> None:
    addr = sys.mmap(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
    sys.mbind(addr, length, MPOL_BIND, {node})
    sys.mlock(addr, length)
