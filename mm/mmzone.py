"""The physical memory of one machine: struct pages, zones, free areas, LRU lists, counters.

Mirrors mm/mm_init.c and mm/page_alloc.c's zone set-up. Booting is O(nodes): every array is a sparse
host mapping whose zeros are valid ("never used"), and each zone starts with all its frames *virgin*.
The numpy dtypes below are the C structs of ``_mm_types.pxd``, byte for byte (a test compares), so
kernels, twins, /proc and the invariants read the same memory.

Deliberately different from Linux: free lists are not split by migrate type, a zone never spans a
hole (a node with several ranges has several zones of one type), and page flags keep node and zone in
their top byte for any number of sections.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from numalab.arch.sparse import sparse
from numalab.arch.timers import Timers
from numalab.arch.topology import Topology, TopologyError
from numalab.mm._mm_types import MemMap
from numalab.mm.hstate import Hstate
from numalab.mm.huge_memory import ThpSettings
from numalab.mm.kernels import Kernels
from numalab.mm.mutex import Mutex
from numalab.mm.vm_flags import MAX_MAP_COUNT
from numalab.mm.waits import ClockWaits
from numalab.mm.zones import ZoneRows, build_zonelists, setup_pagesets, setup_watermarks

if TYPE_CHECKING:
    from numalab.arch._hw import Hardware

__all__ = ["DTYPES", "ZONE_NAMES", "build"]

SECTION_SHIFT = 15
NR_ORDERS = 11
NR_LRU_LISTS = 5
NR_SWAP_AREAS = 24
NR_BDIS = 8
MAX_NUMNODES = 64
NO_PFN = 0xFFFFFFFF
#: A slot of a chunk is known by 32 bits, 6 of which tell it from the others of its chunk.
MAX_CHUNKS = 1 << 26
#: Frame 0, the zero page, and the root tables of init and of one program.
MIN_FRAMES = 4

#: Zone types and the frame below which each ends on x86-64; MOVABLE takes no frames by address.
ZONE_NAMES = ("DMA", "DMA32", "Normal", "Movable")
ZONE_ENDS = (1 << 12, 1 << 20, 1 << 40)

_FOLIO_BATCH = np.dtype([("count", "<u4"), ("pfn", "<u4", 31)])

DTYPES: dict[str, np.dtype[Any]] = {
    "page": np.dtype([
        ("flags", "<u4"), ("refcount", "<i4"), ("lru", "<u4"), ("mapcount", "<u4"),
        ("link", "<u4"), ("pincount", "<u4"), ("rmap", "<u8"),
    ]),
    "page_cold": np.dtype([("mapping", "<u8"), ("index", "<u8"), ("private", "<u8"), ("mlock_count", "<u8")]),
    "zone": np.dtype([
        ("start", "<u4"), ("end", "<u4"), ("virgin", "<u4"), ("node", "<u4"), ("type", "<u4"),
        ("managed", "<u4"), ("pcp_high", "<u4"), ("pcp_batch", "<u4"), ("nonempty", "<u4"), ("place", "<u4"),
        ("free", "<i8"), ("watermark", "<i8", 4), ("lowmem_reserve", "<i8", 4),
        ("head", "<u4", NR_ORDERS), ("nr_free", "<u4", NR_ORDERS),
    ]),
    "pcp": np.dtype([("count", "<u4"), ("pad", "<u4", 3), ("pfn", "<u4", 1024)]),
    "lru_list": np.dtype([("head", "<u4"), ("tail", "<u4"), ("live", "<i8"), ("chunks", "<i8")]),
    "cpu_fbatches": np.dtype([
        ("lru_add", _FOLIO_BATCH), ("lru_deactivate", _FOLIO_BATCH), ("lru_lazyfree", _FOLIO_BATCH),
        ("mlock", _FOLIO_BATCH), ("mlock_new", "<u4"),
    ]),
    "swap_info": np.dtype([
        ("map", "<u8"), ("cache", "<u8"), ("zeromap", "<u8"), ("store", "<u8"),
        ("pages", "<u4"), ("used", "<u4"), ("next", "<u4"), ("flags", "<u4"), ("prio", "<i4"), ("turn", "<u4"),
    ]),
    "backing_dev": np.dtype([
        ("store", "<u8"), ("used", "<u8"), ("blocks", "<u4"), ("nr_used", "<u4"), ("next", "<u4"), ("pad", "<u4"),
    ]),
}  # fmt: skip

#: enum node_stat_item and numa_stat_item; enum vm_event_item (``_mm_types.pxd``).
NODE_STATS = (
    "nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable",
    "nr_isolated_anon", "nr_isolated_file", "nr_anon_pages", "nr_mapped", "nr_file_pages", "nr_dirty",
    "nr_writeback", "nr_shmem", "nr_page_table_pages", "nr_mlock", "nr_swapcached",
    "nr_anon_transparent_hugepages",
    "numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other",
)  # fmt: skip
VM_EVENTS = (
    "pgalloc", "pgfree", "pgfault", "pgmajfault", "pgactivate", "pgdeactivate", "pglazyfree", "pglazyfreed",
    "pgmigrate_success", "pgmigrate_fail", "unevictable_pgs_culled", "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked", "unevictable_pgs_munlocked", "unevictable_pgs_cleared", "pswpin", "pswpout",
    "swap_ra", "swap_ra_hit",
    "pgscan_kswapd", "pgscan_direct", "pgsteal_kswapd", "pgsteal_direct", "pgreuse", "pgrefill",
    "thp_fault_alloc", "thp_fault_fallback", "thp_collapse_alloc", "thp_collapse_alloc_failed", "thp_split_page",
    "thp_split_pmd", "thp_migration_success", "thp_migration_fail", "thp_migration_split", "oom_kill",
    "drop_pagecache", "drop_slab",
)  # fmt: skip


def build(hw: Hardware, *, twins: bool = False, debug_vm: bool = False) -> MemMap:
    """The memory of ``hw`` as it is after boot: everything free but the zero page.

    twins: run on the plain-Python kernels; debug_vm: poison freed frames.
    Raises TopologyError for a machine too small, MemoryError when the host refuses the address space.
    """
    topology: Topology = hw.topology
    _check_memory(topology)
    mem = MemMap(hw)
    mem.k = Kernels.load(twins)
    mem.topology = topology
    mem.debug = debug_vm
    mem.timers = Timers(hw)
    mem.waits = ClockWaits(mem.timers)
    mem.preempt = None
    mem.unflushed = []
    mem.wake_kswapd = lambda nodes: None
    mem.out_of_memory = lambda nodes: False
    mem.node_states_changed = lambda nid: None
    mem.hotplug_lock = Mutex(mem, "memory hotplug")
    mem.page_cluster = topology.boot["page_cluster"]
    mem.swappiness = topology.boot["swappiness"]
    mem.max_map_count = MAX_MAP_COUNT
    mem.lock_owners = {}
    mem.held = Counter()
    mem.page_lists = []
    mem.taskless = []
    mem.ledgers = deque(maxlen=256)
    mem.explain = False
    mem.engine = "batched"
    mem.thp = ThpSettings(enabled=topology.boot["thp"])
    mem.v5_quirks = False
    _bind_pages(mem, topology)
    _bind_zones(mem, topology)
    _bind_counters(mem, topology)
    mem.hstate = Hstate(mem)
    build_zonelists(mem, boot=True)
    setup_watermarks(mem)
    setup_pagesets(mem)
    _reserve_zero_page(mem)
    return mem


def _check_memory(topology: Topology) -> None:
    """Is there enough to begin with? Linux would panic. Raises TopologyError."""
    if topology.nr_frames < MIN_FRAMES:
        raise TopologyError(
            f"machine {topology.name}: {topology.nr_frames}p of memory are too little to start a program: "
            f"give it {MIN_FRAMES}p or more"
        )
    for node in topology.nodes:
        if node.ranges == ((0, 1),):
            raise TopologyError(
                f"machine {topology.name}: node {node.id} has frame 0 only, which belongs to the firmware: "
                "give it 2p or more"
            )


def _bind_pages(mem: MemMap, topology: Topology) -> None:
    frames = topology.max_pfn
    managed = sum(end - start for node in topology.nodes for start, end in node.ranges)
    mem.bind("hot", sparse(frames, DTYPES["page"], huge=True))
    mem.bind("cold", sparse(frames, DTYPES["page_cold"], huge=True))
    mem.bind("order", sparse(frames, np.uint8))
    # A list is compacted when less than half of its slots are live, so twice the frames is the most that is needed.
    nr_lists = topology.nr_node_ids * NR_LRU_LISTS
    limit = min(2 * managed // 60 + 8 * nr_lists + 64, MAX_CHUNKS)
    mem.bind("chunks", sparse(64 * limit, np.uint32))
    mem.chunks[0] = 1
    mem.chunks[2] = limit
    mem.bind("lrus", np.zeros(nr_lists, DTYPES["lru_list"]))
    mem.bind("fbatches", np.zeros(topology.nr_cpus, DTYPES["cpu_fbatches"]))


def _bind_zones(mem: MemMap, topology: Topology) -> None:
    rows = []
    at_boot = [node for node in topology.nodes if not node.hotplug]
    for node in at_boot:
        cuts = [
            (max(start, low, 1), min(end, high), node.id, kind)  # frame 0 belongs to the firmware
            for start, end in sorted(node.ranges)
            for kind, (low, high) in enumerate(zip((0, *ZONE_ENDS[:-1]), ZONE_ENDS, strict=True))
        ]
        rows += sorted((c for c in cuts if c[0] < c[1]), key=lambda c: (c[3], c[0]))
    zones = np.zeros(len(rows), DTYPES["zone"])
    sections = (topology.max_pfn >> SECTION_SHIFT) + 1
    section_node = np.full(sections, 0xFF, np.uint8)
    section_zone = np.zeros(sections, np.uint16)
    for node in topology.nodes:
        for start, end in node.ranges:
            section_node[start >> SECTION_SHIFT : (end - 1 >> SECTION_SHIFT) + 1] = node.id
    for i, (start, end, node_id, kind) in enumerate(rows):
        zones[i]["start"], zones[i]["end"], zones[i]["virgin"] = start, end, start
        zones[i]["node"], zones[i]["type"] = node_id, kind
        zones[i]["managed"] = zones[i]["free"] = end - start
        zones[i]["place"] = node_id << 26 | kind << 24
    # By address, so that where two zones share a section (DMA and DMA32) the later one is its zone: pfn_zone()
    # steps back from there.
    for i in np.argsort(zones["start"], kind="stable"):
        first, last = int(zones[i]["start"]) >> SECTION_SHIFT, (int(zones[i]["end"]) - 1) >> SECTION_SHIFT
        section_zone[first : last + 1] = i
    mem.memory_nodes = sum(1 << node.id for node in at_boot if node.ranges)
    mem.normal_nodes = mem.memory_nodes
    mem.bind("trail", sparse(topology.max_pfn, np.uint32))
    mem.bind("section_node", section_node)
    mem.bind("section_zone", section_zone)
    # Later each node may get two more zones, Normal and Movable, and the machine one for what is isolated.
    mem.zone_rows = ZoneRows(zones, len(rows) + 2 * len(topology.nodes) + 1, topology.nr_cpus, DTYPES["pcp"])
    mem.zone_rows.bind(mem, len(rows))
    mem.isolate_zone = mem.isolating = -1
    mem.offline_blocks = set()


def _bind_counters(mem: MemMap, topology: Topology) -> None:
    mem.bind("node_stat", np.zeros((topology.nr_node_ids, len(NODE_STATS)), np.int64))
    mem.bind("event", np.zeros(len(VM_EVENTS), np.int64))
    mem.bind("swap", np.zeros(NR_SWAP_AREAS, DTYPES["swap_info"]))
    mem.swap_areas = [None] * NR_SWAP_AREAS
    mem.bind("bdi", np.zeros(NR_BDIS, DTYPES["backing_dev"]))
    mem.bdis = [None] * NR_BDIS
    mem.bind("weights", np.ones(MAX_NUMNODES, np.uint8))


def _reserve_zero_page(mem: MemMap) -> None:
    """Make the lowest frame the shared zero page: the kernel image, which holds it, lies low.

    It is never frame 0, which nobody gets: "no frame" to whoever reads pagemap, "no table" to the kernels.
    """
    zone = mem.zones[int(np.argmin(mem.zones["start"]))]
    mem.zero_pfn = int(zone["start"])
    zone["virgin"] += 1
    zone["free"] -= 1
    mem.hot[mem.zero_pfn]["flags"] = int(zone["place"]) | 1 << 16  # PG_reserved
