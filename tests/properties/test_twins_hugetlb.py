"""hugetlb: the compiled kernels and their twins leave the same machine behind, and it is in order.

The steps are system calls in the life of a few programs that have nothing but huge pages, from a pool that is often too
small for all of them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from numalab.mm._mm_types import MmStruct
from numalab.mm.hugetlbfs import hugetlb_file_setup
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import read_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mman import (
    MADV_DONTNEED,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
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
from numalab.mm.mpol import MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED_MANY
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap

from tests.strategies import Step, machine
from tests.twins import Machine, Pair

HUGE = 2 << 20
AT = 32 * HUGE
RW = PROT_READ | PROT_WRITE
MOST = 3

who, at, count, nid = st.integers(0, MOST - 1), st.integers(0, 3), st.integers(1, 3), st.integers(0, 1)
kinds = st.sampled_from((MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED, MAP_PRIVATE | MAP_NORESERVE))
steps = st.one_of(
    st.tuples(st.just("map"), who, at, count, kinds),
    st.tuples(st.just("write"), who, at, count, st.integers(1, 255)),
    st.tuples(st.just("write"), who, at, count, st.integers(1, 255)),
    st.tuples(st.just("read"), who, at, count),
    st.tuples(st.just("unmap"), who, at, count),
    st.tuples(st.just("advise"), who, at, count, st.sampled_from((MADV_DONTNEED, MADV_REMOVE))),
    st.tuples(st.just("protect"), who, at, count, st.sampled_from((RW, PROT_READ, 0))),
    st.tuples(st.just("move"), who, at, at, count),
    st.tuples(st.just("bind"), who, at, count, st.sampled_from((MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED_MANY)),
              st.integers(1, 3), st.sampled_from((0, 2, 3, 4, 5))),
    st.tuples(st.just("migrate"), who, nid, st.sampled_from((2, 4))),
    st.tuples(st.just("fork"), who),
    st.tuples(st.just("exit"), who),
    st.tuples(st.just("pool"), nid, st.integers(0, 4)),
    st.tuples(st.just("overcommit"), st.integers(0, 2)),
)  # fmt: skip


class Programs:
    """Up to three programs on one of the two machines."""

    def __init__(self, machine: Machine) -> None:
        self.m = machine

    def do(self, step: Step) -> object:
        return getattr(self, str(step[0]))(*step[1:])

    def mm(self, number: int) -> MmStruct:
        if not self.m.mms:
            self.m.new_mm()
        return self.m.mms[number % len(self.m.mms)]

    def map(self, number: int, at: int, count: int, kind: int) -> int:
        file, length = hugetlb_file_setup(self.m.mem, count * HUGE, 0)
        file.get_file()
        flags = kind | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED
        try:
            return do_mmap(self.mm(number), self.m.ctx, AT + at * HUGE, length, RW, flags, 0, file)
        finally:
            file.fput(0)

    def write(self, number: int, at: int, count: int, value: int) -> None:
        for page in range(at, at + count):
            write_user(self.mm(number), self.m.ctx, AT + page * HUGE + value, bytes([value]) * 3)

    def read(self, number: int, at: int, count: int) -> bytes:
        return b"".join(
            read_user(self.mm(number), self.m.ctx, AT + page * HUGE, 256) for page in range(at, at + count)
        )

    def unmap(self, number: int, at: int, count: int) -> None:
        do_munmap(self.mm(number), self.m.ctx, AT + at * HUGE, count * HUGE)

    def advise(self, number: int, at: int, count: int, advice: int) -> None:
        do_madvise(self.mm(number), self.m.ctx, AT + at * HUGE, count * HUGE, advice)

    def protect(self, number: int, at: int, count: int, prot: int) -> None:
        do_mprotect(self.mm(number), self.m.ctx, AT + at * HUGE, count * HUGE, prot)

    def move(self, number: int, at: int, to: int, count: int) -> int:
        flags = MREMAP_MAYMOVE | MREMAP_FIXED
        return do_mremap(
            self.mm(number), self.m.ctx, AT + at * HUGE, count * HUGE, count * HUGE, flags, AT + to * HUGE
        )

    def bind(self, number: int, at: int, count: int, mode: int, nodes: int, flags: int) -> int:
        return do_mbind(
            self.m.mem, self.mm(number), self.m.ctx, AT + at * HUGE, count * HUGE, mode, 0, nodes, flags
        )

    def migrate(self, number: int, source: int, flags: int) -> int:
        return do_migrate_pages(
            self.m.mem, self.mm(number), self.m.ctx, 1 << source, 1 << (1 - source), flags
        )

    def fork(self, number: int) -> object:
        return self.m.fork(self.mm(number)) if len(self.m.mms) < MOST else None

    def exit(self, number: int) -> None:
        self.m.exit(self.mm(number))

    def pool(self, nid: int, count: int) -> None:
        self.m.mem.hstate.set_max_huge_pages(self.m.ctx, count, nid, 1 << nid)

    def overcommit(self, count: int) -> None:
        self.m.mem.hstate.nr_overcommit_huge_pages = count


def pool_of(machine: Machine) -> list[Any]:
    hstate = machine.mem.hstate
    return [
        hstate.free_lists,
        hstate.nr_huge_pages_node,
        hstate.surplus_huge_pages_node,
        hstate.resv_huge_pages,
        sorted(hstate.temporary),
    ]


@given(pool=st.tuples(st.integers(0, 3), st.integers(0, 3)), life=st.lists(steps, min_size=4, max_size=14))
def test_any_life_with_huge_pages(pool: tuple[int, int], life: list[Step]) -> None:
    begin: list[Step] = [("pool", nid, count) for nid, count in enumerate(pool)]
    end: list[Step] = [("exit", 0)] * MOST
    with Pair(machine((0, (2600,), 1), (1, (2600,), 1), levels=4)) as pair:
        for step in [*begin, *life, *end]:
            pair.both(lambda m, step=step: Programs(m).do(step), step)  # type: ignore[misc]
            assert pool_of(pair.ours) == pool_of(pair.theirs)
            assert pair.ours.check() == []
        hstate = pair.ours.mem.hstate
        assert (hstate.free_huge_pages, hstate.resv_huge_pages) == (hstate.nr_huge_pages, 0)
