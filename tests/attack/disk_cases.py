"""Small programs that need disks: pages that go to swap and come back, or stay; files that are written and read."""

from __future__ import annotations

from collections.abc import Callable
from errno import EFAULT, EIO, ENOMEM, ENOSPC
from typing import TypeAlias

from numalab import abi
from numalab.mm.mman import MADV_COLLAPSE
from numalab.syscalls.sys import Sys
from numalab.syscalls.table import BY_NAME

from tests.attack.troubles import ANONYMOUS, PAGE, PAGES, SIZE, Case, Lab, Region, text

__all__ = ["CASES"]

Main: TypeAlias = Callable[[Sys, Lab], object]

CASES: dict[str, Case] = {}
SHARED = abi.MAP_SHARED | abi.MAP_ANONYMOUS
HUGE = 2 << 20


def case(program: Main) -> Main:
    CASES[program.__name__] = Case(program)
    return program


# ---------------------------------------------------------------- swap


@case
def page_out(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    with lab.trouble():
        lab.page_out(sys, mine)
        lab.squeeze()
        lab.look(sys)
        assert lab.refused or not lab.plan.failed_reads, "nobody was told of a page that could not be read"
        lab.squeeze()


@case
def page_out_again(sys: Sys, lab: Lab) -> None:
    """Some pages have been written to meanwhile, others are still in their slots."""
    mine = lab.fill(sys)
    with lab.trouble():
        for turn in range(3):
            lab.page_out(sys, mine)
            lab.write(sys, mine, turn, turn + 1)
            lab.squeeze()
        lab.look(sys)


@case
def page_out_shared(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys, SHARED)

    def child(sys: Sys) -> None:
        lab.inherit(sys, mine)
        lab.look(sys)
        lab.until_over(sys)

    with lab.trouble():
        lab.page_out(sys, mine)
        pid = sys.fork(child)
        lab.page_out(sys, mine)
        lab.squeeze()
        lab.look(sys)
    assert lab.wait(sys, pid) == 0


@case
def inherit_from_swap(sys: Sys, lab: Lab) -> None:
    """Both write to what they have in common, which is in swap or on its way there."""
    mine = lab.fill(sys)

    def child(sys: Sys) -> None:
        copy = lab.inherit(sys, mine)
        lab.write(sys, copy, 0, 1, 2)
        lab.look(sys)
        lab.until_over(sys)

    with lab.trouble():
        lab.page_out(sys, mine)
        pid = sys.fork(child)
        sys.sleep(0.001)
        lab.write(sys, mine, 1, 2, 3)
        lab.page_out(sys, mine)
        lab.squeeze()
        lab.look(sys)
    assert lab.wait(sys, pid) == 0


@case
def end_while_it_is_written(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    with lab.trouble():
        pid = sys.fork(lambda sys: lab.page_out(sys, lab.fill(sys)))
        assert lab.wait(sys, pid) == 0
        lab.page_out(sys, mine)
        sys.munmap(mine.addr, PAGE)
        sys.madvise(mine.addr + PAGE, PAGE, abi.MADV_DONTNEED)
        mine.addr, mine.pages = mine.addr + PAGE, [bytes(PAGE), *mine.pages[2:]]
        lab.look(sys)


@case
def read_ahead(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    lab.page_out(sys, mine)
    with lab.trouble():
        lab.machine.mem.page_cluster = 2
        lab.look(sys)


@case
def will_need(sys: Sys, lab: Lab) -> None:
    mine, ours = lab.fill(sys), lab.fill(sys, SHARED)
    with lab.trouble():
        for region in (mine, ours):
            lab.page_out(sys, region)
            sys.madvise(region.addr, SIZE, abi.MADV_WILLNEED)
        lab.look(sys)


@case
def populate_and_lock(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    lab.page_out(sys, mine)
    with lab.trouble():
        lab.may(EFAULT, lambda: sys.madvise(mine.addr, 2 * PAGE, abi.MADV_POPULATE_READ))
        lab.may(EFAULT, lambda: sys.madvise(mine.addr + 2 * PAGE, 2 * PAGE, abi.MADV_POPULATE_WRITE))
        lab.may(ENOMEM, lambda: sys.mlock(mine.addr, SIZE))
        lab.look(sys)


@case
def remap(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    with lab.trouble():
        lab.page_out(sys, mine)
        mine.addr = int(sys.mremap(mine.addr, SIZE, SIZE, 3, 128 << 30))
        lab.look(sys)


@case
def lend_to_calls(sys: Sys, lab: Lab) -> None:
    """The kernel reads and writes what is in swap: EFAULT if it cannot be had."""
    mine = lab.fill(sys)
    lab.page_out(sys, mine)
    fd = sys.memfd_create("file")
    with lab.trouble():
        got = sys.raw(BY_NAME["write"].number, fd, mine.addr, 2 * PAGE)
        assert got == 2 * PAGE or lab.plan.failed_reads
        assert got in {-EFAULT, PAGE, 2 * PAGE}
        sys.lseek(fd, 0, 0)
        back = sys.raw(BY_NAME["read"].number, fd, mine.addr + 4 * PAGE, 2 * PAGE)
        assert back in {-EFAULT, 0, PAGE, 2 * PAGE}
        assert back == got or lab.plan.failed_reads
        for i in range(max(back, 0) // PAGE):
            mine.pages[4 + i] = mine.pages[i]
        lab.look(sys)


@case
def collapse(sys: Sys, lab: Lab) -> None:
    """A huge page is made of small ones, some of which are in swap."""
    sys.mmap(HUGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=HUGE * 10_000)
    sys.memory.write(HUGE * 10_000, b"".join(map(text, range(HUGE // PAGE))))
    mine = Region(sys.task, HUGE * 10_000, [text(i) for i in range(PAGES)])
    lab.keeps.append(mine)
    lab.page_out(sys, mine)
    with lab.trouble():
        lab.may(22, lambda: sys.madvise(mine.addr, HUGE, MADV_COLLAPSE))
        lab.look(sys)


@case
def huge_page(sys: Sys, lab: Lab) -> None:
    """It goes in pieces, and comes back page by page."""
    sys.mmap(HUGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=HUGE * 10_000)
    sys.madvise(HUGE * 10_000, HUGE, abi.MADV_HUGEPAGE)
    sys.memory.write(HUGE * 10_000, b"".join(map(text, range(HUGE // PAGE))))
    with lab.trouble():
        sys.madvise(HUGE * 10_000, HUGE, abi.MADV_PAGEOUT)
        lab.squeeze()
        lab.keeps.append(Region(sys.task, HUGE * 10_000, [text(i) for i in range(PAGES)]))
        last = HUGE // PAGE - 2
        lab.keeps.append(Region(sys.task, HUGE * 10_000 + last * PAGE, [text(last), text(last + 1)]))
        lab.look(sys)


def pressure(sys: Sys, lab: Lab) -> None:
    """More than memory holds: reclaim finds what to write. Who gets no frame is killed; nobody else is."""
    lab.fill(sys)
    lab.fill(sys, SHARED)

    def child(sys: Sys) -> None:
        if not lab.may(ENOMEM, lambda: lab.fill(sys, pages=550)):
            lab.look(sys)

    with lab.trouble():
        status = lab.wait(sys, sys.fork(child))
        assert status == 0 or (status == -abi.SIGKILL and lab.plan.kind)
        lab.look(sys)


CASES["pressure"] = Case(pressure, 256)


# ---------------------------------------------------------------- migration


@case
def evict(sys: Sys, lab: Lab) -> None:
    lab.fill(sys)
    with lab.trouble():
        assert sys.migrate_pages(0, {0}, {1}) >= 0
        lab.look(sys)
        assert sys.migrate_pages(0, {1}, {0}) >= 0
        lab.look(sys)


@case
def evict_others(sys: Sys, lab: Lab) -> None:
    """Pages that two processes have in common, copied and shared ones, and such that are in swap."""
    mine, ours = lab.fill(sys), lab.fill(sys, SHARED)

    def child(sys: Sys) -> None:
        copy, _ = lab.inherit(sys, mine), lab.inherit(sys, ours)
        sys.sleep(0.001)
        lab.write(sys, copy, 0, 1)
        lab.look(sys)
        lab.until_over(sys)

    pid = sys.fork(child)
    with lab.trouble():
        lab.page_out(sys, ours)
        assert sys.migrate_pages(pid, {0}, {1}) >= 0
        sys.sleep(0.002)
        assert sys.migrate_pages(0, {0, 1}, {1}) >= 0
        lab.look(sys)
    assert lab.wait(sys, pid) == 0


@case
def bind(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    with lab.trouble():
        lab.page_out(sys, mine)
        strict = abi.MPOL_MF_MOVE_ALL | abi.MPOL_MF_STRICT
        lab.may(EIO, lambda: sys.mbind(mine.addr, SIZE, abi.MPOL_BIND, {1}, flags=strict))
        lab.look(sys)
        lab.may(EIO, lambda: sys.mbind(mine.addr, SIZE, abi.MPOL_BIND, {0}, flags=strict))
        lab.look(sys)


@case
def move(sys: Sys, lab: Lab) -> None:
    mine = lab.fill(sys)
    with lab.trouble():
        lab.page_out(sys, mine)
        lab.look(sys)
        sys.move_pages(0, [mine.addr + i * PAGE for i in range(PAGES)], [1] * PAGES, flags=2)
        lab.look(sys)


# ---------------------------------------------------------------- swapoff


@case
def swapoff(sys: Sys, lab: Lab) -> None:
    """Whatever cannot be read stays in the area, and the area in use."""
    if not lab.swap():
        return lab.nothing_to_do()
    mine, ours = lab.fill(sys), lab.fill(sys, SHARED)
    pid = sys.fork(lab.until_over)
    for region in (mine, ours):
        lab.page_out(sys, region)
    with lab.trouble():
        failed = lab.may(EIO, lambda: sys.swapoff("/dev/ram0"))
        assert bool(failed) == bool(lab.swap())
        lab.look(sys)
    if failed:  # now that the disk is well again, everything can be had
        lab.nothing_is_lost()
        sys.swapoff("/dev/ram0")
        lab.readable = True
    assert lab.wait(sys, pid) == 0
    return None


@case
def swapoff_while_it_is_written(sys: Sys, lab: Lab) -> None:
    if not lab.swap():
        return lab.nothing_to_do()
    mine = lab.fill(sys)
    with lab.trouble():
        lab.page_out(sys, mine)
        failed = lab.may(EIO, lambda: sys.swapoff("/dev/ram0"))
        if not failed:
            sys.swapon("/dev/ram0")
        lab.page_out(sys, mine)
        lab.look(sys)
    return None


# ---------------------------------------------------------------- files


@case
def file_sync(sys: Sys, lab: Lab) -> None:
    """Each open file is told once. What fsync() has not complained about is on the disk."""
    fd, other = lab.open(sys, 2)
    body = b"".join(map(text, range(PAGES)))
    with lab.trouble():
        if lab.may(ENOSPC, lambda: sys.write(fd, body)):
            return
        failed = lab.may(EIO, lambda: sys.fsync(fd))
        assert bool(failed) == bool(lab.plan.lost_writes)
        assert lab.may(EIO, lambda: sys.fdatasync(other)) == failed
        for each in (fd, other):
            assert lab.may(EIO, lambda each=each: sys.syncfs(each)) == failed  # type: ignore[misc]
            sys.fsync(each)
            sys.syncfs(each)
        length = sys.lseek(fd, 0, abi.SEEK_END)
        if not failed:
            lab.on_disk(sys, fd, body[:length])
        assert sys.pread64(fd, SIZE, 0).buf == body[:length]


@case
def file_map_sync(sys: Sys, lab: Lab) -> None:
    [fd] = lab.open(sys)
    sys.ftruncate(fd, SIZE)
    mine = lab.fill(sys, abi.MAP_SHARED, fd=fd)
    with lab.trouble():
        failed = lab.may(EIO, lambda: sys.msync(mine.addr, SIZE, abi.MS_SYNC))
        assert bool(failed) == bool(lab.plan.lost_writes)
        sys.fsync(fd)
        before = lab.plan.lost_writes
        lab.write(sys, mine, 0, 1)
        lab.page_out(sys, mine)
        lab.page_out(sys, mine)
        sys.sync()
        assert bool(lab.may(EIO, lambda: sys.fsync(fd))) == (lab.plan.lost_writes > before)
        lab.look_unless_told(sys)


@case
def file_evict(sys: Sys, lab: Lab) -> None:
    """A mapped file that is dirty is moved away, which in 2005 meant written."""
    [fd] = lab.open(sys)
    sys.ftruncate(fd, SIZE)
    lab.fill(sys, abi.MAP_SHARED, fd=fd)
    with lab.trouble():
        assert sys.migrate_pages(0, {0}, {1}) >= 0
        lab.look_unless_told(sys)
        assert bool(lab.may(EIO, lambda: sys.fsync(fd))) == bool(lab.plan.lost_writes)


@case
def file_read(sys: Sys, lab: Lab) -> None:
    [fd] = lab.open(sys)
    sys.ftruncate(fd, SIZE)
    mine = lab.fill(sys, abi.MAP_SHARED, fd=fd)
    drop(sys, lab, mine, fd)
    with lab.trouble():
        lab.may(EIO, lambda: sys.pread64(fd, SIZE, 0))
        lab.look(sys)
        lab.may(EIO, lambda: sys.pwrite64(fd, mine.pages[1][:100], pos=PAGE))
        lab.may(EIO, lambda: sys.ftruncate(fd, SIZE - 100))
    sys.ftruncate(fd, SIZE)
    if (end := sys.pread64(fd, PAGE, SIZE - PAGE).buf) != mine.pages[-1]:
        mine.pages[-1] = mine.pages[-1][:-100] + bytes(100)
        assert end == mine.pages[-1]


@case
def file_private(sys: Sys, lab: Lab) -> None:
    """Copies of pages of a file go to swap; the file knows nothing of it."""
    [fd] = lab.open(sys)
    sys.ftruncate(fd, SIZE)
    drop(sys, lab, lab.fill(sys, abi.MAP_SHARED, fd=fd), fd)
    addr = sys.mmap(SIZE, flags=abi.MAP_PRIVATE, fd=fd)
    mine = Region(sys.task, addr, [text(i) for i in range(PAGES)])
    lab.keeps.append(mine)
    with lab.trouble():
        lab.write(sys, mine, 0, 2, 4)
        lab.page_out(sys, mine)
        lab.look(sys)


@case
def file_unlinked(sys: Sys, lab: Lab) -> None:
    """A file goes, or becomes shorter, while it is written."""
    one, two = lab.open(sys)[0], lab.open(sys)[0]
    with lab.trouble():
        for fd in (one, two):
            lab.may(ENOSPC, lambda fd=fd: sys.write(fd, b"".join(map(text, range(PAGES)))))  # type: ignore[misc]
        pid = sys.fork(lambda sys: sys.sync())
        sys.sleep(0)
        sys.close(one)
        sys.ftruncate(two, PAGE)
        assert lab.wait(sys, pid) == 0


def drop(sys: Sys, lab: Lab, region: Region, fd: int) -> None:
    """Only the disk has the file's pages."""
    sys.fsync(fd)
    lab.page_out(sys, region)
