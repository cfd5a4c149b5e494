# The C structs of mm: struct page, zones, per-CPU page sets, LRU lists, address spaces. One place, since
# kernels, twins (through the numpy dtypes of mm/mmzone.py) and the invariants all read the same bytes.
#
# Mirrors include/linux/mm_types.h and mmzone.h. Deliberately different: flat arrays indexed by pfn and by zone
# number instead of pointers, so that Python can look at everything without a single object per page.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from numalab.arch._hw cimport Hardware, hw
from numalab.arch._mmdebug cimport VM_BUG_ON, VM_BUG_ON_PAGE
from numalab.mm._interval_tree cimport (
    interval_free, interval_grow, interval_insert, interval_move, interval_remove, interval_slots, interval_tree,
)
from numalab.mm._xarray cimport xarray

cdef enum:
    MAX_NUMNODES = 64           # Debian's kernel has 1024; a C node mask here is one word
    NR_ORDERS = 11              # orders 0..10, as MAX_PAGE_ORDER = 10
    MAX_ZONES_PER_NODE = 4      # DMA, DMA32, NORMAL, MOVABLE
    NR_WMARK = 4                # min, low, high, promo
    SECTION_SHIFT = 15          # 128 MiB sections: node starts are aligned to them
    PCP_MAX = 1024              # slots of one per-CPU page set
    LRU_BATCH = 31              # PAGEVEC_SIZE: folios a CPU collects before it takes the LRU lock
    CHUNK_SLOTS = 60            # pfns in one LRU chunk of 64 words
    CHUNK_HOTTER = 0            # words of a chunk before its slots
    CHUNK_COLDER = 1
    CHUNK_FILL = 2
    CHUNK_LIVE = 3
    POOL_VIRGIN = 0             # words of chunk 0: first chunk never used,
    POOL_FREE = 1               # LIFO of returned chunks through CHUNK_HOTTER (0 = none),
    POOL_LIMIT = 2              # and how many there can be
    NR_LRU_LISTS = 5
    NR_BDIS = 8                 # disks with files; 0 stands for none: the file lives in memory and swap
    NR_SWAP_AREAS = 24          # MAX_SWAPFILES: the swap types below those of migration entries

cdef enum:
    NO_PFN = 0xffffffff
    HPAGE_PMD_ORDER = 9
    HPAGE_PMD_NR = 512          # small pages in a huge one
    HOLE = 0xffffffff           # an emptied slot of an LRU chunk
    PAGE_POISON = 0xaa          # with debug_vm every byte of a frame that was freed (include/linux/poison.h)

# page.flags. The top byte is the page's place: node (6 bits) and zone type (2 bits), as Linux keeps them.
cdef enum:
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
    PG_anon = 1 << 13           # Linux keeps this in page->mapping's low bit
    PG_anon_exclusive = 1 << 14
    PG_table = 1 << 15          # a page-table page; cold.mapping = asid of its owner
    PG_reserved = 1 << 16       # the zero page
    PG_head = 1 << 17           # first page of a huge page,
    PG_tail = 1 << 18           # and its other 511 (docs/adr/huge-pages.md)
    PG_isolated = 1 << 19       # off the LRU, held by whoever isolated it
    PG_lru_batch = 1 << 20      # in a per-CPU add batch
    PG_partially_mapped = 1 << 21   # of the first page of a huge page: it is to be split
    PG_migration_shared = 1 << 22   # under migration, and a fork or mremap copied or moved one of its entries
    PG_hugetlb = 1 << 23        # its huge page is hugetlb's (mm/hugetlb.py)
    PG_ZONE_SHIFT = 24
    PG_NODE_SHIFT = 26

cdef enum:
    ORDER_FREE = 0x80           # order byte: head of a free buddy block of order (byte & 0x7f)

# LRU lists of a node, in Linux's order.
cdef enum:
    LRU_INACTIVE_ANON = 0
    LRU_ACTIVE_ANON = 1
    LRU_INACTIVE_FILE = 2
    LRU_ACTIVE_FILE = 3
    LRU_UNEVICTABLE = 4

# Allocation flags: the part of gfp_t that placement depends on.
cdef enum:
    GFP_USER_MOVABLE = 0x01     # may use every zone, MOVABLE too; without it: NORMAL and below
    GFP_THISNODE = 0x02         # no other node, whatever the policy says
    GFP_HARDWALL = 0x04         # obey ctx.mems_allowed (a cpuset)
    GFP_DIRECT_RECLAIM = 0x08   # the caller may wait for reclaim
    GFP_HIGH = 0x10             # may go below the min watermark
    GFP_MEMALLOC = 0x20         # ignores watermarks (an exiting OOM victim)

# Why a kernel stopped: mm.kernels.Why.
cdef enum:
    WHY_DONE = 0
    WHY_NEED_RECLAIM = 1        # no frame for it now
    WHY_WAIT_LOCK = 2
    WHY_WAIT_WRITEBACK = 3
    WHY_WAIT_IO = 4
    WHY_NO_TARGET = 5           # the target node of a migration is full
    WHY_BUDGET = 6
    WHY_MIGRATION_ENTRY = 7     # a fault met a page under migration
    WHY_FILE = 8                # the file's owner must produce the page
    WHY_STRICT = 9              # a walk stopped at a page that STRICT forbids
    WHY_WAIT_PAGE = 10          # a fault met a page of a file that somebody has locked

# VMA flags, values as in include/linux/mm.h.
cdef enum:
    VM_READ = 0x1
    VM_WRITE = 0x2
    VM_EXEC = 0x4
    VM_SHARED = 0x8
    VM_MAYREAD = 0x10
    VM_MAYWRITE = 0x20
    VM_MAYEXEC = 0x40
    VM_MAYSHARE = 0x80
    VM_GROWSDOWN = 0x100
    VM_PFNMAP = 0x400
    VM_LOCKED = 0x2000
    VM_IO = 0x4000
    VM_SEQ_READ = 0x8000
    VM_RAND_READ = 0x10000
    VM_DONTCOPY = 0x20000
    VM_DONTEXPAND = 0x40000
    VM_LOCKONFAULT = 0x80000
    VM_ACCOUNT = 0x100000
    VM_NORESERVE = 0x200000
    VM_HUGETLB = 0x400000
    VM_WIPEONFORK = 0x2000000
    VM_DONTDUMP = 0x4000000
    VM_HUGEPAGE = 0x20000000
    VM_NOHUGEPAGE = 0x40000000
    VM_MERGEABLE = 0x80000000

# MPOL_*: include/uapi/linux/mempolicy.h.
cdef enum:
    MPOL_DEFAULT = 0
    MPOL_PREFERRED = 1
    MPOL_BIND = 2
    MPOL_INTERLEAVE = 3
    MPOL_LOCAL = 4
    MPOL_PREFERRED_MANY = 5
    MPOL_WEIGHTED_INTERLEAVE = 6


# struct page, the half that every scan touches. All zero = never used.
cdef struct page:
    uint32_t flags
    int32_t refcount
    uint32_t lru                # chunk * 64 + slot on the LRU, 0 = not on it; next free block while a buddy head
    uint32_t mapcount           # PTEs, and PMDs, that name the page (Linux's _mapcount + 1, so that zero is right)
    uint32_t link               # previous free block while a buddy head; else see _huge_memory.pyx
    uint32_t pincount           # FOLL_PIN pins; each also holds a reference
    uint64_t rmap               # mapcount 1: physical address of that PTE (0 = not known, or a PMD); else 0


# struct page, the other half: who it belongs to.
cdef struct page_cold:
    uint64_t mapping            # anonymous: id of its AnonVma; page table: asid; file: id of its mapping
    uint64_t index              # page offset within that mapping (linear_page_index)
    uint64_t private            # swap entry while in the swap cache; level of a page table
    uint64_t mlock_count        # VM_LOCKED VMAs that map it, while on the unevictable list


cdef struct zone:
    uint32_t start              # [start, end) in frames; one zone never spans a hole
    uint32_t end
    uint32_t virgin             # frames from here to end were never used: free, in no list
    uint32_t node
    uint32_t type               # 0 DMA, 1 DMA32, 2 NORMAL, 3 MOVABLE
    uint32_t managed
    uint32_t pcp_high
    uint32_t pcp_batch
    uint32_t nonempty           # bit o: the list of order o has a block
    uint32_t place              # node and type as they stand in the top byte of page.flags
    int64_t free                # NR_FREE_PAGES: lists + virgin; per-CPU caches are not in it
    int64_t watermark[4]
    int64_t lowmem_reserve[4]   # by the highest zone type of the request
    uint32_t head[11]           # first free block of each order, NO_PFN = none
    uint32_t nr_free[11]        # blocks in each list


cdef struct pcp:                # per (zone, cpu): an array, not a list: scattered frames stay prefetchable
    uint32_t count
    uint32_t pad[3]
    uint32_t pfn[1024]          # the last one goes out first


cdef struct lru_list:
    uint32_t head               # hottest chunk, 0 = empty (chunk 0 is never used)
    uint32_t tail               # coldest chunk
    int64_t live                # pages
    int64_t chunks


cdef struct folio_batch:        # pages with which a CPU has yet to do something, each with a reference
    uint32_t count
    uint32_t pfn[31]


cdef struct cpu_fbatches:       # struct cpu_fbatches of mm/swap.c, and mlock_fbatch of mm/mlock.c
    folio_batch lru_add         # on no list yet; in the others below they stay on theirs
    folio_batch lru_deactivate  # MADV_COLD was told of them
    folio_batch lru_lazyfree    # MADV_FREE was told of them
    folio_batch mlock           # locked or unlocked by one mapping
    uint32_t mlock_new          # bit i: the i-th of mlock is new, and on no list yet


# A swap area: struct swap_info_struct. Three arrays by slot; slot 0 is the header, as in Linux.
cdef struct swap_info:
    uint16_t *map               # references: one for each swap PTE, and one of the swap cache
    uint32_t *cache             # the frame that the swap cache has for the slot, 0 = none
    uint8_t *zeromap            # 1: the page of the slot holds nothing, and was never written to it
    uint8_t *store              # contents
    uint32_t pages              # slots, the header included; 0 = no area of this type
    uint32_t used
    uint32_t next               # where the search for a free slot begins
    uint32_t flags
    int32_t prio
    uint32_t turn               # of areas of one priority the one whose turn is lowest comes next

# A disk that files lie on: struct backing_dev_info, and which of its blocks, a page each, are in use.
cdef struct backing_dev:
    uint8_t *store              # contents
    uint8_t *used               # by block; block 0 is the disk's own
    uint32_t blocks             # 0 = no disk of this number
    uint32_t nr_used
    uint32_t next               # where the search for a free block begins
    uint32_t pad

cdef enum:
    SWP_WRITEOK = 1             # gives out slots: not while swapoff() empties it
    SWP_SYNCHRONOUS_IO = 2      # a read or write is over when it returns

# Counters of a node: enum node_stat_item and numa_stat_item, the part that we keep.
cdef enum:
    NR_INACTIVE_ANON            # the first five are the LRU lists
    NR_ACTIVE_ANON
    NR_INACTIVE_FILE
    NR_ACTIVE_FILE
    NR_UNEVICTABLE
    NR_ISOLATED_ANON
    NR_ISOLATED_FILE
    NR_ANON_MAPPED
    NR_FILE_MAPPED
    NR_FILE_PAGES
    NR_FILE_DIRTY
    NR_WRITEBACK
    NR_SHMEM
    NR_PAGETABLE
    NR_MLOCK
    NR_SWAPCACHE
    NR_ANON_THPS                # huge pages that a PMD maps
    NUMA_HIT
    NUMA_MISS
    NUMA_FOREIGN
    NUMA_INTERLEAVE_HIT
    NUMA_LOCAL
    NUMA_OTHER
    NR_NODE_STATS

# Events of the machine: enum vm_event_item, the part that we keep.
cdef enum:
    PGALLOC
    PGFREE
    PGFAULT
    PGMAJFAULT
    PGACTIVATE
    PGDEACTIVATE
    PGLAZYFREE
    PGLAZYFREED
    PGMIGRATE_SUCCESS
    PGMIGRATE_FAIL
    UNEVICTABLE_PGCULLED
    UNEVICTABLE_PGRESCUED
    UNEVICTABLE_PGMLOCKED
    UNEVICTABLE_PGMUNLOCKED
    UNEVICTABLE_PGCLEARED
    PSWPIN
    PSWPOUT
    SWAP_RA
    SWAP_RA_HIT
    PGSCAN_KSWAPD
    PGSCAN_DIRECT
    PGSTEAL_KSWAPD
    PGSTEAL_DIRECT
    PGREUSE
    PGREFILL
    THP_FAULT_ALLOC
    THP_FAULT_FALLBACK
    THP_COLLAPSE_ALLOC
    THP_COLLAPSE_ALLOC_FAILED
    THP_SPLIT_PAGE
    THP_SPLIT_PMD
    THP_MIGRATION_SUCCESS
    THP_MIGRATION_FAIL
    THP_MIGRATION_SPLIT
    OOM_KILL
    DROP_PAGECACHE
    DROP_SLAB
    NR_VM_EVENTS


cdef struct vma_c
cdef struct mm_c


cdef struct mpol:
    uint16_t mode
    uint16_t flags              # MPOL_F_STATIC_NODES, RELATIVE, NUMA_BALANCING
    int32_t home_node           # -1 = none
    uint64_t nodes              # effective nodes


cdef enum:
    RMAP_FEW = 64


# Who may map a page: the VMAs of an anon_vma, or of a file (i_mmap). A page names either by id (page_cold.mapping).
cdef struct anon_c:
    vma_c **vmas
    uint32_t count
    uint32_t size
    uint64_t root               # id of the oldest AnonVma above it
    interval_tree tree          # of the slots; while they are few there is none, for looking at all is faster


# A part of a file with a policy of its own: struct sp_node.
cdef struct sp_node:
    uint64_t start              # [start, end) in pages
    uint64_t end
    mpol *policy


# What the files of one tmpfs may have and do have, in pages: struct shmem_sb_info.
cdef struct shmem_sb_info:
    uint64_t max_blocks
    uint64_t used_blocks


# struct address_space: a file's pages and its mappings.
cdef struct mapping_c:
    anon_c i_mmap               # first, so that a page's id leads to either kind
    xarray i_pages
    xarray i_blocks             # where each page is on the disk; 0 = nowhere yet, it is zeros
    sp_node *policies           # ascending
    uint32_t nr_policies
    uint32_t bdi                # the disk's number
    uint64_t id
    uint64_t i_size             # in bytes: a page that lies wholly beyond is a SIGBUS
    shmem_sb_info *sb           # where its pages are counted, NULL = nowhere
    uint64_t nr_swapped         # places where a swap entry stands for the page


cdef struct memmap:
    hw *h
    page *hot                   # [h.nr_frames]
    page_cold *cold             # [h.nr_frames]
    uint8_t *order              # [h.nr_frames]
    uint8_t *section_node       # [nr_sections] node of a section, 0xff = hole
    uint16_t *section_zone      # [nr_sections] last zone that begins in or before the section
    zone *zones                 # [nr_zones], node by node, zones of a node ascending by type then address
    uint32_t nr_zones
    uint32_t nr_nodes           # highest node id + 1
    int32_t *zonelist           # [nr_nodes][nr_zones + 1] zone numbers in fallback order, -1 ends
    pcp *pcps                   # [nr_zones][nr_cpus]
    lru_list *lrus              # [nr_nodes][NR_LRU_LISTS]
    uint32_t *chunks            # the pool: chunk c is words 64 * c .. 64 * c + 63; chunk 0 holds the pool's own state
    cpu_fbatches *fbatches      # [nr_cpus]
    uint32_t *trail             # [h.nr_frames] hints: single frames in the order in which they were freed,
    uint32_t *trail_top         # [nr_zones] zone by zone, and how many of a zone there are (_page_alloc.pyx)
    int64_t *node_stat          # [nr_nodes][NR_NODE_STATS]
    int64_t *event              # [NR_VM_EVENTS]
    swap_info *swap             # [NR_SWAP_AREAS]
    backing_dev *bdi            # [NR_BDIS]
    uint8_t *weight             # [MAX_NUMNODES] weighted interleave, 1..255
    uint64_t memory_nodes       # N_MEMORY
    uint64_t normal_nodes       # N_NORMAL_MEMORY: with zones that the kernel itself may use
    anon_c **anon               # [anon_size] AnonVmas by id; NULL = no such
    mm_c **mms                  # [65536] address spaces by asid
    uint32_t anon_size
    uint32_t zero_pfn
    uint32_t debug              # debug_vm=1: freed frames are poisoned, and the poison is looked at when they are taken
    uint32_t corrupted          # the first frame whose poison was not whole then, 0 = none


cdef class MmStruct
cdef class RmapRoot


cdef class MemMap:
    cdef memmap m
    cdef readonly Hardware hw
    cdef dict __dict__          # the numpy views over the same bytes: hot, cold, order, zones, ...
    cdef dict _roots            # AnonVmas and AddressSpaces by id: what has one lives until close(), like its pages,
    cdef list _anon_free        # and ids of those that are gone
    cdef dict _mms              # address spaces by asid, likewise
    cdef list _asid_free
    cdef int _register(self, RmapRoot root) except -1


cdef class MemPolicy:
    cdef mpol p
    cdef public object user_nodemask        # as the user gave it (STATIC, RELATIVE)
    cdef public object cpuset_mems_allowed  # what it was resolved against (plain)


cdef struct alloc_ctx:
    uint32_t cpu
    int32_t nid                 # numa_node_id(): node of the cpu, with or without memory
    uint64_t mems_allowed
    mpol *policy                # the task's, NULL = default
    uint32_t gfp                # added to every request: GFP_HARDWALL, GFP_MEMALLOC
    int32_t il_prev             # MPOL_INTERLEAVE: node used last
    uint32_t il_weight          # MPOL_WEIGHTED_INTERLEAVE: allocations left on il_prev
    uint32_t pad
    int64_t min_flt
    int64_t maj_flt


cdef class AllocCtx:
    cdef alloc_ctx c
    cdef MemPolicy _policy
    cdef public object ledger       # of the migration that the task does, or did last; None


cdef struct vma_c:
    uint64_t start              # [start, end) in bytes
    uint64_t end
    uint64_t pgoff              # index of the first page in its mapping
    uint64_t flags
    uint64_t prot               # PTE bits of a page mapped here (vm_page_prot)
    uint64_t anon_id            # id of the AnonVma that new pages get, 0 = none yet
    mpol *policy                # NULL = the task's
    mapping_c *mapping          # the file's pages, NULL = anonymous
    mm_c *mm


cdef struct mm_c:
    uint64_t pgd                # physical address of the root table
    uint32_t asid
    uint32_t pad
    int64_t rss_anon
    int64_t rss_file
    int64_t rss_shmem
    int64_t rss_swap
    int64_t nr_tables           # page-table pages, the root included
    vma_c **table               # VMAs ascending, for kernels that look addresses up
    uint32_t nr_vmas
    uint32_t table_size


cdef class VMA:
    cdef vma_c v
    cdef readonly MmStruct mm
    cdef readonly object file   # what is mapped (attach_file()); None = anonymous
    cdef AddressSpace _mapping
    cdef Py_ssize_t _slot       # in the mapping's list of VMAs
    cdef MemPolicy _policy
    cdef AnonVma _anon_vma
    cdef public object vm_private_data  # what mm/hugetlb.py knows of its reservations
    cdef readonly list chain    # AnonVmas this VMA is on, oldest first (anon_vma_chain)
    cdef readonly list slots    # its slot in each of them


# What a page names as its mapping: registered by id, so that a page can do so in 8 bytes.
cdef class RmapRoot:
    cdef anon_c *a
    cdef readonly MemMap mem
    cdef readonly uint64_t id
    cdef readonly list vmas     # the same VMAs as a.vmas, slot by slot
    cdef Py_ssize_t _append(self, VMA vma) except -1
    cdef VMA _remove(self, Py_ssize_t slot)


# anon_vma: every VMA that may map one of its pages.
cdef class AnonVma(RmapRoot):
    cdef anon_c anon
    cdef readonly AnonVma parent
    cdef readonly AnonVma root
    cdef public int num_children
    cdef public int num_active_vmas


cdef class ShmemSbInfo:
    cdef shmem_sb_info c


# address_space: the pages of a file, and every VMA that may map one.
cdef class AddressSpace(RmapRoot):
    cdef mapping_c c
    cdef readonly ShmemSbInfo sb
    cdef list _policies         # of c.policies, which borrows their structs
    cdef public int wb_err      # how many writes have failed (errseq_t),
    cdef public bint wb_err_seen    # and whether somebody has been told of the last


cdef class MmStruct:
    cdef mm_c c
    cdef readonly MemMap mem
    cdef dict __dict__


cdef inline mapping_c *page_mapping(const memmap *m, uint32_t pfn) noexcept nogil:
    """folio_mapping(): the file that a page belongs to; NULL: it is anonymous, or nobody's."""
    cdef uint64_t id = m.cold[pfn].mapping
    VM_BUG_ON_PAGE(pfn >= m.h.nr_frames or id >= m.anon_size, pfn)
    return <mapping_c *>m.anon[id] if id and not m.hot[pfn].flags & PG_anon else NULL


cdef inline uint64_t vma_last(const vma_c *v) noexcept nogil:
    """The last page of its mapping that an area maps."""
    return v.pgoff + ((v.end - v.start) >> 12) - 1


cdef inline void rmap_insert(anon_c *a, uint32_t slot) noexcept nogil:
    """anon_vma_interval_tree_insert(): an area has come into a slot, or to its range."""
    if a.tree.node != NULL:
        interval_insert(&a.tree, slot, a.vmas[slot].pgoff, vma_last(a.vmas[slot]))


cdef inline void rmap_remove(anon_c *a, uint32_t slot) noexcept nogil:
    """anon_vma_interval_tree_remove()."""
    if a.tree.node != NULL:
        interval_remove(&a.tree, slot)


cdef inline bint rmap_grow(anon_c *a) noexcept nogil:
    """Room for more areas; when they become many, the tree. False: there is no memory."""
    cdef uint32_t size = 2 * a.size + 4, slot
    cdef bint few = a.tree.node == NULL
    cdef void *vmas = realloc(a.vmas, size * sizeof(vma_c *))
    if vmas == NULL:
        return False
    a.vmas = <vma_c **>vmas
    if size > RMAP_FEW:
        if not interval_grow(&a.tree, size):
            return False
        for slot in range(a.count if few else 0):
            rmap_insert(a, slot)
    a.size = size
    return True


cdef inline void rmap_free(anon_c *a) noexcept nogil:
    free(a.vmas)
    interval_free(&a.tree)


cdef inline uint32_t rmap_areas(anon_c *a, uint64_t first, uint64_t last, vma_c ***areas) noexcept nogil:
    """The areas that may map pages [first, last], in the order in which they came: an array, good until the next call.

    Returns how many.
    """
    cdef uint32_t i, k
    if a.tree.node == NULL:
        areas[0] = a.vmas
        return a.count
    k = interval_slots(&a.tree, first, last)
    for i in range(k):
        a.tree.found[i] = <uint64_t>a.vmas[a.tree.found[i]]
    areas[0] = <vma_c **>a.tree.found
    return k


cdef inline uint64_t file_pages(const mapping_c *mapping) noexcept nogil:
    """Pages that a file reaches into."""
    return (mapping.i_size + 4095) >> 12


cdef inline uint32_t mapped_item(const page *p) noexcept nogil:
    """The counter of mapped pages that a page belongs to."""
    return NR_ANON_MAPPED if p.flags & PG_anon else NR_FILE_MAPPED


cdef inline int64_t *mm_counter(mm_c *mm, const page *p) noexcept nogil:
    """mm_counter(): which rss a mapping of the page counts for."""
    if p.flags & PG_anon:
        return &mm.rss_anon
    return &mm.rss_shmem if p.flags & PG_swapbacked else &mm.rss_file


# A counter of a node that page after page changes: written once for all in a row that lie on one node.
cdef struct stat_run:
    uint32_t item
    uint32_t node
    int64_t n


cdef inline void stat_begin(stat_run *run, uint32_t item) noexcept nogil:
    run.item = item
    run.node = 0
    run.n = 0


cdef inline void stat_end(memmap *m, stat_run *run) noexcept nogil:
    VM_BUG_ON(run.node >= m.nr_nodes)
    m.node_stat[run.node * NR_NODE_STATS + run.item] += run.n
    run.n = 0


cdef inline void stat_add(memmap *m, stat_run *run, uint32_t node, int64_t n) noexcept nogil:
    """mod_node_page_state(); m.node_stat knows of it after stat_end() only."""
    if node != run.node:
        stat_end(m, run)
        run.node = node
    run.n += n


cdef inline uint32_t page_node(const page *p) noexcept nogil:
    return p.flags >> PG_NODE_SHIFT


cdef inline zone *pfn_zone(const memmap *m, uint64_t pfn) noexcept nogil:
    """Zone of a frame: by its section, and by address where zones meet inside one (DMA and DMA32)."""
    cdef uint32_t i = m.section_zone[pfn >> SECTION_SHIFT]
    VM_BUG_ON_PAGE(pfn >= m.h.nr_frames, pfn)
    while pfn < m.zones[i].start:
        i -= 1
    return &m.zones[i]


cdef inline uint32_t pfn_to_nid(const memmap *m, uint64_t pfn) noexcept nogil:
    """Node of a frame, without touching struct page; 0xff in a hole."""
    VM_BUG_ON_PAGE(pfn >= m.h.nr_frames, pfn)
    return m.section_node[pfn >> SECTION_SHIFT]
