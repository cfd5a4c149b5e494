"""Two machines, one driven by the compiled MMU, one by its twin: after any accesses and table changes they are equal.

Equal means results, bytes read, all RAM (so accessed and dirty bits too), every TLB entry, the clock and the events.
"""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch import _mmu, _mmu_reference
from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import Hardware
from numalab.arch.topology import load

HUGE_PFN = 512  # one frame of 2 MiB, then the small data frames; tables lie below
DATA_PFNS = range(1024, 1100)
TWO_MIB = 2 << 20
SMALL = range(0, 4 * TWO_MIB, TWO_MIB)  # 4 tables of small pages
BIG = 5 * TWO_MIB  # and one huge page


@dataclass
class Machine:
    """One of the two: hardware, tables of two address spaces, and the module that drives it."""

    hw: Hardware
    mmu: ModuleType
    pgds: list[int]
    next_table: int = 1

    def new_table(self) -> int:
        self.next_table += 1
        return (self.next_table - 1) << 12

    def map(self, space: int, va: int, pte: int, huge: bool) -> None:
        pt.map_pte(self.hw, self.pgds[space], va, pte, self.new_table, huge=huge)


def boot(levels: int, mmu: ModuleType) -> Machine:
    machine = Machine(Hardware(replace(load("1x5M,cpus=2"), boot={"page_table_levels": levels})), mmu, [])
    machine.hw.trace_mask = (1 << 64) - 1
    machine.pgds = [machine.new_table(), machine.new_table()]
    return machine


spaces = st.integers(0, 1)
cpus = st.integers(0, 1)
# Few pages, so that accesses meet mappings; 64 apart, so that they meet in the TLB.
pages = st.builds(
    lambda table, page: table + page * 4096, st.sampled_from(SMALL), st.sampled_from((0, 1, 2, 64, 511))
)
addresses = st.one_of(
    st.builds(int.__add__, pages, st.integers(0, 4095)),
    st.integers(BIG - 4096, BIG + TWO_MIB + 4096),
    st.sampled_from((1 << 47, (1 << 47) - 5, (1 << 56) - 3, 1 << 56, (1 << 64) - 4)),
)
flags = st.one_of(
    st.just(pt.PTE_PRESENT | pt.PTE_RW | pt.PTE_USER),
    st.integers(0, 0xFFF).map(lambda bits: bits & ~pt.PTE_PSE),
)
ptes = st.builds(
    lambda pfn, bits, nx: pfn << 12 | bits | nx << 63,
    st.sampled_from((*DATA_PFNS, 1 << 30)),
    flags,
    st.integers(0, 1),
)
huge_ptes = flags.map(lambda bits: HUGE_PFN << 12 | bits)

steps = st.one_of(
    st.tuples(st.just("map"), spaces, pages, st.one_of(ptes, ptes, st.just(0), st.just(pt.swp_entry(31, 5)))),
    st.tuples(st.just("map huge"), spaces, huge_ptes),
    st.tuples(st.just("read"), cpus, spaces, addresses, st.integers(0, 9000)),
    st.tuples(st.just("write"), cpus, spaces, addresses, st.binary(max_size=9000)),
    st.tuples(
        st.just("touch"), cpus, spaces, addresses, st.sampled_from((0, 1, 4096, -4096, 4096 * 64, 5000)),
        st.integers(0, 600), st.booleans(), st.integers(0, 255),
    ),
    st.tuples(st.just("flush page"), spaces, addresses),
    st.tuples(st.just("flush range"), spaces, addresses, addresses),
    st.tuples(st.just("flush mm"), spaces),
    st.tuples(st.just("flush all")),
)  # fmt: skip


def run(machine: Machine, step: tuple[Any, ...]) -> object:
    """Do one step; what it answers."""
    hw, mmu = machine.hw, machine.mmu
    match step:
        case ("map", space, va, pte):
            machine.map(space, va, pte, huge=False)
            return None
        case ("map huge", space, pte):
            machine.map(space, BIG, pte, huge=True)
            return None
        case ("read", cpu, space, va, n):
            buf = bytearray(n)
            done = mmu.read(hw, cpu, space + 1, machine.pgds[space], va, buf)
            return done, bytes(buf)
        case ("write", cpu, space, va, data):
            return mmu.write(hw, cpu, space + 1, machine.pgds[space], va, data)
        case ("touch", cpu, space, *rest):
            return mmu.touch(hw, cpu, space + 1, machine.pgds[space], *rest)
        case ("flush page", space, va):
            return mmu.flush_tlb_page(hw, space + 1, va)
        case ("flush range", space, start, end):
            return mmu.flush_tlb_range(hw, space + 1, start, end)
        case ("flush mm", space):
            return mmu.flush_tlb_mm(hw, space + 1)
        case _:
            return mmu.flush_tlb_all(hw)


def live(hw: Hardware) -> "np.ndarray[Any, Any]":
    """TLB entries; the PTE of an empty slot does not matter."""
    return np.where(hw.tlb["tag"] != 0, hw.tlb["pte"], 0)


@pytest.mark.parametrize("levels", [4, 5])
@given(script=st.lists(steps, max_size=40))
def test_twins(levels: int, script: list[tuple[Any, ...]]) -> None:
    ours, theirs = boot(levels, _mmu), boot(levels, _mmu_reference)
    for step in script:
        assert run(ours, step) == run(theirs, step), step
    check_equal(ours, theirs)
    ours.hw.close()
    theirs.hw.close()


def check_equal(ours: Machine, theirs: Machine) -> None:
    assert ours.hw.now == theirs.hw.now
    assert np.array_equal(ours.hw.tlb["tag"], theirs.hw.tlb["tag"])
    assert np.array_equal(live(ours.hw), live(theirs.hw))
    assert np.array_equal(ours.hw.ram, theirs.hw.ram)
    head = ours.hw.ring_head
    assert head == theirs.hw.ring_head
    assert np.array_equal(ours.hw.ring[:head], theirs.hw.ring[:head])
