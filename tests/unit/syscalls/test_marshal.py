"""Python values as arguments: what is stored where, which counts follow, and what is refused."""

from typing import Any

import numpy as np
import pytest

from numalab import abi
from numalab.kernel.machine import Machine
from numalab.syscalls.marshal import Answer, bind
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

PAGE = 4096


def bound(name: str, *args: Any, **named: Any) -> tuple[list[int], dict[str, bytes | int]]:
    result = bind(BY_NAME[name], args, named)
    return result.registers, {result.name(slot): slot.item for slot in result.slots}


def test_numbers_go_straight_into_registers() -> None:
    assert bound("mbind", 1, 2, 3, 4, 5, 6) == ([1, 2, 3, 4, 5, 6], {})
    assert bound("munmap", -1, 2**64 + 5) == ([2**64 - 1, 5], {})
    assert bound("madvise", np.uint64(7), True) == ([7, 1, 0], {})


@pytest.mark.parametrize(
    "nodes", [{0, 2}, [2, 0], (0, 2), range(0, 4, 2), frozenset({0, 2}), np.array([0, 2])]
)
def test_a_mask_is_any_collection_of_numbers(nodes: Any) -> None:
    registers, slots = bound("set_mempolicy", 2, nodes)
    assert registers == [2, 0, 65]
    assert slots == {"nodemask": (5).to_bytes(8, "little")}


def test_maxnode_follows_from_the_largest_node() -> None:
    assert bound("set_mempolicy", 2, {63})[0][2] == 65
    assert bound("set_mempolicy", 2, {64}) == ([2, 0, 129], {"nodemask": (1 << 64).to_bytes(16, "little")})
    assert bound("set_mempolicy", 2, set()) == ([2, 0, 65], {"nodemask": bytes(8)})
    assert bound("set_mempolicy", 0) == ([0, 0, 0], {}), "no mask, no bits"
    assert bound("set_mempolicy", 2, {1}, 4)[0] == [2, 0, 4], "unless it is given"
    assert len(bound("set_mempolicy", 2, {1}, 4096)[1]["nodemask"]) == 512  # type: ignore[arg-type]


def test_a_count_may_be_passed_over() -> None:
    by_place = bound("move_pages", 0, [8, 16], [1, 1])
    assert by_place == bound("move_pages", 0, 2, [8, 16], [1, 1])
    assert by_place == bound("move_pages", pid=0, pages=[8, 16], nodes=[1, 1])
    registers, slots = by_place
    assert registers == [0, 2, 0, 0, 0, 0]
    assert slots["pages"] == (8).to_bytes(8, "little") + (16).to_bytes(8, "little")
    assert slots["nodes"] == b"\1\0\0\0" * 2
    assert bound("migrate_pages", 0, {0}, {1}) == bound("migrate_pages", 0, 65, {0}, {1})


def test_what_cannot_be_an_argument_is_a_typeerror() -> None:
    for name, args, named in (
        ("getpid", (1,), {}),
        ("mbind", (1,), {"adr": 2}),
        ("mbind", (1,), {"addr": 2}),
        ("mbind", ("text",), {}),
        ("mbind", (1.5,), {}),
        ("set_mempolicy", (2, {1.5}), {}),
        ("set_mempolicy", (2, {-1}), {}),
        ("open", (["/proc"],), {}),
    ):
        with pytest.raises(TypeError):
            bound(name, *args, **named)


@pytest.mark.parametrize(
    ("name", "args", "why"),
    [
        ("nanosleep", (float("inf"),), "request is inf: give a number of seconds"),
        ("nanosleep", (float("nan"),), "request is nan"),
        ("nanosleep", (2.0**63,), r"request is \[9223372036854775808, 0\]: "),
        ("nanosleep", ((1,),), r"request is \[1\]: "),
        ("setrlimit", (7, (1, 2, 3)), r"rlim is \[1, 2, 3\]: "),
        ("move_pages", (0, [0], [1 << 31]), r"nodes is \[2147483648\]: "),
        ("move_pages", (0, [-1]), r"pages is \[-1\]: "),
        ("capset", (None, (1, 2)), r"data is \[1, 2\]: "),
    ],
)
def test_what_does_not_fit_is_a_valueerror(name: str, args: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bound(name, *args)


@pytest.mark.parametrize("node", [10**9, 1 << 64, 10**30])
def test_a_member_beyond_all_masks_takes_no_room(machine: Machine, node: int) -> None:
    assert all(len(item) <= 4096 for item in bound("set_mempolicy", 2, {0, node})[1].values())  # type: ignore[arg-type]

    def main(sys: Sys) -> None:
        for call in (
            lambda: sys.migrate_pages(0, {0}, {node}),
            lambda: sys.set_mempolicy(abi.MPOL_BIND, {0, node}),
            lambda: sys.sched_setaffinity(0, {node}),
        ):
            with pytest.raises(OSError, match="Invalid argument"):
                call()

    assert machine.run(main) == 0


def test_outputs_are_attributes_of_the_answer() -> None:
    answer = Answer(3, {"mode": 2})
    assert (answer, answer + 1, answer.mode) == (3, 4, 2)
    assert repr(answer) == "3 mode=2"
    assert repr(Answer(0, {})) == "0"
    with pytest.raises(AttributeError, match="no output 'status'"):
        _ = answer.status


def test_every_kind_of_output(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(3 * PAGE)
        sys.memory.touch(addr, 2)
        assert sys.mincore(addr, 3 * PAGE).vec == b"\1\1\0"
        assert sys.getresuid().ruid == sys.getresgid().sgid == 0
        assert sys.getrlimit(abi.RLIMIT_MEMLOCK).rlim == (8 << 20, 8 << 20)
        assert sys.prlimit64(0, abi.RLIMIT_MEMLOCK, (4096, 8192)).old == (8 << 20, 8 << 20)
        assert sys.setrlimit(abi.RLIMIT_MEMLOCK, (1, 2)) == 0
        assert sys.getrlimit(abi.RLIMIT_MEMLOCK).rlim == (1, 2)
        assert sys.getrusage(abi.RUSAGE_THREAD).usage.ru_minflt >= 2
        caps = sys.capget().data
        assert sys.capset(data=(0, caps[1], 0)) == 0
        assert sys.capget().data == (0, caps[1], 0)
        assert sys.prctl(abi.PR_SET_NAME, "renamed") == 0
        assert sys.task.comm == "renamed"
        assert sys.prctl(abi.PR_GET_DUMPABLE) == 1
        assert sys.move_pages(0, [addr, addr + 2 * PAGE]).status == [0, -2]
        sys.nanosleep((2, 500))
        assert sys.clock_gettime(abi.CLOCK_REALTIME).tp >= (2, 500)

    assert machine.run(main) == 0


def test_entries_that_the_kernel_did_not_write_are_none(machine: Machine) -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(2 * PAGE)
        sys.memory.touch(addr, 2)
        pages = [addr, addr + PAGE]
        with pytest.raises(OSError, match="No such device"):
            sys.move_pages(0, pages, [1, 63])
        assert sys.move_pages(0, pages).status == [1, 0], "the first one had moved"

    assert machine.run(main) == 0


def test_the_name_of_a_limit_is_enforced(machine: Machine) -> None:
    """RLIMIT_MEMLOCK and CAP_IPC_LOCK decide about mlock, as in the recorded scenario."""

    def main(sys: Sys) -> None:
        addr = sys.mmap(8 * PAGE)
        sys.setrlimit(abi.RLIMIT_MEMLOCK, (2 * PAGE, 2 * PAGE))
        assert sys.mlock(addr, 8 * PAGE) == 0, "root may"
        sys.munlock(addr, 8 * PAGE)
        sys.setresuid(1000, 1000, 1000)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            sys.mlock(addr, 3 * PAGE)
        assert sys.mlock(addr, 2 * PAGE) == 0
        with pytest.raises(PermissionError):
            sys.setrlimit(abi.RLIMIT_MEMLOCK, (4 * PAGE, 4 * PAGE))
        sys.setrlimit(abi.RLIMIT_MEMLOCK, (0, 0))
        with pytest.raises(PermissionError):
            sys.mlock(addr, PAGE)
        with pytest.raises(OSError, match="Invalid argument"):
            sys.setrlimit(abi.RLIMIT_MEMLOCK, (1, 0))

    assert machine.run(main) == 0
