"""Rules for huge pages: memory that can have them, and advice about them."""

from __future__ import annotations

from contextlib import suppress
from errno import EAGAIN, EINVAL, ENOMEM

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.mm.mempolicy import MPOL_MF_MOVE
from numalab.mm.mman import (
    MADV_COLLAPSE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MAP_ANONYMOUS,
    MAP_HUGETLB,
    MAP_PRIVATE,
    MAP_SHARED,
)
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.vm_flags import PMD_SIZE
from numalab.syscalls.sys import Sys

from tests.machine_rules.areas import RW, AreaRules
from tests.machine_rules.base import NEAR, NEAR_PAGES, Base, counts, places, who
from tests.machine_rules.numa import masks
from tests.machine_rules.processes import ProcessRules, seeds
from tests.memory_model import PAGE

__all__ = ["HugeRules"]

#: Where 2 MiB begin.
BLOCK = NEAR + NEAR_PAGES // 2
advice = st.sampled_from((MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE, MADV_COLLAPSE))


class HugeRules(ProcessRules, AreaRules):
    """What huge pages change is where memory lies, not what is in it."""

    def may_have_huge(self) -> bool:
        """Machines whose memory is a few pages have none of these."""
        return self.has_processes() and self.mem.thp.enabled != "never"

    @rule(number=who, blocks=st.integers(1, 2), more=st.integers(0, 40), seed=seeds)
    @precondition(may_have_huge)
    def map_huge(self, number: int, blocks: int, more: int, seed: int) -> None:
        """Memory that begins with whole blocks, and a few bytes in the last of them."""
        process = self.pick(number)
        self.map_at(process, BLOCK, 512 * blocks + more, RW)
        if process in self.processes:
            self.fill_range(process, BLOCK + 512 * blocks - 2, 4, seed)

    @rule(number=who, at=places, count=counts, advice=advice)
    @precondition(Base.has_processes)
    def advise_huge(self, number: int, at: int, count: int, advice: int) -> None:
        process, count = self.pick(number), self.size(count)
        vpn = self.place(process, at)
        result = self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, advice), enomem=True)
        refusals = (-EINVAL, -EAGAIN, -ENOMEM) if advice == MADV_COLLAPSE else (-ENOMEM,)
        assert result in (None, 0, *refusals)

    @rule(number=who)
    @precondition(may_have_huge)
    def collapse_everything(self, number: int) -> None:
        process = self.pick(number)
        for vpn in sorted(process.image.pages):
            if vpn % 512 == 0 and process.image.mapped(vpn, 512) == list(range(vpn, vpn + 512)):
                result = self.act(
                    process, lambda sys, at=vpn: sys.madvise(at * PAGE, 512 * PAGE, MADV_COLLAPSE)
                )  # type: ignore[misc]
                assert result in (None, 0, -EINVAL, -EAGAIN, -ENOMEM)

    @rule(number=who, pages=st.integers(1, 3), nodes=masks, shared=st.booleans(), seed=seeds)
    @precondition(may_have_huge)
    def use_a_pool(self, number: int, pages: int, nodes: int, shared: bool, seed: int) -> None:
        """A pool of huge pages comes, a process has some of them, moves them and finds what it wrote; the pool goes."""
        process, hstate = self.pick(number), self.mem.hstate
        kind = MAP_SHARED if shared else MAP_PRIVATE
        said = seed.to_bytes(8, "little") * 3

        def story(sys: Sys) -> int:
            at = sys.mmap(pages * PMD_SIZE, RW, kind | MAP_ANONYMOUS | MAP_HUGETLB)
            places = range(at + seed, at + pages * PMD_SIZE - len(said), PMD_SIZE - 8)
            for place in places:
                sys.memory.write(place, said)
            with suppress(OSError):  # nodes that the process may not use
                sys.mbind(at, pages * PMD_SIZE, MPOL_BIND, nodes, flags=MPOL_MF_MOVE)
            for place in places:
                assert sys.memory.read(place, len(said)) == said
            sys.munmap(at, pages * PMD_SIZE)
            return 0

        ctx = self.machine.kernel.init.ctx
        hstate.set_max_huge_pages(ctx, pages, -1, self.mem.memory_nodes)
        assert self.act(process, story, enomem=True) in (None, 0, -ENOMEM)
        assert (hstate.free_huge_pages, hstate.resv_huge_pages) == (hstate.nr_huge_pages, 0)
        hstate.set_max_huge_pages(ctx, seed % 2, -1, self.mem.memory_nodes)
