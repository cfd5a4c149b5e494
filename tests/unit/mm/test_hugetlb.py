"""Pages of hugetlb: the pool, promises, faults, copies, moves. The real kernel's answers stand in the recordings
hugetlb-*; here is what these do not reach.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm import _constants as c
from numalab.mm._mm_types import MmStruct
from numalab.mm.hugetlb import hugetlb_total_pages
from numalab.mm.hugetlbfs import hugetlb_file_setup
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.move_pages import do_pages_move
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mman import (
    MADV_DONTNEED,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_HUGE_SHIFT,
    MAP_HUGETLB,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from numalab.mm.mmap import do_mmap, do_munmap
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap
from numalab.mm.obstacles import Obstacles
from numalab.mm.swap import folio_get, folio_put
from numalab.mm.vmscan import try_to_free_pages

from tests.mm_machine import PAGE, MmMachine

HUGE = 512 * PAGE
AT = 32 * HUGE
RW = PROT_READ | PROT_WRITE
MOVE, MOVE_ALL, STRICT = 2, 4, 1


@pytest.fixture(params=["compiled", "twins"])
def m(request: pytest.FixtureRequest) -> Iterator[MmMachine]:
    """Two nodes with two free huge pages each; in the end all of them are free again."""
    with MmMachine("2x16M", twins=request.param == "twins") as machine:
        for nid in (0, 1):
            machine.mem.hstate.set_max_huge_pages(machine.ctx, 2, nid, 1 << nid)
        yield machine
        assert machine.check() == []
        for mm in list(machine.mms):
            machine.exit(mm)
        assert machine.check() == []
        hstate = machine.mem.hstate
        assert (hstate.free_huge_pages, hstate.resv_huge_pages) == (hstate.nr_huge_pages, 0)
        assert not hstate.temporary
        assert not hstate.files


def mapped(m: MmMachine, mm: MmStruct, pages: int, flags: int = MAP_PRIVATE, at: int = AT) -> int:
    """Huge pages at an address, as mmap() would map them."""
    flags |= MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED
    file, length = hugetlb_file_setup(m.mem, pages * HUGE, flags)
    file.get_file()
    try:
        return do_mmap(mm, m.ctx, at, length, RW, flags, 0, file)
    finally:
        file.fput(0)


def space(m: MmMachine, pages: int = 2, flags: int = MAP_PRIVATE) -> MmStruct:
    mm = m.new_mm()
    mapped(m, mm, pages, flags)
    return mm


def node(m: MmMachine, mm: MmStruct, at: int = AT) -> int:
    return m.mem.node_of(m.pfn(mm, at))


def pool(m: MmMachine) -> tuple[int, int, int]:
    hstate = m.mem.hstate
    return hstate.nr_huge_pages, hstate.free_huge_pages, hstate.resv_huge_pages


def refused(errno: int, call: object, *args: object, **more: object) -> None:
    with pytest.raises(KernelError) as error:
        call(*args, **more)  # type: ignore[operator]
    assert error.value.errno == errno


class Request:
    """The arrays of move_pages(2)."""

    def __init__(self, pages: list[int], nodes: list[int]) -> None:
        self.pages, self.nodes = np.array(pages, np.uint64), np.array(nodes, np.int32)
        self.status = np.full(len(pages), -999, np.int32)

    def read_pages(self, at: int, n: int) -> np.ndarray:
        return self.pages[at : at + n]

    def read_nodes(self, at: int, n: int) -> np.ndarray:
        return self.nodes[at : at + n]

    def write_status(self, at: int, values: np.ndarray) -> int:
        self.status[at : at + len(values)] = values
        return len(values)


def test_a_pool_is_as_large_as_there_is_room(m: MmMachine) -> None:
    hstate = m.mem.hstate
    hstate.set_max_huge_pages(m.ctx, 1000, -1, 0b11)
    assert hstate.max_huge_pages == hstate.nr_huge_pages < 16
    assert all(hstate.nr_huge_pages_node)
    assert m.check() == []
    hstate.set_max_huge_pages(m.ctx, 0, -1, 0b11)
    assert pool(m) == (0, 0, 0)
    assert m.check() == []


def test_nodes_take_turns(m: MmMachine) -> None:
    hstate = m.mem.hstate
    hstate.set_max_huge_pages(m.ctx, 0, -1, 0b11)
    hstate.set_max_huge_pages(m.ctx, 4, -1, 0b11)
    assert hstate.nr_huge_pages_node == [2, 2]
    hstate.set_max_huge_pages(m.ctx, 2, -1, 0b01)
    assert hstate.nr_huge_pages_node == [0, 2]


def test_a_page_is_zeros_and_its_own(m: MmMachine) -> None:
    mm = space(m)
    assert read_user(mm, m.ctx, AT + HUGE - 4, 8) == bytes(8)
    write_user(mm, m.ctx, AT + HUGE - 2, b"ends")
    assert read_user(mm, m.ctx, AT + HUGE - 2, 4) == b"ends"
    assert mm.rss_anon == mm.rss_shmem == 0
    assert hugetlb_total_pages(mm) == 2
    assert m.mem.node_stat[:, c.NR_ANON_MAPPED].sum() == 0


def test_what_was_in_a_page_is_gone_when_somebody_else_has_it(m: MmMachine) -> None:
    mm = space(m, 4)
    write_user(mm, m.ctx, AT, b"secret" * 1000)
    m.exit(mm)
    other = space(m, 4)
    assert read_user(other, m.ctx, AT, 4 * HUGE) == bytes(4 * HUGE)


def test_a_mapping_that_is_refused_leaves_nothing(m: MmMachine) -> None:
    mm = m.new_mm()
    refused(ENOMEM, mapped, m, mm, 5)
    assert not mm.vmas
    assert m.mem.hstate.files == {}
    assert pool(m) == (4, 4, 0)


def test_only_one_size(m: MmMachine) -> None:
    assert hugetlb_file_setup(m.mem, 1, 21 << MAP_HUGE_SHIFT)[1] == HUGE
    refused(EINVAL, hugetlb_file_setup, m.mem, 1, 30 << MAP_HUGE_SHIFT)
    refused(EINVAL, hugetlb_file_setup, m.mem, 0, 0)
    for file in list(m.mem.hstate.files.values()):
        file.get_file()
        file.fput(0)


def test_an_address_may_be_chosen(m: MmMachine) -> None:
    mm = m.new_mm()
    for hint in (0, AT + PAGE):
        file, length = hugetlb_file_setup(m.mem, HUGE, 0)
        at = do_mmap(mm, m.ctx, hint, length, RW, MAP_PRIVATE | MAP_HUGETLB, 0, file)
        assert at % HUGE == 0
        assert not hint or at == AT + HUGE


def test_who_has_not_reserved_takes_only_what_is_nobodys(m: MmMachine) -> None:
    mm = space(m, 3)
    other = m.new_mm()
    mapped(m, other, 2, MAP_PRIVATE | MAP_NORESERVE)
    touch_user(other, m.ctx, AT, PAGE, 1, True)
    with pytest.raises(UserFault, match="SIGBUS") as fault:
        touch_user(other, m.ctx, AT + HUGE + 5, 1, 1, False)
    assert fault.value.addr == AT + HUGE + 5
    touch_user(mm, m.ctx, AT, HUGE, 3, True)
    assert pool(m) == (4, 0, 0)


def test_a_child_without_reservation_loses_its_copy_to_its_parent(m: MmMachine) -> None:
    mm = space(m, 4)
    write_user(mm, m.ctx, AT, b"old")
    touch_user(mm, m.ctx, AT + HUGE, HUGE, 3, True)
    child = m.fork(mm)
    assert m.check() == []
    write_user(mm, m.ctx, AT, b"new")
    assert read_user(mm, m.ctx, AT, 3) == b"new"
    with pytest.raises(UserFault, match="SIGBUS"):
        read_user(child, m.ctx, AT, 3)
    assert hugetlb_total_pages(child) == 3


def test_copies(m: MmMachine) -> None:
    mm = space(m, 1)
    write_user(mm, m.ctx, AT + 9, b"both")
    child = m.fork(mm)
    write_user(child, m.ctx, AT + 9, b"mine")
    assert m.check() == []
    assert read_user(mm, m.ctx, AT + 9, 4) == b"both"
    assert read_user(child, m.ctx, AT + 9, 4) == b"mine"
    assert pool(m) == (4, 2, 0)


def test_a_shared_page_is_the_files(m: MmMachine) -> None:
    mm = space(m, 2, MAP_SHARED)
    child = m.fork(mm)
    write_user(mm, m.ctx, AT, b"theirs")
    assert read_user(child, m.ctx, AT, 6) == b"theirs"
    do_munmap(mm, m.ctx, AT, HUGE)
    assert read_user(child, m.ctx, AT, 6) == b"theirs"
    do_madvise(child, m.ctx, AT, HUGE, MADV_DONTNEED)
    assert read_user(child, m.ctx, AT, 6) == b"theirs"
    do_madvise(child, m.ctx, AT, HUGE + PAGE, MADV_REMOVE)
    assert m.check() == []
    assert read_user(child, m.ctx, AT, 6) == bytes(6)


def test_what_is_dropped_is_promised_again(m: MmMachine) -> None:
    mm = space(m, 2)
    touch_user(mm, m.ctx, AT, HUGE, 2, True)
    assert pool(m) == (4, 2, 0)
    do_madvise(mm, m.ctx, AT, HUGE + 5 * PAGE, MADV_DONTNEED)
    assert pool(m) == (4, 3, 1)
    do_madvise(mm, m.ctx, AT + HUGE, 5 * PAGE, MADV_DONTNEED)
    assert pool(m) == (4, 3, 1)


def test_not_while_somebody_else_maps_it(m: MmMachine) -> None:
    mm = space(m, 2)
    touch_user(mm, m.ctx, AT, HUGE, 2, True)
    child = m.fork(mm)
    do_madvise(mm, m.ctx, AT, HUGE, MADV_DONTNEED)
    assert m.check() == []
    assert pool(m) == (4, 2, 0)
    m.exit(child)
    assert pool(m) == (4, 3, 0)


def test_a_part_of_a_mapping_moves_with_its_reservations(m: MmMachine) -> None:
    mm = space(m, 3)
    write_user(mm, m.ctx, AT + HUGE, b"middle")
    do_mremap(mm, m.ctx, AT + HUGE, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT + 8 * HUGE)
    assert m.check() == []
    assert read_user(mm, m.ctx, AT + 8 * HUGE, 6) == b"middle"
    assert pool(m) == (4, 3, 2)
    do_munmap(mm, m.ctx, AT, HUGE)
    assert pool(m) == (4, 3, 1)


def test_rights_follow_the_area(m: MmMachine) -> None:
    mm = space(m, 1)
    write_user(mm, m.ctx, AT, b"x")
    for prot in (PROT_READ, 0):
        do_mprotect(mm, m.ctx, AT, HUGE, prot)
        with pytest.raises(UserFault, match="SIGSEGV"):
            write_user(mm, m.ctx, AT, b"y")
    do_mprotect(mm, m.ctx, AT, HUGE, RW)
    write_user(mm, m.ctx, AT + 1, b"y")
    assert read_user(mm, m.ctx, AT, 2) == b"xy"


def test_moves_take_everything_along(m: MmMachine) -> None:
    mm = space(m, 2)
    write_user(mm, m.ctx, AT + HUGE - 3, b"across")
    assert (node(m, mm), node(m, mm, AT + HUGE)) == (0, 0)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == 0
    assert (node(m, mm), node(m, mm, AT + HUGE)) == (1, 1)
    assert read_user(mm, m.ctx, AT + HUGE - 3, 6) == b"across"
    assert m.mem.event[c.PGMIGRATE_SUCCESS] == 1024
    assert m.mem.ledger.moved == m.mem.ledger.isolated == 1024
    assert m.mem.hstate.nr_huge_pages_node == [2, 2]


def test_a_locked_page_is_waited_for(m: MmMachine) -> None:
    mm = space(m, 1)
    write_user(mm, m.ctx, AT, b"patience")
    Obstacles(m.mem).lock_page(m.pfn(mm, AT + PAGE), ns=10**6)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == 0
    assert m.mem.ledger.passes[0].waited > 0
    assert node(m, mm) == 1
    assert read_user(mm, m.ctx, AT, 8) == b"patience"


def test_what_is_promised_to_others_is_no_target(m: MmMachine) -> None:
    """A page of its own then takes the place of the old one in the pool."""
    mm = space(m, 4)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    do_mbind(m.mem, mm, m.ctx, AT, 4 * HUGE, MPOL_BIND, 0, 0b10, MOVE | STRICT)
    assert node(m, mm) == 1
    assert m.mem.hstate.nr_huge_pages_node == [1, 3]
    assert pool(m) == (4, 3, 3)


def test_shared_pages_move_with_all_their_mappings(m: MmMachine) -> None:
    mm = space(m, 1, MAP_SHARED)
    write_user(mm, m.ctx, AT, b"one")
    child = m.fork(mm)
    read_user(child, m.ctx, AT, 3)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == 0
    assert node(m, mm) == 0
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE_ALL) == 0
    assert node(m, mm) == node(m, child) == 1
    write_user(mm, m.ctx, AT, b"two")
    assert read_user(child, m.ctx, AT, 3) == b"two"


def test_a_page_that_somebody_holds_stays(m: MmMachine) -> None:
    mm = space(m, 1)
    write_user(mm, m.ctx, AT, b"held")
    pfn = m.pfn(mm, AT) + 77
    folio_get(m.mem, pfn)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == 1
    assert m.mem.event[c.PGMIGRATE_FAIL] == 512
    assert node(m, mm) == 0
    do_munmap(mm, m.ctx, AT, HUGE)
    assert m.check() == []
    assert pool(m) == (4, 3, 0)
    folio_put(m.mem, 0, pfn)
    assert pool(m) == (4, 4, 0)


def test_a_target_without_room_is_enomem_and_small_pages_wait(m: MmMachine) -> None:
    mm = space(m, 3)
    m.map(mm, 4, AT + 16 * HUGE)
    touch_user(mm, m.ctx, AT, HUGE, 3, True)
    touch_user(mm, m.ctx, AT + 16 * HUGE, PAGE, 4, True)
    m.mem.hstate.set_max_huge_pages(m.ctx, 1000, 1, 0b10)
    eaten = mapped(m, mm, m.mem.hstate.available_huge_pages, at=AT + 64 * HUGE)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == -ENOMEM
    assert node(m, mm) == 0
    assert node(m, mm, AT + 16 * HUGE) == 0
    assert eaten == AT + 64 * HUGE


def test_one_address_moves_the_page_once(m: MmMachine) -> None:
    mm = space(m, 2)
    touch_user(mm, m.ctx, AT, HUGE, 2, True)
    request = Request([AT, AT + HUGE + 8, AT + 2 * HUGE], [1, 1, 1])
    assert do_pages_move(m.mem, mm, m.ctx, 0b11, 3, request, move_all=False) == 0
    assert request.status.tolist() == [1, 1, -14]
    assert node(m, mm, AT + HUGE) == 1


@pytest.mark.parametrize("engine", ["direct", "swap"])
def test_the_engines_of_2006_pass_over_them(m: MmMachine, engine: str) -> None:
    m.mem.engine = engine
    mm = space(m, 1)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    assert do_migrate_pages(m.mem, mm, m.ctx, 0b01, 0b10, MOVE) == 0
    do_mbind(m.mem, mm, m.ctx, AT, HUGE, MPOL_BIND, 0, 0b10, MOVE | STRICT)
    request = Request([AT], [1])
    assert do_pages_move(m.mem, mm, m.ctx, 0b11, 1, request, move_all=False) == 0
    assert request.status.tolist() == [-14]
    assert node(m, mm) == 0


def test_reclaim_leaves_them_alone(m: MmMachine) -> None:
    mm = space(m, 2)
    write_user(mm, m.ctx, AT, b"stays")
    try_to_free_pages(m.mem, 0, 0b11)
    assert hugetlb_total_pages(mm) == 1
    assert pool(m) == (4, 3, 1)


def test_surplus_pages_go_after_use(m: MmMachine) -> None:
    hstate = m.mem.hstate
    hstate.nr_overcommit_huge_pages = 2
    mm = space(m, 6)
    assert pool(m) == (6, 6, 6)
    touch_user(mm, m.ctx, AT, HUGE, 6, True)
    refused(ENOMEM, mapped, m, m.new_mm(), 1)
    m.exit(mm)
    assert pool(m) == (4, 4, 0)
    assert hstate.surplus_huge_pages == 0


def test_a_smaller_pool_keeps_what_is_in_use_as_surplus(m: MmMachine) -> None:
    hstate = m.mem.hstate
    mm = space(m, 3)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    hstate.set_max_huge_pages(m.ctx, 0, -1, 0b11)
    assert (*pool(m), hstate.surplus_huge_pages) == (3, 2, 2, 3)
    assert m.check() == []
    touch_user(mm, m.ctx, AT, HUGE, 3, True)
