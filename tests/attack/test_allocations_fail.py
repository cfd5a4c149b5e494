"""The Nth allocation of a call fails, for every N: once, and from then on. No byte is lost, nor a frame."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

import numalab
from numalab import abi
from numalab.syscalls.sys import Sys

from tests.attack.failing import Failing

PAGE = 4096
PAGES = 6
HUGE = 2 << 20
PLACE = (64 << 30) - 2 * PAGE  # across the end of a page table
ELSEWHERE = 128 << 30
ANONYMOUS = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
TEXT = b"".join(b"page%d" % i + bytes(PAGE - 5) for i in range(PAGES))

#: What a call does in a child; the address at which TEXT must be if it returns.
Act = Callable[[Sys], int]


def fault(sys: Sys) -> int:
    there = sys.mmap(PAGES * PAGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=ELSEWHERE - 2 * PAGE)
    sys.memory.write(there, TEXT)
    return there


def copy_on_write(sys: Sys) -> int:
    sys.memory.write(PLACE, TEXT)
    return PLACE


def fork(sys: Sys) -> int:
    pid = sys.fork(lambda sys: sys.exit(sys.memory.read(PLACE, len(TEXT)) != TEXT))
    assert sys.wait(pid)[1] in {0, -abi.SIGKILL}
    return PLACE


def populate(sys: Sys) -> int:
    sys.mmap(PAGES * PAGE, flags=ANONYMOUS | abi.MAP_FIXED | abi.MAP_POPULATE, addr=ELSEWHERE - 2 * PAGE)
    return PLACE


def mbind(sys: Sys) -> int:
    sys.mbind(PLACE, PAGES * PAGE, abi.MPOL_BIND, {1}, flags=abi.MPOL_MF_MOVE_ALL)
    return PLACE


def migrate_pages(sys: Sys) -> int:
    copy_on_write(sys)
    sys.migrate_pages(0, {0}, {1})
    return PLACE


def move_pages(sys: Sys) -> int:
    pages = [PLACE + i * PAGE for i in range(PAGES)]
    sys.move_pages(0, pages, [1] * PAGES, flags=abi.MPOL_MF_MOVE_ALL)
    return PLACE


def swap_in(sys: Sys) -> int:
    copy_on_write(sys)
    sys.madvise(PLACE, PAGES * PAGE, abi.MADV_PAGEOUT)
    sys.memory.read(PLACE, PAGES * PAGE)
    return PLACE


def mremap(sys: Sys) -> int:
    return int(sys.mremap(PLACE, PAGES * PAGE, PAGES * PAGE, 3, ELSEWHERE - 3 * PAGE))


def mlock(sys: Sys) -> int:
    there = sys.mmap(PAGES * PAGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=ELSEWHERE - 2 * PAGE)
    sys.mlock(there, PAGES * PAGE)
    return PLACE


def huge_page(sys: Sys) -> int:
    there = sys.mmap(HUGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=ELSEWHERE)
    sys.madvise(there, HUGE, abi.MADV_HUGEPAGE)
    sys.memory.write(there, TEXT)
    return there


def huge_page_moves(sys: Sys) -> int:
    there = huge_page(sys)
    sys.mbind(there, HUGE, abi.MPOL_BIND, {1}, flags=abi.MPOL_MF_MOVE)
    return there


def hugetlb(sys: Sys) -> int:
    there = sys.mmap(HUGE, flags=ANONYMOUS | abi.MAP_HUGETLB | abi.MAP_FIXED, addr=ELSEWHERE)
    sys.memory.write(there, TEXT)
    return there


def shared_memory(sys: Sys) -> int:
    there = sys.mmap(
        PAGES * PAGE,
        flags=abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED,
        addr=ELSEWHERE - 2 * PAGE,
    )
    sys.memory.write(there, TEXT)
    return there


ACTS = (
    fault, copy_on_write, fork, populate, mbind, migrate_pages, move_pages, swap_in, mremap, mlock, huge_page,
    huge_page_moves, hugetlb, shared_memory,
)  # fmt: skip


class Trial:
    """A parent with pages of its own, whose child acts while allocations fail."""

    def __init__(self, act: Act, first: int, times: int) -> None:
        self.failing = Failing(first, times)
        self.act = act
        self.error = 0
        self.status = 0
        self.kept = False
        self.running: Callable[[], int] = lambda: 0

    def child(self, sys: Sys) -> None:
        me = sys.getpid()
        self.failing.on = lambda: self.running() == me
        try:
            there = self.act(sys)
        except OSError as error:
            self.error = error.errno or 0
            there = PLACE
        self.failing.on = lambda: False
        self.kept = sys.memory.read(there, len(TEXT)) == TEXT

    def parent(self, sys: Sys) -> None:
        sys.mmap(PAGES * PAGE, flags=ANONYMOUS | abi.MAP_FIXED, addr=PLACE)
        sys.memory.write(PLACE, TEXT)
        pid = sys.fork(self.child)
        self.status = sys.wait(pid)[1]
        assert sys.memory.read(PLACE, len(TEXT)) == TEXT
        again = sys.fork(fault)
        assert sys.wait(again)[1] == 0

    def run(self) -> None:
        with self.failing.planted(), numalab.boot("2x8M", twins=True) as machine:
            k, sched = machine.kernel, machine.sched
            self.running = lambda: sched.current.pid if sched.current is not None else 0
            k.oom_kill_allocating_task = 1  # so that it is the child who ends, not the parent, who has more
            k.mem.hstate.set_max_huge_pages(k.init.ctx, 1, -1, k.mem.memory_nodes)
            before = sum(machine.node_pages(nid)[1] for nid in (0, 1))
            assert machine.run(self.parent) == 0
            machine.check_invariants()
            assert sum(machine.node_pages(nid)[1] for nid in (0, 1)) == before


def every_failure(act: Act, times: int) -> list[Trial]:
    """The act, once for each allocation that it makes; it fails then, and ``times`` in all."""
    trials: list[Trial] = []
    while True:
        trial = Trial(act, len(trials), times)
        trial.run()
        if not trial.failing.failed:
            return trials
        trials.append(trial)


@pytest.mark.parametrize("act", ACTS, ids=[act.__name__ for act in ACTS])
def test_an_allocation_that_fails_once_is_tried_again(act: Act) -> None:
    """Or done without: a huge page becomes small ones."""
    trials = every_failure(act, 1)
    assert trials or act is hugetlb
    for n, trial in enumerate(trials):
        assert (trial.status, trial.error, trial.kept) == (0, 0, True), f"allocation {n}"


@pytest.mark.parametrize("act", ACTS, ids=[act.__name__ for act in ACTS])
def test_allocations_fail_from_the_nth_on(act: Act) -> None:
    """The call says so, or ends its own program; nobody else's."""
    for n, trial in enumerate(every_failure(act, 1 << 62)):
        assert trial.status in {0, -abi.SIGKILL}, f"allocation {n}"
        assert trial.error in {0, errno.ENOMEM, errno.EAGAIN}, f"allocation {n}"
        assert trial.kept == (trial.status == 0), f"allocation {n}"
