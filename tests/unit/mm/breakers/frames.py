"""Invariants 1, 2, 5 and 10 broken by hand: frames, free lists, freed memory, counters."""

import numpy as np

from numalab.mm.mmzone import NODE_STATS, VM_EVENTS

from tests.mm_machine import PAGE
from tests.unit.mm.breakers.scene import Scene, breaks

ORDER_FREE = 0x80


# --- 1: every frame in one place -----------------------------------------------------------------------------------


@breaks(1, "virgin", "the frontier of zone 0")
def the_virgin_frontier_leaves_the_zone(m: Scene) -> None:
    m.mem.zones[0]["virgin"] = m.mem.zones[0]["end"] + 1


@breaks(1, "managed", "frames of zone 1")
def a_zone_manages_more_than_it_has(m: Scene) -> None:
    m.mem.zones[1]["managed"] += 1


@breaks(1, "order byte", "no order byte looks so")
def an_allocated_frame_gets_an_order(m: Scene) -> None:
    m.mem.order[m.own] = 3


@breaks(1, "order byte", "no order byte looks so")
def an_order_byte_beyond_all_orders(m: Scene) -> None:
    m.mem.order[m.block] = ORDER_FREE | 11


@breaks(1, "order byte", "not aligned")
def a_free_block_begins_at_an_odd_frame(m: Scene) -> None:
    m.mem.order[m.block + 1] = ORDER_FREE | 1


@breaks(1, "order byte", "beyond the used part")
def a_free_block_reaches_into_never_used_frames(m: Scene) -> None:
    m.mem.order[int(m.mem.zones[0]["virgin"]) - 2] = ORDER_FREE | 2


@breaks(1, "one place", "free in several places")
def a_frame_lies_in_a_set_and_in_a_list(m: Scene) -> None:
    m.mem.order[m.freed] = ORDER_FREE


@breaks(1, "one place", "free in several places")
def a_frame_lies_in_a_set_twice(m: Scene) -> None:
    sets = m.mem.pcps[0]
    sets["pfn"][sets["count"]] = m.freed
    sets["count"] += 1


@breaks(1, "per-CPU set", "too full: zone 0, cpu 1")
def a_set_holds_more_than_its_limit(m: Scene) -> None:
    m.mem.pcps[1]["count"] = m.mem.zones[0]["pcp_high"] + 1


@breaks(1, "per-CPU set", "in a set of another zone")
def a_frame_lies_in_a_set_of_another_node(m: Scene) -> None:
    sets = m.mem.pcps[m.hw.nr_cpus]  # CPU 0, zone 1
    sets["pfn"][sets["count"]] = m.block + 1
    sets["count"] += 1


@breaks(1, "free frame", "a free frame with flags")
def a_free_frame_keeps_flags(m: Scene) -> None:
    m.page(m.freed)["flags"] |= 1 << 3


@breaks(1, "free frame", "a free frame with references")
def a_free_frame_keeps_a_reference(m: Scene) -> None:
    m.page(m.freed)["refcount"] = 1


@breaks(1, "free frame", "a free frame with mappings")
def a_free_frame_keeps_a_mapping(m: Scene) -> None:
    m.page(m.block)["mapcount"] = 1


@breaks(1, "free frame", "a free frame with pins")
def a_free_frame_keeps_a_pin(m: Scene) -> None:
    m.page(m.block + 1)["pincount"] = 1


@breaks(1, "free frame", "a free frame with rmap")
def a_free_frame_keeps_the_address_of_a_pte(m: Scene) -> None:
    m.page(m.freed)["rmap"] = 4096


@breaks(1, "place", "names another zone")
def a_page_says_it_lies_on_the_other_node(m: Scene) -> None:
    m.page(m.own)["flags"] ^= 1 << 26


@breaks(1, "lost", "neither free nor anybody's")
def a_frame_is_taken_and_forgotten(m: Scene) -> None:
    m.mem.k.page_alloc.alloc_pages_node(m.mem, 0, 1)


@breaks(1, "offline", "struct page of an offline frame")
def something_is_left_of_a_block_that_is_offline(m: Scene) -> None:
    m.mem.offline_blocks.add(0)


@breaks(1, "offline", "memory_nodes")
def a_node_without_memory_counts_as_one_with(m: Scene) -> None:
    m.mem.memory_nodes |= 4


@breaks(1, "offline", "normal_nodes")
def a_node_counts_as_one_where_all_is_movable(m: Scene) -> None:
    m.mem.normal_nodes &= ~1


@breaks(1, "offline", "zones that a node tries")
def a_zone_is_in_no_list(m: Scene) -> None:
    m.mem.zonelist[0, 1] = -1


# --- 2: buddies ----------------------------------------------------------------------------------------------------


@breaks(2, "both free", "are not merged")
def two_halves_of_a_block_stay_apart(m: Scene) -> None:
    m.mem.order[m.block] = m.mem.order[m.block + (1 << m.order - 1)] = ORDER_FREE | m.order - 1


@breaks(2, "list", "goes wrong after")
def a_block_is_in_a_list_without_saying_so(m: Scene) -> None:
    m.mem.order[m.block] = 0


@breaks(2, "list", "blocks in the list, order")
def a_block_is_cut_off_its_list(m: Scene) -> None:
    m.mem.zones[0]["head"][m.order] = m.page(m.block)["lru"]


@breaks(2, "list", "goes wrong after")
def a_list_leads_to_an_allocated_frame(m: Scene) -> None:
    m.page(m.block)["lru"] = m.own


@breaks(2, "list", "goes wrong after")
def a_list_goes_round(m: Scene) -> None:
    m.page(m.block)["lru"] = m.block


@breaks(2, "list", "the backward link")
def a_backward_link_leads_elsewhere(m: Scene) -> None:
    m.page(m.block)["link"] = m.own


@breaks(2, "count", "nr_free, order")
def a_list_is_counted_wrong(m: Scene) -> None:
    m.mem.zones[0]["nr_free"][m.order] += 1


@breaks(2, "count", "the mask of lists")
def the_mask_of_lists_misses_one(m: Scene) -> None:
    m.mem.zones[0]["nonempty"] ^= 1 << m.order


@breaks(2, "total", "free frames of zone 1")
def the_free_frames_of_a_zone_do_not_add_up(m: Scene) -> None:
    m.mem.zones[1]["free"] -= 1


# --- 5: freed frames -----------------------------------------------------------------------------------------------


@breaks(5, "mapped", "a PTE names a frame that nobody has")
def a_pte_names_a_freed_frame(m: Scene) -> None:
    where = m.pte_address(m.parent, m.data)
    m.store(where, m.word(where) & 0xFFF | m.freed << 12)


@breaks(5, "mapped", "a PTE names a frame that nobody has")
def a_pte_names_a_frame_never_used(m: Scene) -> None:
    where = m.pte_address(m.parent, m.data)
    m.store(where, m.word(where) & 0xFFF | int(m.mem.zones[0]["virgin"]) << 12)


@breaks(5, "mapped", "a table entry names a frame that nobody has")
def a_table_was_freed_and_is_still_in_use(m: Scene) -> None:
    m.store(m.parent.pgd + 8 * 200, m.freed << 12 | 0x7)


@breaks(5, "zero page", "somebody wrote")
def the_zero_page_is_written(m: Scene) -> None:
    m.hw.write_phys(m.mem.zero_pfn * PAGE + 4088, b"\1")


@breaks(5, "poison", "written to after it was freed")
def a_freed_frame_is_written(m: Scene) -> None:
    m.hw.write_phys(m.freed * PAGE + 77, b"\0")


@breaks(5, "poison", "freed, and taken since")
def a_freed_frame_is_written_and_taken_again(m: Scene) -> None:
    m.hw.write_phys(m.freed * PAGE + 77, b"\0")
    while m.mem.k.page_alloc.alloc_pages_node(m.mem, 0, 0) != m.freed:
        pass


@breaks(5, "poison", "freed, and taken since")
def a_frame_that_was_never_used_is_written_and_taken(m: Scene) -> None:
    m.hw.write_phys((m.block + (1 << m.order) - 1) * PAGE + 4095, b"\1")
    assert m.mem.k.page_alloc.alloc_pages_node(m.mem, 0, 0, order=m.order) == m.block


@breaks(5, "poison", "written to after it was freed")
def a_frame_cut_off_a_never_used_block_is_written(m: Scene) -> None:
    m.hw.write_phys((m.block + 3) * PAGE + 77, b"\1")


# --- 10: counters --------------------------------------------------------------------------------------------------


@breaks(10, "numastat", "hits and misses; local and other")
def a_hit_is_counted_twice(m: Scene) -> None:
    m.mem.node_stat[1, NODE_STATS.index("numa_hit")] += 1


@breaks(10, "numastat", "misses, and as many foreign")
def a_miss_is_nobody_elses_loss(m: Scene) -> None:
    m.mem.node_stat[1, NODE_STATS.index("numa_foreign")] += 1


@breaks(10, "events", "pgalloc - pgfree")
def a_free_is_not_counted(m: Scene) -> None:
    m.mem.event[VM_EVENTS.index("pgfree")] -= 1


def _counter(name: str) -> None:
    def act(m: Scene) -> None:
        m.mem.node_stat[1, NODE_STATS.index(name)] += np.int64(1)

    act.__name__ = f"{name}_is_one_too_high"
    breaks(10, name, "the counter of the node")(act)


for _name in (
    "isolated_anon",
    "isolated_file",
    "anon_pages",
    "mapped",
    "page_table_pages",
    "mlock",
    "swapcached",
):
    _counter(f"nr_{_name}")
