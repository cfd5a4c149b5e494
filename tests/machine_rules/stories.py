"""Rules that are several calls in a row, as programs make them: what single rules would seldom meet in that order."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.mm.mempolicy import MPOL_MF_MOVE_ALL
from numalab.mm.mman import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE

from tests.machine_rules.areas import RW, AreaRules
from tests.machine_rules.base import Base, Process, counts, places, who
from tests.machine_rules.hotplug import HotplugRules
from tests.machine_rules.huge import HugeRules
from tests.machine_rules.numa import masks, modes
from tests.machine_rules.obstacles import ObstacleRules
from tests.machine_rules.processes import ProcessRules, seeds
from tests.memory_model import PAGE

__all__ = ["StoryRules"]

moves = st.sampled_from((MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_DONTUNMAP))


class StoryRules(HugeRules, ProcessRules, AreaRules, HotplugRules, ObstacleRules):
    """All rules: the single calls, and these."""

    def still_there(self, process: Process) -> bool:
        return process in self.processes

    @rule(number=who, at=places, count=counts, mode=modes, mask=masks, seed=seeds)
    @precondition(Base.has_processes)
    def use_bound_memory(self, number: int, at: int, count: int, mode: int, mask: int, seed: int) -> None:
        """mmap, mbind, and only then the first touch."""
        process = self.pick(number)
        vpn = self.place(process, at)
        self.map_at(process, vpn, self.size(count), RW)
        self.bind(process, vpn, self.size(count), mode, mask, 0)
        if self.still_there(process):
            self.fill_range(process, vpn, self.size(count), seed)

    @rule(number=who, at=places, to=places, count=counts, flags=moves, seed=seeds)
    @precondition(Base.has_processes)
    def move_hot_memory(self, number: int, at: int, to: int, count: int, flags: int, seed: int) -> None:
        """Pages that have just been written, and stand in a TLB, go elsewhere; the old place and the new are used."""
        process = self.pick(number)
        old, new, count = self.place(process, at), self.place(process, to), self.size(count)
        self.map_at(process, old, count, RW)
        self.fill_range(process, old, count, seed)
        if self.still_there(process):
            self.remap(process, old, count, count, flags, new)
        for vpn in (old, new):
            if self.still_there(process):
                self.fill_range(process, vpn, count, seed + 1)

    @rule(number=who, at=places, count=counts, mode=modes, mask=masks, node=masks, seed=seeds)
    @precondition(Base.has_a_parent_and_room)
    def share_for_good(
        self, number: int, at: int, count: int, mode: int, mask: int, node: int, seed: int
    ) -> None:
        """Shared memory over a fork: what one writes the other reads, wherever it is bound or moved meanwhile."""
        parent, count = self.pick(number), self.size(count)
        vpn, before = self.place(parent, at), len(self.processes)
        self.share_at(parent, vpn, count, RW)
        if self.still_there(parent):
            self.fork(number)
        if len(self.processes) <= before or not self.still_there(parent):
            return
        child = self.processes[-1]
        self.fill_range(parent, vpn, count, seed)
        if self.still_there(child):
            self.bind(child, vpn, count, mode, mask, MPOL_MF_MOVE_ALL)
        if self.still_there(child):
            self.fill_range(child, vpn, count // 2, seed + 1)
        if self.still_there(parent):
            self.gather(number, number, node)
        for process in (parent, child):
            if self.still_there(process):
                seen = self.act(process, lambda sys: sys.memory.read(vpn * PAGE, count * PAGE))
                assert seen is None or process.image.reads(vpn, seen)

    @rule(number=who, at=places, count=counts, seed=seeds)
    @precondition(Base.has_a_parent_and_room)
    def share_and_part(self, number: int, at: int, count: int, seed: int) -> None:
        """fork, and then both write to what they share."""
        parent = self.pick(number)
        before = len(self.processes)
        self.fork(number)
        if len(self.processes) > before:
            for process in (parent, self.processes[-1]):
                if self.still_there(process):
                    self.fill_range(process, self.place(process, at), self.size(count), seed)
