"""User accesses through the TLB: rights, accessed and dirty bits, stale entries, flushes, cost. Compiled and twin."""

from types import ModuleType
from typing import Any

import pytest

from numalab.arch import _mmu, _mmu_reference
from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_TLB_FLUSH

TWO_MIB = 2 << 20
P, RW, USER, A, D = pt.PTE_PRESENT, pt.PTE_RW, pt.PTE_USER, pt.PTE_ACCESSED, pt.PTE_DIRTY
ASID = 5


@pytest.fixture(params=[_mmu, _mmu_reference], ids=["compiled", "twin"])
def mmu(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def write(mmu: ModuleType, t: Any, va: int, data: bytes, cpu: int = 0) -> int:
    done: int = mmu.write(t.hw, cpu, ASID, t.pgd, va, data)
    return done


def read(mmu: ModuleType, t: Any, va: int, n: int, cpu: int = 0) -> bytes:
    """What a load of n bytes gets, cut at the first fault."""
    buf = bytearray(n)
    return bytes(buf[: mmu.read(t.hw, cpu, ASID, t.pgd, va, buf)])


def test_bytes_go_through_the_tables(mmu: ModuleType, tables: Any) -> None:
    tables.map(0x1000, 1030)
    tables.map(0x2000, 1025)
    assert write(mmu, tables, 0x1FFE, b"abcd") == 4
    assert tables.hw.read_phys((1030 << 12) + 4094, 2) == b"ab"
    assert tables.hw.read_phys(1025 << 12, 2) == b"cd"
    assert read(mmu, tables, 0x1FFD, 6) == b"\0abcd\0"


def test_an_access_stops_where_the_tables_end(mmu: ModuleType, tables: Any) -> None:
    tables.map(0x1000, 1030)
    assert write(mmu, tables, 0x1FF0, bytes(100)) == 16
    assert len(read(mmu, tables, 0x1F00, 1000)) == 256
    assert write(mmu, tables, 0x3000, b"x") == 0
    assert write(mmu, tables, 0x1000, b"") == 0


@pytest.mark.parametrize(
    ("flags", "may_read", "may_write"),
    [
        (P | USER | RW, 1, 1),
        (P | USER, 1, 0),
        (P | RW, 0, 0),
        (USER | RW, 0, 0),
        (pt.PTE_PROTNONE | USER | RW, 0, 0),
        (0, 0, 0),
    ],
)
@pytest.mark.parametrize("huge", [False, True])
def test_rights(mmu: ModuleType, tables: Any, flags: int, may_read: int, may_write: int, huge: bool) -> None:
    va = TWO_MIB + (0x3000 if not huge else 0)
    leaf = tables.map(va, 1536 if huge else 1030, flags, huge=huge)
    before = tables.word(leaf)
    assert len(read(mmu, tables, va, 1)) == may_read
    assert tables.word(leaf) == before | (A if may_read else 0)
    assert write(mmu, tables, va, b"x") == may_write
    assert tables.word(leaf) == before | (A if may_read else 0) | (A | D if may_write else 0)
    # An access that was refused leaves no translation behind.
    if not may_read:
        assert not tables.hw.tlb["tag"].any()


@pytest.mark.parametrize("shift", [0, 1, 20])
def test_the_kernel_half_is_out_of_reach(mmu: ModuleType, tables: Any, shift: int) -> None:
    tables.map(0, 1030)
    va = min(pt.user_limit(tables.hw.levels) << shift, (1 << 64) - 4096)
    assert write(mmu, tables, va, b"x") == 0
    assert read(mmu, tables, va, 1) == b""
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, va, 4096, 2, False) == 0


def test_the_last_user_page(mmu: ModuleType, tables: Any) -> None:
    limit = pt.user_limit(tables.hw.levels)
    tables.map(limit - 4096, 1030)
    assert write(mmu, tables, limit - 2, b"abc") == 2


def test_a_huge_page(mmu: ModuleType, tables: Any) -> None:
    leaf = tables.map(TWO_MIB, 1536, huge=True)
    assert write(mmu, tables, TWO_MIB + 0x5FFF, b"ab") == 2
    assert tables.hw.read_phys((1536 << 12) + 0x5FFF, 2) == b"ab"
    assert tables.word(leaf) == 1536 << 12 | 7 | A | D | pt.PTE_PSE
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, TWO_MIB, 4096, 600, True, 9) == 512
    assert tables.hw.read_phys((1536 + 511) << 12, 1) == b"\x09"


def test_touch(mmu: ModuleType, tables: Any) -> None:
    for i in range(3):
        tables.map(0x1000 * i, 1030 + i)
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, 4088, 4096, 5, True) == 3
    assert [tables.hw.read_phys((1030 + i << 12) + 4088, 1) for i in range(3)] == [b"\1"] * 3
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, 0x2008, -4096, 5, True, 7) == 3
    assert tables.hw.read_phys((1030 << 12) + 8, 1) == b"\7"
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, 0, 0, 4, False) == 4
    assert mmu.touch(tables.hw, 0, ASID, tables.pgd, 0x9000, 8, 0, False) == 0


def test_a_forgotten_flush_is_really_wrong(mmu: ModuleType, tables: Any) -> None:
    leaf = tables.map(0x1000, 1030)
    tables.hw.write_phys(1030 << 12, b"old")
    tables.hw.write_phys(1031 << 12, b"new")
    assert read(mmu, tables, 0x1000, 3) == b"old"
    tables.store(leaf, 1031 << 12 | 7)
    assert read(mmu, tables, 0x1000, 3) == b"old"
    assert read(mmu, tables, 0x1000, 3, cpu=1) == b"new"
    mmu.flush_tlb_page(tables.hw, ASID, 0x1000)
    assert read(mmu, tables, 0x1000, 3) == b"new"
    # A page that is gone altogether stays readable just as long.
    tables.store(leaf, 0)
    assert read(mmu, tables, 0x1000, 3) == b"new"
    mmu.flush_tlb_mm(tables.hw, ASID)
    assert read(mmu, tables, 0x1000, 3) == b""


def test_rights_taken_away_need_a_flush_and_rights_given_do_not(mmu: ModuleType, tables: Any) -> None:
    leaf = tables.map(0x1000, 1030)
    assert write(mmu, tables, 0x1000, b"x") == 1
    tables.store(leaf, 1030 << 12 | P | USER)
    assert write(mmu, tables, 0x1000, b"x") == 1
    mmu.flush_tlb_all(tables.hw)
    assert write(mmu, tables, 0x1000, b"x") == 0
    assert read(mmu, tables, 0x1000, 1) == b"x"
    tables.store(leaf, 1030 << 12 | P | USER | RW)
    assert write(mmu, tables, 0x1000, b"y") == 1


def test_a_fault_drops_the_stale_entry(mmu: ModuleType, tables: Any) -> None:
    leaf = tables.map(0x1000, 1030, P | USER)
    read(mmu, tables, 0x1000, 1)
    tables.store(leaf, 0)
    assert write(mmu, tables, 0x1000, b"x") == 0
    assert read(mmu, tables, 0x1000, 1) == b""


def test_the_dirty_bit_costs_one_more_walk(mmu: ModuleType, tables: Any) -> None:
    leaf = tables.map(0x1000, 1030)
    walk = tables.hw.cost["walk"]
    read(mmu, tables, 0x1000, 1)
    assert (tables.word(leaf) & (A | D), tables.hw.now) == (A, walk)
    write(mmu, tables, 0x1000, b"x")
    assert (tables.word(leaf) & (A | D), tables.hw.now) == (A | D, 2 * walk)
    write(mmu, tables, 0x1000, b"x")
    read(mmu, tables, 0x1000, 1)
    assert tables.hw.now == 2 * walk
    # Cleared without a flush, the bits stay clear: that is why mkclean and page aging must flush.
    tables.store(leaf, 1030 << 12 | 7)
    write(mmu, tables, 0x1000, b"x")
    assert tables.word(leaf) & (A | D) == 0


def test_entries_belong_to_a_cpu_and_an_address_space(mmu: ModuleType, tables: Any) -> None:
    tables.map(0x1000, 1030)
    walk = tables.hw.cost["walk"]
    read(mmu, tables, 0x1000, 1, cpu=0)
    read(mmu, tables, 0x1000, 1, cpu=3)
    mmu.read(tables.hw, 0, ASID + 1, tables.pgd, 0x1000, bytearray(1))
    read(mmu, tables, 0x1000, 1, cpu=0)  # the other address space took the slot
    assert tables.hw.now == 4 * walk
    assert (tables.hw.tlb["tag"] != 0).sum() == 2


def test_64_pages_fit_and_65_do_not(mmu: ModuleType, tables: Any) -> None:
    for i in range(65):
        tables.map(0x1000 * i, 1030 + i)
    hw, walk = tables.hw, tables.hw.cost["walk"]
    for _ in range(2):
        mmu.touch(hw, 0, ASID, tables.pgd, 0, 4096, 64, False)
    assert hw.now == 64 * walk
    for _ in range(2):
        mmu.touch(hw, 0, ASID, tables.pgd, 0, 4096, 65, False)
    assert hw.now == (64 + 1 + 2) * walk


def test_flush_of_a_range(mmu: ModuleType, tables: Any) -> None:
    for i in range(8):
        tables.map(0x1000 * i, 1030 + i)
    for cpu in (0, 1):
        mmu.touch(tables.hw, cpu, ASID, tables.pgd, 0, 4096, 8, False)
    mmu.flush_tlb_range(tables.hw, ASID, 0x2000, 0x4001)
    live = [[bool(tables.hw.tlb[cpu, i]["tag"]) for i in range(8)] for cpu in (0, 1)]
    assert live == [[True, True, False, False, False, True, True, True]] * 2
    mmu.flush_tlb_range(tables.hw, ASID + 1, 0, 1 << 40)
    assert tables.hw.tlb["tag"].any()
    mmu.flush_tlb_range(tables.hw, ASID, 0, 1 << 40)
    assert not tables.hw.tlb["tag"].any()


def test_a_shootdown_costs_by_cpu_and_is_traced(mmu: ModuleType, tables: Any) -> None:
    hw = tables.hw
    hw.trace_mask = 1 << EV_TLB_FLUSH
    each = hw.cost["flush"] + hw.cost["flush_cpu"] * 4
    mmu.flush_tlb_page(hw, ASID, 0x1000)
    mmu.flush_tlb_range(hw, ASID, 0x1000, 0x4000)
    mmu.flush_tlb_range(hw, ASID, 0x4000, 0x4000)  # nothing
    mmu.flush_tlb_mm(hw, ASID)
    mmu.flush_tlb_all(hw)
    assert hw.now == 4 * each
    assert hw.ring[: hw.ring_head]["args"][:, 0].tolist() == [1, 3, 2**64 - 1, 2**64 - 1]


def test_a_leaf_outside_ram_is_a_fault_and_not_a_crash(mmu: ModuleType, tables: Any) -> None:
    tables.map(0x1000, 1 << 39)
    assert write(mmu, tables, 0x1000, b"x") == 0
    assert read(mmu, tables, 0x1000, 1) == b""


def test_wrong_arguments(mmu: ModuleType, tables: Any) -> None:
    with pytest.raises(ValueError, match="cpu 4"):
        mmu.read(tables.hw, 4, ASID, tables.pgd, 0, bytearray(1))
    with pytest.raises(ValueError, match="16 bits"):
        mmu.write(tables.hw, 0, 1 << 16, tables.pgd, 0, b"x")
    with pytest.raises(ValueError, match="outside RAM"):
        mmu.touch(tables.hw, 0, ASID, 1 << 40, 0, 1, 1, False)
    tables.hw.close()
    for name, args in (("read", (bytearray(1),)), ("write", (b"x",)), ("touch", (1, 1, False))):
        with pytest.raises(ValueError, match="closed"):
            getattr(mmu, name)(tables.hw, 0, ASID, tables.pgd, 0, *args)
