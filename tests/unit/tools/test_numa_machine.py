"""The machine of a test: what is patched acts on it, what goes wrong does so on demand, and says why."""

from __future__ import annotations

import ctypes
import errno
import re
import types
from collections.abc import Iterator

import pytest

from numalab import InvariantError
from numalab.syscalls.abi import MPOL_BIND, MPOL_PREFERRED
from numalab.syscalls.sys import Sys
from numalab.tools.numa_machine import NumaMachine

PAGE = 4096


@pytest.fixture
def lab() -> Iterator[NumaMachine]:
    with NumaMachine("2x64M") as lab:
        yield lab


def touched(lab: NumaMachine, pages: int) -> int:
    """The address of so many pages on node 0."""
    addr = lab.sys.mmap(pages * PAGE)
    lab.memory.touch(addr, pages)
    return addr


def message(lab: NumaMachine, node: int, addr: int, length: int) -> str:
    with pytest.raises(AssertionError) as caught:
        lab.assert_on_node(node, addr, length)
    return str(caught.value)


# The bridge


def test_a_patched_library_acts_on_the_machine_until_the_end() -> None:
    real = ctypes.CDLL(None, use_errno=True)
    real.syscall.restype = ctypes.c_long
    module = types.SimpleNamespace(libc=real, getpid=real["getpid"])
    here = module.getpid()
    with NumaMachine("2x64M") as lab:
        lab.patch(module, "libc")
        lab.patch(module, "getpid")
        assert (module.libc.syscall(39), module.getpid()) == (100, 100)
        assert module.libc.syscall.restype is ctypes.c_long
        # Whoever calls is who acts.
        assert lab.run(lambda sys: module.getpid() - sys.getpid() + 7) == 7
        assert lab.libc.getpid() == 100
    assert module.libc is real
    assert module.getpid() == here
    with pytest.raises(TypeError, match=r"a ctypes\.CDLL, or one of its functions"):
        lab.patch(types.SimpleNamespace(libc=5), "libc")


# Where pages are


def test_nodes_of_pages(lab: NumaMachine) -> None:
    addr = lab.sys.mmap(4 * PAGE)
    lab.memory.write(addr + PAGE - 1, b"ab")
    lab.memory.read(addr + 2 * PAGE, 1)
    lab.sys.move_pages(0, [addr], [1])
    assert lab.nodes_of(addr, 4 * PAGE) == [1, 0, None, None]
    assert lab.nodes_of(addr + PAGE - 1, 2) == [1, 0]
    other = lab.new_process(uid=5)
    assert lab.nodes_of(addr, process=other) == [None]
    with pytest.raises(ValueError, match="range of 0 bytes"):
        lab.nodes_of(addr, 0)
    other.end()
    with pytest.raises(ValueError, match="no memory any more"):
        lab.nodes_of(addr, process=other)


def test_why_pages_are_not_where_they_should_be(lab: NumaMachine) -> None:
    addr = touched(lab, 10)
    lab.memory.read(end := lab.sys.mmap(2 * PAGE), 1)
    for page in (1, 2, 6):
        lab.obstacle("pin" if page < 3 else "lock", addr + page * PAGE, ns=10**12 if page == 6 else None)
    lab.sys.move_pages(0, [addr + 6 * PAGE], [1])
    lab.sys.migrate_pages(0, {0}, {1})
    lab.assert_on_node(1, addr)
    lab.assert_on_node((0, 1), addr, 10 * PAGE)
    told = message(lab, 1, addr, 10 * PAGE)
    assert told.startswith("2 of 10 pages are not on node 1 (N0=2 N1=8)\n")
    assert f"  {addr + PAGE:#x}:2  on node 0\n" in told
    assert re.search(r"migrate_pages\(0, .*\) = 2\n.*\n  pid 100, .*: 0 pages went, 2 did not\n", told)
    assert told.count("pinned: It had more references") == 1
    told = message(lab, 0, addr, PAGE)
    assert "moved 0 -> 1, pass async 1" in told
    told = message(lab, 1, end, 2 * PAGE)
    assert "  the page of zeros that all share: it was read, and never written\n" in told.replace(
        f"{end:#x}  ", ""
    )
    assert f"{end + PAGE:#x}  never touched\n" in told
    lab.sys.munmap(end, PAGE)
    assert "nothing is mapped here" in message(lab, 1, end, 1)
    assert "there is no node 7" in message(lab, 7, addr, 1)


def test_pages_that_no_call_met_have_their_policy_told(lab: NumaMachine) -> None:
    addr = touched(lab, 1)
    assert "met by no call; there is no policy" in message(lab, 1, addr, 1)
    lab.sys.mbind(addr, PAGE, MPOL_BIND, {1})
    assert "met by no call; the policy there is bind:1" in message(lab, 1, addr, 1)
    lab.sys.set_mempolicy(MPOL_PREFERRED, {0})
    assert "met by no call; the policy of its task is prefer:0" in message(lab, 1, touched(lab, 1), 1)


def test_pages_in_swap(lab: NumaMachine) -> None:
    addr = touched(lab, 3)
    lab.sys.madvise(addr, 2 * PAGE, 21)  # MADV_PAGEOUT
    assert f"{addr:#x}:2  in swap" in message(lab, 0, addr, 3 * PAGE)


def test_a_long_message_is_cut(lab: NumaMachine) -> None:
    addr = touched(lab, 100)
    lab.sys.move_pages(0, [addr + page * PAGE for page in range(0, 100, 2)], [1] * 50)
    told = message(lab, 1, addr, 100 * PAGE)
    assert "  and so on, 50 pieces in all\n" in told
    assert told.count("on node 0") == 12


# What can go wrong


def test_calls_fail(lab: NumaMachine) -> None:
    with lab.inject("mbind", "EPERM") as injection:
        with pytest.raises(PermissionError):
            lab.sys.mbind(lab.sys.mmap(PAGE), PAGE, MPOL_BIND, {1})
        assert "mbind:error=EPERM:when=1+, 1 hits" in dict(lab.report())["numa machine"]
    lab.sys.mbind(lab.sys.mmap(PAGE), PAGE, MPOL_BIND, {1})
    assert injection.hits == 1


@pytest.mark.parametrize("kind", ["lock", "writeback", "pin", "hold"])
def test_obstacles_are_in_the_way_until_they_are_switched_off(lab: NumaMachine, kind: str) -> None:
    addr = touched(lab, 3)
    switch = lab.obstacle(kind, addr, 2 * PAGE, ns=10**6 if kind in ("lock", "writeback") else None)
    # move_pages waits for locks and writeback, and gives up on the others
    lab.sys.move_pages(0, [addr, addr + 2 * PAGE], [1, 1])
    assert lab.nodes_of(addr, 3 * PAGE) == [1 if kind in ("lock", "writeback") else 0, 0, 1]
    switch.off()
    assert lab.sys.move_pages(0, [addr], [1]).status == [1]
    with lab.obstacle(kind, addr), pytest.raises(ValueError, match="is in memory"):
        lab.obstacle(kind, lab.sys.mmap(PAGE))
    with pytest.raises(ValueError, match="use lock, writeback, pin, hold"):
        lab.obstacle("glue", addr)


def test_disks_fail(lab: NumaMachine) -> None:
    fd = lab.sys.open("/mnt/file", 0o102)
    lab.sys.write(fd, b"x" * PAGE)
    with lab.disks(failing=True), pytest.raises(OSError, match="Input/output") as caught:
        lab.sys.fsync(fd)
    assert caught.value.errno == errno.EIO
    before = lab.machine.now
    lab.sys.write(fd, b"x" * PAGE)
    with lab.disks(latency=10**9):
        lab.sys.fsync(fd)
    assert lab.machine.now - before >= 10**9


def test_a_node_is_full_until_its_memory_is_given_back(lab: NumaMachine) -> None:
    for node in (0, 1):
        with lab.eat(node):
            addr = lab.sys.mmap(500 * PAGE)
            lab.sys.mbind(addr, 500 * PAGE, MPOL_PREFERRED, {node})
            lab.memory.touch(addr, 500)
            there = lab.nodes_of(addr, 500 * PAGE).count(node)
            assert there < 70, f"{there} of 500 pages found a frame on node {node}"
            with pytest.raises(ValueError, match=r"only .* free frames"):
                lab.eat(node)
            lab.sys.munmap(addr, 500 * PAGE)
    with lab.eat(1, leave=1 << 20):
        addr = lab.sys.mmap(500 * PAGE)
        lab.sys.mbind(addr, 500 * PAGE, MPOL_PREFERRED, {1})
        lab.memory.touch(addr, 500)
        assert 256 <= lab.nodes_of(addr, 500 * PAGE).count(1) < 330
    lab.sys.move_pages(0, [addr + page * PAGE for page in range(500)], [1] * 500)
    lab.assert_on_node(1, addr, 500 * PAGE)


# The end


def test_memory_that_is_inconsistent_is_found_at_the_end() -> None:
    def broken() -> NumaMachine:
        lab = NumaMachine("2x64M")
        lab.machine.mem.hot["refcount"][lab.machine.page_of(lab.process.task, touched(lab, 1))] += 1
        return lab

    lab = broken()
    with pytest.raises(InvariantError):
        lab.__exit__(None, None, None)
    assert lab.machine.closed
    assert "mmap(" in dict(lab.report())["its last system calls"]
    lab = broken()
    lab.__exit__(KeyError, KeyError(), None)  # what failed first is told
    assert lab.machine.closed
    lab.close()


def test_the_report_has_the_last_calls_and_what_ended_a_program(lab: NumaMachine) -> None:
    def main(sys: Sys) -> None:
        for _ in range(100):
            sys.getpid()
        sys.memory.read(5, 1)

    assert lab.run(main) == -11
    calls = dict(lab.report())["its last system calls"].splitlines()
    assert len(calls) <= 25
    assert any("si_addr=0x5" in line for line in calls)
    assert calls[-1].endswith("+++ killed by SIGSEGV +++")


def test_a_file_that_cannot_be_read() -> None:
    """It fails as calls do, so that a test can expect it by Python's names."""
    with NumaMachine("1x16M") as lab:
        for path, error in (("/proc/nothing", FileNotFoundError), ("/proc", IsADirectoryError)):
            with pytest.raises(error, match=path):
                lab.read_file(path)
