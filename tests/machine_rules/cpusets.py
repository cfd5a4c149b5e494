"""Rules for cpusets: groups whose nodes change, and processes that go from one to another."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.mm._mm_types import MemPolicy
from numalab.mm.mpol import MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE

from tests.machine_rules.base import Base, Process, who
from tests.machine_rules.numa import NumaRules, masks
from tests.memory_model import PAGE, Policy

__all__ = ["CpusetRules"]


class CpusetRules(NumaRules):
    """What becomes of policies is taken from the machine (test_mpol_rebind.py knows it); that pages obey is checked."""

    @rule(number=who, group=st.integers(0, 2))
    @precondition(Base.has_processes)
    def join(self, number: int, group: int) -> None:
        """A process moves itself to another group, and its pages come along."""
        process = self.pick(number)
        path = self.directory(process, group)
        result = self.migrating(process, lambda sys: sys.write_file(f"{path}/cgroup.procs", "0"))
        if result is not None:
            process.group = group
            self.rebound(process)

    @rule(number=who, group=st.integers(1, 2), mask=masks)
    @precondition(Base.has_processes)
    def set_mems(self, number: int, group: int, mask: int) -> None:
        """Some process changes the nodes of a group; those without memory allow nothing, and nothing is everything."""
        process, nodes = self.pick(number), self.nodes(mask)
        path = self.directory(process, group)
        text = ",".join(map(str, sorted(nodes)))
        result = self.migrating(process, lambda sys: sys.write_file(f"{path}/cpuset.mems", text))
        if result is None:
            return
        usable = sum(1 << node for node in nodes) & self.mem.memory_nodes
        self.mems[group] = usable or self.mem.memory_nodes
        for member in self.processes:
            if member.group == group:
                self.rebound(member)

    def directory(self, process: Process, group: int) -> str:
        """Where a group is; it is made when it is first needed."""
        path = f"/sys/fs/cgroup/g{group}" if group else "/sys/fs/cgroup"
        self.act(process, lambda sys: sys.mkdir(path, 0o755))
        return path

    def rebound(self, process: Process) -> None:
        """The process obeys, and so do the policies that name nodes for good."""
        ctx, mems = process.program.task.ctx, self.mems[process.group]
        assert ctx.mems_allowed == mems
        process.image.policy = self.obedient(ctx.policy, mems)
        for vma in process.program.mm.vmas.values():
            inside = process.image.mapped(vma.start // PAGE, (vma.end - vma.start) // PAGE)
            process.image.change(inside, policy=self.obedient(vma.policy, mems))

    def obedient(self, policy: MemPolicy | None, mems: int) -> Policy | None:
        if policy is None:
            return None
        if policy.mode in (MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
            assert policy.nodes, policy
            assert not policy.nodes & ~mems, policy
        return policy.mode, policy.nodes
