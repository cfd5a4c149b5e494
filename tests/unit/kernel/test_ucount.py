"""How many tasks there may be: of the machine, and of a user."""

import contextlib

import pytest

import numalab
from numalab import abi
from numalab.arch.errno import KernelError
from numalab.kernel.machine import Machine
from numalab.syscalls.sys import Sys

USER = 1000


def sleeper(sys: Sys) -> None:
    sys.sleep(1000)


@pytest.mark.parametrize(("spec", "most"), [("quad", 16383), ("1x64M", 511), ("1x64p", 20)])
def test_memory_decides(spec: str, most: int) -> None:
    with numalab.boot(spec) as machine:
        assert machine.read_file("/proc/sys/kernel/threads-max") == f"{most}\n"

        def main(sys: Sys) -> None:
            for limit in (abi.RLIMIT_NPROC, abi.RLIMIT_SIGPENDING):
                assert sys.getrlimit(limit).rlim == (most // 2, most // 2)

        assert machine.run(main) == 0


def test_a_fork_bomb_ends_at_the_limit() -> None:
    made: list[int] = []

    def main(sys: Sys) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                made.append(sys.fork(sleeper))
        with pytest.raises(BlockingIOError):
            sys.clone(sleeper)
        for pid in made:
            sys.kill(pid, abi.SIGKILL)
        for _ in made:
            sys.wait()
        sys.fork(lambda child: 0)

    with numalab.boot("1x64M") as machine:
        others = len(machine.tasks) + 1
        assert machine.run(main) == 0
        assert len(made) == 511 - others
        machine.check_invariants()


def test_what_is_started_from_outside_counts_too(machine: Machine) -> None:
    machine.kernel.max_threads = len(machine.tasks) + 1
    machine.spawn(sleeper)
    with pytest.raises(KernelError, match="EAGAIN"):
        machine.spawn(sleeper)
    machine.run()


def test_a_user_has_a_limit_of_its_own(machine: Machine) -> None:
    """RLIMIT_NPROC counts all tasks of a real user id: threads, zombies, and those of other parents."""

    def main(sys: Sys) -> None:
        sys.fork(as_user)
        assert sys.wait()[1] == 0
        sys.setrlimit(abi.RLIMIT_NPROC, (0, 0))
        sys.fork(lambda child: 0)  # root may have any number

    def as_user(sys: Sys) -> None:
        sys.setrlimit(abi.RLIMIT_NPROC, (2, 2))
        sys.setuid(USER)
        zombie = sys.fork(lambda child: 0)
        with pytest.raises(BlockingIOError):
            sys.fork(sleeper)
        sys.sleep(1)
        with pytest.raises(BlockingIOError):
            sys.clone(sleeper)
        sys.wait(zombie)
        sys.clone(lambda thread: thread.sleep(1))
        with pytest.raises(BlockingIOError):
            sys.clone(sleeper)

    assert machine.run(main) == 0
    assert machine.kernel.nproc[USER] == 0


def test_capabilities_lift_the_limit(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.setrlimit(abi.RLIMIT_NPROC, (1, 1))
        sys.setresuid(USER, 0, 0)
        for _ in range(3):
            sys.fork(lambda child: 0)

    assert machine.run(main) == 0


def test_setuid_beyond_the_limit_makes_execve_fail(machine: Machine) -> None:
    """setuid() does not, for programs do not look at what it returns."""
    machine.spawn(sleeper, uid=USER)
    machine.spawn(sleeper, uid=USER)

    def main(sys: Sys) -> None:
        sys.setrlimit(abi.RLIMIT_NPROC, (1, 1))
        sys.setuid(USER)
        with pytest.raises(BlockingIOError):
            sys.execve(lambda new: 0)
        sys.sleep(2000)  # the others have ended
        sys.execve(lambda new: 7)

    assert machine.run(main) == 7
