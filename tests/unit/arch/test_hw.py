"""RAM, clock and event ring; and that a machine takes from the host only what it touches, and gives it back."""

import gc
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from numalab.arch._hw import EV_MM_PAGE_FREE, EV_SYS_EXIT, NR_EVENTS, Hardware
from numalab.arch.topology import TopologyError, load

MIB = 1 << 20


def resident() -> int:
    """Bytes of host memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_ram_spans_all_nodes_and_starts_on_a_huge_page() -> None:
    with Hardware("3x16p") as hw:
        assert hw.nr_frames == hw.topology.max_pfn == 2 * 32768 + 16
        assert hw.ram.nbytes == hw.nr_frames * 4096
        assert hw.ram.dtype == np.uint8
        assert hw.ram.ctypes.data % (2 * MIB) == 0
        assert hw.tlb.shape == (3, 64)


def test_physical_reads_and_writes() -> None:
    with Hardware("1x1M") as hw:
        hw.write_phys(4090, b"across pages")
        assert hw.read_phys(4090, 12) == b"across pages"
        assert bytes(hw.ram[4090:4096]) == b"across"
        hw.ram[0] = 7
        assert hw.read_phys(0, 2) == b"\7\0"
        assert hw.read_phys(MIB, 0) == b""
        hw.write_phys(MIB, b"")
        hw.write_phys(MIB - 1, bytearray(b"!"))


@pytest.mark.parametrize(
    ("pa", "n"), [(MIB, 1), (MIB - 1, 2), (1 << 63, 1), (0, (1 << 64) - 1), (MIB + 1, 0)]
)
def test_nothing_outside_ram(pa: int, n: int) -> None:
    with Hardware("1x1M") as hw:
        with pytest.raises(ValueError, match="outside RAM"):
            hw.read_phys(pa, n)
        if n < 10:
            with pytest.raises(ValueError, match="outside RAM"):
                hw.write_phys(pa, b"x" * max(n, 1))


def test_the_clock() -> None:
    with Hardware("1x16p") as hw:
        assert hw.now == 0
        assert hw.advance(5) == 5
        hw.now = 1 << 40
        assert hw.advance(1) == (1 << 40) + 1


def test_levels_come_from_the_boot_parameters() -> None:
    with Hardware("1x16p") as four, Hardware("1x16p page_table_levels=5") as five:
        assert (four.levels, five.levels) == (4, 5)


def test_costs_can_be_set() -> None:
    with Hardware("1x16p", costs="xeon-2019") as hw:
        assert hw.costs.name == "xeon-2019"
        before = hw.cost
        hw.cost = {"walk": 1}
        assert hw.cost == {**before, "walk": 1}
        with pytest.raises(ValueError, match="'wlak' is unknown"):
            hw.cost = {"wlak": 1}


def test_wrong_arguments() -> None:
    with pytest.raises(TopologyError):
        Hardware("nothing-like-it")
    with pytest.raises(ValueError, match="preset"):
        Hardware("quad", costs="free")
    with pytest.raises(TypeError):
        Hardware.__new__(Hardware)


def test_trace_writes_only_enabled_events() -> None:
    with Hardware("1x16p") as hw:
        hw.trace(EV_MM_PAGE_FREE, 1)
        assert hw.ring_head == 0
        hw.trace_mask = 1 << EV_MM_PAGE_FREE
        hw.now = 77
        hw.run_task(41, 3, "worker")
        hw.trace(EV_MM_PAGE_FREE, 1, "a text", -1)
        hw.trace(EV_SYS_EXIT, 0)
        assert hw.ring_head == 1
        assert hw.ring[0].tolist()[:4] == (77, EV_MM_PAGE_FREE, 3, 41)
        assert hw.ring[0]["args"].tolist() == [1, 0, 2**64 - 1, 0, 0, 0, 0]
        assert hw.strings == ["a text"]
        with pytest.raises(ValueError, match="does not exist"):
            hw.trace(NR_EVENTS, 0)


def test_frames_that_are_taken_out_are_zeros() -> None:
    with Hardware("2x16M") as hw:
        hw.ram[:] = 7
        hw.discard(3, 5)
        assert not hw.ram[3 * 4096 : 5 * 4096].any()
        assert hw.ram[3 * 4096 - 1] == hw.ram[5 * 4096] == 7
        for start, end in ((5, 4), (0, hw.nr_frames + 1)):
            with pytest.raises(ValueError, match="no frames"):
                hw.discard(start, end)


@pytest.mark.timed
def test_a_terabyte_boots_with_nothing_resident() -> None:
    topology = load("64x16G")
    Hardware(topology).close()
    before, start = resident(), time.perf_counter()
    hw = Hardware(topology)
    took, grown = time.perf_counter() - start, resident() - before
    assert hw.nr_frames == 1 << 28
    assert took < 0.05
    assert grown < 4 * MIB
    hw.write_phys((1 << 40) - 8, b"the end.")
    assert hw.read_phys((1 << 40) - 8, 8) == b"the end."
    hw.close()


def test_close_gives_the_memory_back_even_while_someone_holds_a_view() -> None:
    hw = Hardware("1x128M")
    before = resident()
    view = hw.ram
    view[:] = 1
    assert resident() - before > 120 * MIB
    hw.close()
    assert resident() - before < 8 * MIB
    # A stale view reads zeros: no crash, and nobody else's memory.
    assert view[5] == 0
    hw.close()
    assert hw.closed
    with pytest.raises(ValueError, match="closed"):
        hw.read_phys(0, 1)
    with pytest.raises(ValueError, match="closed"):
        hw.write_phys(0, b"x")


def test_a_dropped_machine_gives_its_memory_back() -> None:
    before = resident()
    hw = Hardware("1x128M")
    hw.ram[:] = 1
    assert resident() - before > 120 * MIB
    del hw
    gc.collect()
    assert resident() - before < 8 * MIB


def test_a_host_that_refuses_is_named() -> None:
    program = textwrap.dedent(
        """
        import resource
        from numalab.arch._hw import Hardware
        with open("/proc/self/statm") as statm:
            most = int(statm.read().split()[0]) * resource.getpagesize() + (8 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            Hardware("64x16G")
        except MemoryError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "vm.overcommit_memory" in done.stdout
    assert "1048578 MiB" in done.stdout
    assert len(done.stdout.splitlines()) == 1
