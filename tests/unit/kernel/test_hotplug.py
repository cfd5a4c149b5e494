"""Blocks of memory that go and come while programs run.

What a scenario can say is recorded (memory-*.scn); here is what stands in the way, signals, and what sizes do.
"""

from __future__ import annotations

from errno import EINTR, EINVAL
from signal import SIGUSR1

import pytest

import numalab
from numalab import abi
from numalab.arch.errno import KernelError
from numalab.arch.topology import SECTION_FRAMES, Node, Topology, TopologyError
from numalab.kernel.machine import Machine
from numalab.kernel.sched import Deadlock
from numalab.kernel.task import Task
from numalab.mm.gup_longterm import check_and_migrate_movable_pages
from numalab.mm.invariants import check_invariants
from numalab.mm.memory_block import block_frames, memory_block, memory_blocks
from numalab.mm.zones import ZONE_MOVABLE, in_zone_movable, zone_of
from numalab.syscalls.sys import Sys

from tests.driven import Program
from tests.unit.kernel.test_files import errno_of

PAGE = 4096
MIB = 256
BLOCKS = "/sys/devices/system/memory/memory"
#: Blocks of nodes 2 and 3 of the preset, all in ZONE_MOVABLE.
NODE2, NODE3 = (32, 33, 34, 35), (36, 37, 38, 39)


def boot(spec: str | Topology = "movable", **options: object) -> Machine:
    return numalab.boot(spec, debug_vm=True, **options)  # type: ignore[arg-type]


def write(sys: Sys, block: int, word: str) -> None:
    sys.write_file(f"{BLOCKS}{block}/state", word)


def bound(sys: Sys, node: int, pages: int, flags: int = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS) -> int:
    """Pages on a node, each with its number in it."""
    addr = int(sys.mmap(pages * PAGE, flags=flags))
    sys.mbind(addr, pages * PAGE, abi.MPOL_BIND, {node})
    for page in range(pages):
        sys.memory.write(addr + page * PAGE, page.to_bytes(4, "little"))
    return addr


def intact(sys: Sys, addr: int, pages: int) -> bool:
    return all(sys.memory.read(addr + i * PAGE, 4) == i.to_bytes(4, "little") for i in range(pages))


def nodes(sys: Sys, addr: int, pages: int) -> set[int]:
    return set(sys.move_pages(0, [addr + i * PAGE for i in range(pages)]).status)


# --- the loop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["batched", "direct", "swap"])
@pytest.mark.parametrize(("spec", "node", "block"), [("movable", 2, 32), ("quad", 1, 4), ("4x16M", 3, 3)])
def test_pages_leave_a_block_by_every_engine(spec: str, node: int, block: int, engine: str) -> None:
    def main(sys: Sys) -> None:
        addr = bound(sys, node, 700)
        total, free = machine.node_pages(node)
        write(sys, block, "offline")
        assert node not in nodes(sys, addr, 700)
        assert machine.node_pages(node)[1] == free + 700 - block_size(machine, block)
        assert intact(sys, addr, 700)
        write(sys, block, "online")
        assert machine.node_pages(node)[0] == total

    with boot(spec) as machine:
        machine.engine = engine
        assert machine.run(main) == 0
        assert machine.mem.ledgers[0].call == "memory_hotplug"


def block_size(machine: Machine, number: int) -> int:
    block = memory_block(machine.mem, number)
    assert block is not None
    return block.end - block.start


def test_a_pin_is_waited_for_as_long_as_it_takes() -> None:
    def main(sys: Sys) -> None:
        addr = bound(sys, 2, 8)
        machine.obstacles.hold(machine.page_of(sys.task, addr + PAGE), ns=10**9)
        write(sys, 32, "offline")
        assert machine.now >= 10**9
        assert nodes(sys, addr, 8) == {3}
        assert intact(sys, addr, 8)

    with boot() as machine:
        assert machine.run(main) == 0


def test_a_signal_ends_the_wait_and_the_block_is_as_before() -> None:
    with boot() as machine:
        owner = Program.start(machine)
        addr = owner.do(lambda sys: bound(sys, 2, 8))
        release = machine.obstacles.hold(machine.page_of(owner.task, addr))
        free = machine.node_pages(2)[1]
        task = begin_offline(machine, 32)
        assert check(machine) == []
        taken = owner.do(lambda sys: bound(sys, 2, 2000))  # other blocks are there, this one gives nothing
        block = memory_block(machine.mem, 32)
        assert block is not None
        assert not block.start <= machine.page_of(owner.task, taken) < block.end
        owner.do(lambda sys: sys.munmap(taken, 2000 * PAGE))
        owner.do(lambda sys: sys.kill(task.pid, SIGUSR1))
        assert machine.run_until(lambda: not task.alive)
        assert task.exit_status == EINTR
        assert machine.read_file(f"{BLOCKS}32/state") == "online\n"
        assert machine.node_pages(2)[1] >= free + 7  # all but one page have moved
        assert check(machine) == []
        release()
        owner.end()


def begin_offline(machine: Machine, block: int, waits_for: str = "memory to be given up") -> Task:
    """Somebody takes a block away, and has to wait. He leaves with the errno as his status."""

    def main(sys: Sys) -> int:
        sys.signal(SIGUSR1, lambda *info: None)
        try:
            write(sys, block, "offline")
        except OSError as error:
            return error.errno or 0
        return 0

    task = machine.spawn(main)
    assert machine.run_until(lambda: task.waiting_on == waits_for)
    return task


def check(machine: Machine) -> list[object]:
    k = machine.kernel
    return list(check_invariants(k.mem, list(k.mms()), [task.ctx for task in k.pids]))


def test_who_waits_for_ever_is_a_deadlock() -> None:
    def main(sys: Sys) -> None:
        addr = bound(sys, 2, 1)
        machine.obstacles.hold(machine.page_of(sys.task, addr))
        write(sys, 32, "offline")

    with boot() as machine, pytest.raises(Deadlock, match="waits for memory to be given up"):
        machine.run(main)


def test_one_at_a_time() -> None:
    """A second one waits for the lock until the first has ended, and then finds the block offline."""
    with boot() as machine:
        owner = Program.start(machine)
        addr = owner.do(lambda sys: bound(sys, 2, 1))
        release = machine.obstacles.hold(machine.page_of(owner.task, addr))
        one = begin_offline(machine, 32)
        two = begin_offline(machine, 32, "memory hotplug")
        release()
        assert machine.run_until(lambda: not one.alive and not two.alive)
        assert (one.exit_status, two.exit_status) == (0, EINVAL)
        owner.end()


# --- what never moves --------------------------------------------------------------------------------------------


def test_page_tables_keep_a_block_of_a_kernel_zone() -> None:
    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, {3})
        sys.memory.touch(sys.mmap(PAGE))  # its table lies on node 3
        table = next(pfn for pfn in range(12 << 15, 13 << 15) if machine.mem.hot["flags"][pfn] & 1 << 15)
        assert zone_of(machine.mem, table) == zone_of(machine.mem, 12 << 15)
        before = machine.mem.zones.copy()
        assert errno_of(lambda: write(sys, 12, "offline")) == "EBUSY"
        assert (machine.mem.zones[: len(before)] == before).all()
        write(sys, 13, "offline")

    with boot("quad") as machine:
        assert machine.run(main) == 0


def test_page_tables_never_lie_in_zone_movable() -> None:
    def main(sys: Sys) -> None:
        sys.sched_setaffinity(0, {2})
        sys.set_mempolicy(abi.MPOL_BIND, {2, 3})
        addr = bound(sys, 2, 600)
        assert in_zone_movable(machine.mem, machine.page_of(sys.task, addr))
        flags = machine.mem.hot["flags"]
        assert not any(in_zone_movable(machine.mem, int(pfn)) for pfn in (flags & 1 << 15).nonzero()[0])

    with boot() as machine:
        assert machine.run(main) == 0


def test_the_block_of_the_kernel_stays() -> None:
    def main(sys: Sys) -> None:
        assert errno_of(lambda: write(sys, 0, "offline")) == "EINVAL"
        assert machine.read_file(f"{BLOCKS}0/valid_zones") == "none\n"

    for spec in ("quad", "4x16M"):
        with boot(spec) as machine:
            assert machine.run(main) == 0


@pytest.mark.parametrize(("engine", "errno"), [("batched", ""), ("direct", "EBUSY"), ("swap", "EBUSY")])
def test_hugetlb_moves_if_the_engine_knows_it(engine: str, errno: str) -> None:
    def main(sys: Sys) -> None:
        sys.write_file("/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "2")
        addr = sys.mmap(2 << 20, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB)
        sys.mbind(addr, 2 << 20, abi.MPOL_BIND, {2})
        sys.memory.write(addr, b"huge")
        assert errno_of(lambda: write(sys, 32, "offline")) == errno
        assert sys.memory.read(addr, 4) == b"huge"
        assert nodes(sys, addr, 1) == ({2} if errno else {3})
        # The one that nobody uses has been dissolved.
        assert machine.read_file("/proc/sys/vm/nr_hugepages") == ("2\n" if errno else "1\n")

    with boot() as machine:
        machine.engine = engine
        assert machine.run(main) == 0


def test_a_promised_huge_page_cannot_be_dissolved() -> None:
    def main(sys: Sys) -> None:
        sys.write_file("/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "1")
        sys.mmap(2 << 20, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB)
        assert errno_of(lambda: write(sys, 32, "offline")) == "EBUSY"
        assert machine.read_file(f"{BLOCKS}32/state") == "online\n"

    with boot() as machine:
        assert machine.run(main) == 0


def test_a_huge_page_moves_as_one() -> None:
    def main(sys: Sys) -> None:
        addr = sys.mmap(4 << 20)
        addr = (addr + (2 << 20) - 1) & -(2 << 20)
        sys.mbind(addr, 2 << 20, abi.MPOL_BIND, {2})
        sys.memory.write(addr + 5 * PAGE, b"thp")
        for block in NODE2:
            write(sys, block, "offline")
        assert nodes(sys, addr, 512) == {3}
        assert sys.memory.read(addr + 5 * PAGE, 3) == b"thp"
        assert "thp_migration_success 1\n" in machine.read_file("/proc/vmstat")

    with boot(numalab.arch.topology.load("movable transparent_hugepage=always")) as machine:
        assert machine.run(main) == 0


# --- long-term pins ----------------------------------------------------------------------------------------------


def test_a_long_term_pin_moves_its_page_out_of_zone_movable_first() -> None:
    def main(sys: Sys) -> None:
        addr = bound(sys, 2, 4)
        before = machine.page_of(sys.task, addr)
        machine.obstacles.pin(before)
        after = machine.page_of(sys.task, addr)
        assert in_zone_movable(machine.mem, before) != in_zone_movable(machine.mem, after)
        assert machine.mem.hot["pincount"][after] == 1
        assert machine.mem.ledger.call == "longterm_pin"
        for block in NODE2:
            write(sys, block, "offline")  # nothing is in the way
        assert intact(sys, addr, 4)

    with boot() as machine:
        assert machine.run(main) == 0


def test_what_cannot_leave_zone_movable_cannot_be_pinned() -> None:
    def main(sys: Sys) -> None:
        addr = bound(sys, 2, 1)
        pfn = machine.page_of(sys.task, addr)
        machine.obstacles.hold(pfn)
        with pytest.raises(ValueError, match="cannot leave ZONE_MOVABLE"):
            machine.obstacles.pin(pfn)
        assert machine.page_of(sys.task, addr) == pfn

    with boot() as machine:
        assert machine.run(main) == 0


def test_a_pin_on_hugetlb_takes_a_page_that_is_not_movable() -> None:
    def main(sys: Sys) -> None:
        for node in (1, 2, 3):
            path = f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages"
            sys.write_file(path, "1")
        addr = sys.mmap(2 << 20, flags=abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB)
        sys.mbind(addr, 2 << 20, abi.MPOL_BIND, {2})
        sys.memory.touch(addr, write=True)
        pfn = check_and_migrate_movable_pages(machine.mem, machine.page_of(sys.task, addr) + 7)
        assert pfn == machine.page_of(sys.task, addr + 7 * PAGE)
        assert nodes(sys, addr, 1) == {1}

    with boot() as machine:
        assert machine.run(main) == 0


# --- nodes that lose their memory --------------------------------------------------------------------------------


def test_kswapd_goes_and_comes_with_the_memory() -> None:
    def main(sys: Sys) -> None:
        assert "kswapd2" in {task.comm for task in machine.tasks}
        for block in NODE2:
            write(sys, block, "offline")
        assert "kswapd2" not in {task.comm for task in machine.tasks}
        assert machine.read_file("/sys/devices/system/node/node2/meminfo").startswith("Node 2 MemTotal:")
        write(sys, 34, "online_kernel")
        assert "kswapd2" in {task.comm for task in machine.tasks}
        assert machine.read_file("/sys/devices/system/node/has_normal_memory") == "0-2\n"

    with boot() as machine:
        assert machine.run(main) == 0


def test_a_kernel_zone_comes_and_goes() -> None:
    """As 6.12 was seen to do it; not recorded, since there the kernel's own pages may keep such a block."""

    def zones(block: int) -> str:
        return machine.read_file(f"{BLOCKS}{block}/valid_zones").strip()

    def main(sys: Sys) -> None:
        for block in NODE2:
            write(sys, block, "offline")
        assert zones(33) == "Normal Movable"
        write(sys, 35, "online")
        assert [zones(block) for block in (34, 35, 36)] == ["Normal Movable", "Normal", "Movable"]
        write(sys, 34, "online_kernel")
        write(sys, 33, "online_kernel")
        write(sys, 32, "online")
        assert [zones(block) for block in NODE2] == ["Normal"] * 4
        for block in (34, 33, 32, 35):
            write(sys, block, "offline")
        write(sys, 32, "online_kernel")
        write(sys, 33, "online")
        write(sys, 35, "online_movable")
        assert zones(34) == "Normal Movable"
        write(sys, 34, "online")
        assert [zones(block) for block in NODE2] == ["Normal"] * 3 + ["Movable"]

    with boot() as machine:
        assert machine.run(main) == 0


def test_a_zone_may_have_a_hole_and_another_zone_in_it() -> None:
    """Blocks go and come in every order; nothing is lost, and freed runs that cross a zone's end find both zones."""

    def main(sys: Sys) -> None:
        free = machine.node_pages(1)[1]
        addr = bound(sys, 1, 100)
        for block in (6, 5):
            write(sys, block, "offline")
            machine.check_invariants()
        write(sys, 6, "online_movable")
        machine.check_invariants()
        write(sys, 7, "offline")
        write(sys, 7, "online_movable")
        write(sys, 5, "online")
        machine.check_invariants()
        everything = sys.mmap((free - 2000) * PAGE)
        sys.mbind(everything, (free - 2000) * PAGE, abi.MPOL_BIND, {1})
        sys.memory.touch(everything, PAGE, free - 2000, write=True)
        sys.munmap(everything, (free - 2000) * PAGE)
        machine.check_invariants()
        for block in (7, 6, 5):
            write(sys, block, "offline")
        machine.check_invariants()
        assert intact(sys, addr, 100)

    with numalab.boot("quad") as machine:
        assert machine.run(main) == 0


# --- machines ----------------------------------------------------------------------------------------------------


def slots(how: str) -> Topology:
    kernel = Node(0, ((0, 64 * MIB),), (0,))
    slot = Node(1, ((SECTION_FRAMES, 2 * SECTION_FRAMES),), (1,), hotplug=True)
    return Topology("slots", (kernel, slot), boot={"memhp_default_state": how})


@pytest.mark.parametrize(
    ("how", "nodes", "normal", "zones"),
    [
        ("online", "0-1", "0-1", "Normal"),
        ("online_kernel", "0-1", "0-1", "Normal"),
        ("online_movable", "0-1", "0", "Movable"),
        ("offline", "0", "0", "Normal Movable"),
    ],
)
def test_memory_in_slots_comes_online_as_the_machine_says(
    how: str, nodes: str, normal: str, zones: str
) -> None:
    with boot(slots(how)) as machine:
        assert machine.read_file("/sys/devices/system/node/has_memory") == nodes + "\n"
        assert machine.read_file("/sys/devices/system/node/has_normal_memory") == normal + "\n"
        assert machine.read_file(f"{BLOCKS}1/valid_zones") == zones + "\n"
        assert machine.read_file("/sys/devices/system/memory/auto_online_blocks") == how + "\n"
        assert machine.run(lambda sys: sys.memory.touch(bound(sys, 0, 3))) == 0


@pytest.mark.parametrize(
    "nodes",
    [
        (Node(0, ((0, 64 * MIB),), (0,), hotplug=True),),
        (Node(0, ((0, 64 * MIB),), (0,)), Node(1, (), (), hotplug=True)),
    ],
)
def test_the_kernel_lies_in_no_slot(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(TopologyError, match="hotplug is for memory above"):
        Topology("wrong", nodes)


def test_large_machines_have_large_blocks() -> None:
    assert block_frames(numalab.arch.topology.load("1x32G")) == SECTION_FRAMES
    assert block_frames(numalab.arch.topology.load("2x512G")) == 16 * SECTION_FRAMES
    with boot("2x512G") as machine:
        assert len(memory_blocks(machine.mem)) == 512
        assert machine.read_file("/sys/devices/system/memory/block_size_bytes") == "80000000\n"
        assert machine.run(lambda sys: write(sys, 300, "offline")) == 0
        assert machine.read_file("/sys/devices/system/node/node1/memory300/state") == "offline\n"
        machine.check_invariants()


def test_block_numbers_are_written_in_one_way() -> None:
    with boot() as machine:
        for name in ("memory032", "memory", "memory-1", "memory3x", "memory40"):
            with pytest.raises(KernelError):
                machine.read_file(f"/sys/devices/system/memory/{name}/state")
        assert int(machine.mem.zones["type"][zone_of(machine.mem, 32 << 15)]) == ZONE_MOVABLE
