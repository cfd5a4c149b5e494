"""Page tables of programs: the compiled kernels and their twins leave the same machine behind, whatever programs do.

Programs map, touch, share, protect, move and give up memory; now and then pages are under migration meanwhile, or a
swap entry stands where a kernel does not expect one.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.mman import PROT_READ, PROT_WRITE
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vm_flags import VM_SHARED, VM_WRITE
from numalab.mm.vma_tree import vma_lookup

from tests.strategies import Step, small_machines, steps
from tests.twin_spaces import PAGE, Spaces, few, life, places, prots, tune, where, who
from tests.twins import Machine, Pair

RW = PROT_READ | PROT_WRITE


def locked_twice(one: int, two: int, place: tuple[int, int], pages: int) -> list[Step]:
    """Two programs lock pages that they share, and one after the other unlocks them."""
    return [
        ("fault", one, place, pages, True),
        ("protect", one, place, pages, PROT_READ),
        ("fork", one),
        ("lock", one, place, pages, True),
        ("lock", two, place, pages, True),
        ("lock", one, place, pages, False),
        ("lock", two, place, pages, False),
    ]


def writable_again(who: int, place: tuple[int, int], pages: int) -> list[Step]:
    return [
        ("fault", who, place, pages, True),
        ("protect", who, place, pages, PROT_READ),
        ("protect", who, place, pages, RW),
    ]


def migrating(who: int, place: tuple[int, int], pages: int, step: Step) -> list[Step]:
    """Something happens to pages that are on their way."""
    return [
        ("fault", who, place, pages, True),
        ("freeze", who, place, pages),
        (step[0], who, place, *step[1:]),
        ("thaw",),
    ]


def short_of_memory(nid: int, left: int, step: Step) -> list[Step]:
    return [("fill up", nid, left), step, ("fill up", nid, left)]


script = steps(
    *life,
    st.tuples(st.just("look"), who, places, few),
    st.tuples(st.just("fault some"), who, places, few, st.booleans()),
    st.tuples(st.just("freeze"), who, places, few),
    st.tuples(st.just("thaw")),
    stories=(
        st.builds(locked_twice, who, who, places, few),
        st.builds(writable_again, who, places, few),
        st.builds(
            migrating,
            who,
            places,
            few,
            st.one_of(
                st.tuples(st.just("move"), places, few),
                st.tuples(st.just("protect"), few, prots),
                st.tuples(st.just("lock"), few, st.booleans()),
                st.tuples(st.just("unmap"), few),
                st.tuples(st.just("look"), few),
            ),
        ),
        st.builds(short_of_memory, st.integers(0, 4), st.integers(0, 12), st.one_of(*life)),
    ),
    least=10,
)


class Driver(Spaces):
    """Programs, and calls of the kernels themselves."""

    def look(self, who: int, place: tuple[int, int], pages: int) -> None:
        """What /proc shows, and who maps the first page."""
        start = where(place) & -PAGE

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            words = np.zeros(pages, np.uint64)
            machine.k.task_mmu.pagemap_range(machine.mem, mm, start, words)
            stats = machine.k.task_mmu.numa_stats(machine.mem, mm, start, start + pages * PAGE)
            smaps = machine.k.task_mmu.smaps_stats(machine.mem, mm, start, start + pages * PAGE)
            mapped = [int(word) & (1 << 55) - 1 for word in words if word >> np.uint64(63)]
            return words, stats, smaps, [machine.k.rmap.rmap_walk(machine.mem, pfn) for pfn in mapped[:1]]

        self.act(who, action, ("look", who, place, pages))

    def fault_some(self, who: int, place: tuple[int, int], pages: int, write: bool) -> None:
        """One call of fault_range(), as far as it comes."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            vma = vma_lookup(mm, where(place))
            if vma is None or (write and not vma.flags & VM_WRITE):
                return None
            if not vma.flags & VM_SHARED:
                anon_vma_prepare(mm, vma)
            end = min(vma.end, where(place) + pages * PAGE)
            return machine.k.memory.fault_range(machine.mem, mm, vma, task, where(place), end, write)

        self.act(who, action, ("fault some", who, place, pages, write))


@given(
    topology=small_machines(most=400),
    sets=st.sampled_from(((1, 4), (7, 9), (31, 60))),
    debug=st.booleans(),
    script=script,
)
def test_memory(topology: Topology, sets: tuple[int, int], debug: bool, script: list[Step]) -> None:
    with Pair(topology, tune(*sets), debug_vm=debug) as pair:
        driver = Driver(pair)
        for step in script:
            driver.step(step)
        driver.thaw()
        broken = pair.ours.check(held=dict.fromkeys(pair.ours.kept.get("taken", ()), 0))
        assert not broken, "\n".join(map(str, broken))
