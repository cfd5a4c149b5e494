"""Whatever a program passes to a system call, it gets a number, an OSError, or its own end."""

import contextlib
import io
import random
from collections.abc import Callable

import pytest

import numalab
from numalab.kernel.fs.inode import Directory
from numalab.kernel.fs.tmpfs import TmpfsFile
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import TABLE

PAGE = 4096
EDGES = [0xFFFF_8880_0000_0000, 1 << 47, (1 << 47) - PAGE, 0x1_0000_0000, (1 << 64) - 1, (1 << 63), 1 << 56]
ENDS_THE_TASK = (60, 231)
PATHS = (b"/tmp/a", b"/tmp/b/", b"/tmp/b/c", b"/dev/shm/../../tmp/a", b"/proc/self/maps", b"tmpfs")
PATHS_AT, PATH_SIZE = 48 * PAGE, 32
PIPE = 22  # who reads from his own empty pipe sleeps for ever, as on Linux


def argument(rng: random.Random, addr: int) -> int:
    """Something that calls look at: an address or near one, a small number, a single bit, or noise."""
    kind = rng.randrange(11)
    if kind == 10:
        return addr + PATHS_AT + PATH_SIZE * rng.randrange(len(PATHS))
    if kind < 3:
        return addr + rng.choice([0, 1, 8, PAGE, 2 * PAGE, PAGE * rng.randrange(64)])
    if kind < 5:
        return rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 64, 65, PAGE, 2 * PAGE, 1 << 20])
    choices = {
        5: rng.getrandbits(64),
        6: -rng.randrange(1, 100),
        7: 1 << rng.randrange(64),
        8: rng.randrange(1 << 16),
        9: rng.choice(EDGES),
    }
    return choices[kind]


def number(rng: random.Random) -> int:
    while True:
        chosen = (
            rng.choice(TABLE).number if rng.randrange(20) else rng.getrandbits(rng.choice([9, 16, 32, 64]))
        )
        # Exit is tried as well, but not so often that nothing else is.
        if chosen == PIPE:
            continue
        if chosen not in ENDS_THE_TASK or rng.randrange(50) == 0:
            return chosen


def calls(rng: random.Random, left: list[int], privileged: bool) -> Callable[[Sys], None]:
    def main(sys: Sys) -> None:
        addr = sys.mmap(64 * PAGE)
        sys.memory.write(addr, rng.randbytes(PAGE))
        sys.memory.write(addr + PATHS_AT, b"".join(path.ljust(PATH_SIZE, b"\0") for path in PATHS))
        if not privileged:
            sys.setresuid(1000, 1000, 1000)
        while left[0]:
            left[0] -= 1
            args = [argument(rng, addr) for _ in range(rng.randrange(7))]
            with contextlib.suppress(OSError):
                result = sys.syscall(number(rng), *args)
                assert isinstance(result, int)
                assert result >= 0

    return main


def run_all(machine: Machine, rng: random.Random, count: int) -> int:
    """Go on with a new program when one has ended; returns how many there were."""
    left, programs = [count], 0
    while left[0]:
        programs += 1
        status = machine.run(calls(rng, left, privileged=bool(programs % 2)))
        assert -64 <= status <= 255
        assert all(task.unkillable for task in machine.tasks), "nothing is left of it"
    remove_files(machine)
    return programs


def remove_files(machine: Machine) -> None:
    """Take away what the programs have left in the file systems, also under what they have mounted."""
    k = machine.kernel
    todo = [k.root, *(mount.root for mount in k.mounts), *(mount.covered for mount in k.mounts)]
    while todo:
        directory = todo.pop()
        assert isinstance(directory, Directory)
        for name, inode in list(directory.entries.items()):
            if isinstance(inode, TmpfsFile):
                directory.unlink(name, 0)
            elif isinstance(inode, Directory):
                todo.append(inode)


@pytest.mark.parametrize("spec", ["quad", "odd page_table_levels=5", "4x16M"])
def test_twenty_thousand_random_calls(spec: str) -> None:
    with numalab.boot(spec, seed=1) as machine:
        before = [machine.node_pages(nid) for nid in machine.topology.node_ids]
        assert run_all(machine, random.Random(spec), 20_000) > 1
        machine.check_invariants()
        assert [machine.node_pages(nid) for nid in machine.topology.node_ids] == before


def test_random_calls_can_be_traced_and_do_what_they_do_untraced() -> None:
    ended = []
    for traced in (False, True):
        out = io.StringIO()
        with numalab.boot("dual", seed=1) as machine:
            if traced:
                machine.strace(out=out, summary=True)
            run_all(machine, random.Random(7), 4_000)
            machine.strace(False)
            ended.append((machine.now, [machine.node_pages(nid) for nid in machine.topology.node_ids]))
    assert ended[0] == ended[1]
    assert len(out.getvalue().splitlines()) > 4_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_many_more_random_calls(seed: int) -> None:
    with numalab.boot("quad", seed=seed) as machine:
        run_all(machine, random.Random(seed), 50_000)
        machine.check_invariants()


def test_random_calls_on_the_plain_python_kernels() -> None:
    with numalab.boot("4x4M", twins=True) as machine:
        run_all(machine, random.Random(3), 1_000)
        machine.check_invariants()
