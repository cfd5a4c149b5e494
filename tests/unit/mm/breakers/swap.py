"""Invariant 6 broken by hand: slots, their counts, the swap cache."""

from numalab.arch import _pagetable_reference as pt
from numalab.mm.invariants_memory import PG

from tests.mm_machine import PAGE
from tests.unit.mm.breakers.scene import Scene, breaks


def slot(m: Scene, page: int) -> int:
    """The slot of one of the swapped pages that is mapped nowhere."""
    return pt.swp_offset(m.word(m.pte_address(m.parent, m.swapped + page * PAGE)))


@breaks(6, "count", "references of slot")
def a_slot_is_counted_once_too_often(m: Scene) -> None:
    m.area.map[slot(m, 3)] += 1


@breaks(6, "count", "references of slot")
def a_slot_is_forgotten_though_a_pte_names_it(m: Scene) -> None:
    m.area.map[slot(m, 2)] -= 1
    m.mem.swap["used"][m.area.type] -= 1


@breaks(6, "used", "slots of area")
def an_area_has_miscounted_its_slots(m: Scene) -> None:
    m.mem.swap["used"][m.area.type] += 1


@breaks(6, "cache", "the page of slot")
def the_cache_has_another_page_for_a_slot(m: Scene) -> None:
    m.area.cache[slot(m, 1)] = m.own


@breaks(6, "cache", "the page of slot")
def a_page_left_the_cache_and_its_slot_does_not_know(m: Scene) -> None:
    pfn = int(m.area.cache[slot(m, 1)])
    m.page(pfn)["flags"] ^= PG.SWAPCACHE


@breaks(6, "entry", "a slot that is none")
def a_pte_names_a_slot_behind_the_end(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.swapped + 3 * PAGE), pt.swp_entry(m.area.type, 64))


@breaks(6, "entry", "a slot that is none")
def a_pte_names_an_area_that_is_not_there(m: Scene) -> None:
    m.store(m.pte_address(m.parent, m.swapped + 3 * PAGE), pt.swp_entry(5, 1))
