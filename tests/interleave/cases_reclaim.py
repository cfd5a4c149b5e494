"""Reclaim and swap meet accesses, forks, locks, and each other."""

from __future__ import annotations

from errno import EINVAL

from numalab.mm.mman import MADV_PAGEOUT, MAP_SHARED
from numalab.mm.mpol import MPOL_BIND
from numalab.syscalls.sys import Sys

from tests.interleave.casebook import (
    MPOL_MF_MOVE_ALL,
    PAGE,
    case,
    discarded,
    filled,
    forked,
    has,
    out,
    slow_swap,
    store,
    touched,
)
from tests.interleave.run import Lab


@case()
def reclaim_touch(sys: Sys, lab: Lab) -> None:
    touched(sys, lab, out)


@case()
def reclaim_touch_slow(sys: Sys, lab: Lab) -> None:
    slow_swap(lab)
    touched(sys, lab, out)


@case()
def reclaim_twice(sys: Sys, lab: Lab) -> None:
    data = filled(sys)

    def b(sys: Sys) -> None:
        has(sys, data, b"old0")
        sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)
        has(sys, data, b"old0", b"old1")

    lab.threads(sys, out(data), b)
    has(sys, data, b"old0", b"old1")


@case()
def reclaim_fork(sys: Sys, lab: Lab) -> None:
    forked(sys, lab, out)


@case()
def reclaim_discard(sys: Sys, lab: Lab) -> None:
    discarded(sys, lab, out)


@case()
def lock_reclaim(sys: Sys, lab: Lab) -> None:
    """What is locked in memory stays there, or comes back at once."""
    data = filled(sys)

    def a(sys: Sys) -> None:
        try:
            sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)
        except OSError as error:
            assert error.errno == EINVAL  # noqa: PT017 - locked by then

    def b(sys: Sys) -> None:
        sys.mlock(data, 2 * PAGE)
        task = lab.machine.sched.current
        assert task is not None
        for i in range(2):
            lab.machine.page_of(task, data + i * PAGE)
        store(sys, data, b"new0")

    lab.threads(sys, a, b)
    has(sys, data, b"new0", b"old1")


@case()
def reclaim_shared(sys: Sys, lab: Lab) -> None:
    """Shared memory is paged out under one process and written by the other."""
    data = filled(sys, flags=MAP_SHARED)

    def a(sys: Sys) -> None:
        sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)
        has(sys, data + PAGE, b"old1")

    def b(sys: Sys) -> None:
        store(sys, data, b"new0")

    lab.forks(sys, a, b)
    has(sys, data, b"new0", b"old1")


@case()
def swapin_twice(sys: Sys, lab: Lab) -> None:
    """Two processes want the same page of a slow disk, and each its own copy."""
    slow_swap(lab)
    data = filled(sys)
    sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)
    sys.sleep(0.01)
    sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)

    def a(sys: Sys) -> None:
        store(sys, data, b"one0")
        has(sys, data, b"one0", b"old1")

    def b(sys: Sys) -> None:
        has(sys, data, b"old0", b"old1")
        store(sys, data, b"two0")

    lab.forks(sys, a, b)
    has(sys, data, b"old0", b"old1")


@case()
def swapin_migrate(sys: Sys, lab: Lab) -> None:
    """Pages that come from swap are moved at once: the swap cache has them still."""
    data = filled(sys)
    sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)

    def a(sys: Sys) -> None:
        has(sys, data, b"old0", b"old1")
        sys.mbind(data, 2 * PAGE, MPOL_BIND, {1}, flags=MPOL_MF_MOVE_ALL)

    def b(sys: Sys) -> None:
        has(sys, data, b"old0", b"old1")
        store(sys, data, b"two0")

    lab.forks(sys, a, b)
    has(sys, data, b"old0", b"old1")


@case("swap")
def evict_shared(sys: Sys, lab: Lab) -> None:
    """The engine of 2005 takes pages that are shared; the other process copies them meanwhile."""
    data = filled(sys)

    def a(sys: Sys) -> None:
        sys.migrate_pages(0, {0}, {1})
        has(sys, data, b"old0", b"old1")

    def b(sys: Sys) -> None:
        store(sys, data, b"two0")
        has(sys, data, b"two0", b"old1")

    lab.forks(sys, a, b)
    has(sys, data, b"old0", b"old1")


@case()
def swapoff_touch(sys: Sys, lab: Lab) -> None:
    """A swap area is emptied while its pages are wanted."""
    data = filled(sys)
    sys.madvise(data, 2 * PAGE, MADV_PAGEOUT)

    def a(sys: Sys) -> None:
        sys.swapoff("/dev/ram0")

    def b(sys: Sys) -> None:
        has(sys, data, b"old0")
        store(sys, data, b"one0", b"one1")

    lab.threads(sys, a, b)
    has(sys, data, b"one0", b"one1")
