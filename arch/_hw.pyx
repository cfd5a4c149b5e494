"""Hardware: the physical machine as one C struct and the few numpy arrays behind it.

Mirrors what firmware hands to Linux (arch/x86/kernel/e820.c: where RAM is) and what the CPUs bring along: TLBs, a
clock. Deliberately different: one virtual clock for all CPUs, no caches, no interrupts; a TLB of 64 direct-mapped
entries a CPU.

RAM is one sparse private mapping of the host, from physical address 0 to the end of the last node, so that a physical
address is an offset. It is aligned to 2 MiB, and the host is asked for huge pages, which makes a first touch six times
cheaper. Holes between nodes cost nothing.
"""

import mmap

import numpy as np

from numalab.arch import costs as _costs
from numalab.arch import topology as _topology
from numalab.arch.sparse import sparse_mapping

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from numalab.arch._hw cimport (
    PAGE_SHIFT, TLB_ENTRIES, TRACE_RING, tlb_entry, trace_enabled, trace_entry, trace_reserve,
)

cdef Py_ssize_t _HUGE = 2 << 20

TLB_DTYPE = np.dtype([("tag", "<u8"), ("pte", "<u8")])
RING_DTYPE = np.dtype([("time", "<u8"), ("id", "<u2"), ("cpu", "<u2"), ("pid", "<u4"), ("args", "<u8", 7)])
MAX_NODES = 64


cdef class Hardware:
    """The hardware of one machine.

    topology: anything that topology.load() takes. costs: name of a preset, a Costs, or None for the default.
    Raises TopologyError for a bad topology, MemoryError when the host refuses the address space.
    """

    def __cinit__(self, topology, costs=None):
        cdef uint64_t size, start
        cdef uint8_t[::1] bytes_of_map
        cdef tlb_entry[:, ::1] tlb
        cdef trace_entry[::1] ring
        cdef uint64_t[:, ::1] copy_cost
        self.topology = _topology.load(topology)
        self.costs = _costs.load(costs)

        # Anonymous mappings are page aligned only: take one huge page more and begin at the boundary inside.
        size = <uint64_t>self.topology.max_pfn << PAGE_SHIFT
        self._map = sparse_mapping(size + _HUGE, huge=True)
        whole = np.frombuffer(self._map, dtype=np.uint8)
        bytes_of_map = whole
        start = -<uint64_t>&bytes_of_map[0] & (_HUGE - 1)
        self.ram = whole[start:start + size]
        self.h.ram = &bytes_of_map[0] + start
        self._skip = start
        self.h.nr_frames = size >> PAGE_SHIFT

        self.h.levels = self.topology.boot["page_table_levels"]
        self.h.nr_cpus = self.topology.nr_cpus
        self.tlb = np.zeros((self.h.nr_cpus, TLB_ENTRIES), dtype=TLB_DTYPE)
        tlb = self.tlb
        self.h.tlb = &tlb[0, 0]
        self.ring = np.zeros(TRACE_RING, dtype=RING_DTYPE)
        ring = self.ring
        self.h.ring = &ring[0]
        self.comm = "swapper/0"
        self.strings = []
        self._string_ids = {}
        self.copy_cost = self.costs.copy_matrix(self.topology.distance, MAX_NODES)
        copy_cost = self.copy_cost
        self.h.copy_cost = &copy_cost[0, 0]
        self.h.cost = self.costs.terms()

    def close(self):
        """Give the host its memory back, now. Afterwards RAM reads as zeros; calling it again does nothing.

        The address range itself goes with the last reference to this object or to a view of its RAM: so a late access
        through a stale view or kernel meets zeros and not the end of the interpreter.
        """
        if self.closed:
            return
        self.closed = True
        self._map.madvise(mmap.MADV_DONTNEED)
        self.ram = None

    def discard(self, uint64_t start, uint64_t end):
        """The host gets the memory of frames [start, end) back: they are zeros, until somebody writes to them."""
        cdef uint64_t offset = self._skip
        if self.closed or end < start or end > self.h.nr_frames:
            raise ValueError(f"no frames {start}..{end}")
        self._map.madvise(mmap.MADV_DONTNEED, offset + (start << PAGE_SHIFT), (end - start) << PAGE_SHIFT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        mib = self.h.nr_frames << PAGE_SHIFT >> 20
        return f"<Hardware {self.topology.name}: {mib} MiB spanned, {self.h.nr_cpus} cpus>"

    @property
    def now(self):
        """Virtual time in ns."""
        return self.h.now

    @now.setter
    def now(self, uint64_t ns):
        self.h.now = ns

    def advance(self, uint64_t ns):
        """Let `ns` of virtual time pass; returns the new time."""
        self.h.now += ns
        return self.h.now

    @property
    def levels(self):
        """Levels of page tables: 4 (47-bit user addresses) or 5 (56-bit)."""
        return self.h.levels

    @property
    def nr_frames(self):
        """Frames spanned, holes included: the highest pfn + 1."""
        return self.h.nr_frames

    @property
    def nr_cpus(self):
        return self.h.nr_cpus

    @property
    def cost(self):
        """What things cost, ns by name of the term. Assigning a dict changes the terms in it.

        Raises ValueError for a term that does not exist.
        """
        return self.h.cost

    @cost.setter
    def cost(self, terms):
        table = dict(self.h.cost)
        for name in terms:
            if name not in table:
                raise ValueError(f"cost term {name!r} is unknown: use {', '.join(table)}")
        self.h.cost = {**table, **terms}

    @property
    def trace_mask(self):
        """Bit i: event i of arch.events is recorded."""
        return self.h.trace_mask

    @trace_mask.setter
    def trace_mask(self, uint64_t mask):
        self.h.trace_mask = mask

    @property
    def ring_head(self):
        """Events ever recorded; the last min(ring_head, len(ring)) are in the ring."""
        return self.h.ring_head

    def run_task(self, uint32_t pid, uint32_t cpu, str comm):
        """Whose the next events are: the task that runs now, its CPU and its name; pid 0 is the idle task."""
        self.comm = comm
        self.h.current_pid = pid
        self.h.current_cpu = cpu

    def trace(self, uint32_t id, *args):
        """Record one event, if it is enabled: what Python code of the kernel uses, C code calls trace().

        args: numbers modulo 2**64, or texts, of which the event keeps the number in ``strings``.
        """
        cdef trace_entry *e
        cdef int i
        if id >= NR_EVENTS:
            raise ValueError(f"event {id} does not exist (0..{NR_EVENTS - 1})")
        if not trace_enabled(&self.h, id):
            return
        numbers = [self._number_of(arg) if isinstance(arg, str) else arg & (1 << 64) - 1 for arg in args]
        e = trace_reserve(&self.h, id)
        for i in range(len(numbers)):
            e.args[i] = numbers[i]

    def _number_of(self, str text):
        if text not in self._string_ids:
            self._string_ids[text] = len(self.strings)
            self.strings.append(text)
        return self._string_ids[text]

    cdef uint8_t *_at(self, uint64_t pa, uint64_t n) except NULL:
        """Host address of n bytes at a physical address. Raises ValueError outside RAM or after close()."""
        cdef uint64_t size = self.h.nr_frames << PAGE_SHIFT
        if self.closed:
            raise ValueError("the machine is closed")
        if pa > size or n > size - pa:
            raise ValueError(f"physical address {pa:#x} + {n} bytes is outside RAM ({size:#x} bytes)")
        return self.h.ram + pa

    def read_phys(self, uint64_t pa, uint64_t n):
        """n bytes at a physical address, as a DMA device reads them. Raises ValueError outside RAM."""
        return self._at(pa, n)[:n]

    def write_phys(self, uint64_t pa, const uint8_t[::1] data not None):
        """Store bytes at a physical address, as a DMA device does. Raises ValueError outside RAM."""
        cdef uint64_t n = <uint64_t>data.shape[0]
        cdef uint8_t *at = self._at(pa, n)
        if n:
            memcpy(at, &data[0], n)
