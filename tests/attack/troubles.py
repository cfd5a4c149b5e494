"""Programs on a machine whose disks go wrong once it gets serious, and what must be true of every byte afterwards.

A program makes ready while all is well, and acts inside of ``lab.trouble()``. What it keeps in memory it tells the lab,
which looks at all of it: during the trouble as the program does, afterwards also wherever the kernel has put it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from signal import SIGBUS

import numpy as np

import numalab
from numalab import abi
from numalab.arch._pagetable_reference import swp_offset, swp_type
from numalab.arch.disk import FINE, Disk, Trouble
from numalab.arch.topology import Node, Topology
from numalab.kernel.machine import Machine
from numalab.kernel.task import Task
from numalab.mm._constants import PG_uptodate
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swap_areas
from numalab.mm.vma_tree import linear_page_index, vma_lookup
from numalab.mm.vmscan import try_to_free_pages
from numalab.syscalls.file import files_of
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

__all__ = [
    "ANONYMOUS", "PAGE", "PAGES", "SIZE", "Case", "Kind", "Lab", "Region", "firsts", "text", "trial",
]  # fmt: skip

PAGE = 4096
PAGES = 6
SIZE = PAGES * PAGE
ANONYMOUS = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
MAPPED, FRAME = 0x101, 0x000FFFFFFFFFF000
PLENTY = 4096
SLOW_NS = 10**12


class Kind(Enum):
    """What goes wrong with the Nth request; FULL: there is room for N pages on each disk, and for no more."""

    ONCE = "one error"
    ON = "errors from then on"
    SLOW = "one takes a quarter of an hour"
    FULL = "no more room"


class Bus(Exception):
    """The program has caught SIGBUS."""


@dataclass(eq=False)
class Region:
    """Pages of a program. lossy: of a file on a disk, which may forget what it has reported as not written."""

    task: Task
    addr: int
    pages: list[bytes]
    lossy: bool = False


@dataclass
class Plan:
    """Which request goes wrong, over all disks.

    failed_reads, failed_writes: requests that did; lost_writes: those of them that were for files.
    """

    kind: Kind | None
    first: int
    seen: int = 0
    failed_reads: int = 0
    failed_writes: int = 0
    lost_writes: int = 0

    def __call__(self, write: bool, files: bool) -> Trouble:
        number, self.seen = self.seen, self.seen + 1
        if self.kind is Kind.SLOW and number == self.first:
            return Trouble(ns=SLOW_NS)
        if (self.kind is Kind.ONCE and number == self.first) or (
            self.kind is Kind.ON and number >= self.first
        ):
            if write:
                self.failed_writes += 1
                self.lost_writes += files
            else:
                self.failed_reads += 1
            return Trouble(error=True)
        return FINE


class Lab:
    """One machine with a plan.

    keeps: what programs have in memory, and must find there; refused: accesses that met SIGBUS; written: pages that
    went to disks; readable: there is no reason for SIGBUS any more.
    """

    def __init__(self, machine: Machine, plan: Plan) -> None:
        self.machine = machine
        self.plan = plan
        self.keeps: list[Region] = []
        self.over = self.readable = False
        self.refused = self.written = 0
        self.full = plan.kind is Kind.FULL
        self._store = machine.mem.bdis[1]

    def disks(self) -> list[Disk]:
        assert self._store is not None
        return [*(area.disk for area in swap_areas(self.machine.mem)), self._store.disk]

    # What programs do

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """In here disks go wrong; behind it they are well again, and whatever was asked of them is done."""
        store, mem = self._store, self.machine.mem
        assert store is not None
        blocks = int(store.row["blocks"])
        if self.full:
            store.row["blocks"] = int(store.row["nr_used"]) + 1 + self.plan.first
        else:
            self._ask(self.plan)
        yield
        self._ask(None)
        store.row["blocks"] = blocks
        while mem.timers.skip():
            pass
        self.over = True
        self.machine.check_invariants()

    def _ask(self, plan: Plan | None) -> None:
        for disk in self.disks():
            files = disk.name == "/dev/vda"
            disk.trouble = None if plan is None else partial(plan, files=files)
        for area in swap_areas(self.machine.mem):
            area.sync()

    def squeeze(self) -> None:
        """Whatever can be taken from memory is, wherever it can go."""
        mem = self.machine.mem
        for _ in range(3):
            try_to_free_pages(mem, 0, mem.memory_nodes)

    def swap(self) -> bool:
        """Whether there is a swap area."""
        return any(True for _ in swap_areas(self.machine.mem))

    def nothing_to_do(self) -> None:
        """The program makes no sense with this plan."""
        self.over = True

    def until_over(self, sys: Sys) -> None:
        """For a child: wait until the trouble is over, and look once more."""
        while not self.over:
            sys.sleep(1000)
        self.look(sys)

    def fill(self, sys: Sys, flags: int = ANONYMOUS, pages: int = PAGES, fd: int = -1) -> Region:
        """Pages of the program's own text."""
        addr = sys.mmap(pages * PAGE, flags=flags, fd=fd)
        region = Region(sys.task, addr, [text(i) for i in range(pages)], lossy=fd >= 0 and bool(flags & 1))
        sys.memory.write(addr, b"".join(region.pages))
        self.keeps.append(region)
        return region

    def open(self, sys: Sys, files: int = 1) -> list[int]:
        """A file on the disk without a name, opened so often."""
        fds = [sys.open("/mnt/file", abi.O_RDWR | abi.O_CREAT) for _ in range(files)]
        sys.unlink("/mnt/file")
        return fds

    def inherit(self, sys: Sys, region: Region) -> Region:
        """A child has the same pages: a copy of them."""
        mine = Region(sys.task, region.addr, list(region.pages), region.lossy)
        self.keeps.append(mine)
        return mine

    def wait(self, sys: Sys, pid: int) -> int:
        """Until a child has ended, and how. Its status is not stored where it might not be stored."""
        child = self.machine.kernel.pids.find(pid)
        assert child is not None
        assert sys.raw(BY_NAME["wait4"].number, pid, 0, 0, 0) == pid
        return child.exit_status

    def page_out(self, sys: Sys, region: Region) -> None:
        sys.madvise(region.addr, len(region.pages) * PAGE, abi.MADV_PAGEOUT)

    def write(self, sys: Sys, region: Region, *numbers: int) -> None:
        """New text for some pages, as far as they can be had."""
        for i in numbers:
            new = text(i + 100)
            if self.caught(sys, lambda i=i, new=new: sys.memory.write(region.addr + i * PAGE, new)):  # type: ignore[misc]
                region.pages[i] = new

    def may(self, errno: int, call: Callable[[], object]) -> int:
        """A call that may fail like this, but only if a disk has failed, or is full; its errno, 0 if it went well."""
        try:
            call()
        except OSError as error:
            got = error.errno
        else:
            return 0
        assert got == errno
        assert self.plan.failed_reads or self.plan.failed_writes or self.full, "an error for no reason"
        return errno

    def caught(self, sys: Sys, access: Callable[[], object]) -> bool:
        """Whether an access went well; it may meet SIGBUS only if something could not be read, or a disk is full."""

        def handler(signo: int, info: object) -> None:
            raise Bus

        sys.signal(SIGBUS, handler)
        try:
            access()
        except Bus:
            assert self.plan.failed_reads or self.full, "SIGBUS, and no disk has failed to read"
            assert not self.readable, "SIGBUS, and nothing is in swap"
            self.refused += 1
            return False
        return True

    def look(self, sys: Sys) -> None:
        """The program reads all it has: what it wrote, or a page that could not be read."""
        for region in self.keeps:
            for i, wanted in enumerate(region.pages):
                if region.task is sys.task and not (region.lossy and self.plan.lost_writes):
                    self.caught(
                        sys, lambda at=region.addr + i * PAGE, wanted=wanted: self._read(sys, at, wanted)
                    )  # type: ignore[misc]

    def look_unless_told(self, sys: Sys) -> None:
        """The same, if every file has been written well: else the next fsync() tells that something is lost."""
        if not self.plan.lost_writes:
            self.look(sys)

    def on_disk(self, sys: Sys, fd: int, wanted: bytes) -> None:
        """A file's bytes are on its disk."""
        store, mapping = self._store, files_of(sys.task).get(fd).mapping
        assert store is not None
        got = b"".join(store.bytes_of(mapping.block(i)).tobytes() for i in range(-(-len(wanted) // PAGE)))
        assert got[: len(wanted)] == wanted

    def _read(self, sys: Sys, at: int, wanted: bytes) -> None:
        got = sys.memory.read(at, PAGE)
        assert got == wanted, f"{at:#x}: {got[:16]!r}, not {wanted[:16]!r}"

    # What must be true afterwards

    def stored(self, task: Task, addr: int) -> bytes:
        """A page of a program, wherever it is: in memory, in the swap cache, in a swap area, in its file."""
        mem = self.machine.mem
        assert task.mm is not None
        vma = vma_lookup(task.mm, addr)
        assert vma is not None
        pte = int(mem.k.pagetable.walk(self.machine.hw, task.mm.pgd, addr))
        if pte & MAPPED:
            return self.machine.hw.read_phys(pte & FRAME, PAGE)
        if not pte and vma.file is not None:
            index = linear_page_index(vma, addr)
            entry = int(vma.file.mapping.load(index))
            if entry and not entry & 1 and int(mem.hot["flags"][entry >> 1]) & PG_uptodate:
                return self.machine.hw.read_phys(entry >> 1 << 12, PAGE)
            if not entry & 1:
                block = int(vma.file.mapping.block(index))
                assert self._store is not None
                return self._store.bytes_of(block).tobytes() if block else bytes(PAGE)
            pte = entry - 1
        if not pte:
            return bytes(PAGE)
        area = mem.swap_areas[swp_type(pte)]
        assert area is not None
        slot = swp_offset(pte)
        cached = int(area.cache[slot])
        if cached and int(mem.hot["flags"][cached]) & PG_uptodate:
            return self.machine.hw.read_phys(cached << 12, PAGE)
        if area.zeromap[slot]:
            return bytes(PAGE)
        return area.disk.store[slot * PAGE : (slot + 1) * PAGE].tobytes()

    def nothing_is_lost(self) -> None:
        """Every page of every program that is still there has its bytes somewhere."""
        for region in self.keeps:
            if region.task.mm is None or (region.lossy and self.plan.lost_writes):
                continue
            for i, wanted in enumerate(region.pages):
                got = self.stored(region.task, region.addr + i * PAGE)
                assert got == wanted, (
                    f"lost: page {i} of {region.addr:#x} is {got[:16]!r}, not {wanted[:16]!r}"
                )

    def left(self) -> tuple[int, int]:
        """Free frames, those included that swap caches keep of programs that have ended; and slots of others."""
        mem = self.machine.mem
        lru_add_drain_all(mem)
        free = sum(self.machine.node_pages(nid)[1] for nid in self.machine.topology.node_ids)
        areas = list(swap_areas(mem))
        cached = sum(int(np.count_nonzero(area.cache)) for area in areas)
        return free + cached, sum(int(np.count_nonzero(area.map)) for area in areas) - cached


def text(number: int) -> bytes:
    """A page like no other, without two bytes that are alike next to each other."""
    return (b"<page %5d of a program>" % number * 200)[:PAGE]


@dataclass(frozen=True)
class Case:
    """A program, and the machine that it needs: so many frames on each of two nodes."""

    program: Callable[[Sys, Lab], object]
    frames: int = 2048


def trial(case: Case, engine: str, kind: Kind | None = None, first: int = 0, *, twins: bool = False) -> Lab:
    """Run a program with a plan, and look at everything afterwards."""
    swap = (first + 1 if kind is Kind.FULL else PLENTY) * PAGE
    there = 1 << 15
    nodes = (Node(0, ((0, case.frames),), (0,)), Node(1, ((there, there + case.frames),), (1,)))
    topology = Topology("troubled", nodes, boot={"swap": swap if swap > PAGE else 0})
    with numalab.boot(topology, migration=engine, twins=twins) as machine:
        lab = Lab(machine, Plan(kind, first))

        def main(sys: Sys) -> None:
            case.program(sys, lab)
            assert lab.over
            lab.nothing_is_lost()
            lab.look(sys)

        before = lab.left()
        assert machine.run(main) == 0
        machine.check_invariants()
        assert lab.left() == before, "frames or slots are left behind"
        lab.written = sum(disk.writes for disk in lab.disks())
    return lab


def firsts(lab: Lab, kind: Kind) -> range:
    """Every N that makes a difference, after a program has run well: as many as it has requests, or pages on disks."""
    return range(lab.written + 2 if kind is Kind.FULL else lab.plan.seen)
