"""Invariants 9 and 11 broken by hand: policies, areas, rights, anon_vmas."""

from numalab.arch._pagetable import PTE_PRESENT, PTE_PROTNONE, PTE_RW
from numalab.mm._mm_types import VMA, AddressSpace, AllocCtx, AnonVma, MemPolicy
from numalab.mm.mpol import MPOL_BIND, MPOL_PREFERRED
from numalab.mm.vm_flags import VM_READ, VM_WRITE
from numalab.mm.vma_tree import vma_gaps

from tests.mm_machine import PAGE
from tests.unit.mm.breakers.pages import edit
from tests.unit.mm.breakers.scene import Scene, breaks


def anon_vma(area: VMA) -> AnonVma:
    """That of an area which has one."""
    assert area.anon_vma is not None
    return area.anon_vma


# --- 9: policies ---------------------------------------------------------------------------------------------------


@breaks(9, "policy", "names a node without memory")
def an_area_is_bound_to_a_node_without_memory(m: Scene) -> None:
    m.vma(m.parent, m.data).policy = MemPolicy(MPOL_BIND, 0, 0b100)


@breaks(9, "policy", "names a node without memory")
def a_task_is_bound_to_a_node_without_memory(m: Scene) -> None:
    m.ctx.policy = MemPolicy(MPOL_BIND, 0, 0b101)


@breaks(9, "policy", "prefers more than one node")
def an_area_prefers_two_nodes(m: Scene) -> None:
    m.vma(m.parent, m.data).policy = MemPolicy(MPOL_PREFERRED, 0, 0b11)


@breaks(9, "task", "the node of cpu 0")
def a_task_thinks_it_is_on_another_node(m: Scene) -> None:
    m.ctx = AllocCtx(0, 1, m.mem.memory_nodes)


@breaks(9, "task", "a task may use no node that has memory")
def a_task_may_use_no_memory(m: Scene) -> None:
    m.ctx.mems_allowed = 0b100


# --- 11: areas -----------------------------------------------------------------------------------------------------


@breaks(11, "tree", "stands where it does not belong")
def an_area_is_listed_under_another_address(m: Scene) -> None:
    m.parent.vmas[m.far - PAGE] = m.parent.vmas.pop(m.far)


@breaks(11, "tree", "stands where it does not belong")
def an_area_of_another_address_space(m: Scene) -> None:
    m.parent.vmas[m.far] = m.vma(m.child, m.far)


@breaks(11, "tree", "is empty, not aligned, or overlaps")
def two_areas_overlap(m: Scene) -> None:
    area = m.vma(m.parent, m.far)
    area.set_range(area.start, m.batched + PAGE, area.pgoff)


@breaks(11, "tree", "is empty, not aligned, or overlaps")
def an_area_ends_within_a_page(m: Scene) -> None:
    area = m.vma(m.parent, m.far)
    area.set_range(area.start, area.end + 8, area.pgoff)


@breaks(11, "tree", "is empty, not aligned, or overlaps")
def an_area_is_empty(m: Scene) -> None:
    area = m.vma(m.parent, m.far)
    area.set_range(area.start, area.start, area.pgoff)


@breaks(11, "kernels' table", "asid")
def the_kernels_are_not_told_of_a_change(m: Scene) -> None:
    m.parent.sync_table()
    del m.parent.vmas[m.far]


@breaks(11, "gaps", "asid")
def the_tree_of_gaps_is_not_told_of_a_change(m: Scene) -> None:
    vma_gaps(m.parent).set(m.vma(m.parent, m.far).end, 0)


@breaks(11, "outside", "mapped where there is no area")
def an_area_goes_and_its_page_stays(m: Scene) -> None:
    del m.parent.vmas[m.far]
    m.parent.vmas_changed()


@breaks(11, "rights", "write: not as its area says")
def a_pte_may_be_written_in_an_area_for_reading(m: Scene) -> None:
    m.vma(m.parent, m.batched).flags &= ~VM_WRITE


@breaks(11, "rights", "access: not as its area says")
def a_pte_may_be_read_in_an_area_without_rights(m: Scene) -> None:
    edit(m, m.none, clear=PTE_PROTNONE, put=PTE_PRESENT)


@breaks(11, "rights", "no access: not as its area says")
def a_pte_forbids_what_its_area_allows(m: Scene) -> None:
    edit(m, m.batched, clear=PTE_PRESENT | PTE_RW, put=PTE_PROTNONE)


@breaks(11, "rights", "execute: not as its area says")
def a_pte_may_be_executed(m: Scene) -> None:
    edit(m, m.batched, clear=1 << 63)


@breaks(11, "anon_vma", "anon_vmas with id")
def an_anon_vma_gives_its_number_back_too_early(m: Scene) -> None:
    early = AnonVma(m.mem)
    early.close()
    late = AnonVma(m.mem)
    for each in (early, late):
        each.attach(m.vma(m.parent, m.far))


@breaks(11, "anon_vma", "areas that use anon_vma")
def the_users_of_an_anon_vma_are_counted_wrong(m: Scene) -> None:
    anon_vma(m.vma(m.parent, m.data)).num_active_vmas += 1


@breaks(11, "anon_vma", "children of anon_vma")
def the_children_of_an_anon_vma_are_counted_wrong(m: Scene) -> None:
    anon_vma(m.vma(m.child, m.data)).num_children += 1


@breaks(11, "anon_vma", "as the kernels see them")
def the_kernels_see_other_areas(m: Scene) -> None:
    anon_vma(m.vma(m.parent, m.data)).vmas.reverse()


@breaks(11, "anon_vma", "in no address space")
def an_anon_vma_lists_an_area_that_is_gone(m: Scene) -> None:
    anon_vma(m.vma(m.parent, m.data)).attach(VMA(m.parent, PAGE, 2 * PAGE, 1, VM_READ))


@breaks(11, "anon_vma", "is not on its list, or the reverse")
def an_area_leaves_the_list_of_its_anon_vma(m: Scene) -> None:
    area = m.vma(m.parent, m.batched)
    anon_vma(area).detach(area)


@breaks(11, "anon_vma", "is not in its slot")
def an_area_has_the_wrong_slot(m: Scene) -> None:
    m.vma(m.parent, m.data).slots[0] += 1


# --- 11, 3: files --------------------------------------------------------------------------------------------------


def file_of(m: Scene) -> AddressSpace:
    """The file behind the parent's shared memory."""
    file = m.vma(m.parent, m.file).file
    assert file is not None
    return file.mapping


@breaks(11, "file", "is not on the list of its file")
def a_file_forgets_an_area(m: Scene) -> None:
    file_of(m).vmas[0] = m.vma(m.parent, m.far)


@breaks(11, "file", "areas that map file")
def a_file_has_an_area_too_many(m: Scene) -> None:
    file_of(m).vmas.append(m.vma(m.parent, m.far))


@breaks(11, "file", "areas of file")
def the_kernels_see_another_area_of_a_file(m: Scene) -> None:
    file_of(m).vmas[0] = m.vma(m.parent, m.far)


@breaks(3, "file", "pages of file")
def a_file_counts_its_pages_wrong(m: Scene) -> None:
    file_of(m).nrpages += 1


@breaks(3, "file", "swap entries in file")
def a_file_counts_what_it_has_in_swap_wrong(m: Scene) -> None:
    file_of(m).nr_swapped += 1


@breaks(11, "disk", "blocks of vda that files have")
def a_block_that_a_file_has_is_free(m: Scene) -> None:
    m.disk.store.used[2] = 0


@breaks(11, "disk", "blocks of vda in use")
def a_disk_counts_its_blocks_wrong(m: Scene) -> None:
    m.disk.store.row["nr_used"] -= 1


@breaks(3, "tmpfs", "pages of all files")
def a_file_system_counts_a_page_too_few(m: Scene) -> None:
    m.sb.used_blocks -= 1


@breaks(3, "tmpfs", "more pages than it may have")
def a_file_system_counts_a_page_too_many(m: Scene) -> None:
    m.sb.used_blocks += 1


@breaks(3, "page cache", "index of a cached page")
def a_cached_page_thinks_it_is_elsewhere_in_its_file(m: Scene) -> None:
    m.mem.cold["index"][m.pfn(m.parent, m.file)] += 1


@breaks(3, "page cache", "mapping of a cached page")
def a_cached_page_thinks_it_is_another_files(m: Scene) -> None:
    m.mem.cold["mapping"][m.pfn(m.parent, m.file)] += 1
