"""Blocks that are isolated, emptied, given back: the compiled kernels and their twins leave the same machine behind."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch.topology import Topology
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm._page_list import PageList, PageLog
from numalab.mm.memory_block import memory_block, memory_blocks
from numalab.mm.memory_hotplug import memory_block_offline, memory_block_online
from numalab.mm.page_isolation import IsolatedRange
from numalab.mm.zones import zone_of

from tests.strategies import Step, small_machines, steps
from tests.twin_spaces import Spaces, few, life, places, tune, where, who
from tests.twins import Machine, Pair

blocks = st.integers(0, 3)
script = steps(
    *life,
    st.tuples(st.just("unmovable"), blocks, st.booleans()),
    st.tuples(st.just("scan"), who, blocks),
    st.tuples(st.just("isolate"), blocks),
    st.tuples(st.just("undo")),
    st.tuples(st.just("offline"), who, blocks),
    st.tuples(st.just("offline"), who, blocks),
    st.tuples(st.just("online"), blocks, st.sampled_from(("online", "online_movable", "online_kernel"))),
    st.tuples(st.just("pin"), who, places, few),
    least=8,
)


class Driver(Spaces):
    """``kept`` has on each machine the range that is isolated, and pages that are held."""

    def _block(self, machine: Machine, number: int) -> Any:
        there = memory_blocks(machine.mem)
        return memory_block(machine.mem, there[number % len(there)])

    def unmovable(self, number: int, hugetlb_moves: bool) -> None:
        def action(machine: Machine) -> object:
            block = self._block(machine, number)
            if block.nid < 0 or block.number in machine.mem.offline_blocks:
                return None
            return machine.k.memory_hotplug.has_unmovable_pages(
                machine.mem, block.start, block.end, hugetlb_moves
            )

        self.pair.both(action, ("unmovable", number, hugetlb_moves))

    def scan(self, who: int, number: int) -> None:
        """All that can move comes off the LRU, and goes back."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            mem, block = machine.mem, self._block(machine, number)
            pages = PageList()
            pages.log = PageLog()
            met = machine.k.memory_hotplug.isolate_movable_range(mem, block.start, block.end, pages)
            taken = pages.take()
            machine.k.lru.putback(mem, task.cpu, taken)
            return met, taken, pages.log.notes()

        self.act(who, action, ("scan", who, number))

    def isolate(self, number: int) -> None:
        def action(machine: Machine) -> None:
            block = self._block(machine, number)
            if (
                "isolated" not in machine.kept
                and block.nid >= 0
                and block.number not in machine.mem.offline_blocks
            ):
                machine.kept["isolated"] = IsolatedRange(
                    machine.mem, zone_of(machine.mem, block.start), block.start, block.end
                )
                machine.kept["isolated"].isolate()

        self.pair.both(action, ("isolate", number))

    def undo(self) -> None:
        def action(machine: Machine) -> object:
            isolated = machine.kept.pop("isolated", None)
            if isolated is None:
                return None
            free = isolated.is_free()
            isolated.undo()
            return free

        self.pair.both(action, "undo")

    def offline(self, who: int, number: int) -> None:
        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            if "isolated" in machine.kept:
                return None
            task.mems_allowed = machine.mem.memory_nodes
            return memory_block_offline(machine.mem, task, self._block(machine, number))

        self.act(who, action, ("offline", who, number))

    def online(self, number: int, word: str) -> None:
        def action(machine: Machine) -> object:
            if "isolated" in machine.kept:
                return None
            return memory_block_online(machine.mem, self._block(machine, number), word)

        self.pair.both(action, ("online", number, word))

    def pin(self, who: int, place: tuple[int, int], pages: int) -> None:
        """Somebody holds every page of a range; or lets go of what he holds."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            held = machine.kept.pop("held", None)
            if held is None:
                out = np.zeros(pages, np.uint64)
                start = where(place)
                machine.mem.k.task_mmu.pagemap_range(machine.mem, mm, start, out)
                present = out[out >> np.uint64(63) != 0] & np.uint64((1 << 55) - 1)
                held = [pfn for pfn in dict.fromkeys(present.tolist()) if pfn != machine.mem.zero_pfn]
                machine.mem.hot["refcount"][held] += 1
                machine.kept["held"] = held
                return
            for pfn in held:
                machine.k.lru.put_page(machine.mem, 0, pfn)

        self.act(who, action, ("pin", who, place, pages))


@given(topology=small_machines(most=400), sets=st.sampled_from(((1, 4), (7, 9))), script=script)
def test_hotplug(topology: Topology, sets: tuple[int, int], script: list[Step]) -> None:
    with Pair(topology, tune(*sets)) as pair:
        driver = Driver(pair)
        for step in script:
            driver.step(step)
        driver.undo()
        if "held" in pair.ours.kept:
            driver.pin(0, (0, 0), 1)
        # Cpusets rebind the policies whose nodes have gone, and there are none here.
        broken = [found for found in pair.ours.check() if found.clause != "policy"]
        assert not broken, "\n".join(map(str, broken))
