"""What reclaim and swap must not do: show wrong bytes after a disk has failed, or take pages where that is no use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from numalab.arch.disk import Disk
from numalab.arch.errno import EINVAL, KernelError
from numalab.mm._constants import LRU_ACTIVE_ANON, LRU_INACTIVE_ANON, PSWPOUT
from numalab.mm._migrate import MigrateStats
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MADV_COLLAPSE, MADV_PAGEOUT, MLOCK_ONFAULT
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.page_alloc import OutOfMemory, Slowpath
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.swapfile import swapon
from numalab.mm.vmscan import shrink_folio_list

from tests.mm_machine import PAGE, MmMachine

MOVE = 2


class Swapping(MmMachine):
    """Two nodes, a swap area, and one program."""

    def __init__(self, *, twins: bool = False) -> None:
        super().__init__("2x4M", twins=twins)
        self.area = swapon(self.mem, Disk(self.hw, self.mem.timers, "disk", 4096))
        self.mm: MmStruct = self.new_mm()

    def failing(self, yes: bool) -> None:
        self.area.disk.failing = yes
        self.area.sync()


@pytest.fixture(params=[False, True], ids=["compiled", "twin"])
def m(request: pytest.FixtureRequest) -> Iterator[Swapping]:
    with Swapping(twins=request.param) as machine:
        yield machine
        assert machine.check() == []


def test_a_page_that_could_not_be_read_is_never_seen(m: Swapping) -> None:
    """Not at the second touch either, when it stands in the swap cache."""
    data = m.map(m.mm, 2)
    write_user(m.mm, m.ctx, data, b"mine" * 2048)
    do_madvise(m.mm, m.ctx, data, 2 * PAGE, MADV_PAGEOUT)
    m.failing(True)
    for _ in range(2):
        with pytest.raises(UserFault, match="SIGBUS"):
            read_user(m.mm, m.ctx, data, 4)
    m.failing(False)
    with pytest.raises(UserFault, match="SIGBUS"):
        read_user(m.mm, m.ctx, data, 4)
    assert read_user(m.mm, m.ctx, data + PAGE, 4) == b"mine", "its neighbour was never asked for"


def test_no_huge_page_is_made_of_what_cannot_be_read(m: Swapping) -> None:
    at = m.map(m.mm, 512, 64 * 512 * PAGE)
    write_user(m.mm, m.ctx, at, b"mine" * 512 * 1024)
    do_madvise(m.mm, m.ctx, at, PAGE, MADV_PAGEOUT)
    m.failing(True)
    with pytest.raises(KernelError) as error:
        do_madvise(m.mm, m.ctx, at, 512 * PAGE, MADV_COLLAPSE)
    assert error.value.errno == EINVAL
    assert read_user(m.mm, m.ctx, at + PAGE, 4) == b"mine"


def test_a_page_that_could_not_be_written_stays_and_keeps_its_bytes(m: Swapping) -> None:
    data = m.map(m.mm, 2)
    write_user(m.mm, m.ctx, data, b"mine" * 2048)
    m.failing(True)
    do_madvise(m.mm, m.ctx, data, 2 * PAGE, MADV_PAGEOUT)
    while m.mem.timers.skip():
        pass
    assert read_user(m.mm, m.ctx, data, 2 * PAGE) == b"mine" * 2048


def test_a_full_target_takes_no_pages_from_other_nodes() -> None:
    """Everything on the target is locked: nothing can be had there, and elsewhere it would be of no use."""
    with Swapping() as m:
        mine, bystander = m.map(m.mm, 256), m.new_mm()
        touch_user(m.mm, m.ctx, mine, PAGE, 256, True)
        theirs = m.map(bystander, 128)
        touch_user(bystander, m.ctx, theirs, PAGE, 128, True)
        hog = m.new_mm()
        free = int(m.mem.zones["free"][m.mem.zones["node"] == 1].sum())
        least = int(m.mem.zones["watermark"][m.mem.zones["node"] == 1][:, 2].sum())
        pages = free - least - 64
        locked = m.map(hog, pages)
        do_mbind(m.mem, hog, m.ctx, locked, pages * PAGE, MPOL_BIND, 0, 2, 0)
        do_mlock(hog, m.ctx, locked, pages * PAGE, 0)
        touch_user(hog, m.ctx, locked, PAGE, pages, True)
        assert int(m.mem.event[PSWPOUT]) == 0
        do_migrate_pages(m.mem, m.mm, m.ctx, 1, 2, MOVE)
        pfns = [int(pte) & 1 for pte in m.ptes(bystander, theirs, 128)]
        assert all(pfns), "no page of the bystander went to swap"
        assert m.check() == []


@pytest.mark.parametrize("twins", [False, True], ids=["compiled", "twin"])
def test_a_page_is_not_reclaimed_to_make_room_for_its_own_copy(
    twins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one frame left, reading a shared page in and copying it cannot both succeed; nor may it go on for ever."""
    with MmMachine("1x64p", twins=twins) as m:
        swapon(m.mem, Disk(m.hw, m.mem.timers, "disk", 256))
        mm = m.new_mm()
        shared = m.map(mm, 1)
        write_user(mm, m.ctx, shared, b"both")
        child = m.fork(mm)
        out = m.pfn(mm, shared)
        lru_add_drain_all(m.mem)
        shrink_folio_list(m.mem, 0, isolated(m, out), 0, MigrateStats())
        assert not int(m.ptes(child, shared, 1)[0]) & 1
        filler = m.map(mm, 60)
        do_mlock(mm, m.ctx, filler, 60 * PAGE, MLOCK_ONFAULT)
        with pytest.raises(OutOfMemory):
            touch_user(mm, m.ctx, filler, PAGE, 60, True)
        do_munmap(mm, m.ctx, filler, PAGE)
        tries: list[int] = []
        reclaim = Slowpath.reclaim

        def counted(slow: Slowpath, nodes: int | None = None) -> None:
            tries.append(1)
            if len(tries) > 100:
                raise OutOfMemory
            reclaim(slow, nodes)

        monkeypatch.setattr(Slowpath, "reclaim", counted)
        with pytest.raises(OutOfMemory):
            write_user(child, m.ctx, shared, b"mine")
        assert len(tries) < 100
        assert m.check() == []
        assert read_user(child, m.ctx, shared, 4) == b"both"


def isolated(m: MmMachine, pfn: int) -> npt.NDArray[np.uint32]:
    """One page, taken off its list."""
    out = np.zeros(64, np.uint32)
    for kind in (LRU_INACTIVE_ANON, LRU_ACTIVE_ANON):
        taken, _ = m.mem.k.vmscan.isolate_lru(m.mem, m.mem.node_of(pfn), kind, out)
        pages = out[:taken]
        m.mem.k.lru.putback(m.mem, 0, pages[pages != pfn])
        if pfn in pages:
            return pages[pages == pfn].copy()
    raise AssertionError("it is on no list")
