"""Rules for huge pages: memory that can have them, and advice about them."""

from __future__ import annotations

from errno import EAGAIN, EINVAL, ENOMEM

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.mm.mman import MADV_COLLAPSE, MADV_HUGEPAGE, MADV_NOHUGEPAGE

from tests.machine_rules.areas import RW, AreaRules
from tests.machine_rules.base import NEAR, NEAR_PAGES, Base, counts, places, who
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
