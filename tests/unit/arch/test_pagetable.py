"""The walker on tables built by hand: compiled and twin, 4 and 5 levels."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from numalab.arch import _pagetable, _pagetable_reference

pt = _pagetable_reference
TWO_MIB = 2 << 20


@pytest.fixture(params=[_pagetable, _pagetable_reference], ids=["compiled", "twin"])
def walker(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def test_both_have_the_same_bits() -> None:
    names = [name for name in dir(_pagetable) if name.isupper()]
    assert len(names) > 15
    for name in names:
        assert getattr(_pagetable, name) == getattr(_pagetable_reference, name), name


def test_walk(walker: ModuleType, tables: Any) -> None:
    limit = pt.user_limit(tables.hw.levels)
    for i, va in enumerate((0, 0x400000, 0x7F0000001000, limit - 4096)):
        tables.map(va, 1024 + i)
        assert walker.walk(tables.hw, tables.pgd, va) == (1024 + i) << 12 | 7
        assert walker.walk(tables.hw, tables.pgd, va + 4095) == (1024 + i) << 12 | 7
    assert walker.walk(tables.hw, tables.pgd, 0x401000) == 0
    assert walker.walk(tables.hw, tables.pgd, 1 << 40) == 0


def test_addresses_of_the_kernel_half_have_no_entry(walker: ModuleType, tables: Any) -> None:
    tables.map(0, 1024)
    span = 1 << 12 + 9 * tables.hw.levels
    for va in (span // 2, span, span * 4, (1 << 64) - 4096):
        assert walker.walk(tables.hw, tables.pgd, va) == 0


def test_absent_pages_have_their_entry(walker: ModuleType, tables: Any) -> None:
    swap = pt.swp_entry(3, 0x1234)
    pa = tables.map(0x5000, 0, 0)
    tables.store(pa, swap)
    assert walker.walk(tables.hw, tables.pgd, 0x5000) == swap
    assert pt.pte_swaplike(swap)
    assert (pt.swp_type(swap), pt.swp_offset(swap)) == (3, 0x1234)
    assert not pt.is_migration_entry(swap)
    assert pt.is_migration_entry(pt.swp_entry(pt.SWP_MIGRATION_WRITE, 5))
    assert not pt.pte_mapped(swap)


def test_prot_none_pages_have_theirs(walker: ModuleType, tables: Any) -> None:
    tables.map(0x5000, 1030, pt.PTE_PROTNONE)
    pte = walker.walk(tables.hw, tables.pgd, 0x5000)
    assert pt.pte_mapped(pte)
    assert pt.pte_pfn(pte) == 1030


@pytest.mark.parametrize("flags", [pt.PTE_PRESENT | pt.PTE_USER, pt.PTE_PROTNONE])
def test_a_two_mib_leaf_answers_as_its_small_pages(walker: ModuleType, tables: Any, flags: int) -> None:
    tables.map(TWO_MIB, 1024, flags, huge=True)
    for page in (0, 1, 511):
        assert walker.walk(tables.hw, tables.pgd, TWO_MIB + page * 4096 + 9) == (1024 + page) << 12 | flags
    assert walker.walk(tables.hw, tables.pgd, 2 * TWO_MIB) == 0
    assert walker.walk(tables.hw, tables.pgd, TWO_MIB - 4096) == 0


def test_batch(walker: ModuleType, tables: Any) -> None:
    tables.map(0x1000, 1025)
    tables.map(TWO_MIB, 1024, huge=True)
    tables.map(1 << 39, 1026)
    vaddrs = [0x1000, 0x1008, 0x2000, TWO_MIB + 0x3000, 0x1000, 1 << 39, 1 << 63, 1 << 39, 1 << 38, TWO_MIB]
    ptes = np.full(len(vaddrs) + 1, 99, dtype=np.uint64)
    walker.walk_batch(tables.hw, tables.pgd, np.array(vaddrs, dtype=np.uint64), ptes)
    assert ptes.tolist() == [walker.walk(tables.hw, tables.pgd, va) for va in vaddrs] + [99]
    assert ptes[0] == 1025 << 12 | 7
    walker.walk_batch(tables.hw, tables.pgd, np.zeros(0, dtype=np.uint64), ptes)
    with pytest.raises(ValueError, match="2 addresses, but room for 1"):
        walker.walk_batch(tables.hw, tables.pgd, ptes[:2].copy(), ptes[:1])


def test_range(walker: ModuleType, tables: Any) -> None:
    tables.map(TWO_MIB - 4096, 1600)
    tables.map(TWO_MIB, 1024, huge=True)
    tables.map(2 * TWO_MIB, 1601)
    start, end = TWO_MIB - 8192, 2 * TWO_MIB + 8192
    out = np.full(600, 99, dtype=np.uint64)
    assert walker.walk_range(tables.hw, tables.pgd, start, end, out) == 516
    expected = [walker.walk(tables.hw, tables.pgd, va) for va in range(start, end, 4096)]
    assert out[:516].tolist() == expected
    assert out[516] == 99
    assert [i for i, pte in enumerate(expected) if not pte] == [0, 515]


@pytest.mark.parametrize(
    ("start", "end", "n"),
    [
        (0x1000, 0x1000, 0),
        (0x1800, 0x1800, 0),
        (0x1000, 0x1001, 1),
        (0x1FFF, 0x2001, 2),
        (0x1000, 0x100000, 8),
    ],
)
def test_a_range_is_the_pages_it_touches(
    walker: ModuleType, tables: Any, start: int, end: int, n: int
) -> None:
    out = np.full(9, 99, dtype=np.uint64)
    tables.map(0x1000, 1025)
    assert walker.walk_range(tables.hw, tables.pgd, start, end, out[:8]) == n
    assert out[0] == (1025 << 12 | 7 if n else 99)
    assert (out[n:] == 99).all()


def test_a_range_may_reach_beyond_what_a_user_can_have(walker: ModuleType, tables: Any) -> None:
    limit = pt.user_limit(tables.hw.levels)
    tables.map(limit - 4096, 1025)
    out = np.full(4, 99, dtype=np.uint64)
    assert walker.walk_range(tables.hw, tables.pgd, limit - 4096, limit + 4096 * 3, out) == 4
    assert out.tolist() == [1025 << 12 | 7, 0, 0, 0]


def test_wrong_arguments(walker: ModuleType, tables: Any) -> None:
    one = np.zeros(1, dtype=np.uint64)
    with pytest.raises(ValueError, match="ends before it starts"):
        walker.walk_range(tables.hw, tables.pgd, 4096, 0, one)
    with pytest.raises(ValueError, match="outside RAM"):
        walker.walk(tables.hw, 1 << 40, 0)
    tables.hw.close()
    for name, args in (("walk", (0,)), ("walk_batch", (one, one.copy())), ("walk_range", (0, 1, one))):
        with pytest.raises(ValueError, match="closed"):
            getattr(walker, name)(tables.hw, tables.pgd, *args)


def test_small_pages_do_not_go_into_a_huge_one(tables: Any) -> None:
    tables.map(TWO_MIB, 1024, huge=True)
    with pytest.raises(ValueError, match="2 MiB page"):
        tables.map(TWO_MIB, 1600)
