"""The constants of ``_mm_types.pxd`` for Python: C enums have no Python face.

Names and values as there; a test compares. What belongs to a module of its own stands in that: VM_* in vm_flags.py,
MPOL_* in mpol.py, reasons and phases of a migration in migrate/ledger.py, ``Why`` in kernels.py.
"""

SECTION_SHIFT = 15
NR_LRU_LISTS = 5
NR_SWAP_AREAS = 24
NR_BDIS = 8
SWP_WRITEOK, SWP_SYNCHRONOUS_IO = 1, 2
LRU_BATCH = 31
CHUNK_SLOTS = 60
CHUNK_HOTTER, CHUNK_COLDER, CHUNK_FILL, CHUNK_LIVE = range(4)
POOL_VIRGIN, POOL_FREE, POOL_LIMIT = range(3)
NO_PFN = 0xFFFFFFFF
HPAGE_PMD_ORDER, HPAGE_PMD_NR = 9, 512
HOLE = 0xFFFFFFFF
PAGE_POISON = 0xAA
ORDER_FREE = 0x80
MAX_ORDER = 10

PG_locked = 1 << 0
PG_referenced = 1 << 1
PG_uptodate = 1 << 2
PG_dirty = 1 << 3
PG_lru = 1 << 4
PG_active = 1 << 5
PG_unevictable = 1 << 6
PG_mlocked = 1 << 7
PG_swapbacked = 1 << 8
PG_swapcache = 1 << 9
PG_writeback = 1 << 10
PG_reclaim = 1 << 11
PG_workingset = 1 << 12
PG_anon = 1 << 13
PG_anon_exclusive = 1 << 14
PG_table = 1 << 15
PG_reserved = 1 << 16
PG_head = 1 << 17
PG_tail = 1 << 18
PG_isolated = 1 << 19
PG_lru_batch = 1 << 20
PG_partially_mapped = 1 << 21
PG_migration_shared = 1 << 22
PG_hugetlb = 1 << 23
PG_ZONE_SHIFT = 24
PG_NODE_SHIFT = 26

GFP_USER_MOVABLE = 0x01
GFP_THISNODE = 0x02
GFP_HARDWALL = 0x04
GFP_DIRECT_RECLAIM = 0x08
GFP_HIGH = 0x10
GFP_MEMALLOC = 0x20

LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE, LRU_UNEVICTABLE = range(5)

# Rows of m.node_stat have a column for each of these; the first five are the LRU lists.
(
    NR_INACTIVE_ANON, NR_ACTIVE_ANON, NR_INACTIVE_FILE, NR_ACTIVE_FILE, NR_UNEVICTABLE,
    NR_ISOLATED_ANON, NR_ISOLATED_FILE, NR_ANON_MAPPED, NR_FILE_MAPPED, NR_FILE_PAGES, NR_FILE_DIRTY,
    NR_WRITEBACK, NR_SHMEM, NR_PAGETABLE, NR_MLOCK, NR_SWAPCACHE, NR_ANON_THPS,
    NUMA_HIT, NUMA_MISS, NUMA_FOREIGN, NUMA_INTERLEAVE_HIT, NUMA_LOCAL, NUMA_OTHER,
) = range(23)  # fmt: skip

# m.event has one of these each.
(
    PGALLOC, PGFREE, PGFAULT, PGMAJFAULT, PGACTIVATE, PGDEACTIVATE, PGLAZYFREE, PGLAZYFREED,
    PGMIGRATE_SUCCESS, PGMIGRATE_FAIL, UNEVICTABLE_PGCULLED, UNEVICTABLE_PGRESCUED, UNEVICTABLE_PGMLOCKED,
    UNEVICTABLE_PGMUNLOCKED, UNEVICTABLE_PGCLEARED, PSWPIN, PSWPOUT, SWAP_RA, SWAP_RA_HIT, PGSCAN_KSWAPD, PGSCAN_DIRECT,
    PGSTEAL_KSWAPD, PGSTEAL_DIRECT, PGREUSE, PGREFILL, THP_FAULT_ALLOC, THP_FAULT_FALLBACK, THP_COLLAPSE_ALLOC,
    THP_COLLAPSE_ALLOC_FAILED, THP_SPLIT_PAGE, THP_SPLIT_PMD, THP_MIGRATION_SUCCESS, THP_MIGRATION_FAIL,
    THP_MIGRATION_SPLIT, OOM_KILL, DROP_PAGECACHE, DROP_SLAB,
) = range(37)  # fmt: skip
