"""Small machines on which everything goes wrong at once while a node is emptied, each drawn from its seed.

Some programs work, with memory of their own, common memory, files and swap; in their pages' way stand locks, pins,
direct I/O and writeback; disks are slow, or fail; swap is small, or there is none; the target is nearly full. Then the
node's block is taken away, or its pages are sent elsewhere by migrate_pages(2), under any engine. What is lost, and
what stays for no reason, is a mistake.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from errno import errorcode
from signal import SIGBUS, SIGKILL, SIGUSR1

import numalab
from numalab import abi
from numalab.arch.topology import Node, Topology
from numalab.kernel.fs.block import disk_state
from numalab.kernel.task import Task
from numalab.mm.invariants import InvariantError
from numalab.mm.memory_block import memory_blocks
from numalab.mm.preempt import Point
from numalab.syscalls.sys import Sys

from tests.reliability.load import FIRST_SLOT, MS, NODE
from tests.reliability.pattern import PAGE, Pattern
from tests.reliability.why import NO_REASON, Account

__all__ = ["Storm", "mistakes"]

#: What must never happen. failed: the kernel did, or nothing could go on.
MISTAKES = ("lost", "broken", "died", f"left: {NO_REASON}", "failed")

ENGINES = ("batched", "direct", "swap")
SMALL = 512  # frames of the node, and of the one that may be full
FRAMES = (FIRST_SLOT, FIRST_SLOT + SMALL)
DISKS = ((0, 0), (0, 0), (8 * MS, 68_000), (15_000, 1_000))
#: What never goes away by itself is waited for this long, in seconds.
PATIENCE = 0.2


class Storm:
    """One machine. tally: what happened, by kind."""

    def __init__(self, seed: int, tally: Counter[str]) -> None:
        self.rng = rng = random.Random(seed)
        self.tally = tally
        self.engine = rng.choice(ENGINES)
        self.removes = rng.random() < 0.5
        self.target = rng.choice((0, 2))
        self.fails = rng.random() < 0.2
        self.disk = rng.choice(DISKS)
        self.interrupted = rng.random() < 0.5
        swap = rng.choice((0, 64, 4096)) * PAGE
        nodes = (
            Node(0, ((0, 1 << 13),), (0, 1)),
            Node(NODE, (FRAMES,), (), hotplug=True),
            Node(2, ((1 << 16, (1 << 16) + SMALL),), (2,)),
        )
        boot = {"memhp_default_state": "online_movable", "swap": swap}
        self.topology = Topology("storm", nodes, boot=boot)
        self.seed = seed
        self.over = False
        self.ready = 0
        self.owners: list[tuple[Task, Pattern]] = []
        self.release: list[Callable[[], None]] = []

    def run(self) -> None:
        with numalab.boot(self.topology, self.seed, migration=self.engine) as machine:
            self.machine, self.sched = machine, machine.sched
            machine.mem.explain = True
            disk_state(machine.mem, *self.disk)
            self.tally["machines"] += 1
            self.ended(machine.run(self.main))
            for release in self.release:
                release()
            try:
                machine.check_invariants()
            except InvariantError as error:
                self.tally["broken"] += len(error.broken)

    def main(self, sys: Sys) -> None:
        rng = self.rng
        pages = rng.randrange(8, 64)
        sys.set_mempolicy(abi.MPOL_PREFERRED, {NODE})
        self.common = Pattern(sys.mmap(pages * PAGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS), pages, 1)
        self.inherited = Pattern(sys.mmap(pages * PAGE), pages, 2)
        self.common.fill(sys)
        self.inherited.fill(sys)
        self.pids = [sys.fork(self.work, number) for number in range(rng.randrange(1, 5))]
        while self.ready < len(self.pids):
            sys.sleep(0.001)
        self.crowd(sys)
        self.hinder()
        sys.wait(sys.fork(self.empty))
        self.over = True
        for pid in self.pids:
            _, status = sys.wait(pid)
            self.ended(status)
        self.look(sys, self.common)
        self.look(sys, self.inherited)

    def ended(self, status: int) -> None:
        """A disk that cannot give back what it was given ends a program on Linux, too."""
        if status == -SIGBUS and self.fails:
            self.tally["killed: disk error"] += 1
        elif status == -SIGKILL:
            self.tally["killed: no memory"] += 1
        elif status:
            self.tally["died"] += 1

    def crowd(self, sys: Sys) -> None:
        """Leave little room where the pages should go."""
        if self.target == 2:
            _, free = self.machine.node_pages(2)
            room = self.rng.randrange(1, free)
            sys.set_mempolicy(abi.MPOL_PREFERRED, {2})
            sys.memory.touch(sys.mmap(room * PAGE), room)
        sys.set_mempolicy(abi.MPOL_BIND, {0, 2})

    def work(self, sys: Sys, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        pages = rng.randrange(8, 100)
        sets = [Pattern(sys.mmap(pages * PAGE), pages, 100 + number)]
        if not self.fails and rng.random() < 0.5:
            fd = sys.open(f"/mnt/{number}", abi.O_RDWR | abi.O_CREAT)
            sys.ftruncate(fd, pages * PAGE)
            sets.append(Pattern(sys.mmap(pages * PAGE, fd=fd), pages, 200 + number))
        for pattern in sets:
            pattern.fill(sys)
        if rng.random() < 0.3:
            sys.mlock(sets[0].addr, pages // 2 * PAGE)
        elif rng.random() < 0.5:
            sys.madvise(sets[0].addr, pages // 2 * PAGE, abi.MADV_PAGEOUT)
        sys.memory.touch(self.common.addr, self.common.pages, write=False)
        self.owners.extend((sys.task, pattern) for pattern in sets)
        sys.set_mempolicy(abi.MPOL_BIND, {0, 2})
        self.ready += 1
        while not self.over:
            for pattern in sets:
                pattern.stamp(sys, rng.randrange(pages))
            sys.memory.touch(self.inherited.addr + rng.randrange(self.inherited.pages) * PAGE, write=False)
            sys.sleep(0.005)
        for pattern in (*sets, self.inherited):
            self.look(sys, pattern)

    def look(self, sys: Sys, pattern: Pattern) -> None:
        lost = pattern.lost(sys)
        self.tally["verified"] += pattern.pages
        self.tally["lost"] += lost

    def hinder(self) -> None:
        """Put something in the way of some pages, for a time; of direct I/O and pins, some for good."""
        rng, obstacles = self.rng, self.machine.obstacles
        for _ in range(rng.choice((0, 4, 40))):
            task, pattern = rng.choice(self.owners)
            kind = rng.choice(("lock", "writeback", "hold", "pin"))
            ns = rng.randrange(100 * MS)
            with suppress(ValueError):  # it is in swap, or has this obstacle already
                pfn = self.machine.page_of(task, pattern.addr + rng.randrange(pattern.pages) * PAGE)
                if kind in ("hold", "pin"):
                    begin = getattr(obstacles, kind)
                    self.release.append(begin(pfn, ns if rng.random() < 0.9 else None))
                elif kind == "lock":
                    obstacles.lock_page(pfn, ns)
                else:
                    obstacles.writeback(pfn, ns)
                self.tally[f"obstacle: {kind}"] += 1

    def empty(self, sys: Sys) -> None:
        """The node is emptied; meanwhile the disk may fail."""
        machine = self.machine
        disk_state(machine.mem, *self.disk, failing=self.fails)
        if self.interrupted:
            machine.mem.preempt = self.preempt
        if self.removes:
            self.remove(sys)
        else:
            self.send_away(sys)
        machine.mem.preempt = None
        if self.rng.random() < 0.5:  # else it still fails when everybody looks at his memory
            disk_state(machine.mem, *self.disk)

    def preempt(self, point: Point, at: int) -> None:
        """Now and then somebody else goes on in the middle of it."""
        sched = self.sched
        if sched.current is not None and self.rng.random() < 0.1:
            self.tally["preempted"] += 1
            sched.resched()

    def remove(self, sys: Sys) -> None:
        mem, account = self.machine.mem, Account(self.machine.mem)
        sys.signal(SIGUSR1, lambda *info: None)
        sys.fork(lose_patience, sys.getpid())
        (block,) = memory_blocks(mem, NODE)
        account.find_block(*FRAMES)
        try:
            sys.write_file(f"/sys/devices/system/memory/memory{block}/state", "offline")
            self.tally["removal: done"] += 1
        except OSError as error:
            self.tally[f"removal: {errorcode[error.errno or 0]}"] += 1
        account.take(mem.ledger)
        self.count(account)

    def send_away(self, sys: Sys) -> None:
        mem, account = self.machine.mem, Account(self.machine.mem)
        for pid in [*self.pids, sys.getppid(), sys.getpid()]:
            task = self.machine.kernel.pids.find(pid)
            if task is None or task.mm is None:
                continue  # a disk error has ended it
            mm = task.mm
            account.find(mm)
            try:
                sys.migrate_pages(pid, {NODE}, {self.target})
            except OSError as error:
                self.tally[f"migrate_pages: {errorcode[error.errno or 0]}"] += 1
            else:
                self.tally["migrate_pages: done"] += 1
            account.take(mem.ledger, mm)
        self.count(account)

    def count(self, account: Account) -> None:
        self.tally["moved"] += account.moved
        for reason, pages in account.left(range(*FRAMES)).items():
            self.tally[f"left: {reason}"] += pages


def lose_patience(sys: Sys, pid: int) -> None:
    sys.sleep(PATIENCE)
    with suppress(OSError):
        sys.kill(pid, SIGUSR1)


def mistakes(tally: Counter[str]) -> dict[str, int]:
    """Of what happened, what must never."""
    return {kind: tally[kind] for kind in MISTAKES if tally[kind]}
