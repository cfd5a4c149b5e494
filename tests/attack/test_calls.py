"""Whatever programs pass to system calls, they get a number or their own end, and nobody else loses a byte."""

from __future__ import annotations

import errno
import io
import random

import pytest

import numalab
from numalab import abi
from numalab.kernel.fs.inode import Directory
from numalab.kernel.fs.regular import RegularFile
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

from tests.attack.arguments import ARENA_PAGES, FIRST_FREE, PAGE, SLEEPS, call, structures

#: Calls after which a program's structures are written anew: by then its calls have spoilt them.
REFRESH = 60
USERS = (0, 1000, 1001)
NUMA_NO_NODE = -1
MMAP = BY_NAME["mmap"].number


class Attack:
    """So many calls by programs that fork, exec and end, several at a time; who has ended is replaced."""

    def __init__(self, machine: Machine, seed: int, calls: int, users: tuple[int, ...] = USERS) -> None:
        self.machine = machine
        self.rng = random.Random(seed)
        self.left = calls
        self.users = users
        self.programs = 0
        self.answers: set[int] = set()

    def run(self, at_once: int = 3, beside: Witness | None = None) -> int:
        """Returns how many rounds it took."""
        rounds = 0
        while self.left > 0:
            rounds += 1
            for _ in range(at_once):
                self.machine.spawn(self.program, uid=self.rng.choice(self.users))
            if beside is not None:
                self.machine.spawn(beside.program, uid=4000)
            self.machine.run()
        return rounds

    def program(self, sys: Sys) -> None:
        self.programs += 1
        rng, flags = self.rng, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
        base = sys.mmap(ARENA_PAGES * PAGE, flags=rng.choice((flags, abi.MAP_SHARED | abi.MAP_ANONYMOUS)))
        self.go_on(sys, base)

    def go_on(self, sys: Sys, base: int) -> None:
        rng, flags = self.rng, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
        for _ in range(rng.randrange(1, 20)):
            if sys.raw(MMAP, base, FIRST_FREE * PAGE, abi.PROT_READ | abi.PROT_WRITE, flags, -1, 0) != base:
                return  # no memory, or more than may be locked
            sys.memory.write(base, structures(rng, base))
            if rng.randrange(4) == 0:
                self.multiply(sys, base)
            for _ in range(REFRESH):
                if self.left <= 0:
                    return
                self.left -= 1
                number, args = call(rng, base)
                result = sys.raw(number, *args)
                assert isinstance(result, int)
                assert -4095 <= result < 1 << 63
                self.answers.add(min(result, 0))

    def multiply(self, sys: Sys, base: int) -> None:
        try:
            if self.rng.randrange(3):
                sys.fork(self.go_on, base)
            else:
                sys.clone(self.go_on, base)
        except OSError as error:
            assert error.errno in {errno.EAGAIN, errno.ENOMEM}  # noqa: PT017


class Witness:
    """A process of another user, which nobody may disturb: what it has written it finds, while others are there."""

    PAGES = 40

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.looked = 0
        self.undisturbed = 0

    def program(self, sys: Sys) -> None:
        sys.task.signal.oom_score_adj = -1000
        places = [
            sys.mmap(self.PAGES * PAGE),
            sys.mmap(self.PAGES * PAGE, flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS),
        ]
        text = random.Random(5).randbytes(self.PAGES * PAGE)
        for place in places:
            sys.memory.write(place, text)
        sys.mlockall(abi.MCL_CURRENT)
        wait = 0.001
        while self.machine.kernel.nr_programs > 1:
            self.looked += 1
            for place in places:
                assert sys.memory.read(place, len(text)) == text
            sys.sleep(min(wait, 1e9))
            wait *= 1.2  # some attacker may sleep until the end of time
        self.undisturbed += 1


def put_back(machine: Machine) -> None:
    """Take away what the programs have left: files, also under what they have mounted, and huge pages."""
    k = machine.kernel
    k.mem.hstate.set_max_huge_pages(k.init.ctx, 0, NUMA_NO_NODE, k.mem.memory_nodes)
    todo = [k.root, *(mount.root for mount in k.mounts), *(mount.covered for mount in k.mounts)]
    while todo:
        directory = todo.pop()
        assert isinstance(directory, Directory)
        for name, inode in list(directory.entries.items()):
            if isinstance(inode, RegularFile):
                directory.unlink(name, 0)
            elif isinstance(inode, Directory):
                todo.append(inode)


def test_no_call_is_drawn_after_which_a_program_may_sleep_for_ever() -> None:
    rng = random.Random(21)  # which drew pipe(2) as the 980th, as a number without a meaning
    assert SLEEPS.isdisjoint(call(rng, 1 << 20)[0] & 0xFFFF_FFFF for _ in range(2000))


@pytest.mark.parametrize("spec", ["quad", "odd page_table_levels=5", "4x16M"])
def test_random_calls(spec: str) -> None:
    with numalab.boot(spec, seed=1) as machine:
        before = [machine.node_pages(nid) for nid in machine.topology.node_ids]
        attack = Attack(machine, 3, 8_000)
        attack.run()
        machine.check_invariants()
        assert attack.programs > 1
        assert len(attack.answers) > 15, "too few errors to have reached much"
        put_back(machine)
        assert [machine.node_pages(nid) for nid in machine.topology.node_ids] == before


def test_random_calls_can_be_traced_and_do_what_they_do_untraced() -> None:
    ended = []
    for traced in (False, True):
        out = io.StringIO()
        with numalab.boot("dual", seed=1) as machine:
            if traced:
                machine.strace(out=out, summary=True)
            Attack(machine, 7, 4_000).run()
            machine.strace(False)
            ended.append((machine.now, [machine.node_pages(nid) for nid in machine.topology.node_ids]))
    assert ended[0] == ended[1]
    assert len(out.getvalue().splitlines()) > 4_000


def test_random_calls_on_the_plain_python_kernels() -> None:
    with numalab.boot("4x4M", twins=True) as machine:
        Attack(machine, 3, 1_000).run()
        machine.check_invariants()


def test_the_memory_of_others_is_left_alone() -> None:
    """By whoever has no right to it; RLIMIT_MEMLOCK keeps the attackers from locking all memory."""
    with numalab.boot("quad", seed=2) as machine:
        witness = Witness(machine)
        rounds = Attack(machine, 4, 12_000, users=(1000, 1001)).run(beside=witness)
        assert witness.undisturbed == rounds
        assert witness.looked > 10


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["batched", "direct", "swap"])
@pytest.mark.parametrize("seed", range(3))
def test_many_random_calls(engine: str, seed: int) -> None:
    with numalab.boot("quad", seed=seed, migration=engine) as machine:
        Attack(machine, seed, 25_000).run()
        machine.check_invariants()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 150))
def test_ten_million_random_calls(seed: int) -> None:
    for part in range(4):
        with numalab.boot("quad", seed=seed) as machine:
            Attack(machine, seed * 10 + part, 50_000).run()
            machine.check_invariants()
