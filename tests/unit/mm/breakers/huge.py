"""Huge pages broken by hand: 3 and the counter of 10."""

from numalab.arch._pagetable import PTE_PSE
from numalab.mm import _constants as c
from numalab.mm.invariants_memory import PG
from numalab.mm.memory import touch_user

from tests.mm_machine import PAGE, PTE_PFN
from tests.unit.mm.breakers.scene import Scene, breaks

AT = 0x20_0000_0000


def huge(m: Scene) -> tuple[int, int]:
    """A huge page of the parent: its first frame, and where in RAM its PMD stands."""
    m.mem.thp.enabled = "always"
    m.map(m.parent, 512, AT)
    touch_user(m.parent, m.ctx, AT, PAGE, 1, True)
    table = m.parent.pgd
    for above in range(m.hw.levels - 1, 1, -1):
        table = m.word(table + 8 * (AT >> 12 + 9 * above & 511)) & PTE_PFN
    pmd = table + 8 * (AT >> 21 & 511)
    assert m.word(pmd) & PTE_PSE
    assert m.check() == []
    return m.pfn(m.parent, AT), pmd


@breaks(3, "huge page", "PMDs that map it")
def a_pmd_is_not_counted(m: Scene) -> None:
    head, _ = huge(m)
    m.page(head)["link"] = 2


@breaks(3, "huge page", "marked as the first page of one")
def a_huge_page_begins_in_the_middle(m: Scene) -> None:
    head, _ = huge(m)
    m.page(head + 5)["flags"] ^= PG.HEAD | PG.TAIL


@breaks(3, "huge page", "marked as a later page of one")
def a_huge_page_has_no_beginning(m: Scene) -> None:
    head, _ = huge(m)
    m.page(head)["flags"] ^= PG.HEAD | PG.TAIL


@breaks(3, "huge page", "a PMD names what is none")
def a_pmd_names_a_page_in_the_middle(m: Scene) -> None:
    _, pmd = huge(m)
    m.store(pmd, m.word(pmd) + PAGE)


@breaks(3, "huge page", "not marked, though a PMD maps it")
def a_part_is_forgotten(m: Scene) -> None:
    head, _ = huge(m)
    m.page(head + 77)["flags"] &= ~PG.TAIL & 0xFFFFFFFF


@breaks(3, "reserve", "tables in reserve")
def the_table_in_reserve_is_lost(m: Scene) -> None:
    _, pmd = huge(m)
    m.page(pmd >> 12)["link"] = 0


@breaks(3, "reserve", "a table in reserve is not empty")
def the_table_in_reserve_has_been_used(m: Scene) -> None:
    _, pmd = huge(m)
    m.store((int(m.page(pmd >> 12)["link"]) << 12) + 80, 1)


@breaks(10, "nr_anon_transparent_hugepages", "mapped by PMDs")
def a_huge_page_is_not_counted(m: Scene) -> None:
    head, _ = huge(m)
    m.mem.node_stat[m.mem.node_of(head), c.NR_ANON_THPS] -= 1
