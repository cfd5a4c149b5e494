"""What a Python program may rely on: each sentence of the contract between `numalab.boot()` and `main(sys)`."""

import errno
import gc
import os
import subprocess
import sys as host
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import numalab
from numalab import abi
from numalab.kernel.machine import Machine
from numalab.kernel.task import State
from numalab.syscalls.sys import Sys

PAGE = 4096
BAD = 0x1_0000_0000
KERNEL = 0xFFFF_8880_0000_0000


@pytest.fixture
def machine() -> Iterator[Machine]:
    with numalab.boot("quad") as machine:
        yield machine
        machine.check_invariants()


# --- the status ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "status"), [(None, 0), (0, 0), (3, 3), (255, 255), (256, 0), (-1, 255), (True, 1), ("text", 0)]
)
def test_what_main_returns_is_the_status(machine: Machine, value: object, status: int) -> None:
    assert machine.run(lambda sys: value) == status


@pytest.mark.parametrize("number", [60, 231])
def test_raw_exit_ends_the_task(machine: Machine, number: int) -> None:
    after: list[str] = []

    def main(sys: Sys) -> None:
        sys.syscall(number, 256 + 7)
        after.append("reached")

    assert machine.run(main) == 7
    assert after == []


def test_exit_by_name_and_by_python(machine: Machine) -> None:
    def raising(code: object) -> Callable[[Sys], None]:
        def main(sys: Sys) -> None:
            raise SystemExit(code)

        return main

    assert machine.run(lambda sys: sys.exit(4)) == 4
    assert machine.run(raising(5)) == 5
    assert machine.run(raising(None)) == 0


def test_a_message_for_systemexit_is_printed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    def main(sys: Sys) -> None:
        raise SystemExit("no such node")

    assert machine.run(main) == 1
    assert capsys.readouterr().err == "no such node\n"


@pytest.mark.parametrize("address", [0, BAD, KERNEL, 2**64 - 1, 2**47 - PAGE, -8])
def test_a_bad_access_is_a_death_by_sigsegv_and_no_exception(machine: Machine, address: int) -> None:
    assert machine.run(lambda sys: sys.memory.read(address, 1)) == -abi.SIGSEGV
    assert machine.run(lambda sys: sys.memory.write(address, b"x")) == -abi.SIGSEGV
    assert machine.run(lambda sys: sys.memory.touch(address, 1)) == -abi.SIGSEGV


def test_a_write_to_readonly_memory_is_sigsegv(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.memory.write(sys.mmap(PAGE, abi.PROT_READ), b"x")

    assert machine.run(main) == -abi.SIGSEGV


def test_a_read_longer_than_memory_dies_at_its_end_and_costs_nothing(machine: Machine) -> None:
    assert machine.run(lambda sys: sys.memory.read(sys.mmap(PAGE), 1 << 60)) == -abi.SIGSEGV


def test_a_death_frees_everything(machine: Machine) -> None:
    before = [machine.node_pages(nid) for nid in range(4)]

    def main(sys: Sys) -> None:
        addr = sys.mmap(256 * PAGE)
        sys.memory.touch(addr, 256)
        sys.memory.read(0, 1)

    assert machine.run(main) == -abi.SIGSEGV
    assert [machine.node_pages(nid) for nid in range(4)] == before
    assert all(task.unkillable for task in machine.tasks)


# --- exceptions ------------------------------------------------------------------------------------------------


def test_an_uncaught_exception_propagates_after_the_task_is_reaped(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.memory.touch(sys.mmap(PAGE), 1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        machine.run(main)
    assert caught.traceback[-1].name == "main", "its own traceback"
    assert all(task.unkillable for task in machine.tasks)
    assert machine.run(lambda sys: 6) == 6, "the machine goes on"


def test_an_oserror_that_nobody_catches_is_an_exception_like_any_other(machine: Machine) -> None:
    with pytest.raises(FileNotFoundError):
        machine.run(lambda sys: sys.open("/nothing"))


def test_an_exception_of_a_child_is_printed_and_makes_its_status_1(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    def child(sys: Sys) -> None:
        raise ValueError("of the child")

    def main(sys: Sys) -> int:
        sys.fork(child)
        return sys.wait()[1]

    assert machine.run(main) == 1
    assert capsys.readouterr().err.splitlines() == [
        "task 101 (main) died of an uncaught exception:",
        "Traceback (most recent call last):",
        f'  File "{__file__}", line {child.__code__.co_firstlineno + 1}, in child',
        '    raise ValueError("of the child")',
        "ValueError: of the child",
    ], "its own frame, and none of ours"


def test_a_finally_block_after_death_can_do_nothing(machine: Machine) -> None:
    reached: list[str] = []

    def main(sys: Sys) -> None:
        try:
            sys.memory.read(BAD, 1)
        finally:
            reached.append("finally")
            sys.getpid()
            reached.append("a call of the dead")

    assert machine.run(main) == -abi.SIGSEGV
    assert reached == ["finally"]


def test_a_program_that_catches_its_own_death_is_dead_all_the_same(machine: Machine) -> None:
    def main(sys: Sys) -> int:
        for _ in range(3):
            try:
                sys.memory.read(BAD, 1)
            except BaseException:  # noqa: BLE001
                continue
        return 0

    assert machine.run(main) == -abi.SIGSEGV


# --- system calls ----------------------------------------------------------------------------------------------


def test_mmap_by_default_gives_private_memory(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(2 * PAGE)
        assert addr % PAGE == 0
        assert sys.memory.read(addr, 4) == bytes(4)
        sys.memory.write(addr + PAGE - 2, b"over the border")
        assert sys.memory.read(addr + PAGE - 2, 15) == b"over the border"
        fixed = sys.mmap(
            PAGE, abi.PROT_READ, abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=0x123000
        )
        assert fixed == 0x123000

    assert machine.run(main) == 0


def test_a_refused_call_raises_oserror_with_its_errno(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(OSError, match="Invalid argument") as caught:
            sys.mmap(0)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(ProcessLookupError):
            sys.syscall(256, 4190000, 0, 0, 0)

    assert machine.run(main) == 0


@pytest.mark.parametrize("number", [13, 1000, 2**31, 2**32 - 1, -1, 0x40000000 | 39])
def test_a_number_that_is_no_call_is_enosys(machine: Machine, number: int) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(OSError, match="not implemented") as caught:
            sys.syscall(number)
        assert caught.value.errno == errno.ENOSYS

    assert machine.run(main) == 0


@pytest.mark.parametrize("name", ["fork", "vfork", "clone", "clone3", "execve"])
def test_raw_fork_and_exec_are_enosys(machine: Machine, name: str) -> None:
    number = {"fork": 57, "vfork": 58, "clone": 56, "clone3": 435, "execve": 59}[name]

    def main(sys: Sys) -> int:
        return sys.raw(number)

    assert machine.run(main) == -errno.ENOSYS & 0xFF


def test_raw_arguments_are_any_ints_modulo_2_to_the_64_and_padded_with_0(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.syscall(9, 0, PAGE, 3, 0x22, -1)
        assert sys.syscall(28, addr + 2**64, PAGE + 2**65, 4) == 0
        assert sys.syscall(39) == sys.syscall(39, 1, 2, 3, 4, 5, 6, 7, 8) == sys.syscall(39 + 2**32)
        assert sys.syscall(11, addr - 2**64, PAGE) == 0

    assert machine.run(main) == 0


def test_a_raw_argument_that_is_no_int_is_a_mistake_in_python(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(TypeError):
            sys.syscall(39, "text")  # type: ignore[arg-type]
        with pytest.raises(AttributeError, match="no system call"):
            sys.no_such_call()

    assert machine.run(main) == 0


def test_raw_calls_use_pointers_into_the_programs_own_memory(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        buf = sys.mmap(PAGE)
        sys.memory.write(buf, (0b10).to_bytes(8, "little"))
        assert sys.syscall(238, abi.MPOL_BIND, buf, 64) == 0
        assert sys.syscall(239, buf + 8, buf + 16, 64, 0, 0) == 0
        assert sys.memory.read(buf + 8, 4) == abi.MPOL_BIND.to_bytes(4, "little")
        assert sys.memory.read(buf + 16, 8) == (0b10).to_bytes(8, "little")
        with pytest.raises(OSError, match="Bad address"):
            sys.syscall(238, abi.MPOL_BIND, KERNEL, 64)

    assert machine.run(main) == 0


def test_every_call_of_the_table_has_a_name(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        assert {"mbind", "getpid", "migrate_pages"} <= set(dir(sys))
        assert sys.getpid() == sys.gettid() == sys.task.pid
        assert sys.getppid() == 1
        assert "mbind(2)" in (sys.mbind.__doc__ or "")

    assert machine.run(main) == 0


# --- friendly calls --------------------------------------------------------------------------------------------


def test_masks_and_arrays_may_be_python_values(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 * PAGE)
        assert sys.mbind(addr, 4 * PAGE, abi.MPOL_BIND, {2}) == 0
        sys.memory.touch(addr, 4)
        pages = [addr + i * PAGE for i in range(4)]
        assert sys.move_pages(0, pages).status == [2, 2, 2, 2]
        moved = sys.move_pages(0, pages, [0, 1, 2, 3])
        assert moved == 0
        assert moved.status == [0, 1, 2, 3]
        policy = sys.get_mempolicy(addr=addr, flags=abi.MPOL_F_ADDR)
        assert (policy, policy.mode, policy.nodemask) == (0, abi.MPOL_BIND, {2})
        assert sys.migrate_pages(0, {0, 1, 3}, [2]) == 0
        assert sys.move_pages(0, pages).status == [2, 2, 2, 2]
        assert sys.sched_setaffinity(0, mask={3}) == 0
        assert sys.sched_getaffinity(0).mask == {3}
        assert (sys.getcpu().cpu, sys.getcpu().node) == (3, 3)

    assert machine.run(main) == 0


def test_a_plain_int_is_a_pointer_and_reaches_the_kernel_as_it_is(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(OSError, match="Bad address"):
            sys.set_mempolicy(abi.MPOL_BIND, BAD, 64)
        with pytest.raises(OSError, match="Invalid argument"):
            sys.set_mempolicy(abi.MPOL_BIND, 0, 64)

    assert machine.run(main) == 0


def unmap(sys: Sys, start: int, end: int) -> None:
    sys.munmap(start, end - start)


def protect(sys: Sys, start: int, end: int) -> None:
    sys.mprotect(start, end - start, abi.PROT_NONE)


def make_readonly(sys: Sys, start: int, end: int) -> None:
    sys.mprotect(start, end - start, abi.PROT_READ)


def map_over(sys: Sys, start: int, end: int) -> None:
    flags = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
    sys.mmap(end - start, flags=flags, addr=start)
    sys.memory.write(start, b"precious" * 512)


def cut_its_end(sys: Sys, start: int, end: int) -> None:
    sys.munmap(start + PAGE, end - start - PAGE)


@pytest.mark.parametrize("lose", [unmap, protect, make_readonly, map_over, cut_its_end])
def test_a_scratch_area_that_the_program_lost_is_made_anew(
    machine: Machine, lose: Callable[[Sys, int, int], None]
) -> None:
    def scratch(sys: Sys) -> tuple[int, int]:
        known = {"stack"}
        found = [line.split() for line in sys.read_file("/proc/self/maps").splitlines()]
        [area] = [words[0] for words in found if words[0].startswith("6000") and not known & set(words)]
        start, end = (int(word, 16) for word in area.split("-"))
        return start, end

    def main(sys: Sys) -> None:
        sys.set_mempolicy(abi.MPOL_BIND, {1})
        start, end = scratch(sys)
        lose(sys, start, end)
        sys.set_mempolicy(abi.MPOL_PREFERRED, {2})
        assert sys.get_mempolicy().nodemask == {2}
        if lose is map_over:
            assert sys.memory.read(start, 4096) == b"precious" * 512

    assert machine.run(main) == 0


def test_the_scratch_area_grows(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        sys.memory.touch(addr, 1)
        count = 20_000
        assert sys.move_pages(0, [addr] * count).status == [0] * count

    assert machine.run(main) == 0


def test_no_memory_for_the_scratch_area_is_the_programs_end() -> None:
    """As for anything else that the kernel touches for it: no exception of ours comes out."""
    reached: list[str] = []

    def main(sys: Sys) -> None:
        sys.mmap(2 * PAGE, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_LOCKED)
        sys.mmap(PAGE, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_LOCKED)
        sys.mlockall(abi.MCL_FUTURE)
        try:
            sys.migrate_pages(0, {0}, {0})
        finally:
            reached.append("unwound")

    with numalab.boot("1x16p") as machine:
        assert machine.run(main) == -abi.SIGKILL
        machine.check_invariants()
    assert reached == ["unwound"]


def test_a_program_without_friendly_calls_has_no_scratch_area(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        sys.mmap(PAGE)
        assert sys.task.mm is not None
        assert len(sys.task.mm.vmas) == 2, "what it mapped, and its stack"

    assert machine.run(main) == 0


# --- processes -------------------------------------------------------------------------------------------------


def test_fork_runs_the_child_on_a_copy_of_the_memory(machine: Machine) -> None:
    def child(sys: Sys, addr: int, word: bytes) -> int:
        assert sys.memory.read(addr, 5) == b"first"
        sys.memory.write(addr, word)
        return 9

    def main(sys: Sys) -> None:
        addr = sys.mmap(PAGE)
        sys.memory.write(addr, b"first")
        pid = sys.fork(child, addr, b"other")
        assert pid > sys.getpid()
        assert sys.wait(pid) == (pid, 9)
        assert sys.memory.read(addr, 5) == b"first"

    assert machine.run(main) == 0


def test_argv(machine: Machine) -> None:
    seen: list[list[str]] = []

    def main(sys: Sys) -> None:
        seen.append(sys.argv)

    machine.run(main, "a", "b")
    machine.run(main)
    machine.run(main, argv=["c"])
    machine.spawn(main, "d")
    machine.run()
    assert seen == [["a", "b"], [], ["c"], ["d"]]


def test_spawned_tasks_all_end(machine: Machine) -> None:
    ended: list[int] = []

    def main(sys: Sys) -> int:
        for _ in range(5):
            sys.sched_yield()
        ended.append(sys.getpid())
        return len(ended)

    tasks = [machine.spawn(main) for _ in range(3)]
    assert machine.run() is None
    assert sorted(ended) == [task.pid for task in tasks]
    assert sorted(task.exit_status for task in tasks) == [1, 2, 3]
    assert all(task.state is State.DEAD for task in tasks)


def test_a_program_cannot_run_or_close_its_own_machine(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        with pytest.raises(RuntimeError, match="cannot run it"):
            machine.run()
        with pytest.raises(RuntimeError, match="cannot close"):
            machine.close()

    assert machine.run(main) == 0


def test_a_sys_works_for_its_own_task_only(machine: Machine) -> None:
    others: list[Sys] = []
    assert machine.run(others.append) == 0

    def first(sys: Sys) -> None:
        others.append(sys)
        sys.sched_yield()

    def second(sys: Sys) -> None:
        while len(others) < 2:
            sys.sched_yield()
        with pytest.raises(RuntimeError, match="is not running"):
            others[1].getpid()

    machine.spawn(first)
    machine.spawn(second)
    machine.run()


# --- machines --------------------------------------------------------------------------------------------------


def test_close_with_and_after() -> None:
    with numalab.boot("dual") as machine:
        assert machine.run(lambda sys: 0) == 0
    assert machine.closed
    machine.close()
    with pytest.raises(RuntimeError, match="closed"):
        machine.run()
    with pytest.raises(RuntimeError, match="closed"):
        machine.spawn(lambda sys: 0)


def test_programs_that_have_not_ended_are_unwound_by_close() -> None:
    unwound: list[str] = []

    def main(sys: Sys) -> None:
        try:
            while True:
                sys.sched_yield()
        finally:
            unwound.append("yes")

    def stop(sys: Sys) -> None:
        raise KeyError("stop")

    machine = numalab.boot("dual")
    machine.spawn(main)
    for _ in range(3):
        machine.spawn(stop)
        with pytest.raises(KeyError):
            machine.run()
    machine.close()
    assert unwound == ["yes"]


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def filled() -> Machine:
    """A machine with a program that has 64 MiB, and sleeps."""
    done = []

    def fill(sys: Sys) -> None:
        addr = sys.mmap(64 << 20)
        sys.memory.touch(addr, (64 << 20) // PAGE)
        done.append(True)
        sys.sleep(10**6)

    machine = numalab.boot("quad")
    machine.spawn(fill)
    assert machine.run_until(lambda: bool(done))
    return machine


def test_a_dropped_machine_gives_its_host_memory_back() -> None:
    """At once, not when the garbage collector comes round."""
    filled()
    gc.collect()
    gc.disable()
    try:
        before = rss()
        for _ in range(4):
            machine = filled()
            gone = weakref.ref(machine.kernel)
            del machine
            assert gone() is None
        assert rss() - before < 32 << 20
    finally:
        gc.enable()


def test_close_gives_host_memory_back_while_the_machine_is_still_held() -> None:
    machine = filled()
    before = rss()
    machine.close()
    assert before - rss() > 32 << 20


def test_two_machines_and_one_inside_another() -> None:
    with numalab.boot("quad") as outer:

        def main(sys: Sys) -> int:
            addr = sys.mmap(PAGE)
            sys.memory.write(addr, b"outer")
            with numalab.boot("dual") as inner:
                assert inner.run(lambda other: other.memory.write(other.mmap(PAGE), b"inner")) == 0
                with pytest.raises(ZeroDivisionError):
                    inner.run(lambda other: 1 // 0)
            assert sys.memory.read(addr, 5) == b"outer"
            return 3

        assert outer.run(main) == 3


def interleaving(seed: int) -> list[int]:
    order: list[int] = []

    def main(sys: Sys) -> None:
        for _ in range(6):
            order.append(sys.getpid())
            sys.sched_yield()

    with numalab.boot("quad", seed=seed) as machine:
        for _ in range(4):
            machine.spawn(main)
        machine.run()
    return order


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    assert interleaving(1) == interleaving(1)
    assert len({tuple(interleaving(seed)) for seed in range(6)}) > 3


def test_what_boot_refuses() -> None:
    with pytest.raises(numalab.TopologyError):
        numalab.boot("no such machine")
    with pytest.raises(ValueError, match="engine 'magic' is unknown: use batched"):
        numalab.boot(migration="magic")
    with pytest.raises(ValueError, match="cost preset"):
        numalab.boot(costs="free of charge")


def test_the_public_names_are_there_and_importing_one_part_loads_no_other() -> None:
    for name in numalab.__all__:
        assert getattr(numalab, name) is not None
    with pytest.raises(AttributeError):
        _ = numalab.no_such_name
    code = "import sys, numalab.arch.errno; print([m for m in sys.modules if m.startswith('numalab.')])"
    run = subprocess.run(
        [host.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert run.stdout.strip() == "['numalab.arch', 'numalab.arch.errno']"
