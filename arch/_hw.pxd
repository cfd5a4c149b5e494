# The hardware of one machine as one C struct: RAM, TLBs, the virtual clock, what things cost, the event ring.
# Kernels of every floor take `hw *`; the Python class that owns the memory is arch._hw.Hardware.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    PAGE_SHIFT = 12
    PAGE_SIZE = 4096
    TLB_ENTRIES = 64            # per CPU, direct mapped: small, so that a forgotten flush is soon really wrong
    TRACE_RING = 65536          # entries; a power of two


cdef struct tlb_entry:
    uint64_t tag                # vpn << 17 | asid << 1 | 1; 0 = invalid
    uint64_t pte                # what the walk saw; stale once the table changes without a flush


# What things cost in virtual time, all in ns (docs: costs presets). Filled from a preset, read by kernels.
cdef struct cost_table:
    uint64_t syscall            # entry and exit
    uint64_t fault              # one page fault without the work it causes
    uint64_t walk               # one page-table walk (TLB miss)
    uint64_t zero_page
    uint64_t free_page
    uint64_t scan_page          # look at one PTE and pass on
    uint64_t isolate_page
    uint64_t unmap_page
    uint64_t remap_page
    uint64_t migrate_call       # fixed part of one migration batch
    uint64_t flush              # one TLB shootdown: the sender's share
    uint64_t flush_cpu          # per CPU that must answer
    uint64_t access_local       # one cache-missing load from local memory
    uint64_t access_remote      # the same, one hop away
    uint64_t fork_page          # copy one PTE at fork
    uint64_t swap_page          # copy one page into a swap area in memory, or out of it


# One event: what tracepoints write. `id` indexes arch.events.EVENTS, which says what lies in which argument.
cdef struct trace_entry:
    uint64_t time
    uint16_t id
    uint16_t cpu
    uint32_t pid
    uint64_t args[7]


# Event ids: index into arch.events.EVENTS (a test holds the two together); at most 64, one bit of trace_mask each.
cpdef enum:
    EV_MM_PAGE_ALLOC = 0
    EV_MM_PAGE_FREE = 1
    EV_MM_MIGRATE_PAGES_START = 2
    EV_MM_MIGRATE_PAGES = 3
    EV_SET_MIGRATION_PTE = 4
    EV_REMOVE_MIGRATION_PTE = 5
    EV_MM_VMSCAN_LRU_ISOLATE = 6
    EV_MM_VMSCAN_LRU_SHRINK_INACTIVE = 7
    EV_MM_VMSCAN_DIRECT_RECLAIM_BEGIN = 8
    EV_MM_VMSCAN_DIRECT_RECLAIM_END = 9
    EV_MM_VMSCAN_KSWAPD_WAKE = 10
    EV_MM_VMSCAN_KSWAPD_SLEEP = 11
    EV_MARK_VICTIM = 12
    EV_TLB_FLUSH = 13
    EV_PAGE_FAULT_USER = 14
    EV_SCHED_SWITCH = 15
    EV_SCHED_WAKEUP = 16
    EV_SCHED_WAKEUP_NEW = 17
    EV_SCHED_PROCESS_FORK = 18
    EV_SCHED_PROCESS_EXIT = 19
    EV_BLOCK_RQ_ISSUE = 20
    EV_BLOCK_RQ_COMPLETE = 21
    EV_SYS_ENTER = 22
    EV_SYS_EXIT = 23
    EV_TASK_SLEEP = 24
    EV_MIGRATE_PASS = 25
    EV_NODE_FREE = 26
    NR_EVENTS


cdef struct hw:
    uint8_t *ram                # physical address 0; RAM of all nodes, holes are never touched
    uint64_t nr_frames          # spanned: highest pfn + 1
    uint32_t nr_cpus
    uint32_t levels             # of page tables: 4 or 5
    tlb_entry *tlb              # [nr_cpus][TLB_ENTRIES]
    uint64_t now                # virtual clock, ns
    cost_table cost
    uint64_t *copy_cost         # [64 * 64] ns to copy one page from node i to node j
    trace_entry *ring           # [TRACE_RING]
    uint64_t ring_head          # events ever written; the slot is head % TRACE_RING
    uint64_t trace_mask         # bit i: event i is recorded
    uint32_t current_pid        # the task that runs, and where: whose the next event is; 0 = none
    uint32_t current_cpu


cdef class Hardware:
    cdef hw h
    cdef readonly object topology   # arch.topology.Topology
    cdef readonly object ram        # numpy uint8 over the host mapping
    cdef readonly object tlb        # numpy structured array [nr_cpus, TLB_ENTRIES]
    cdef readonly object ring       # numpy structured array [TRACE_RING]
    cdef readonly object copy_cost  # numpy uint64 [64, 64]
    cdef readonly object costs      # arch.costs.Costs: the preset that h.cost was filled from
    cdef readonly str comm          # of the task that runs
    cdef readonly list strings      # texts that events speak of, by number
    cdef readonly bint closed
    cdef dict _string_ids
    cdef object _map                # the mmap object; unmapped last
    cdef uint64_t _skip             # where RAM begins in it

    cdef uint8_t *_at(self, uint64_t pa, uint64_t n) except NULL


cdef extern from *:
    """
    #define NL_UNLIKELY(x) __builtin_expect(!!(x), 0)
    """
    bint NL_UNLIKELY(bint x) nogil


cdef inline bint trace_enabled(hw *h, uint32_t id) noexcept nogil:
    """Is this event recorded? Asked once a batch, so that switched off it costs a branch that is never taken."""
    return NL_UNLIKELY(h.trace_mask >> id & 1)


cdef inline trace_entry *trace_reserve(hw *h, uint32_t id) noexcept nogil:
    """Room for one event, its arguments 0; the oldest event makes way."""
    cdef trace_entry *e = &h.ring[h.ring_head & (TRACE_RING - 1)]
    h.ring_head += 1
    memset(e, 0, sizeof(trace_entry))
    e.time = h.now
    e.id = <uint16_t>id
    e.cpu = <uint16_t>h.current_cpu
    e.pid = h.current_pid
    return e


cdef inline void trace(hw *h, uint32_t id, uint64_t a, uint64_t b, uint64_t c) noexcept nogil:
    """Write one event if its bit is on; a test and a not-taken branch otherwise."""
    cdef trace_entry *e
    if trace_enabled(h, id):
        e = trace_reserve(h, id)
        e.args[0] = a
        e.args[1] = b
        e.args[2] = c
