"""Rules for where pages are: policies, migration, and others who have a page when a migration wants it."""

from __future__ import annotations

from collections.abc import Callable
from errno import EFAULT, EINVAL, EIO, ENOENT, ENOMEM, EOPNOTSUPP
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import precondition, rule

from numalab.mm.invariants_memory import PG
from numalab.mm.mempolicy import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
)
from numalab.mm.page_alloc import drain_all_pages
from numalab.mm.swap import lru_add_drain_all
from numalab.syscalls.sys import Sys

from tests.machine_rules.base import MAPPED, PFN_MASK, Base, Process, counts, places, who
from tests.memory_model import PAGE, Policy

__all__ = ["NumaRules"]

masks = st.integers(1, 63)
modes = st.sampled_from(
    (
        MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_BIND, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED_MANY,
        MPOL_WEIGHTED_INTERLEAVE,
    )
)  # fmt: skip
moving = st.sampled_from((MPOL_MF_MOVE, MPOL_MF_MOVE_ALL))
strictness = st.sampled_from((0, MPOL_MF_STRICT))


class NumaRules(Base):
    """Results are checked as far as they can be known: a page may stay for reasons that the model does not have."""

    def policy(self, process: Process, mode: int, mask: int) -> tuple[set[int], Policy | None, bool]:
        """The nodes to ask for, the policy that the process gets, and whether it is valid."""
        if mode in (MPOL_DEFAULT, MPOL_LOCAL):
            return set(), None if mode == MPOL_DEFAULT else (mode, 0), True
        nodes = self.nodes(mask)
        usable = sum(1 << node for node in nodes) & self.mems[process.group]
        return nodes, (mode, usable & -usable if mode == MPOL_PREFERRED else usable), usable != 0

    def held(self) -> dict[tuple[Process, int], int]:
        """Frames of pages that somebody has locked or isolated: no migration may take them away."""
        flags = self.mem.hot["flags"]
        return {
            (process, vpn): (pte & PFN_MASK) >> 12
            for process in self.processes
            for vpn, pte in self.ptes(process, sorted(process.image.pages)).items()
            if pte & MAPPED and flags[(pte & PFN_MASK) >> 12] & (PG.LOCKED | PG.ISOLATED)
        }

    def migrating(self, process: Process, call: Callable[[Sys], int], *, enomem: bool = False) -> int | None:
        """A call that may migrate: what is held, and still so afterwards, stays where it is."""
        held = self.held()
        result = self.act(process, call, enomem=enomem)
        flags = self.mem.hot["flags"]
        for (owner, vpn), pfn in held.items():
            if pfn not in self.isolated and not int(flags[pfn]) & PG.LOCKED:
                continue
            assert owner not in self.processes or self.frame(owner, vpn) == pfn, f"{vpn * PAGE:#x} has moved"
        return result

    @rule(
        number=who,
        at=places,
        count=counts,
        mode=modes,
        mask=masks,
        move=moving | st.just(0),
        strict=strictness,
    )
    @precondition(Base.has_processes)
    def mbind(self, number: int, at: int, count: int, mode: int, mask: int, move: int, strict: int) -> None:
        process = self.pick(number)
        self.bind(process, self.place(process, at), self.size(count), mode, mask, move | strict)

    def bind(self, process: Process, vpn: int, count: int, mode: int, mask: int, flags: int) -> None:
        """What is misplaced may stay, whether it is to be moved or not: then STRICT is EIO."""
        nodes, policy, valid = self.policy(process, mode, mask)
        result = self.migrating(
            process, lambda sys: sys.mbind(vpn * PAGE, count * PAGE, mode, nodes, flags=flags)
        )
        if result is None:
            return
        mapped = process.image.mapped(vpn, count)
        whole = len(mapped) == count or (mode == MPOL_DEFAULT and bool(mapped))
        expected = -EINVAL if not valid else 0 if whole else -EFAULT
        assert result == expected or (
            result == -EIO and flags & MPOL_MF_STRICT and valid and mode != MPOL_DEFAULT
        )
        if result == 0 or (result == -EIO and flags & ~MPOL_MF_STRICT and whole):
            process.image.change(mapped, policy=policy)

    @rule(number=who, at=places, count=counts, node=masks)
    @precondition(Base.has_processes)
    def set_home_node(self, number: int, at: int, count: int, node: int) -> None:
        """Where allocation begins changes; to which nodes it is bound does not."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        home = self.memory_nodes[node % len(self.memory_nodes)]
        policies = {process.image.pages[page].policy for page in process.image.mapped(vpn, count)} - {None}
        result = self.act(process, lambda sys: sys.set_mempolicy_home_node(vpn * PAGE, count * PAGE, home, 0))
        suits = {policy is not None and policy[0] in (MPOL_BIND, MPOL_PREFERRED_MANY) for policy in policies}
        assert result == (-EOPNOTSUPP if False in suits else 0 if suits else -ENOENT)

    @rule(number=who, mode=modes, mask=masks)
    @precondition(Base.has_processes)
    def set_mempolicy(self, number: int, mode: int, mask: int) -> None:
        process = self.pick(number)
        nodes, policy, valid = self.policy(process, mode, mask)
        result = self.act(process, lambda sys: sys.set_mempolicy(mode, nodes))
        if result is not None:
            assert result == (0 if valid else -EINVAL)
            process.image.policy = policy if valid else process.image.policy

    @rule(number=who, other=who, node=masks)
    @precondition(Base.has_processes)
    def gather(self, number: int, other: int, node: int) -> None:
        """Everything that a process has goes to one node, wherever it is."""
        to = self.memory_nodes[node % len(self.memory_nodes)]
        self.migrate(
            self.pick(number), self.pick(other), {n for n in self.memory_nodes if n != to} or {to}, {to}
        )

    @rule(number=who, other=who, old=masks, new=masks)
    @precondition(Base.has_processes)
    def migrate_pages(self, number: int, other: int, old: int, new: int) -> None:
        self.migrate(self.pick(number), self.pick(other), self.nodes(old), self.nodes(new))

    def migrate(self, process: Process, target: Process, source: set[int], to: set[int]) -> None:
        """Root moves any process within his own cpuset; if nothing had to stay, nothing is left on the old nodes."""
        pid = target.program.task.pid
        result = self.migrating(process, lambda sys: sys.migrate_pages(pid, source, to))
        if result is None:
            return
        memory = {node for node in to if self.mems[process.group] >> node & 1}
        assert (result == -EINVAL) == (not memory), result
        assert result >= 0 or self.may_run_out or not memory
        if result == 0 and not source & memory:
            left = self.ptes(target, sorted(target.image.pages)).values()
            assert not source & {self.node_of(pte) for pte in left}

    @rule(number=who, other=who, at=places, count=counts, start=masks, step=st.integers(0, 3), flags=moving)
    @precondition(Base.has_processes)
    def move_pages(
        self, number: int, other: int, at: int, count: int, start: int, step: int, flags: int
    ) -> None:
        """Each page to a node of its own; where a status names a node, there the page is.

        The node must be in the cpuset of its owner; there is no frame for it unless it is in that of the caller, too.
        """
        count = self.size(count)
        process, target = self.pick(number), self.pick(other)
        vpn = self.place(target, at)
        allowed = [node for node in self.memory_nodes if self.mems[target.group] >> node & 1]
        nodes = [allowed[(start + i * step) % len(allowed)] for i in range(count)]
        outside = bool(self.mems[target.group] & ~self.mems[process.group])
        addresses = [(vpn + i) * PAGE for i in range(count)]
        pid = target.program.task.pid
        result: Any = self.migrating(
            process, lambda sys: sys.move_pages(pid, addresses, nodes, flags=flags), enomem=outside
        )
        if result is None:
            return
        assert result >= 0 or self.may_run_out or (outside and result == -ENOMEM), result
        if result == 0:
            ptes = self.ptes(target, list(range(vpn, vpn + count)))
            for i, status in enumerate(result.status):
                if status >= 0:
                    assert status == nodes[i]
                    where = {status}
                    if self.mem.thp.enabled != "never":  # a later address may have taken the huge page along
                        where.update(result.status[i : i + 512])
                    if self.may_run_out:  # it may have gone to swap since
                        where.add(-1)
                    assert self.node_of(ptes[vpn + i]) in where

    @rule()
    def drain(self) -> None:
        """Per-CPU sets and batches are emptied, as an allocation that runs short does it."""
        lru_add_drain_all(self.mem)
        drain_all_pages(self.mem)

    @rule(number=who, at=places)
    @precondition(Base.has_processes)
    def isolate(self, number: int, at: int) -> None:
        """Somebody takes a page off the LRU, as a migration under way does, and keeps it for a while."""
        process = self.pick(number)
        pfn = self.frame(process, self.place(process, at))
        if pfn is not None and self.mem.k.lru.isolate_pfns(self.mem, np.array([pfn], np.uint32)):
            self.isolated.append(pfn)

    def has_isolated(self) -> bool:
        return bool(self.isolated)

    @rule()
    @precondition(has_isolated)
    def put_back(self) -> None:
        self.mem.k.lru.putback(self.mem, 0, np.array(self.isolated, np.uint32))
        self.isolated = []
