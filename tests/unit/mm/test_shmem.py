"""Shared anonymous memory: whose pages they are, how long they live, and what moves them."""

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch.disk import Disk
from numalab.mm import _constants as c
from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import MPOL_MF_MOVE_ALL, do_get_mempolicy, do_mbind
from numalab.mm.mlock import do_mlock, do_munlock
from numalab.mm.mman import MADV_DONTNEED, MADV_PAGEOUT, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import SwapArea, swapoff, swapon
from numalab.mm.task_mmu import show_map_vma, show_numa_map
from numalab.mm.vmscan import shrink_folio_list

from tests.mm_machine import PAGE, MmMachine

RW = PROT_READ | PROT_WRITE
MPOL_F_ADDR = 2


@pytest.fixture(params=[False, True], ids=["compiled", "twins"])
def m(request: pytest.FixtureRequest) -> Iterator[MmMachine]:
    with MmMachine("2x8M", twins=request.param) as machine:
        yield machine
        assert machine.check() == []


def test_both_sides_of_a_fork_see_what_either_writes(m: MmMachine) -> None:
    parent = m.new_mm()
    at = m.map(parent, 4, shared=True)
    write_user(parent, m.ctx, at, b"before")
    child = m.fork(parent)
    assert child.rss_shmem == 0  # its PTEs come with its own faults
    assert read_user(child, m.ctx, at, 6) == b"before"
    write_user(child, m.ctx, at + PAGE, b"after")  # a page that was in nobody's tables yet
    assert read_user(parent, m.ctx, at + PAGE, 5) == b"after"
    assert m.pfn(parent, at + PAGE) == m.pfn(child, at + PAGE)
    assert (parent.rss_shmem, child.rss_shmem) == (2, 2)


def test_pages_outlive_a_mapping_and_go_with_the_last(m: MmMachine) -> None:
    parent = m.new_mm()
    at = m.map(parent, 64, shared=True)
    touch_user(parent, m.ctx, at, PAGE, 64, True, 7)
    child = m.fork(parent)
    do_munmap(parent, m.ctx, at, 64 * PAGE)
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == 64
    assert read_user(child, m.ctx, at + 63 * PAGE, 1) == b"\x07"
    m.exit(child)
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == m.mem.node_stat[:, c.NR_FILE_PAGES].sum() == 0
    assert m.mem.mappings() == []


def test_dontneed_drops_ptes_and_not_contents(m: MmMachine) -> None:
    mm = m.new_mm()
    at = m.map(mm, 2, shared=True)
    write_user(mm, m.ctx, at, b"kept")
    do_madvise(mm, m.ctx, at, 2 * PAGE, MADV_DONTNEED)
    assert mm.rss_shmem == 0
    assert read_user(mm, m.ctx, at, 4) == b"kept"


def test_a_read_fault_maps_what_is_around(m: MmMachine) -> None:
    """fault_around_bytes is 64 KiB: 16 pages that are there cost one fault; a missing page costs one of its own."""
    parent = m.new_mm()
    at = m.map(parent, 32, shared=True)
    touch_user(parent, m.ctx, at, PAGE, 32, False)
    child = m.fork(parent)
    before = m.ctx.min_flt
    touch_user(child, m.ctx, at, PAGE, 32, False)
    around = {(at + i * PAGE) // (16 * PAGE) for i in range(32)}
    assert m.ctx.min_flt - before == len(around)


def test_a_policy_is_the_files(m: MmMachine) -> None:
    parent = m.new_mm()
    at = m.map(parent, 8, shared=True)
    child = m.fork(parent)
    do_mbind(m.mem, child, m.ctx, at + 4 * PAGE, 4 * PAGE, MPOL_BIND, 0, 0b10, 0)
    assert do_get_mempolicy(m.mem, parent, m.ctx, at, MPOL_F_ADDR)[0] == 0
    assert do_get_mempolicy(m.mem, parent, m.ctx, at + 4 * PAGE, MPOL_F_ADDR) == (MPOL_BIND, 0b10)
    touch_user(parent, m.ctx, at, PAGE, 8, True)
    nodes = [m.mem.node_of(m.pfn(parent, at + i * PAGE)) for i in range(8)]
    assert nodes == [0] * 4 + [1] * 4
    assert len(parent.vmas) == 1
    assert len(child.vmas) == 2


def test_both_mappings_follow_a_page_that_moves(m: MmMachine) -> None:
    parent = m.new_mm()
    at = m.map(parent, 8, shared=True)
    write_user(parent, m.ctx, at, bytes(range(256)) * 128)
    child = m.fork(parent)
    touch_user(child, m.ctx, at, PAGE, 8, False)
    do_mbind(m.mem, child, m.ctx, at, 8 * PAGE, MPOL_BIND, 0, 0b10, MPOL_MF_MOVE_ALL)
    for mm in (parent, child):
        assert {m.mem.node_of(m.pfn(mm, at + i * PAGE)) for i in range(8)} == {1}
        assert read_user(mm, m.ctx, at, 8 * PAGE) == bytes(range(256)) * 128
    # A page that nobody maps any more stays in the file, on the node where it is now.
    do_munmap(parent, m.ctx, at, 8 * PAGE)
    assert m.mem.node_stat[:, c.NR_SHMEM].tolist() == [0, 8]


def test_protection_and_locks(m: MmMachine) -> None:
    parent = m.new_mm()
    at = m.map(parent, 4, shared=True)
    write_user(parent, m.ctx, at, b"x" * 4 * PAGE)
    child = m.fork(parent)
    do_mlock(child, m.ctx, at, 4 * PAGE, 0)
    do_mlock(parent, m.ctx, at, 4 * PAGE, 0)
    assert m.mem.node_stat[:, c.NR_MLOCK].sum() == 4
    do_munlock(child, m.ctx, at, 4 * PAGE)
    assert m.mem.node_stat[:, c.NR_MLOCK].sum() == 4
    do_mprotect(parent, m.ctx, at, 4 * PAGE, PROT_READ)
    with pytest.raises(UserFault) as fault:
        write_user(parent, m.ctx, at, b"y")
    assert fault.value.signo == signal.SIGSEGV
    do_mprotect(parent, m.ctx, at, 4 * PAGE, RW)
    write_user(parent, m.ctx, at, b"y")
    assert read_user(child, m.ctx, at, 2) == b"yx"
    m.exit(parent)
    assert m.mem.node_stat[:, c.NR_MLOCK].sum() == 0


def test_a_mapping_of_length_0_is_a_second_one(m: MmMachine) -> None:
    """mremap(2): an old length of 0 duplicates a shared mapping. Beyond the end of the file there is nothing."""
    mm = m.new_mm()
    at = m.map(mm, 2, shared=True)
    write_user(mm, m.ctx, at, b"twice")
    second = do_mremap(mm, m.ctx, at, 0, 4 * PAGE, MREMAP_MAYMOVE)
    assert second != at
    assert read_user(mm, m.ctx, second, 5) == read_user(mm, m.ctx, at, 5) == b"twice"
    with pytest.raises(UserFault) as fault:
        read_user(mm, m.ctx, second + 2 * PAGE, 1)
    assert fault.value.signo == signal.SIGBUS


def with_swap(m: MmMachine, pages: int = 64, latency: int = 0) -> SwapArea:
    disk = Disk(m.hw, m.mem.timers, "disk", pages)
    disk.latency = latency
    return swapon(m.mem, disk)


def page_out(m: MmMachine, mm: MmStruct, at: int, pages: int) -> None:
    lru_add_drain_all(m.mem)
    do_madvise(mm, m.ctx, at, pages * PAGE, MADV_PAGEOUT)


def test_without_swap_pages_leave_tables_and_not_memory(m: MmMachine) -> None:
    mm = m.new_mm()
    at = m.map(mm, 4, shared=True)
    write_user(mm, m.ctx, at, b"stays")
    page_out(m, mm, at, 4)
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == 1
    assert read_user(mm, m.ctx, at, 5) == b"stays"
    assert m.ctx.maj_flt == 0


@pytest.mark.parametrize("latency", [0, 1000])
def test_pages_go_to_swap_and_come_back(m: MmMachine, latency: int) -> None:
    area = with_swap(m, latency=latency)
    mm = m.new_mm()
    at = m.map(mm, 8, shared=True)
    write_user(mm, m.ctx, at, bytes(range(256)) * 128)
    page_out(m, mm, at, 8)
    while m.mem.timers.skip():
        pass
    assert area.used == 8
    assert (mm.rss_shmem, mm.rss_swap) == (0, 0)  # Linux counts neither
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == 0
    assert m.check() == []
    child = m.fork(mm)
    assert read_user(child, m.ctx, at, 8 * PAGE) == bytes(range(256)) * 128
    write_user(mm, m.ctx, at, b"again")
    assert read_user(child, m.ctx, at, 5) == b"again"
    assert (m.ctx.maj_flt == 8) == (latency == 0)  # else they are in the swap cache still
    assert area.used == 0


def test_a_page_goes_out_of_all_tables_at_once(m: MmMachine) -> None:
    area = with_swap(m)
    parent = m.new_mm()
    at = m.map(parent, 2, shared=True)
    write_user(parent, m.ctx, at, b"both")
    child = m.fork(parent)
    assert read_user(child, m.ctx, at, 4) == b"both"
    lru_add_drain_all(m.mem)
    out = np.zeros(8, np.uint32)
    node = m.mem.node_of(m.pfn(parent, at))
    taken, _ = m.mem.k.vmscan.isolate_lru(m.mem, node, c.LRU_INACTIVE_ANON, out)
    left, _ = shrink_folio_list(m.mem, 0, out[:taken], 0, MigrateStats())
    assert len(left) == 0
    assert area.used == 1
    assert (parent.rss_shmem, child.rss_shmem) == (0, 0)
    assert read_user(child, m.ctx, at, 4) == b"both"


def test_zeros_need_no_slot(m: MmMachine) -> None:
    area = with_swap(m)
    mm = m.new_mm()
    at = m.map(mm, 4, shared=True)
    touch_user(mm, m.ctx, at, PAGE, 4, False)
    page_out(m, mm, at, 4)
    assert area.used == m.mem.node_stat[:, c.NR_SHMEM].sum() == 0
    assert read_user(mm, m.ctx, at, 4 * PAGE) == bytes(4 * PAGE)


def test_swap_that_is_full_keeps_the_rest_in_memory(m: MmMachine) -> None:
    with_swap(m, pages=3)
    mm = m.new_mm()
    at = m.map(mm, 4, shared=True)
    touch_user(mm, m.ctx, at, PAGE, 4, True, 9)
    page_out(m, mm, at, 4)
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == 2
    assert [read_user(mm, m.ctx, at + i * PAGE, 1) for i in range(4)] == [b"\x09"] * 4


def test_slots_go_with_the_file_and_with_swapoff(m: MmMachine) -> None:
    area = with_swap(m)
    one, other = m.new_mm(), m.new_mm()
    at = m.map(one, 4, shared=True)
    touch_user(one, m.ctx, at, PAGE, 4, True, 1)
    page_out(m, one, at, 4)
    to = m.map(other, 4, shared=True)
    touch_user(other, m.ctx, to, PAGE, 4, True, 2)
    page_out(m, other, to, 4)
    assert area.used == 8
    do_munmap(one, m.ctx, at, 4 * PAGE)
    assert area.used == 4
    swapoff(m.mem, area, lambda: m.mms, m.ctx)
    assert m.mem.node_stat[:, c.NR_SHMEM].sum() == 4
    assert read_user(other, m.ctx, to, 1) == b"\x02"


def test_a_page_comes_back_by_the_policy_of_its_file(m: MmMachine) -> None:
    with_swap(m)
    mm = m.new_mm()
    at = m.map(mm, 4, shared=True)
    touch_user(mm, m.ctx, at, PAGE, 4, True, 1)
    assert m.mem.node_of(m.pfn(mm, at)) == 0
    page_out(m, mm, at, 4)
    do_mbind(m.mem, mm, m.ctx, at, 4 * PAGE, MPOL_BIND, 0, 0b10, 0)
    touch_user(mm, m.ctx, at, PAGE, 4, False)
    assert [m.mem.node_of(m.pfn(mm, at + i * PAGE)) for i in range(4)] == [1] * 4


def test_a_page_that_cannot_be_read_is_a_sigbus(m: MmMachine) -> None:
    area = with_swap(m)
    mm = m.new_mm()
    at = m.map(mm, 1, shared=True)
    write_user(mm, m.ctx, at, b"lost")
    page_out(m, mm, at, 1)
    area.disk.failing = True
    area.sync()
    with pytest.raises(UserFault) as fault:
        read_user(mm, m.ctx, at, 4)
    assert fault.value.signo == signal.SIGBUS


def test_an_access_across_the_end_does_what_lies_before_it(m: MmMachine) -> None:
    """With nothing present, the pages that the file has are accessed, and the first that it has not is SIGBUS."""
    mm = m.new_mm()
    at = do_mremap(mm, m.ctx, m.map(mm, 2, shared=True), 0, 4 * PAGE, MREMAP_MAYMOVE)
    with pytest.raises(UserFault) as fault:
        write_user(mm, m.ctx, at + 100, b"x" * 3 * PAGE)
    assert (fault.value.signo, fault.value.addr) == (signal.SIGBUS, at + 2 * PAGE)
    assert fault.value.done == 2 * PAGE - 100
    assert read_user(mm, m.ctx, at + 99, 2) == b"\0x"
    with pytest.raises(UserFault) as fault:
        touch_user(mm, m.ctx, at, PAGE, 4, False)
    assert fault.value.done == 2


def test_what_maps_and_numa_maps_call_it(m: MmMachine) -> None:
    mm = m.new_mm()
    at = m.map(mm, 2, shared=True)
    touch_user(mm, m.ctx, at, PAGE, 2, True)
    vma = m.vma(mm, at)
    assert show_map_vma(mm, vma).split(None, 5)[1:3] == ["rw-s", "00000000"]
    assert show_map_vma(mm, vma).endswith("/dev/zero (deleted)")
    assert show_numa_map(mm, vma, None).split()[1:3] == ["default", r"file=/dev/zero\040(deleted)"]
