"""Invariant 4 broken by hand: chunks, slots, lists, add batches, locked pages."""

import numpy as np

from numalab.mm.invariants_memory import PG
from numalab.mm.swap import lru_add_drain_all

from tests.mm_machine import PAGE
from tests.unit.mm.breakers.scene import Scene, breaks

INACTIVE, ACTIVE = 0, 1
HOTTER, COLDER, FILL, LIVE = range(4)


def chunk(m: Scene) -> int:
    """The hottest chunk of node 0's inactive anonymous list, as an index into the pool's words."""
    return int(m.mem.lrus[INACTIVE]["head"]) * 64


@breaks(4, "pool", "chunks used, of those there are")
def the_pool_runs_over(m: Scene) -> None:
    m.mem.chunks[0] = m.mem.chunks[2] + 1


@breaks(4, "pool", "the list of free chunks leads to a chunk in use")
def a_chunk_in_use_is_free(m: Scene) -> None:
    m.mem.chunks[1] = m.mem.lrus[INACTIVE]["head"]


@breaks(4, "pool", "chunks that are in no list")
def a_chunk_is_lost(m: Scene) -> None:
    m.mem.chunks[0] += 1


@breaks(4, "links", "leads to a chunk that is no part of it")
def a_list_leads_out_of_the_pool(m: Scene) -> None:
    m.mem.chunks[chunk(m) + COLDER] = 9999


@breaks(4, "links", "leads to a chunk that is no part of it")
def a_list_leads_round(m: Scene) -> None:
    m.mem.chunks[chunk(m) + COLDER] = m.mem.lrus[INACTIVE]["head"]


@breaks(4, "links", "the hotter neighbour of chunk")
def a_chunk_has_a_wrong_neighbour(m: Scene) -> None:
    m.mem.chunks[chunk(m) + HOTTER] = 7


@breaks(4, "links", "the coldest chunk")
def the_cold_end_is_elsewhere(m: Scene) -> None:
    m.mem.lrus[INACTIVE]["tail"] = 0


@breaks(4, "counts", "chunks of inactive_anon of node 0")
def the_chunks_are_counted_wrong(m: Scene) -> None:
    m.mem.lrus[INACTIVE]["chunks"] += 1


@breaks(4, "counts", "pages of inactive_anon of node 0")
def the_pages_are_counted_wrong(m: Scene) -> None:
    m.mem.lrus[INACTIVE]["live"] -= 1


@breaks(4, "counts", "nr_unevictable")
def a_counter_of_vmstat_is_wrong(m: Scene) -> None:
    m.mem.node_stat[1, 4] += 1


@breaks(4, "chunk", "live pages in chunk")
def a_chunk_counts_its_pages_wrong(m: Scene) -> None:
    m.mem.chunks[chunk(m) + LIVE] -= 1


@breaks(4, "chunk", "it should be gone")
def an_empty_chunk_stays(m: Scene) -> None:
    words = m.mem.chunks
    words[chunk(m) + 4 : chunk(m) + 64] = 0xFFFFFFFF
    words[chunk(m) + LIVE] = 0


@breaks(4, "chunk", "slots used in chunk")
def a_chunk_is_overfull(m: Scene) -> None:
    m.mem.chunks[chunk(m) + FILL] = 61


@breaks(4, "slot", "a slot names a frame that nobody has")
def a_slot_names_a_freed_frame(m: Scene) -> None:
    m.mem.chunks[chunk(m) + 4] = m.freed


@breaks(4, "position", "its place on the LRU")
def a_page_claims_its_neighbours_slot(m: Scene) -> None:
    m.page(m.own)["lru"] += 1


@breaks(4, "position", "a place, but not on the LRU")
def a_page_off_the_lru_claims_a_slot(m: Scene) -> None:
    m.page(m.pfn(m.parent, m.batched))["lru"] = 70


@breaks(4, "list", "the list it belongs on")
def a_page_becomes_active_without_moving(m: Scene) -> None:
    m.page(m.own)["flags"] |= PG.ACTIVE


@breaks(4, "one list", "slots that name it")
def a_page_is_on_the_lru_and_does_not_know(m: Scene) -> None:
    m.page(m.own)["flags"] &= ~PG.LRU & 0xFFFFFFFF


@breaks(4, "one list", "slots that name it")
def a_page_stands_in_two_slots(m: Scene) -> None:
    words = m.mem.chunks
    words[chunk(m) + 5] = words[chunk(m) + 4]


@breaks(4, "state", "on the LRU, isolated or in a batch")
def a_page_is_nowhere(m: Scene) -> None:
    pfn = m.pfn(m.parent, m.batched)
    m.page(pfn)["flags"] &= ~PG.LRU_BATCH & 0xFFFFFFFF


@breaks(4, "state", "on the LRU, isolated or in a batch")
def a_page_table_is_on_the_lru(m: Scene) -> None:
    m.page(m.parent.pgd >> 12)["flags"] |= PG.LRU


@breaks(4, "batch", "add batches that it is in")
def a_page_thinks_it_waits_in_a_batch(m: Scene) -> None:
    m.page(m.own)["flags"] |= PG.LRU_BATCH


@breaks(4, "batch", "the lru_add batch names a frame that nobody has")
def a_batch_names_a_frame_never_used(m: Scene) -> None:
    m.mem.fbatches["lru_add"][1]["pfn"][0] = m.mem.zones[1]["virgin"]


@breaks(4, "batch", "should have been emptied")
def a_full_batch_is_left_standing(m: Scene) -> None:
    m.mem.fbatches["lru_add"][0]["count"] = 31


@breaks(4, "batch", "the lru_lazyfree batch names a frame that nobody has")
def a_lazyfree_batch_names_a_frame_never_used(m: Scene) -> None:
    m.mem.fbatches["lru_lazyfree"][1]["pfn"][0] = m.mem.zones[1]["virgin"]
    m.mem.fbatches["lru_lazyfree"][1]["count"] = 1


@breaks(4, "batch", "cpu 0's lru_lazyfree batch should have been emptied")
def a_full_lazyfree_batch_is_left_standing(m: Scene) -> None:
    m.mem.fbatches["lru_lazyfree"][0]["count"] = 31


@breaks(4, "batch", "cpu 1's mlock batch should have been emptied")
def a_full_mlock_batch_is_left_standing(m: Scene) -> None:
    m.mem.fbatches["mlock"][1]["count"] = 31


@breaks(4, "batch", "add batches that it is in")
def a_page_on_a_list_is_said_to_be_new_to_mlock(m: Scene) -> None:
    lru_add_drain_all(m.mem)
    m.mem.fbatches["mlock"][1]["pfn"][0] = m.own
    m.mem.fbatches["mlock"][1]["count"] = 1
    m.mem.fbatches["mlock_new"][1] = 1


@breaks(3, "refcount", "references")
def a_page_waits_to_be_forgotten_and_nobody_holds_it(m: Scene) -> None:
    m.mem.fbatches["lru_deactivate"][1]["pfn"][0] = m.own
    m.mem.fbatches["lru_deactivate"][1]["count"] = 1


@breaks(4, "lazyfree", "swap has a page that it does not stand behind")
def a_page_in_swaps_cache_is_lazyfree(m: Scene) -> None:
    m.page(m.pfn(m.parent, m.swapped))["flags"] &= ~PG.SWAPBACKED & 0xFFFFFFFF


@breaks(4, "isolated", "isolated")
def a_page_is_isolated_and_nobody_has_it(m: Scene) -> None:
    assert m.mem.k.lru.isolate_pfns(m.mem, np.array([m.own], np.uint32)) == 1


@breaks(4, "mlock", "in a locked area")
def a_locked_page_is_not_marked(m: Scene) -> None:
    m.page(m.pfn(m.parent, m.locked))["flags"] &= ~PG.MLOCKED & 0xFFFFFFFF


@breaks(4, "mlock", "mlock_count")
def a_locked_page_is_counted_twice(m: Scene) -> None:
    m.mem.cold[m.pfn(m.parent, m.locked + PAGE)]["mlock_count"] += 1


@breaks(4, "mlock", "unevictable")
def a_locked_page_can_be_evicted(m: Scene) -> None:
    m.page(m.pfn(m.parent, m.locked))["flags"] &= ~PG.UNEVICTABLE & 0xFFFFFFFF
