"""Page tables of programs: the compiled kernels and their twins leave the same machine behind, whatever programs do.

Programs map, touch, share, protect, move and give up memory; now and then pages are under migration meanwhile, or a
swap entry stands where a kernel does not expect one.
"""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch import _pagetable_reference as pt
from numalab.arch.topology import Topology
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vma_tree import vma_lookup

from tests.strategies import small_machines, steps
from tests.twin_spaces import PAGE, Spaces, few, life, places, tune, where, who
from tests.twins import Machine, Pair

script = steps(
    *life,
    *life,
    st.tuples(st.just("look"), who, places, few),
    st.tuples(st.just("swap out"), who, places),
    st.tuples(st.just("fault some"), who, places, few, st.booleans()),
    st.tuples(st.just("freeze"), who, places, few),
    st.tuples(st.just("thaw")),
)


class Driver(Spaces):
    """Programs, and calls of the kernels themselves."""

    def look(self, who: int, place: tuple[int, int], pages: int) -> None:
        """What /proc shows, and who maps the first page."""
        start = where(place) & -PAGE

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            words = np.zeros(pages, np.uint64)
            machine.k.memory.pagemap_range(machine.mem, mm, start, words)
            stats = machine.k.memory.numa_stats(machine.mem, mm, start, start + pages * PAGE)
            mapped = [int(word) & (1 << 55) - 1 for word in words if word >> np.uint64(63)]
            return words, stats, [machine.k.rmap.rmap_walk(machine.mem, pfn) for pfn in mapped[:1]]

        self.act(who, action, ("look", who, place, pages))

    def fault_some(self, who: int, place: tuple[int, int], pages: int, write: bool) -> None:
        """One call of fault_range(), as far as it comes."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            vma = vma_lookup(mm, where(place))
            if vma is None:
                return None
            anon_vma_prepare(mm, vma)
            end = min(vma.end, where(place) + pages * PAGE)
            return machine.k.memory.fault_range(machine.mem, mm, vma, task, where(place), end, write)

        self.act(who, action, ("fault some", who, place, pages, write))

    def swap_out(self, who: int, place: tuple[int, int]) -> None:
        """A swap entry where nothing was ever touched: every kernel that meets it says so, or passes by."""
        va = where(place)

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            vma = vma_lookup(mm, va)
            at = pt.pte_index(pt.words(machine.hw), machine.hw.levels, mm.pgd, va)
            if vma is None or at < 0 or machine.word(8 * at):
                return None
            machine.store(8 * at, pt.swp_entry(3, 77))
            memory, mem = machine.k.memory, machine.mem
            start, end = max(vma.start, va - 3 * PAGE), min(vma.end, va + 3 * PAGE)
            answers = [
                memory.fault_range(mem, mm, vma, task, start, end, False),
                memory.protect_range(mem, mm, vma, start, end),
                memory.zap_range(mem, mm, task.cpu, start, end, False),
                memory.numa_stats(mem, mm, start, end),
            ]
            words = np.zeros(1, np.uint64)
            memory.pagemap_range(mem, mm, va, words)
            machine.store(8 * at, 0)
            return answers, words

        self.act(who, action, ("swap out", who, place))


@given(
    topology=small_machines(most=400),
    sets=st.sampled_from(((1, 4), (7, 9), (31, 60))),
    debug=st.booleans(),
    script=script,
)
def test_memory(topology: Topology, sets: tuple[int, int], debug: bool, script: list[Any]) -> None:
    with Pair(topology, tune(*sets), debug_vm=debug) as pair:
        driver = Driver(pair)
        for step in script:
            driver.step(step)
        driver.thaw()
        assert pair.ours.check() == []
