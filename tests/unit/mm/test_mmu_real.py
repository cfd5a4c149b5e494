"""The page tables and the TLB are real: what stands in them decides what a program reads, and nothing else does.

Each test changes bytes of RAM by hand, as broken hardware or a forgetful kernel would, and looks through the eyes of
a program.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from numalab.arch._pagetable import PTE_DIRTY, PTE_RW
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import read_user, write_user
from numalab.mm.mempolicy import MPOL_MF_MOVE
from numalab.mm.migrate.nodes import do_migrate_pages

from tests.mm_machine import PAGE, PTE_PFN, MmMachine

ONE, TWO = b"one " * 1024, b"two " * 1024


@pytest.fixture(params=[4, 5], ids=["4-level", "5-level"])
def machine(request: pytest.FixtureRequest) -> Iterator[MmMachine]:
    with MmMachine(f"2x2M,cpus=2 page_table_levels={request.param}") as m:
        yield m


@pytest.fixture
def program(machine: MmMachine) -> MmStruct:
    return machine.new_mm()


def mapped(machine: MmMachine, mm: MmStruct, *contents: bytes) -> int:
    """Pages with these contents; returns the address of the first."""
    addr = machine.map(mm, len(contents))
    write_user(mm, machine.ctx, addr, b"".join(contents))
    return addr


def test_a_changed_pte_is_seen_after_a_flush_and_not_before(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE, TWO)
    first, second = (machine.word(machine.pte_address(program, addr + at)) for at in (0, PAGE))
    machine.store(machine.pte_address(program, addr), second)
    assert read_user(program, machine.ctx, addr, PAGE) == ONE, "the TLB still has the old frame"
    machine.mem.k.mmu.flush_tlb_page(machine.hw, program.asid, addr)
    assert read_user(program, machine.ctx, addr, PAGE) == TWO
    machine.store(machine.pte_address(program, addr), first)
    machine.mem.k.mmu.flush_tlb_mm(machine.hw, program.asid)
    assert read_user(program, machine.ctx, addr, PAGE) == ONE


def test_each_cpu_has_a_tlb_of_its_own(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE, TWO)
    other = machine.task(1)
    machine.store(machine.pte_address(program, addr), machine.word(machine.pte_address(program, addr + PAGE)))
    assert read_user(program, machine.ctx, addr, 4) == ONE[:4]
    assert read_user(program, other, addr, 4) == TWO[:4]


def test_a_store_goes_where_the_pte_points(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE, TWO)
    target = machine.pfn(program, addr + PAGE)
    machine.store(machine.pte_address(program, addr), machine.word(machine.pte_address(program, addr + PAGE)))
    machine.mem.k.mmu.flush_tlb_all(machine.hw)
    write_user(program, machine.ctx, addr + 100, b"written")
    assert machine.hw.read_phys(target * PAGE + 100, 7) == b"written"
    assert read_user(program, machine.ctx, addr + PAGE + 100, 7) == b"written"


def test_bytes_in_ram_are_the_bytes_that_a_program_reads(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE)
    machine.hw.write_phys(machine.pfn(program, addr) * PAGE + 8, b"by hand")
    assert read_user(program, machine.ctx, addr, 16) == ONE[:8] + b"by hand" + ONE[15:16]


def test_a_pte_without_the_write_bit_makes_a_store_fault(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE)
    where = machine.pte_address(program, addr)
    machine.store(where, machine.word(where) & ~(PTE_RW | PTE_DIRTY))
    machine.mem.k.mmu.flush_tlb_page(machine.hw, program.asid, addr)
    faults = machine.ctx.min_flt
    write_user(program, machine.ctx, addr, b"again")
    assert machine.ctx.min_flt == faults + 1
    assert machine.word(where) & (PTE_RW | PTE_DIRTY) == PTE_RW | PTE_DIRTY


def test_nothing_is_read_from_the_old_frames_after_a_migration(machine: MmMachine, program: MmStruct) -> None:
    pages = [bytes([i]) * PAGE for i in range(1, 41)]
    addr = mapped(machine, program, *pages)
    old = [machine.pfn(program, addr + i * PAGE) for i in range(len(pages))]
    assert do_migrate_pages(machine.mem, program, machine.ctx, 1, 2, MPOL_MF_MOVE) == 0
    new = machine.ptes(program, addr, len(pages)) & np.uint64(PTE_PFN)
    assert {machine.mem.node_of(int(pte) >> 12) for pte in new} == {1}
    for pfn in old:
        machine.hw.write_phys(pfn * PAGE, b"\xaa" * PAGE)
    for cpu in range(machine.hw.nr_cpus):
        assert read_user(program, machine.task(cpu), addr, len(pages) * PAGE) == b"".join(pages)


def test_a_shared_page_migrates_for_all_who_share_it(machine: MmMachine, program: MmStruct) -> None:
    addr = mapped(machine, program, ONE, TWO)
    child = machine.fork(program)
    old = [machine.pfn(program, addr), machine.pfn(program, addr + PAGE)]
    assert read_user(child, machine.task(1), addr, 2 * PAGE) == ONE + TWO
    assert do_migrate_pages(machine.mem, program, machine.ctx, 1, 2, 4) == 0  # MPOL_MF_MOVE_ALL
    for pfn in old:
        assert machine.hw.read_phys(pfn * PAGE, PAGE) == b"\xaa" * PAGE, "debug_vm poisons what is freed"
    for mm in (program, child):
        assert read_user(mm, machine.task(1), addr, 2 * PAGE) == ONE + TWO
    assert machine.pfn(program, addr) == machine.pfn(child, addr) not in old
