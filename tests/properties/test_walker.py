"""The compiled walker and its twin agree on any page tables, whatever bits stand in them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.arch import _pagetable
from numalab.arch import _pagetable_reference as twin
from numalab.arch._hw import Hardware
from numalab.arch.topology import load

FRAMES = 64
"""RAM of the machine: all of it is page tables, filled with whatever Hypothesis likes."""


@pytest.fixture(params=[4, 5], scope="module", ids=["4-level", "5-level"])
def hw(request: pytest.FixtureRequest) -> Iterator[Hardware]:
    with Hardware(replace(load(f"1x{FRAMES}p"), boot={"page_table_levels": request.param})) as machine:
        yield machine


def build_entries() -> st.SearchStrategy[int]:
    """Entries at any level: tables and leaves inside RAM with any flags, swap and migration entries, nothing."""
    table = st.integers(0, FRAMES - 1).map(
        lambda pfn: pfn << 12 | twin.PTE_PRESENT | twin.PTE_RW | twin.PTE_USER
    )
    flagged = st.builds(
        lambda pfn, flags, nx: pfn << 12 | flags | nx << 63,
        st.integers(0, FRAMES - 1),
        st.integers(0, 0xFFF),
        st.integers(0, 1),
    )
    swap = st.builds(twin.swp_entry, st.integers(0, 31), st.integers(0, 2**50 - 1))
    return st.one_of(table, table, flagged, swap, st.just(0))


# Few different indexes, so that random addresses meet random entries at every level.
INDEXES = (0, 1, 255, 256, 511)
tables = st.lists(
    st.tuples(st.integers(0, FRAMES - 1), st.sampled_from(INDEXES), build_entries()), max_size=120
)


def build_addresses() -> st.SearchStrategy[int]:
    """Addresses along those indexes, some in order, some beyond what a user can have."""
    cut = st.lists(st.sampled_from(INDEXES), min_size=5, max_size=5)
    near = st.builds(
        lambda cut, offset: sum(index << 12 + 9 * level for level, index in enumerate(cut)) + offset,
        cut,
        st.integers(0, 4095),
    )
    return st.one_of(near, near.map(lambda va: va & (1 << 47) - 1), st.integers(0, 2**64 - 1))


def fill(hw: Hardware, entries: list[tuple[int, int, int]]) -> None:
    words = hw.ram.view(np.uint64).reshape(FRAMES, 512)
    words[:] = 0
    for frame, index, entry in entries:
        words[frame, index] = entry


@given(entries=tables, pgd=st.integers(0, FRAMES - 1), vaddrs=st.lists(build_addresses(), max_size=50))
def test_walk_and_batch(
    hw: Hardware, entries: list[tuple[int, int, int]], pgd: int, vaddrs: list[int]
) -> None:
    fill(hw, entries)
    expected = [twin.walk(hw, pgd << 12, va) for va in vaddrs]
    assert [_pagetable.walk(hw, pgd << 12, va) for va in vaddrs] == expected
    addresses = np.array(vaddrs, dtype=np.uint64)
    for module in (_pagetable, twin):
        ptes = np.full(len(vaddrs), 1, dtype=np.uint64)
        module.walk_batch(hw, pgd << 12, addresses, ptes)
        assert ptes.tolist() == expected


@given(
    entries=tables,
    pgd=st.integers(0, FRAMES - 1),
    start=build_addresses(),
    length=st.integers(0, 1200 * 4096),
    room=st.integers(0, 1300),
)
def test_range(
    hw: Hardware, entries: list[tuple[int, int, int]], pgd: int, start: int, length: int, room: int
) -> None:
    fill(hw, entries)
    start = min(start, 2**64 - 1 - length)
    ours, theirs = np.full(room, 1, dtype=np.uint64), np.full(room, 1, dtype=np.uint64)
    n = _pagetable.walk_range(hw, pgd << 12, start, start + length, ours)
    assert n == twin.walk_range(hw, pgd << 12, start, start + length, theirs)
    assert ours.tolist() == theirs.tolist()
    first = start >> 12
    assert ours[:n].tolist() == [_pagetable.walk(hw, pgd << 12, first + i << 12) for i in range(n)]


@given(entries=tables, pgd=st.integers(0, FRAMES - 1), va=build_addresses())
def test_walking_changes_nothing(
    hw: Hardware, entries: list[tuple[int, int, int]], pgd: int, va: int
) -> None:
    fill(hw, entries)
    before = hw.ram.copy()
    now = hw.now
    _pagetable.walk(hw, pgd << 12, va)
    assert np.array_equal(hw.ram, before)
    assert hw.now == now
