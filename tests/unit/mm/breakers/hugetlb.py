"""hugetlb broken by hand: its pages, its pool, its promises."""

from numalab.mm.hugetlbfs import hugetlb_file_setup
from numalab.mm.invariants_memory import PG
from numalab.mm.memory import touch_user
from numalab.mm.mman import MAP_FIXED, MAP_HUGETLB, MAP_PRIVATE, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_mmap
from numalab.mm.vm_flags import VM_HUGETLB, VM_LOCKED

from tests.mm_machine import PAGE
from tests.unit.mm.breakers.scene import Scene, breaks

AT = 0x20_0000_0000


def hugetlb(m: Scene) -> int:
    """A pool of two pages, one of which the parent has: that one's first frame."""
    m.mem.hstate.set_max_huge_pages(m.ctx, 2, 0, 1)
    file, length = hugetlb_file_setup(m.mem, 1024 * PAGE, 0)
    do_mmap(
        m.parent, m.ctx, AT, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_HUGETLB | MAP_FIXED, 0, file
    )
    touch_user(m.parent, m.ctx, AT, PAGE, 1, True)
    assert m.check() == []
    return m.pfn(m.parent, AT)


@breaks(3, "hugetlb", "marked as hugetlb's, but no part of a huge page")
def a_part_is_forgotten(m: Scene) -> None:
    m.page(hugetlb(m) + 77)["flags"] &= ~PG.TAIL & 0xFFFFFFFF


@breaks(3, "hugetlb", "in the pool, but not marked")
def a_free_page_is_not_marked(m: Scene) -> None:
    hugetlb(m)
    m.page(m.mem.hstate.free_lists[0][0] + 3)["flags"] &= ~PG.HUGETLB & 0xFFFFFFFF


@breaks(3, "hugetlb", "free in the pool, or somebody's")
def a_page_in_use_is_in_the_pool(m: Scene) -> None:
    m.mem.hstate.free_lists[0].append(hugetlb(m))


@breaks(3, "hugetlb", "marked as hugetlb's, but the buddy allocator has it")
def a_free_frame_is_marked(m: Scene) -> None:
    hugetlb(m)
    m.page(m.freed)["flags"] |= PG.HUGETLB


@breaks(3, "hugetlb", "mapped by an area of another kind, at")
def an_area_forgets_what_it_is(m: Scene) -> None:
    hugetlb(m)
    m.vma(m.parent, AT).flags &= ~VM_HUGETLB


@breaks(11, "hugetlb", "is locked")
def an_area_is_locked(m: Scene) -> None:
    hugetlb(m)
    m.vma(m.parent, AT).flags |= VM_LOCKED


@breaks(10, "hugetlb", "pages")
def a_page_is_not_counted(m: Scene) -> None:
    hugetlb(m)
    m.mem.hstate.nr_huge_pages_node[0] += 1


@breaks(10, "hugetlb", "surplus pages")
def more_surplus_than_pages(m: Scene) -> None:
    hugetlb(m)
    m.mem.hstate.surplus_huge_pages_node[0] = 3


@breaks(10, "hugetlb", "node of page")
def a_page_is_in_the_list_of_another_node(m: Scene) -> None:
    hugetlb(m)
    m.mem.hstate.free_lists[1].append(m.mem.hstate.free_lists[0].pop())


@breaks(10, "hugetlb", "pages promised")
def a_promise_is_forgotten(m: Scene) -> None:
    hugetlb(m)
    m.mem.hstate.resv_huge_pages = 0


@breaks(10, "hugetlb", "more promised than free")
def more_is_promised_than_there_is(m: Scene) -> None:
    hugetlb(m)
    m.mem.hstate.resv_huge_pages = 2
