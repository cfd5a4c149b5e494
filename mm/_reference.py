"""What the plain-Python twins of mm share: a view of the machine's memory, steps through page tables, TLBs.

Where a kernel takes ``memmap *m``, its twin takes a ``View``: the same arrays, each field of each struct as a
memoryview. So a twin reads almost as the kernel does, with the index behind the field:

    m.hot[pfn].flags       m.hot.flags[pfn]
    m.zones[z].head[o]     m.zones.head[z, o]

A zone, a list, a per-CPU set is its number; a PTE is the index of its word in ``m.ram`` (its physical address / 8);
a table is the index of its first word. Memoryviews refuse what does not fit the field: a counter that would fall
below zero is an exception in a twin.

Mirrors mm/_mm_types.pxd and the inline halves of arch/_pagetable.pxd and arch/_mmu.pxd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_TLB_FLUSH
from numalab.arch._mmu_reference import TLB_REMOTE_SEND_IPI, tlb_tag
from numalab.mm import _constants as c

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.arch._hw import Hardware
    from numalab.mm._migrate import MigrateStats
    from numalab.mm._mm_types import MemMap
    from numalab.mm._page_list import PageLog
    from numalab.mm.backing_dev import FileDisk
    from numalab.mm.migrate.ledger import Fate, Phase
    from numalab.mm.swapfile import SwapArea


# ---------------------------------------------------------------- the machine's memory


class _Fields:
    """A structured array by fields: one memoryview each, of one dimension, or two for an array in the struct."""

    def __init__(self, array: NDArray[Any]) -> None:
        for name in type(self).__annotations__:
            setattr(self, name, array[name].data)


class Hot(_Fields):
    """struct page, the half that every scan touches; by pfn."""

    flags: memoryview
    refcount: memoryview
    lru: memoryview
    mapcount: memoryview
    link: memoryview
    pincount: memoryview
    rmap: memoryview


class Cold(_Fields):
    """struct page, the other half: who it belongs to; by pfn."""

    mapping: memoryview
    index: memoryview
    private: memoryview
    mlock_count: memoryview


class Zones(_Fields):
    """struct zone, by number."""

    start: memoryview
    end: memoryview
    virgin: memoryview
    node: memoryview
    type: memoryview
    pcp_high: memoryview
    pcp_batch: memoryview
    nonempty: memoryview
    place: memoryview
    free: memoryview
    watermark: memoryview
    lowmem_reserve: memoryview
    head: memoryview
    nr_free: memoryview


class Pcps(_Fields):
    """Per-CPU page sets; set ``zone * nr_cpus + cpu`` is that CPU's of that zone."""

    count: memoryview
    pfn: memoryview


class Lrus(_Fields):
    """LRU lists; list ``node * 5 + kind``."""

    head: memoryview
    tail: memoryview
    live: memoryview
    chunks: memoryview


class FolioBatch(_Fields):
    """Pages with which each CPU has yet to do one thing."""

    count: memoryview
    pfn: memoryview

    def take(self, cpu: int) -> list[int]:
        """Empty one CPU's."""
        taken = [self.pfn[cpu, i] for i in range(self.count[cpu])]
        self.count[cpu] = 0
        return taken

    def append(self, cpu: int, pfn: int) -> int:
        """folio_batch_add(): returns how many more would fit."""
        self.pfn[cpu, self.count[cpu]] = pfn
        self.count[cpu] += 1
        return c.LRU_BATCH - int(self.count[cpu])


class Swap(_Fields):
    """Swap areas, by type."""

    pages: memoryview
    used: memoryview
    next: memoryview
    flags: memoryview
    prio: memoryview
    turn: memoryview


class View:
    """C's ``memmap *``: everything that mm knows of one machine, made for one call of a twin.

    A memoryview is made when it is first used; none outlives the call, so RAM can be given back.
    """

    def __init__(self, mem: MemMap) -> None:
        self.mem = mem
        self.hw: Hardware = mem.hw
        self.nr_cpus = mem.hw.nr_cpus
        self.nr_lists = len(mem.lrus)

    @cached_property
    def hot(self) -> Hot:
        return Hot(self.mem.hot)

    @cached_property
    def cold(self) -> Cold:
        return Cold(self.mem.cold)

    @cached_property
    def zones(self) -> Zones:
        return Zones(self.mem.zones)

    @cached_property
    def pcps(self) -> Pcps:
        return Pcps(self.mem.pcps)

    @cached_property
    def lrus(self) -> Lrus:
        return Lrus(self.mem.lrus)

    @cached_property
    def lru_add(self) -> FolioBatch:
        return FolioBatch(self.mem.fbatches["lru_add"])

    @cached_property
    def lru_deactivate(self) -> FolioBatch:
        return FolioBatch(self.mem.fbatches["lru_deactivate"])

    @cached_property
    def lru_lazyfree(self) -> FolioBatch:
        return FolioBatch(self.mem.fbatches["lru_lazyfree"])

    @cached_property
    def mlock(self) -> FolioBatch:
        return FolioBatch(self.mem.fbatches["mlock"])

    @cached_property
    def mlock_new(self) -> memoryview:
        return self.mem.fbatches["mlock_new"].data

    @cached_property
    def swap(self) -> Swap:
        return Swap(self.mem.swap)

    def swap_map(self, type_: int) -> memoryview:
        """References of each slot of an area."""
        return self._area(type_).map.data

    def swap_cache(self, type_: int) -> memoryview:
        """The frame that the swap cache has for each slot of an area."""
        return self._area(type_).cache.data

    def _area(self, type_: int) -> SwapArea:
        area = self.mem.swap_areas[type_]
        assert area is not None
        return area

    def slot_zero(self, entry: int) -> bool:
        """Whether the page of a slot holds nothing, and was never written to it."""
        return bool(self._area(pt.swp_type(entry)).zeromap[pt.swp_offset(entry)])

    def read_slot(self, pfn: int, entry: int) -> bool:
        """swap_read_folio(): what is in a slot goes to a frame. Whether it had to be read."""
        if self.slot_zero(entry):
            self.bytes[pfn * pt.PAGE_SIZE : (pfn + 1) * pt.PAGE_SIZE] = bytes(pt.PAGE_SIZE)
            return False
        self.bytes[pfn * pt.PAGE_SIZE : (pfn + 1) * pt.PAGE_SIZE] = self._slot(entry).data
        self.event[c.PSWPIN] += 1
        return True

    def write_slot(self, pfn: int, entry: int, *, zeros: bool) -> bool:
        """What is in a frame goes to a slot. zeros: if it is nothing, that is noted. Whether it was written."""
        page = self.page_bytes(pfn)
        zero = zeros and not page.any()
        self._area(pt.swp_type(entry)).zeromap[pt.swp_offset(entry)] = zero
        if not zero:
            self._slot(entry)[:] = page
            self.event[c.PSWPOUT] += 1
        return not zero

    def bdi(self, number: int) -> FileDisk:
        """A disk that files lie on."""
        disk = self.mem.bdis[number]
        assert disk is not None
        return disk

    def page_bytes(self, pfn: int) -> NDArray[np.uint8]:
        """The contents of a frame."""
        return np.frombuffer(self.bytes[pfn * pt.PAGE_SIZE : (pfn + 1) * pt.PAGE_SIZE], np.uint8)

    def _slot(self, entry: int) -> NDArray[np.uint8]:
        at = pt.swp_offset(entry) * pt.PAGE_SIZE
        return self._area(pt.swp_type(entry)).disk.store[at : at + pt.PAGE_SIZE]

    @cached_property
    def order(self) -> memoryview:
        return self.mem.order.data

    @cached_property
    def chunks(self) -> memoryview:
        """The LRU's chunks as words: chunk c is words 64 * c to 64 * c + 63; chunk 0 holds the pool's own state."""
        return self.mem.chunks.data

    @cached_property
    def node_stat(self) -> memoryview:
        return self.mem.node_stat.data

    @cached_property
    def event(self) -> memoryview:
        return self.mem.event.data

    @cached_property
    def ram(self) -> memoryview:
        """RAM as 64-bit words."""
        return pt.words(self.hw)

    @cached_property
    def bytes(self) -> memoryview:
        """RAM as bytes."""
        return self.ram.cast("B")

    @cached_property
    def cost(self) -> Mapping[str, int]:
        return self.hw.cost

    def charge(self, ns: int) -> None:
        """Let virtual time pass."""
        self.hw.advance(ns)

    def node(self, pfn: int) -> int:
        """Node of a frame that is in use: its place stands in its flags."""
        node: int = self.hot.flags[pfn] >> c.PG_NODE_SHIFT
        return node

    def pfn_to_nid(self, pfn: int) -> int:
        """Node of a frame by its number, without touching struct page."""
        return int(self.mem.section_node[pfn >> c.SECTION_SHIFT])

    def pfn_zone(self, pfn: int) -> int:
        """Zone of a frame: by its section, and by address where zones meet inside one (DMA and DMA32)."""
        z = int(self.mem.section_zone[pfn >> c.SECTION_SHIFT])
        while pfn < self.zones.start[z]:
            z -= 1
        return z

    def fill_page(self, pfn: int, byte: int) -> None:
        """memset() of a whole frame."""
        self.bytes[pfn * pt.PAGE_SIZE : (pfn + 1) * pt.PAGE_SIZE] = bytes([byte]) * pt.PAGE_SIZE

    def copy_page(self, dst: int, src: int) -> None:
        """memcpy() of a whole frame."""
        content = self.bytes[src * pt.PAGE_SIZE : (src + 1) * pt.PAGE_SIZE]
        self.bytes[dst * pt.PAGE_SIZE : (dst + 1) * pt.PAGE_SIZE] = content


# ---------------------------------------------------------------- page tables and TLBs


def table_end(va: int) -> int:
    """Where the PTE table that covers ``va`` ends: the next multiple of 2 MiB."""
    return ((va >> pt.PMD_SHIFT) + 1) << pt.PMD_SHIFT


def pte_table(m: View, pgd: int, va: int) -> tuple[int, int]:
    """(PTE table that covers ``va``, where that answer stops being valid); in a hole, which may be large, it is -1."""
    entry = pgd
    for level in range(m.hw.levels - 1, 0, -1):
        shift = pt.PAGE_SHIFT + 9 * level
        entry = m.ram[pt.table_at(entry) + (va >> shift & 511)]
        if entry & (pt.PTE_PRESENT | pt.PTE_PSE) != pt.PTE_PRESENT:
            return -1, ((va >> shift) + 1) << shift
    return pt.table_at(entry), table_end(va)


def pte_tables(m: View, pgd: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cut [start, end) at the ends of PTE tables and holes: (table or -1, from, to) of each part."""
    while start < end:
        table, stop = pte_table(m, pgd, start)
        yield table, start, min(stop, end)
        start = stop


def huge_pmd(m: View, pgd: int, va: int) -> int:
    """Where the 2 MiB leaf that maps ``va`` stands; -1: there is none."""
    at = pt.pmd_index(m.ram, m.hw.levels, pgd, va)
    return at if at >= 0 and pt.pmd_leaf(m.ram[at]) else -1


def mapped_ptes(m: View, pgd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(address, PTE) of each page of [start, end) that has a table, or the PTE that a 2 MiB leaf stands for."""
    for table, va, stop in pte_tables(m, pgd, start, end):
        if table >= 0:
            yield from ((page_va, m.ram[at]) for page_va, at in ptes(table, va, stop))
        elif (pmd := huge_pmd(m, pgd, va)) >= 0:
            yield from ((page_va, pt.leaf_pte(m.ram[pmd], page_va)) for page_va, _ in ptes(0, va, stop))


def ptes(table: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(address, PTE) of each page of [start, end), a part of what one table covers."""
    for va in range(start, end, pt.PAGE_SIZE):
        yield va, table + (va >> pt.PAGE_SHIFT & 511)


def is_page(pte: int) -> bool:
    """Whether a PTE names a page that counts: mapped, and not the zero page."""
    return pt.pte_mapped(pte) and not pte & pt.PTE_SPECIAL


def tlb_flush_page(m: View, asid: int, va: int) -> None:
    """Drop one translation on every CPU."""
    tags = m.hw.tlb["tag"]
    tags[tags == np.uint64(tlb_tag(va, asid))] = 0


def tlb_flush_mm(m: View, asid: int) -> None:
    """Drop every translation of one address space on every CPU."""
    tags = m.hw.tlb["tag"]
    tags[(tags >> np.uint64(1) & np.uint64(0xFFFF)) == asid] = 0


def shootdown(m: View, pages: int) -> int:
    """What one costs, which has passed: the sender's share and that of every CPU that must answer. -1: all pages."""
    ns = m.cost["flush"] + m.nr_cpus * m.cost["flush_cpu"]
    m.charge(ns)
    m.hw.trace(EV_TLB_FLUSH, pages, TLB_REMOTE_SEND_IPI)
    return ns


def flush_mm(m: View, asid: int) -> None:
    """flush_tlb_mm(): everything that TLBs know of an address space."""
    tlb_flush_mm(m, asid)
    shootdown(m, -1)


MAX_ASIDS = 16
"""Of so many address spaces a batch remembers that their TLB entries are stale; above, it flushes all."""


def try_to_unmap_flush(m: View, asids: set[int], everything: bool) -> int:
    """One shootdown for all that a batch has unmapped; returns the ns that it takes, which have passed."""
    if everything or len(asids) > MAX_ASIDS:
        m.hw.tlb["tag"] = 0
    else:
        for asid in asids:
            tlb_flush_mm(m, asid)
    return shootdown(m, -1)


def tlb_insert(m: View, cpu: int, asid: int, va: int, pte: int) -> None:
    """What the CPU remembers of a walk."""
    row = m.hw.tlb[cpu]
    row[(va >> pt.PAGE_SHIFT) % len(row)] = (tlb_tag(va, asid), pte)


# ---------------------------------------------------------------- the ledger


def charge(m: View, stats: MigrateStats, phase: Phase, ns: int) -> None:
    """Time passes, and the ledger hears where it went."""
    stats.charge(phase, ns)
    m.charge(ns)


def note(log: PageLog | None, fate: Fate, pfn: int, at: int = 0, to: int = 0, why: int = 0) -> None:
    """Write a decision down; None: nobody wants to know."""
    if log is not None:
        log.note(fate, pfn, at, to, why)
