"""Where mappings go, as recorded: Linux 6.12 without randomisation, five levels of page tables.

There the vdso takes the uppermost six pages; here a mapping of six pages stands in for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EINVAL, ENOMEM, EPERM, KernelError
from numalab.arch.node import Topology
from numalab.mm._mm_types import MmStruct
from numalab.mm.get_unmapped_area import MMAP_BASE, get_unmapped_area, round_hint_to_min, task_size
from numalab.mm.mman import MAP_32BIT, MAP_ANONYMOUS, MAP_FIXED, MAP_GROWSDOWN, MAP_PRIVATE, PROT_READ
from numalab.mm.mmap import do_mmap

from tests.mm_machine import PAGE, MmMachine
from tests.strategies import machine

PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS
FIVE_LEVELS = machine((0, (2048,), 1), levels=5)
FOUR_LEVELS = machine((0, (2048,), 1))


def place(m: MmMachine, mm: MmStruct, hint: int, length: int, flags: int = 0) -> int:
    """The address, or -errno."""
    try:
        return do_mmap(mm, m.ctx, hint, length, PROT_READ, PRIVATE | flags)
    except KernelError as error:
        return -error.errno


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine(FIVE_LEVELS) as made:
        yield made


def test_the_recorded_places(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 6)
    recorded = [
        (0, 0x5000, 0, 0x7FFFF7FF4000),
        (0, 0x200000, 0, 0x7FFFF7C00000),  # whole huge pages: on their boundary
        (0, 0x5000, 0, 0x7FFFF7FEF000),
        (0, 0x400000, 0, 0x7FFFF7800000),
        (0, 0x201000, 0, 0x7FFFF75FF000),
        (0x7FFFF7000000, 0x200000, 0, 0x7FFFF7000000),
        (0x7FFFF7000000, 0x200000, 0, 0x7FFFF73FF000),  # a hint that is taken: not aligned then
        (0x7FFFF7001000, 0x200000, 0, 0x7FFFF6E00000),
        (0x7FFFFFFFF000, 0x1000, 0, 0x7FFFF7FEE000),  # would straddle the end of 47 bits
        (0x7FFFFFFFE000, 0x1000, 0, 0x7FFFFFFFE000),
        (0x800000000000, 0x1000, 0, 0x800000000000),
        (0x1000, 0x1000, 0, 0x10000),
        (0, 0x1000, MAP_32BIT, 0x40000000),
        (0, 0x2000, MAP_32BIT, 0x40001000),
        (0, 0x200000, MAP_32BIT, 0x40200000),
        (0, 0x200000, MAP_32BIT, 0x40600000),
        (0x50000000, 0x1000, MAP_32BIT, 0x50000000),
        (0x50000000, 0x1000, MAP_32BIT, 0x40003000),
        (0, 0x1000, MAP_GROWSDOWN, 0x7FFFF7FED000),
        (0, 0x1000, 0, 0x7FFFF7EEC000),  # 256 pages below something that grows
        (0, 0x101000, 0, 0x7FFFF72FE000),
        (0, 0x1000, MAP_GROWSDOWN, 0x7FFFF7EEB000),
        (0, 0x200000, MAP_GROWSDOWN, 0x7FFFF6C00000),
        (0, 0x200000, 0, 0x7FFFF6800000),
        (0, 0x7FFFFFFFF000, 0, -ENOMEM),
    ]
    assert [place(m, mm, hint, length, flags) for hint, length, flags, _ in recorded] == [
        r[3] for r in recorded
    ]


@pytest.mark.parametrize(
    ("topology", "end"), [(FOUR_LEVELS, (1 << 47) - PAGE), (FIVE_LEVELS, (1 << 56) - PAGE)]
)
def test_the_end_of_the_address_space(topology: Topology, end: int) -> None:
    with MmMachine(topology) as m:
        mm = m.new_mm()
        assert task_size(m.mem) == end
        assert get_unmapped_area(mm, end - PAGE, PAGE, MAP_FIXED) == end - PAGE
        for addr in (end, end - PAGE + 1):
            with pytest.raises(KernelError) as refusal:
                get_unmapped_area(mm, addr, PAGE, MAP_FIXED)
            assert refusal.value.errno == ENOMEM
        with pytest.raises(KernelError):
            get_unmapped_area(mm, 0, end + PAGE, 0)


def test_orders(m: MmMachine) -> None:
    mm = m.new_mm()
    assert get_unmapped_area(mm, PAGE, PAGE, MAP_FIXED) == PAGE
    for addr, admin, errno in ((PAGE, False, EPERM), (5 * PAGE + 1, True, EINVAL)):
        with pytest.raises(KernelError) as refusal:
            get_unmapped_area(mm, addr, PAGE, MAP_FIXED, admin=admin)
        assert refusal.value.errno == errno


def test_hints() -> None:
    assert [round_hint_to_min(h) for h in (0, 1, 0x1000, 0x10000, 0x12345)] == [
        0,
        0,
        0x10000,
        0x10000,
        0x12000,
    ]


def test_from_the_bottom_when_the_top_is_full(m: MmMachine) -> None:
    mm = m.new_mm()
    third = 0x2AAAAAAAA000
    do_mmap(mm, m.ctx, PAGE, MMAP_BASE - PAGE, 0, PRIVATE | MAP_FIXED)
    assert place(m, mm, 0, PAGE) == MMAP_BASE
    do_mmap(mm, m.ctx, third, PAGE, PROT_READ, PRIVATE | MAP_FIXED)
    assert place(m, mm, 0, PAGE) == MMAP_BASE + PAGE
