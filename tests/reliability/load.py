"""A node that is nearly full, and in use by many processes while somebody empties it.

Node 1 is a slot: all of it is ZONE_MOVABLE. What is taken of it is memory of the processes' own, some of it locked;
memory that all share, half of it a shared mapping and half private pages as they were at fork; pages of files that are
written to a slow disk over and over; and pages under direct I/O, which somebody holds until its end.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numalab
from numalab import abi
from numalab.arch.topology import Node, Topology
from numalab.kernel.fs.block import disk_state
from numalab.kernel.machine import Machine
from numalab.kernel.task import Task
from numalab.mm import _constants as c
from numalab.syscalls.sys import Sys

from tests.reliability.pattern import PAGE, Pattern

__all__ = ["FIRST_SLOT", "MS", "NODE", "Daemon", "Field", "Load", "Outcome", "run"]

NODE = 1
FIRST_SLOT = 1 << 20  # slots lie above 4 GiB
MS = 1_000_000


@dataclass(frozen=True)
class Load:
    """How the node is used: shares are parts of its frames, times are ns."""

    frames: int = 1 << 18
    workers: int = 40
    writers: int = 10
    used: float = 0.95
    locked: float = 0.05
    written: float = 0.05
    shared: float = 0.10
    direct_io: float = 0.02
    #: Each direct I/O ends at a time up to this one.
    io_ns: int = 2000 * MS
    #: In seconds: a block that is not empty after so long is given up.
    patience: int = 20
    #: And a writer rests for so long when the disk has his file.
    rest: float = 1.0
    #: A request to the disk, and each page of it.
    disk: tuple[int, int] = (8 * MS, 68_000)

    def pages(self, share: float) -> int:
        return int(self.frames * share)

    @property
    def own(self) -> int:
        """Pages of a worker's own."""
        return self.pages(self.used - self.shared - self.written) // self.workers


@dataclass
class Outcome:
    """What became of it. Of pages: taken, locked, writeback, held when it began; moved; left, by reason, at the end.

    answers: of each removal of a block, "" = it succeeded, or of each call.  ns: how long it took.  tries: those that
    left a page for later, by reason.  rounds: of the processes' work meanwhile.  managed: pages of the node at the end.
    verified: pages whose owners looked at every byte; lost: bytes that were wrong.  died: processes that did not end as
    they should.  broken: invariants.
    """

    engine: str
    frames: int
    taken: int = 0
    locked: int = 0
    writeback: int = 0
    held: int = 0
    answers: list[str] = field(default_factory=list)
    ns: int = 0
    moved: int = 0
    tries: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    left: Counter[str] = field(default_factory=Counter)
    managed: int = 0
    verified: int = 0
    lost: int = 0
    died: int = 0
    broken: int = 0


class Field:
    """What the processes of a run have in common. It stands outside of the machine: nothing in there can lose it."""

    def __init__(self, machine: Machine, load: Load, seed: int, daemon: Daemon) -> None:
        self.machine = machine
        self.load = load
        self.rng = random.Random(seed)
        self.owners: list[tuple[Task, Pattern]] = []
        self.pids: list[int] = []
        self.out = Outcome(machine.engine, load.frames)
        self._daemon = daemon
        self._ready = 0
        self._begun = False
        self._under_way = False
        self._over = False

    def main(self, sys: Sys) -> None:
        """Make what all share, start the others, and look at everything when they have ended."""
        load, half = self.load, self.load.pages(self.load.shared) // 2
        sys.set_mempolicy(abi.MPOL_PREFERRED, {NODE})
        self.common = Pattern(sys.mmap(half * PAGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS), half, 1)
        self.inherited = Pattern(sys.mmap(half * PAGE), half, 2)
        self.common.fill(sys)
        self.inherited.fill(sys)
        self.pids = [sys.fork(self.work, number) for number in range(load.workers)]
        self.pids += [sys.fork(self.write, number) for number in range(load.writers)]
        while self._ready < len(self.pids):
            sys.sleep(0.01)
        sys.wait(sys.fork(self.empty))
        self._over = True
        for pid in self.pids:
            _, status = sys.wait(pid)
            self.out.died += status != 0
        self.look(sys, self.common)
        self.look(sys, self.inherited)

    def work(self, sys: Sys, number: int) -> None:
        """Go round one's own memory and write to it, write to a share of the common one, read what was inherited."""
        load, common, inherited = self.load, self.common, self.inherited
        own = Pattern(sys.mmap(load.own * PAGE), load.own, 100 + number)
        own.fill(sys)
        sys.mlock(own.addr, load.pages(load.locked) // load.workers * PAGE)
        sys.memory.touch(common.addr, common.pages, write=False)
        sys.memory.touch(inherited.addr, inherited.pages, write=False)
        self.owners.append((sys.task, own))
        mine = range(number, common.pages, load.workers)
        turn = 0

        def work() -> None:
            nonlocal turn
            turn += 1
            for i in range(8):
                own.stamp(sys, (turn * 8 + i) * 61 % own.pages)
            common.stamp(sys, mine[turn % len(mine)])
            sys.memory.touch(inherited.addr + turn % inherited.pages * PAGE, write=False)
            sys.sleep(0.05)

        self._repeat(sys, work)
        self.look(sys, own)
        self.look(sys, inherited)

    def write(self, sys: Sys, number: int) -> None:
        """Change every page of a file and wait until the disk has it."""
        pages = self.load.pages(self.load.written) // self.load.writers
        fd = sys.open(f"/mnt/{number}", abi.O_RDWR | abi.O_CREAT)
        sys.ftruncate(fd, pages * PAGE)
        data = Pattern(sys.mmap(pages * PAGE, fd=fd), pages, 10_000 + number)
        data.fill(sys)

        def write() -> None:
            for page in range(pages):
                data.stamp(sys, page)
            sys.fsync(fd)

        def rewrite() -> None:
            if self._begun:
                write()
            sys.sleep(self.load.rest if self._begun else 0.001)

        write()
        self._repeat(sys, rewrite)
        self.look(sys, data)

    def _repeat(self, sys: Sys, act: Callable[[], None]) -> None:
        act()
        sys.set_mempolicy(abi.MPOL_DEFAULT, set())
        self._ready += 1
        while not self._over:
            act()
            self.out.rounds += self._under_way

    def look(self, sys: Sys, pattern: Pattern) -> None:
        self.out.verified += pattern.pages
        self.out.lost += pattern.lost(sys)

    def empty(self, sys: Sys) -> None:
        """Put direct I/O in the way, let the daemon do its work, and note what there was before and after."""
        machine, mem, out = self.machine, self.machine.mem, self.out
        for task, page in self.some_pages(self.load.pages(self.load.direct_io)):
            machine.obstacles.hold(machine.page_of(task, page), self.rng.randrange(self.load.io_ns))
            out.held += 1
        self._begun = True
        while (writing := int(mem.node_stat[NODE, c.NR_WRITEBACK])) < 0.99 * self.load.pages(
            self.load.written
        ):
            sys.sleep(0.001)
        total, free = machine.node_pages(NODE)
        out.taken = total - free
        out.locked = int(mem.node_stat[NODE, c.NR_MLOCK])
        out.writeback = writing
        began, self._under_way = machine.now, True
        self._daemon(self, sys)
        out.ns, self._under_way = machine.now - began, False
        out.managed = machine.node_pages(NODE)[0]

    @property
    def frames(self) -> tuple[int, int]:
        """Of the node: first and end."""
        return FIRST_SLOT, FIRST_SLOT + self.load.frames

    def some_pages(self, count: int) -> list[tuple[Task, int]]:
        """Pages of the workers' own on the node."""
        each = -(-count // len(self.owners))
        return [
            (task, own.addr + page * PAGE)
            for task, own in self.owners
            for page in self.rng.sample(range(own.pages), each)
        ][:count]


#: Who empties the node: called as a program of its own, while all others work.
Daemon = Callable[[Field, Sys], None]


def run(engine: str, load: Load, seed: int, daemon: Daemon) -> Outcome:
    """Boot such a machine, let the daemon empty the node, and look whether anything was lost."""
    ordinary = min(2 * load.frames + (32 << 8), FIRST_SLOT // 2)
    nodes = (
        Node(0, ((0, ordinary),), (0, 1, 2, 3)),
        Node(NODE, ((FIRST_SLOT, FIRST_SLOT + load.frames),), (), hotplug=True),
    )
    boot = {"memhp_default_state": "online_movable", "swap": 2 * load.frames * PAGE}
    with numalab.boot(Topology("reliability", nodes, boot=boot), seed, migration=engine) as machine:
        disk_state(machine.mem, *load.disk)
        ground = Field(machine, load, seed, daemon)
        assert machine.run(ground.main) == 0
        ground.out.broken = len(machine.check_invariants())
        return ground.out
