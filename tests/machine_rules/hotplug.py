"""Rules for memory that goes and comes while programs run."""

from __future__ import annotations

from errno import EBUSY, EINVAL

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.arch.errno import KernelError
from numalab.mm.memory_block import memory_block, memory_blocks
from numalab.mm.nodemask import nodelist_parse, nodes_in

from tests.machine_rules.base import Base, who
from tests.machine_rules.cpusets import CpusetRules

__all__ = ["HotplugRules"]

words = st.sampled_from(("online", "online_movable", "online_kernel"))


class HotplugRules(CpusetRules):
    """A block may stay for a reason; if it goes, nobody has lost anything, and all that names nodes knows."""

    @rule(number=who, block=st.integers(0, 7), word=words)
    @precondition(Base.has_processes)
    def toggle_block(self, number: int, block: int, word: str) -> None:
        """What is online goes offline, and the other way round."""
        process = self.pick(number)
        blocks = memory_blocks(self.mem)
        chosen = memory_block(self.mem, blocks[block % len(blocks)])
        assert chosen is not None
        if any(chosen.start <= pfn < chosen.end for pfn in self.isolated):
            return  # the test itself has pages there, and would be waited for
        offline = chosen.number in self.mem.offline_blocks
        allowed = process.program.task.ctx.mems_allowed & self.mem.memory_nodes
        home = 1 << chosen.nid if chosen.nid >= 0 else 0
        if not offline and allowed & ~home == 0:
            return  # pages go where the cpuset of him who asks allows it: he would try until a signal comes
        path = f"/sys/devices/system/memory/memory{chosen.number}/state"
        result = self.act(process, lambda sys: sys.write_file(path, word if offline else "offline"))
        stays = isinstance(result, int) and result < 0
        if stays:
            assert not offline, "what is offline can always come online"
            assert result in (-EBUSY, -EINVAL)
        if result is not None:
            assert (chosen.number in self.mem.offline_blocks) == (offline == stays)
        self.memory_nodes[:] = list(nodes_in(self.mem.memory_nodes))
        for group in range(3):
            try:
                text = self.machine.read_file(f"/sys/fs/cgroup/g{group}/cpuset.mems.effective")
            except KernelError:  # the root, or a group that is still to be made
                self.mems[group] = self.mem.memory_nodes
            else:
                self.mems[group] = nodelist_parse(text)
        for member in self.processes:
            self.rebound(member)
