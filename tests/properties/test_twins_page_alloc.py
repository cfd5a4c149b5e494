"""Allocating and freeing frames: the compiled page allocator and its twin leave the same machine behind."""

from random import Random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology

from tests.strategies import Step, policies, policy, small_machines, steps
from tests.twins import Machine, Pair

NO_PFN = 0xFFFFFFFF
GFP_USER_MOVABLE, GFP_THISNODE, GFP_HARDWALL, GFP_DIRECT_RECLAIM, GFP_HIGH, GFP_MEMALLOC = (
    1 << i for i in range(6)
)

gfps = st.one_of(st.just(GFP_USER_MOVABLE), st.integers(0, 63))
counts = st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(0, 200), st.just(700))
seeds = st.integers(0, 1 << 30)

script = steps(
    st.tuples(st.just("alloc"), st.integers(0, 3), policies, st.integers(0, 1 << 40), gfps, counts),
    st.tuples(st.just("alloc"), st.integers(0, 3), policies, st.integers(0, 1 << 40), gfps, counts),
    st.tuples(st.just("alloc node"), st.integers(0, 3), st.integers(0, 4), gfps, st.integers(0, 10)),
    st.tuples(st.just("free"), st.integers(0, 3), st.booleans(), st.integers(0, 100), seeds),
    st.tuples(st.just("free"), st.integers(0, 3), st.booleans(), st.integers(0, 100), seeds),
    st.tuples(st.just("free block"), st.integers(0, 100)),
    st.tuples(st.just("drain"), st.integers(0, 3)),
    st.tuples(st.just("cpuset"), st.integers(0, 3), st.integers(1, 31), st.booleans()),
    st.tuples(st.just("policy"), st.integers(0, 3), policies),
    st.tuples(st.just("weights"), st.integers(0, 4), st.integers(1, 9)),
    st.tuples(st.just("table"), st.integers(0, 3)),
    st.tuples(st.just("interleave"), policies, st.integers(0, 1 << 40)),
)


def tune(batch: int, high: int, cut: int, reserve: int) -> Any:
    """Per-CPU sets that a tiny machine fills, a zone that begins at an odd frame, a low zone that keeps something
    back.
    """

    def action(machine: Machine) -> None:
        zones = machine.mem.zones
        zones["pcp_batch"], zones["pcp_high"] = batch, high
        zones["lowmem_reserve"][0] = reserve
        last = zones[-1]  # nothing of it has been used yet
        last["start"] += cut
        last["virgin"] += cut
        last["managed"] -= cut
        last["free"] -= cut

    return action


class Driver:
    """What the script holds: single frames and blocks, the same on both machines."""

    def __init__(self, pair: Pair, topology: Topology) -> None:
        self.pair = pair
        self.topology = topology
        self.frames: list[int] = []
        self.blocks: list[tuple[int, int]] = []
        self.tables: list[int] = []

    def step(self, step: Step) -> None:
        getattr(self, step[0].replace(" ", "_"))(*step[1:])

    def both(self, action: Any, note: object) -> Any:
        return self.pair.both(action, note)

    def cpu(self, n: int) -> int:
        return n % self.topology.nr_cpus

    def alloc(self, cpu: int, drawn: Any, ilx: int, gfp: int, want: int) -> None:
        def action(machine: Machine) -> object:
            out = np.zeros(want, np.uint32)
            pol = policy(drawn, machine.mem.memory_nodes)
            got = machine.k.page_alloc.alloc_bulk(
                machine.mem, machine.tasks[self.cpu(cpu)], pol, ilx, gfp, out
            )
            return got, out[:got]

        self.frames += self.both(action, ("alloc", cpu, drawn, ilx, gfp, want))[1]

    def alloc_node(self, cpu: int, nid: int, gfp: int, order: int) -> None:
        nid %= self.topology.nr_node_ids
        pfn = self.both(
            lambda machine: machine.k.page_alloc.alloc_pages_node(
                machine.mem, self.cpu(cpu), nid, gfp, order
            ),
            ("alloc node", cpu, nid, gfp, order),
        )
        if pfn != NO_PFN:
            self.blocks.append((pfn, order))

    def free(self, cpu: int, sort: bool, percent: int, seed: int) -> None:
        picked = Random(seed).sample(self.frames, len(self.frames) * percent // 100)
        if sort:
            picked.sort()
        gone = set(picked)
        self.frames = [pfn for pfn in self.frames if pfn not in gone]
        self.both(
            lambda machine: machine.k.page_alloc.free_bulk(
                machine.mem, self.cpu(cpu), np.array(picked, np.uint32)
            ),
            ("free", cpu, picked),
        )

    def free_block(self, which: int) -> None:
        if self.blocks:
            pfn, order = self.blocks.pop(which % len(self.blocks))
            self.both(
                lambda machine: machine.k.page_alloc.free_block(machine.mem, pfn, order),
                ("free block", pfn, order),
            )

    def drain(self, cpu: int) -> None:
        self.both(
            lambda machine: machine.k.page_alloc.drain_pages(machine.mem, self.cpu(cpu)), ("drain", cpu)
        )

    def cpuset(self, cpu: int, mask: int, on: bool) -> None:
        def action(machine: Machine) -> None:
            task = machine.tasks[self.cpu(cpu)]
            task.mems_allowed = mask & machine.mem.memory_nodes or machine.mem.memory_nodes
            task.gfp = GFP_HARDWALL if on else 0

        self.both(action, ("cpuset", cpu, mask, on))

    def policy(self, cpu: int, drawn: Any) -> None:
        def action(machine: Machine) -> None:
            machine.tasks[self.cpu(cpu)].policy = policy(drawn, machine.mem.memory_nodes)

        self.both(action, ("policy", cpu, drawn))

    def weights(self, nid: int, weight: int) -> None:
        def action(machine: Machine) -> None:
            machine.mem.weights[nid] = weight

        self.both(action, ("weights", nid, weight))

    def table(self, cpu: int) -> None:
        def action(machine: Machine) -> object:
            return machine.k.page_alloc.alloc_pgd(machine.mem, machine.tasks[self.cpu(cpu)], 7)

        self.both(action, ("table", cpu))

    def interleave(self, drawn: Any, ilx: int) -> None:
        def action(machine: Machine) -> object:
            pol = policy(drawn, machine.mem.memory_nodes)
            if pol is None:
                return None
            return machine.k.page_alloc.interleave_node(machine.mem, machine.ctx, pol, ilx)

        self.both(action, ("interleave", drawn, ilx))


@given(
    topology=small_machines(),
    batch=st.sampled_from((1, 3, 31)),
    high=st.sampled_from((0, 4, 60)),
    cut=st.integers(0, 13),
    reserve=st.sampled_from((0, 0, 20, 10000)),
    debug=st.booleans(),
    script=script,
)
def test_page_alloc(
    topology: Topology, batch: int, high: int, cut: int, reserve: int, debug: bool, script: list[Step]
) -> None:
    with Pair(topology, tune(batch, high, cut, reserve), debug_vm=debug) as pair:
        driver = Driver(pair, topology)
        for step in script:
            driver.step(step)
