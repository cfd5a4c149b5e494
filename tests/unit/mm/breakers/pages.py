"""Invariants 3, 7, 8 and the rss of 10 broken by hand: references, mappings, page tables, TLBs."""

from numalab.arch._pagetable import (
    PTE_DIRTY,
    PTE_PSE,
    PTE_RW,
    PTE_SPECIAL,
    SWP_MIGRATION_WRITE,
    SWP_TYPE_SHIFT,
)
from numalab.mm.invariants_memory import PG

from tests.mm_machine import PAGE, PTE_PFN
from tests.unit.mm.breakers.scene import FAR, Scene, breaks


def edit(m: Scene, addr: int, *, clear: int = 0, put: int = 0) -> None:
    """Change bits of a PTE of the parent."""
    where = m.pte_address(m.parent, addr)
    m.store(where, m.word(where) & ~clear | put)


def upper(m: Scene, addr: int, level: int) -> int:
    """Where in RAM the parent's entry for an address stands, at one level."""
    table = m.parent.pgd
    for above in range(m.hw.levels - 1, level, -1):
        table = m.word(table + 8 * (addr >> 12 + 9 * above & 511)) & PTE_PFN
    return table + 8 * (addr >> 12 + 9 * level & 511)


# --- 3: references and mappings ------------------------------------------------------------------------------------


@breaks(3, "refcount", "references")
def a_reference_is_leaked(m: Scene) -> None:
    m.page(m.own)["refcount"] += 1


@breaks(3, "refcount", "references")
def a_pin_without_a_reference(m: Scene) -> None:
    m.page(m.own)["pincount"] += 1


@breaks(3, "refcount", "references")
def a_swap_cache_without_a_reference(m: Scene) -> None:
    m.page(m.own)["flags"] |= PG.SWAPCACHE


@breaks(3, "mapcount", "PTEs that name it")
def a_mapping_is_not_counted(m: Scene) -> None:
    m.page(m.shared)["mapcount"] -= 1


@breaks(3, "rmap", "the address of its one PTE")
def rmap_points_to_the_next_pte(m: Scene) -> None:
    m.page(m.own)["rmap"] += 8


@breaks(3, "rmap", "the address of its one PTE")
def a_shared_page_knows_one_of_its_ptes(m: Scene) -> None:
    m.page(m.shared)["rmap"] = m.pte_address(m.child, m.data + 20 * PAGE)


@breaks(3, "zero page", "a special PTE names it")
def a_special_pte_names_a_page(m: Scene) -> None:
    edit(m, m.data, put=PTE_SPECIAL)


@breaks(3, "zero page", "an ordinary PTE names the zero page")
def the_zero_page_is_mapped_as_a_page(m: Scene) -> None:
    edit(m, m.data + 30 * PAGE, clear=PTE_SPECIAL)


@breaks(3, "zero page", "not marked as reserved")
def the_zero_page_forgets_what_it_is(m: Scene) -> None:
    m.page(m.mem.zero_pfn)["flags"] &= ~PG.RESERVED & 0xFFFFFFFF


@breaks(3, "tables", "an entry leads to a page that is no table")
def an_upper_entry_leads_to_a_page(m: Scene) -> None:
    m.store(upper(m, FAR, 1), m.own << 12 | 0x7)


@breaks(3, "tables", "an upper entry that nothing makes")
def an_upper_entry_is_a_huge_leaf(m: Scene) -> None:
    m.store(upper(m, FAR, 2), m.word(upper(m, FAR, 2)) | PTE_PSE)


@breaks(3, "tables", "a page table in several places")
def two_entries_lead_to_one_table(m: Scene) -> None:
    m.store(upper(m, FAR, 1) + 8, m.word(upper(m, FAR, 1)))


@breaks(3, "tables", "a page table of no address space")
def a_table_is_cut_off(m: Scene) -> None:
    m.store(upper(m, FAR, 1), 0)


@breaks(3, "tables", "owner of the page table")
def a_table_names_another_address_space(m: Scene) -> None:
    m.mem.cold[m.parent.pgd >> 12]["mapping"] = m.child.asid


@breaks(3, "tables", "level of the page table")
def a_table_names_another_level(m: Scene) -> None:
    m.mem.cold[m.word(upper(m, FAR, 1)) >> 12]["private"] = 1


@breaks(3, "tables", "what the page table maps")
def a_table_names_other_addresses(m: Scene) -> None:
    m.mem.cold[m.word(upper(m, FAR, 1)) >> 12]["index"] += 1


@breaks(3, "tables", "a page table where there is no area")
def a_table_outlives_its_area(m: Scene) -> None:
    del m.parent.vmas[m.far], m.parent.vmas[m.batched]
    m.parent.vmas_changed()


@breaks(3, "nr_tables", "tables of asid")
def a_table_is_not_counted(m: Scene) -> None:
    m.store(upper(m, FAR, 1) + 8, m.word(upper(m, FAR, 1)))


@breaks(3, "asid", "two address spaces have one number")
def an_address_space_exists_twice(m: Scene) -> None:
    m.mms.append(m.parent)


@breaks(3, "reverse map", "its index in its mapping")
def a_page_forgets_its_place_in_its_area(m: Scene) -> None:
    m.mem.cold[m.own]["index"] += 1


@breaks(3, "reverse map", "its anon_vma does not lead to")
def a_page_belongs_to_another_anon_vma(m: Scene) -> None:
    m.mem.cold[m.own]["mapping"] += 77


# --- 7: migration entries ------------------------------------------------------------------------------------------


def leave_entry(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.data), SWP_MIGRATION_WRITE << SWP_TYPE_SHIFT | m.own << 12)


@breaks(7, "entry", "a migration entry is left behind")
def a_migration_entry_is_left_behind(m: Scene) -> None:
    leave_entry(m)


@breaks(7, "entry", "a migration entry is left behind")
def a_migration_entry_of_a_locked_page_that_nobody_migrates(m: Scene) -> None:
    leave_entry(m)
    m.page(m.own)["flags"] |= PG.LOCKED


# --- 8: contents, as far as state tells ----------------------------------------------------------------------------


@breaks(8, "exclusive", "a page of one process is mapped by several")
def fork_forgets_that_a_page_is_shared_now(m: Scene) -> None:
    m.page(m.shared)["flags"] |= PG.ANON_EXCLUSIVE


@breaks(8, "writable", "writable without a copy")
def fork_leaves_a_page_writable(m: Scene) -> None:
    edit(m, m.data + 20 * PAGE, put=PTE_RW)


@breaks(8, "writable", "the zero page is writable")
def the_zero_page_may_be_written(m: Scene) -> None:
    edit(m, m.data + 30 * PAGE, put=PTE_RW)


def tlb_entry(m: Scene) -> tuple[int, int]:
    """A TLB entry of the parent on CPU 1: the last page that it wrote there."""
    cpu, slot = 1, (m.batched >> 12) + 2 & 63
    assert m.hw.tlb[cpu, slot]["tag"] >> 17 == (m.batched >> 12) + 2
    return cpu, slot


@breaks(8, "tlb", "otherwise than the tables")
def a_tlb_remembers_another_frame(m: Scene) -> None:
    m.hw.tlb["pte"][tlb_entry(m)] += PAGE


@breaks(8, "tlb", "otherwise than the tables")
def a_tlb_remembers_what_is_unmapped(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.batched + 2 * PAGE), 0)


@breaks(8, "tlb", "otherwise than the tables")
def a_tlb_remembers_a_right_that_was_taken_away(m: Scene) -> None:
    edit(m, m.batched + 2 * PAGE, clear=PTE_RW)


@breaks(8, "tlb", "otherwise than the tables")
def a_tlb_would_store_without_leaving_the_dirty_bit(m: Scene) -> None:
    edit(m, m.batched + 2 * PAGE, clear=PTE_DIRTY)


@breaks(8, "tlb", "otherwise than the tables")
def a_tlb_remembers_an_address_space_that_is_gone(m: Scene) -> None:
    tag = int(m.hw.tlb["tag"][tlb_entry(m)])
    m.hw.tlb["tag"][tlb_entry(m)] = tag & ~(0xFFFF << 1) | 99 << 1


# --- 10: rss -------------------------------------------------------------------------------------------------------


@breaks(10, "rss_anon", "pages of asid")
def a_page_vanishes_from_the_tables(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.data), 0)


@breaks(10, "rss_shmem", "pages of asid")
def a_page_becomes_shared_memory(m: Scene) -> None:
    m.page(m.own)["flags"] &= ~PG.ANON & 0xFFFFFFFF


@breaks(10, "rss_file", "pages of asid")
def a_page_becomes_a_page_of_a_file(m: Scene) -> None:
    m.page(m.own)["flags"] &= ~(PG.ANON | PG.SWAPBACKED) & 0xFFFFFFFF


@breaks(10, "rss_swap", "pages of asid")
def a_page_is_in_swap_and_not_counted(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.data), 1 << SWP_TYPE_SHIFT | 5 << 9)
