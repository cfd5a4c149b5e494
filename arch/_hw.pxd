# The hardware of one machine as one C struct: RAM, TLBs, the virtual clock, what things cost, the event ring.
# Kernels of every floor take `hw *`; the Python class that owns the memory is arch._hw.Hardware.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

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


# One event: what tracepoints write. `id` indexes arch.events.EVENTS; a, b, c are its arguments in order.
cdef struct trace_entry:
    uint64_t time
    uint32_t id
    uint32_t cpu
    uint64_t a
    uint64_t b
    uint64_t c


# Event ids: index into arch.events.EVENTS (a test holds the two together); at most 64, one bit of trace_mask each.
cpdef enum:
    EV_MM_PAGE_ALLOC = 0        # a pfn, b order, c gfp
    EV_MM_PAGE_FREE = 1         # a pfn, b order
    EV_MM_MIGRATE_PAGES_START = 2   # a mode, b reason
    EV_MM_MIGRATE_PAGES = 3     # a succeeded, b failed, c mode | reason << 8
    EV_SET_MIGRATION_PTE = 4    # a address, b pte, c order
    EV_REMOVE_MIGRATION_PTE = 5     # a address, b pte, c order
    EV_MM_VMSCAN_LRU_ISOLATE = 6    # a requested, scanned << 32; b skipped, taken << 32; c zone, order << 8, lru << 16
    EV_MM_VMSCAN_KSWAPD_WAKE = 7    # a nid, b zone, c order
    EV_MM_VMSCAN_KSWAPD_SLEEP = 8   # a nid
    EV_MARK_VICTIM = 9          # a pid
    EV_TLB_FLUSH = 10           # a pages (~0 = all), b reason
    EV_PAGE_FAULT_USER = 11     # a address, b ip, c error code
    EV_SCHED_SWITCH = 12        # a previous pid, b next pid, c state of the previous
    EV_SYS_ENTER = 13           # a number, b first argument, c second
    EV_SYS_EXIT = 14            # a number, b result
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


cdef class Hardware:
    cdef hw h
    cdef readonly object topology   # arch.topology.Topology
    cdef readonly object ram        # numpy uint8 over the host mapping
    cdef readonly object tlb        # numpy structured array [nr_cpus, TLB_ENTRIES]
    cdef readonly object ring       # numpy structured array [TRACE_RING]
    cdef readonly object copy_cost  # numpy uint64 [64, 64]
    cdef readonly object costs      # arch.costs.Costs: the preset that h.cost was filled from
    cdef readonly bint closed
    cdef object _map                # the mmap object; unmapped last
    cdef uint64_t _skip             # where RAM begins in it

    cdef uint8_t *_at(self, uint64_t pa, uint64_t n) except NULL


cdef inline void trace(hw *h, uint32_t id, uint32_t cpu, uint64_t a, uint64_t b, uint64_t c) noexcept nogil:
    """Write one event if its bit is on; a test and a not-taken branch otherwise."""
    cdef trace_entry *e
    if not (h.trace_mask >> id) & 1:
        return
    e = &h.ring[h.ring_head & (TRACE_RING - 1)]
    h.ring_head += 1
    e.time = h.now
    e.id = id
    e.cpu = cpu
    e.a = a
    e.b = b
    e.c = c
