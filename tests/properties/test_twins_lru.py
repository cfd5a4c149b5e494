"""Pages on LRU lists: the compiled lists and their twin leave the same machine behind.

Pages come and go in an order that Hypothesis likes, so chunks get holes, lists are compacted, and with a small pool
of chunks that happens because the last one was taken.
"""

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology
from numalab.mm import _constants as c

from tests.strategies import Step, machine, small_machines, steps
from tests.twins import Machine, Pair

#: What a page may be when it is added.
kinds = st.sampled_from(
    (
        c.PG_swapbacked,
        c.PG_swapbacked | c.PG_active,
        0,
        c.PG_active,
        c.PG_swapbacked | c.PG_unevictable,
        c.PG_swapbacked | c.PG_unevictable | c.PG_mlocked,
    )
)
cpus = st.integers(0, 3)
#: Which of the pages in question: so many percent of them, in any order.
some = st.tuples(st.integers(0, 100), st.integers(0, 1 << 30))

script = steps(
    st.tuples(st.just("add"), cpus, kinds, some),
    st.tuples(st.just("add"), cpus, kinds, some),
    st.tuples(st.just("drain"), cpus),
    st.tuples(st.just("drain_all")),
    st.tuples(st.just("isolate"), some),
    st.tuples(st.just("isolate"), some),
    st.tuples(st.just("thin out")),
    st.tuples(st.just("putback"), cpus, some),
    st.tuples(st.just("putback"), cpus, some),
    st.tuples(st.just("release"), some),
    st.tuples(st.just("compact")),
)


class Driver:
    """Frames by what is known of them: free for use, added, isolated; the same on both machines."""

    def __init__(self, pair: Pair, pages: int) -> None:
        self.pair = pair
        out = np.zeros(pages, np.uint32)
        got = pair.both(lambda this: this.k.page_alloc.alloc_bulk(this.mem, this.ctx, None, 0, 1, out))
        self.frames = out[:got].tolist()
        self.added: list[int] = []
        self.isolated: list[int] = []

    def step(self, step: Step) -> None:
        getattr(self, step[0].replace(" ", "_"))(*step[1:])

    def both(self, name: str, *args: Any) -> Any:
        """Call a function of the LRU on both machines; arrays of frames are changed in place, so each gets its own."""

        def action(this: Machine) -> object:
            own = [np.array(arg, np.uint32) if isinstance(arg, list) else arg for arg in args]
            return getattr(this.k.lru, name)(this.mem, *own), own[-1:]

        return self.pair.both(action, (name, *args))

    def cpu(self, n: int) -> int:
        return n % self.pair.ours.hw.nr_cpus

    def add(self, cpu: int, kind: int, some: Any) -> None:
        pfns = pick(self.frames, some)

        def prepare(this: Machine) -> None:
            this.mem.hot["flags"][pfns] |= np.uint32(kind)
            this.mem.hot["refcount"][pfns] = 1
            if kind & c.PG_mlocked:
                for pfn in pfns:
                    this.mem.node_stat[this.mem.node_of(pfn), c.NR_MLOCK] += 1

        self.pair.both(prepare)
        self.both("add", self.cpu(cpu), pfns)
        self.added += pfns

    def drain(self, cpu: int) -> None:
        self.both("drain", self.cpu(cpu))

    def drain_all(self) -> None:
        self.both("drain_all")

    def isolate(self, some: Any) -> None:
        self.take(pick(self.added, some))

    def take(self, pfns: list[int]) -> None:
        taken, [order] = self.both("isolate_pfns", pfns)
        self.isolated += order[:taken]
        self.added += sorted(set(pfns) - set(order[:taken]))

    def thin_out(self) -> None:
        """Isolate all but one page of each chunk, and put them back: the lists grow without getting longer."""
        lru = self.pair.ours.mem.hot["lru"]
        stay = {int(lru[pfn]) // 64: pfn for pfn in self.added}
        pfns = [pfn for pfn in self.added if lru[pfn] and stay[int(lru[pfn]) // 64] != pfn]
        before = set(self.isolated)
        gone = set(pfns)
        self.added = [pfn for pfn in self.added if pfn not in gone]
        self.take(pfns)
        self.back(0, [pfn for pfn in self.isolated if pfn not in before])

    def putback(self, cpu: int, some: Any) -> None:
        self.back(self.cpu(cpu), pick(self.isolated, some, keep=True))

    def back(self, cpu: int, pfns: list[int]) -> None:
        gone = set(pfns)
        self.isolated = [pfn for pfn in self.isolated if pfn not in gone]
        hot = self.pair.ours.mem.hot
        self.added += [pfn for pfn in pfns if hot["refcount"][pfn] > 1]
        self.pair.both(
            lambda this: this.k.lru.putback(this.mem, cpu, np.array(pfns, np.uint32)), ("putback", pfns)
        )

    def release(self, some: Any) -> None:
        """Owners give pages up that wait in a batch or are isolated: whoever still holds them frees them."""
        flags = self.pair.ours.mem.hot["flags"]
        held = [pfn for pfn in self.added + self.isolated if flags[pfn] & (c.PG_lru_batch | c.PG_isolated)]
        held = [pfn for pfn in held if self.pair.ours.mem.hot["refcount"][pfn] > 1]
        pfns = pick(held, some)
        gone = set(pfns)
        self.added = [pfn for pfn in self.added if pfn not in gone]

        def action(this: Machine) -> None:
            this.mem.hot["refcount"][pfns] -= 1

        self.pair.both(action)

    def compact(self) -> None:
        self.both("compact")


def pick(pfns: list[int], some: Any, *, keep: bool = False) -> list[int]:
    """Draw some of a list, and take them out of it unless they are to stay."""
    percent, seed = some
    picked: list[int] = Random(seed).sample(pfns, len(pfns) * percent // 100)
    if not keep:
        gone = set(picked)
        pfns[:] = [pfn for pfn in pfns if pfn not in gone]
    return picked


def small_pool(this: Machine) -> None:
    """As few chunks as compacted lists can need."""
    mem = this.mem
    mem.chunks[2] = int(mem.zones["managed"].sum()) // 60 + 2 * len(mem.lrus) + 1


@given(
    topology=small_machines(least=200),
    pages=st.one_of(st.integers(0, 100), st.integers(0, 600)),
    script=script,
)
def test_lru(topology: Topology, pages: int, script: list[Step]) -> None:
    with Pair(topology, small_pool) as pair:
        driver = Driver(pair, pages)
        for step in script:
            driver.step(step)


def test_the_pool_of_chunks_never_runs_out() -> None:
    """Lists that are all holes use chunks without end; when the last one is taken, the holes are closed."""
    with Pair(machine((0, (1500,), 1))) as pair:
        driver = Driver(pair, 1200)
        driver.add(0, c.PG_swapbacked, (100, 0))
        driver.drain_all()
        chunks = [int(pair.ours.mem.lrus["chunks"][0])]
        for _ in range(12):
            driver.thin_out()
            chunks.append(int(pair.ours.mem.lrus["chunks"][0]))
        limit = int(pair.ours.mem.chunks[2])
        assert int(pair.ours.mem.chunks[0]) <= limit
        assert any(after < before for before, after in pairwise(chunks)), chunks
