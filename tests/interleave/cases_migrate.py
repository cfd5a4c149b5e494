"""Migration meets accesses, forks, unmapping, other migrations, files that are written and cut off."""

from __future__ import annotations

from numalab.kernel.fs.file import O_CREAT, O_RDWR
from numalab.mm.mman import (
    MADV_DONTNEED,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    PROT_READ,
)
from numalab.mm.mpol import MPOL_BIND
from numalab.syscalls.sys import Sys

from tests.interleave.casebook import (
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    PAGE,
    RW,
    away,
    case,
    discarded,
    filled,
    filled_file,
    forked,
    has,
    out,
    slow_swap,
    store,
    touched,
)
from tests.interleave.run import Lab


@case()
def migrate_touch(sys: Sys, lab: Lab) -> None:
    touched(sys, lab, away)


@case("direct")
def direct_touch(sys: Sys, lab: Lab) -> None:
    touched(sys, lab, away)


@case("swap")
def evict_touch(sys: Sys, lab: Lab) -> None:
    touched(sys, lab, away)


@case("swap")
def evict_touch_slow(sys: Sys, lab: Lab) -> None:
    slow_swap(lab)
    touched(sys, lab, away)


@case()
def migrate_fork(sys: Sys, lab: Lab) -> None:
    forked(sys, lab, away)


@case()
def migrate_munmap(sys: Sys, lab: Lab) -> None:
    data = filled(sys)

    def b(sys: Sys) -> None:
        sys.munmap(data, PAGE)
        sys.mmap(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, addr=data)
        has(sys, data, bytes(4), b"old1")
        store(sys, data, b"new0")

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", b"old1")


@case()
def migrate_discard(sys: Sys, lab: Lab) -> None:
    discarded(sys, lab, away)


@case()
def migrate_remap(sys: Sys, lab: Lab) -> None:
    """mremap() takes migration entries along."""
    data = filled(sys)
    there = data + (8 << 20)

    def b(sys: Sys) -> None:
        sys.mremap(data, 2 * PAGE, 2 * PAGE, 3, there)
        has(sys, there, b"old0", b"old1")
        store(sys, there, b"new0")

    lab.threads(sys, away(data), b)
    has(sys, there, b"new0", b"old1")


@case()
def migrate_protect(sys: Sys, lab: Lab) -> None:
    """mprotect() changes migration entries."""
    data = filled(sys)

    def b(sys: Sys) -> None:
        sys.mprotect(data, 2 * PAGE, PROT_READ)
        has(sys, data, b"old0", b"old1")
        sys.mprotect(data, 2 * PAGE, RW)
        store(sys, data, b"new0")

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", b"old1")


@case()
def migrate_exit(sys: Sys, lab: Lab) -> None:
    """One of two processes that share pages moves them all; the other one ends."""
    data = filled(sys)

    def a(sys: Sys) -> None:
        sys.mbind(data, 2 * PAGE, MPOL_BIND, {1}, flags=MPOL_MF_MOVE_ALL)
        has(sys, data, b"old0", b"old1")

    def b(sys: Sys) -> None:
        has(sys, data, b"old0")

    lab.forks(sys, a, b)
    has(sys, data, b"old0", b"old1")


@case()
def migrate_back(sys: Sys, lab: Lab) -> None:
    """Two migrations of one process, in opposite directions."""
    data = filled(sys)

    def b(sys: Sys) -> None:
        sys.migrate_pages(0, {1}, {0})
        store(sys, data, b"new0")

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", b"old1")


@case()
def move_twice(sys: Sys, lab: Lab) -> None:
    """move_pages() and mbind() want the same pages."""
    data = filled(sys)

    def a(sys: Sys) -> None:
        sys.move_pages(0, [data, data + PAGE], [1, 1], flags=MPOL_MF_MOVE)

    def b(sys: Sys) -> None:
        sys.mbind(data, 2 * PAGE, MPOL_BIND, {1}, flags=MPOL_MF_MOVE)
        store(sys, data, b"new0")

    lab.threads(sys, a, b)
    has(sys, data, b"new0", b"old1")


@case()
def mbind_fault(sys: Sys, lab: Lab) -> None:
    """Pages that come while others of their area are moved are where the new policy wants them, or moved."""
    data = filled(sys)
    sys.madvise(data, PAGE, MADV_DONTNEED)

    def a(sys: Sys) -> None:
        sys.mbind(data, 2 * PAGE, MPOL_BIND, {1}, flags=MPOL_MF_MOVE)

    def b(sys: Sys) -> None:
        store(sys, data, b"new0", b"new1")

    lab.threads(sys, a, b)
    has(sys, data, b"new0", b"new1")
    task = lab.machine.sched.current
    assert task is not None
    assert {lab.machine.mem.node_of(lab.machine.page_of(task, data + i * PAGE)) for i in range(2)} == {1}


@case()
def cow_migrate(sys: Sys, lab: Lab) -> None:
    """Pages shared after fork move while a process makes its own copy."""
    data = filled(sys)

    def a(sys: Sys) -> None:
        sys.mbind(data, 2 * PAGE, MPOL_BIND, {1}, flags=MPOL_MF_MOVE_ALL)
        has(sys, data, b"old0", b"old1")
        store(sys, data, b"one0")

    def b(sys: Sys) -> None:
        store(sys, data, b"two0")
        has(sys, data, b"two0", b"old1")

    lab.forks(sys, a, b)
    has(sys, data, b"old0", b"old1")


@case()
def truncate_migrate(sys: Sys, lab: Lab) -> None:
    """A page of a file is cut off while it moves."""
    fd = sys.memfd_create("f", 0)
    data = filled_file(sys, fd)

    def b(sys: Sys) -> None:
        sys.ftruncate(fd, PAGE)
        sys.ftruncate(fd, 2 * PAGE)
        has(sys, data, b"old0", bytes(4))
        store(sys, data, b"new0")

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", bytes(4))
    assert sys.pread64(fd, 4, 0).buf == b"new0"


@case()
def punch_migrate(sys: Sys, lab: Lab) -> None:
    """A hole is made in a file where a page moves; a private copy of it stays."""
    fd = sys.memfd_create("f", 0)
    data = filled_file(sys, fd)
    copy = sys.mmap(PAGE, RW, MAP_PRIVATE, fd=fd, off=PAGE)
    store(sys, copy, b"mine")

    def b(sys: Sys) -> None:
        sys.madvise(data + PAGE, PAGE, MADV_REMOVE)
        has(sys, data, b"old0", bytes(4))
        has(sys, copy, b"mine")
        store(sys, data + PAGE, b"new1")

    lab.threads(sys, away(data), b)
    has(sys, data, b"old0", b"new1")
    has(sys, copy, b"mine")


@case()
def write_migrate(sys: Sys, lab: Lab) -> None:
    """A file is written and read by system calls while its pages move."""
    fd = sys.memfd_create("f", 0)
    data = filled_file(sys, fd)

    def b(sys: Sys) -> None:
        assert sys.pwrite64(fd, b"new0", pos=0) == 4
        assert sys.pread64(fd, 4, 0).buf == b"new0"
        store(sys, data + PAGE, b"new1")
        assert sys.pread64(fd, 4, PAGE).buf == b"new1"

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", b"new1")


@case()
def lock_migrate(sys: Sys, lab: Lab) -> None:
    """mlock() of pages that are on their way."""
    data = filled(sys)

    def b(sys: Sys) -> None:
        sys.mlock(data, 2 * PAGE)
        has(sys, data, b"old0", b"old1")
        sys.munlock(data, PAGE)

    lab.threads(sys, away(data), b)
    has(sys, data, b"old0", b"old1")


@case()
def three_at_once(sys: Sys, lab: Lab) -> None:
    """Moved, paged out and written."""
    data = filled(sys, 1)

    def c(sys: Sys) -> None:
        store(sys, data, b"new0")

    lab.threads(sys, away(data), out(data, 1), c)
    has(sys, data, b"new0")


@case()
def fsync_migrate(sys: Sys, lab: Lab) -> None:
    """Pages of a file on a disk are written and moved."""
    fd = sys.open("/mnt/f", O_RDWR | O_CREAT)
    data = filled_file(sys, fd)

    def b(sys: Sys) -> None:
        store(sys, data, b"new0")
        sys.fsync(fd)
        store(sys, data + PAGE, b"new1")

    lab.threads(sys, away(data), b)
    has(sys, data, b"new0", b"new1")
    sys.fsync(fd)
    assert sys.pread64(fd, 4, 0).buf == b"new0"
    assert sys.pread64(fd, 4, PAGE).buf == b"new1"
