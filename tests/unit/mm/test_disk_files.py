"""Pages of files on a disk: read when they are missed, dirty from the first write on, clean when they are written."""

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch.errno import EIO, KernelError
from numalab.mm import _constants as c
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import MPOL_MF_MOVE_ALL, do_mbind
from numalab.mm.mman import MADV_PAGEOUT, MADV_RANDOM, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.mprotect import do_mprotect
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.writeback import file_check_wb_err, filemap_write_and_wait

from tests.mm_machine import PAGE, DiskFile, MmMachine

AT = 0x10000000
DIRTY, WRITEBACK, FILE = c.NR_FILE_DIRTY, c.NR_WRITEBACK, c.NR_FILE_PAGES


class Scene(MmMachine):
    """A machine, and a file of 64 pages on a small disk, the last four a hole."""

    def __init__(self, *, twins: bool, blocks: int = 100) -> None:
        super().__init__("2x8M", twins=twins)
        self.file = DiskFile(self, 64, blocks=blocks, holes=4)
        self.disk, self.mapping = self.file.disk, self.file.mapping

    def stat(self, item: int) -> int:
        return int(self.mem.node_stat[:, item].sum())

    def all_of_it(self, mm: MmStruct, *, shared: bool) -> int:
        return self.map_file(mm, self.file, 64, AT, shared=shared)


@pytest.fixture(params=[False, True], ids=["compiled", "twins"])
def m(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Scene(twins=request.param) as machine:
        yield machine
        assert machine.check() == []


def contents(m: Scene, mm: MmStruct, at: int, pages: int) -> list[int]:
    return [read_user(mm, m.ctx, at + i * PAGE, 1)[0] for i in range(pages)]


def test_a_miss_reads_what_is_around_and_is_one_major_fault(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    assert read_user(mm, m.ctx, AT + 20 * PAGE, 1) == bytes([20])
    assert m.ctx.maj_flt == 1
    assert m.disk.reads == 32
    assert m.stat(FILE) == 32
    assert contents(m, mm, AT + 4 * PAGE, 32) == list(range(4, 36))
    assert m.ctx.maj_flt == 1
    assert mm.rss_file == 32
    assert m.mem.node_stat[0, c.NR_INACTIVE_FILE] + int(m.mem.fbatches["lru_add"]["count"].sum()) >= 32
    assert contents(m, mm, AT + 60 * PAGE, 4) == [0] * 4  # the hole


def test_random_advice_reads_one_page(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    do_madvise(mm, m.ctx, AT, 64 * PAGE, MADV_RANDOM)
    assert read_user(mm, m.ctx, AT + 20 * PAGE, 1) == bytes([20])
    assert m.disk.reads == 1


def test_a_disk_that_takes_time(m: Scene) -> None:
    m.disk.latency = 5000
    mm = m.new_mm()
    m.all_of_it(mm, shared=False)
    began = m.hw.now
    assert contents(m, mm, AT, 64)[:60] == list(range(60))
    assert m.hw.now - began > 2 * 5000


def test_the_first_write_is_a_fault_and_writing_it_back_makes_the_next_one_a_fault_again(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    contents(m, mm, AT, 8)
    assert m.stat(DIRTY) == 0
    touch_user(mm, m.ctx, AT, PAGE, 8, True, 77)
    assert m.stat(DIRTY) == 8
    before = m.ctx.min_flt
    touch_user(mm, m.ctx, AT, PAGE, 8, True, 78)
    assert m.ctx.min_flt == before
    filemap_write_and_wait(m.mapping, 0, 64)
    assert m.stat(DIRTY) == m.stat(WRITEBACK) == 0
    assert m.disk.writes == 8
    assert [int(m.file.store.bytes_of(i + 1)[0]) for i in range(8)] == [78] * 8
    touch_user(mm, m.ctx, AT, PAGE, 8, True, 79)
    assert m.ctx.min_flt == before + 8
    assert m.stat(DIRTY) == 8


def test_all_mappings_of_a_page_become_clean(m: Scene) -> None:
    one, other = m.new_mm(), m.new_mm()
    for mm in (one, other):
        m.all_of_it(mm, shared=True)
        write_user(mm, m.ctx, AT, b"dirty")
    filemap_write_and_wait(m.mapping, 0, 64)
    for mm in (one, other):
        assert m.stat(DIRTY) == 0
        write_user(mm, m.ctx, AT, b"again")
        assert m.stat(DIRTY) == 1
        filemap_write_and_wait(m.mapping, 0, 64)
    assert m.file.store.bytes_of(1)[:5].tobytes() == b"again"


def test_a_private_write_is_the_writers_own(m: Scene) -> None:
    one, other = m.new_mm(), m.new_mm()
    m.all_of_it(one, shared=False)
    m.all_of_it(other, shared=True)
    write_user(one, m.ctx, AT, b"mine")
    assert read_user(other, m.ctx, AT, 4) == bytes(4)
    write_user(other, m.ctx, AT, b"ours")
    assert read_user(one, m.ctx, AT, 4) == b"mine"
    assert (one.rss_anon, other.rss_file) == (1, other.rss_file)
    assert m.stat(DIRTY) == 1


def test_a_hole_gets_a_block_when_it_is_written(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    write_user(mm, m.ctx, AT + 62 * PAGE, b"new")
    block = m.mapping.block(62)
    assert block
    filemap_write_and_wait(m.mapping, 0, 64)
    assert m.file.store.bytes_of(block)[:3].tobytes() == b"new"


@pytest.mark.parametrize("twins", [False, True])
def test_a_full_disk_is_a_sigbus_at_the_write(twins: bool) -> None:
    with Scene(twins=twins, blocks=62) as m:
        mm = m.new_mm()
        m.all_of_it(mm, shared=True)
        write_user(mm, m.ctx, AT + 60 * PAGE, b"fits")
        assert read_user(mm, m.ctx, AT + 61 * PAGE, 1) == b"\0"
        with pytest.raises(UserFault) as fault:
            write_user(mm, m.ctx, AT + 61 * PAGE, b"does not")
        assert fault.value.signo == signal.SIGBUS
        write_user(mm, m.ctx, AT, b"has its block")
        assert m.check() == []


def test_what_cannot_be_read_is_a_sigbus_until_it_can(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    m.disk.failing = True
    with pytest.raises(UserFault) as fault:
        read_user(mm, m.ctx, AT + 3 * PAGE, 1)
    assert fault.value.signo == signal.SIGBUS
    m.disk.failing = False
    assert read_user(mm, m.ctx, AT + 3 * PAGE, 1) == b"\x03"


def test_what_cannot_be_written_is_told_once(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    write_user(mm, m.ctx, AT, b"lost")
    m.disk.failing = True
    filemap_write_and_wait(m.mapping, 0, 64)
    with pytest.raises(KernelError) as error:
        file_check_wb_err(m.file)
    assert error.value.errno == EIO
    file_check_wb_err(m.file)
    assert m.stat(DIRTY) == 0


def test_clean_pages_leave_memory_and_dirty_ones_are_written_first(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    contents(m, mm, AT, 16)
    write_user(mm, m.ctx, AT, b"dirty")
    lru_add_drain_all(m.mem)
    do_madvise(mm, m.ctx, AT, 16 * PAGE, MADV_PAGEOUT)
    assert m.mapping.load(0)
    assert [i for i in range(1, 16) if m.mapping.load(i)] == []
    assert m.stat(DIRTY) == 0
    assert m.file.store.bytes_of(1)[:5].tobytes() == b"dirty"
    assert contents(m, mm, AT, 16)[1:] == list(range(1, 16))


def test_a_dirty_page_moves_and_stays_dirty(m: Scene) -> None:
    mm = m.new_mm()
    m.all_of_it(mm, shared=True)
    touch_user(mm, m.ctx, AT, PAGE, 4, True, 9)
    do_mbind(m.mem, mm, m.ctx, AT, 64 * PAGE, MPOL_BIND, 0, 0b10, MPOL_MF_MOVE_ALL)
    assert m.mem.node_stat[:, DIRTY].tolist() == [0, 4]
    assert {m.mem.node_of(m.pfn(mm, AT + i * PAGE)) for i in range(4)} == {1}
    filemap_write_and_wait(m.mapping, 0, 64)
    assert contents(m, mm, AT, 4) == [9] * 4


def test_fork_protection_and_unmapping(m: Scene) -> None:
    parent = m.new_mm()
    m.all_of_it(parent, shared=True)
    touch_user(parent, m.ctx, AT, PAGE, 4, True, 5)
    child = m.fork(parent)
    assert contents(m, child, AT, 4) == [5] * 4
    do_mprotect(parent, m.ctx, AT, 64 * PAGE, PROT_READ)
    do_mprotect(parent, m.ctx, AT, 64 * PAGE, PROT_READ | PROT_WRITE)
    filemap_write_and_wait(m.mapping, 0, 64)
    touch_user(parent, m.ctx, AT, PAGE, 4, True, 6)
    assert m.stat(DIRTY) == 4
    do_munmap(parent, m.ctx, AT, 64 * PAGE)
    m.exit(child)
    assert m.stat(DIRTY) == 4
    filemap_write_and_wait(m.mapping, 0, 64)
    assert np.all(m.file.store.bytes_of(1)[:1] == 6)


def test_memory_may_be_smaller_than_the_file(m: Scene) -> None:
    """Reclaim drops clean pages and has dirty ones written; nothing is lost."""
    mm = m.new_mm()
    file = DiskFile(m, 8000, blocks=8100, holes=8000)
    m.map_file(mm, file, 8000, AT, shared=True)
    touch_user(mm, m.ctx, AT, PAGE, 8000, True, 3)
    assert m.stat(FILE) < 4096
    filemap_write_and_wait(file.mapping, 0, 8000)
    step = 97
    assert [read_user(mm, m.ctx, AT + i * PAGE, 1) for i in range(0, 8000, step)] == [b"\x03"] * -(
        -8000 // step
    )
