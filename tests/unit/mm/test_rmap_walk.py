"""Walks from pages to the PTEs that name them: many anon_vmas, in any order, few or many PTEs copied since the fork."""

from __future__ import annotations

import random

import pytest

import numalab
from numalab.syscalls.sys import Sys

PAGE = 4096
MPOL_MF_MOVE_ALL = 4
AREAS, PAGES = 300, 4


def read_back(sys: Sys, wrote: dict[int, bytes]) -> None:
    for va, data in wrote.items():
        assert sys.memory.read(va, len(data)) == data


@pytest.mark.parametrize("engine", ["batched", "direct", "swap"])
@pytest.mark.parametrize(("children", "copied"), [(1, 0.0), (3, 0.5), (5, 0.98)])
def test_everybody_reads_what_they_wrote(children: int, copied: float, engine: str) -> None:
    """1200 pages of 300 anon_vmas move, some shared by all, some by nobody, in no order."""
    order = random.Random(1)

    def child(sys: Sys, wrote: dict[int, bytes]) -> int:
        mine = {va: b"%d %x" % (sys.getpid(), va) for va in wrote if order.random() < copied}
        for va, data in mine.items():
            sys.memory.write(va, data)
        sys.sleep(2)
        read_back(sys, wrote | mine)
        return 0

    def main(sys: Sys) -> int:
        wrote = {}
        for _ in range(AREAS):
            at = sys.mmap((PAGES + 1) * PAGE)
            sys.mprotect(at + PAGES * PAGE, PAGE, 0)  # keeps the areas apart
            wrote |= {at + i * PAGE: b"parent %x" % i for i in range(PAGES)}
        for va, data in wrote.items():
            sys.memory.write(va, data)
        pids = [sys.fork(child, wrote) for _ in range(children)]
        sys.sleep(1)
        addresses = order.sample(list(wrote), len(wrote))
        assert set(sys.move_pages(0, addresses, [1] * len(addresses), flags=MPOL_MF_MOVE_ALL).status) == {1}
        machine.check_invariants()
        assert sys.migrate_pages(pids[0], {0, 1}, {2}) >= 0
        machine.check_invariants()
        read_back(sys, wrote)
        return sum(sys.wait()[1] for _ in pids)

    with numalab.boot("quad", migration=engine) as machine:
        assert machine.run(main) == 0
