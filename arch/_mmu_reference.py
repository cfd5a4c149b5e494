"""Plain-Python twin of _mmu: one user access after the other through the TLB, on the same RAM and the same TLB arrays.

Mirrors Intel SDM vol. 3A, 4.6, 4.8 and 4.10; what is deliberately different stands at the head of _mmu.pyx. The rules:

* A hit needs the tag (page and address space) and every bit that the access needs or would set; it uses the entry as it
  stands, stale or not. Anything else walks, and costs `walk`.
* A walk is allowed if the leaf is present, for users and, to write, writable. It sets ACCESSED, a write sets DIRTY too,
  in the table; then the entry replaces whatever the slot held.
* A walk that is not allowed is a page fault: the entry of that page is dropped, and the access stops.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from numalab.arch import _pagetable_reference as pt
from numalab.arch._hw import EV_TLB_FLUSH, Hardware

PAGE_SIZE = pt.PAGE_SIZE
ASID_MAX = 0xFFFF
TLB_REMOTE_SEND_IPI = 4

READ = (pt.PTE_PRESENT | pt.PTE_USER, pt.PTE_ACCESSED)
"""What a load needs of a leaf, and what it leaves behind."""
WRITE = (pt.PTE_PRESENT | pt.PTE_USER | pt.PTE_RW, pt.PTE_ACCESSED | pt.PTE_DIRTY)


def tlb_tag(va: int, asid: int) -> int:
    """Page number, address space and a valid bit in one word; 0 is an empty slot."""
    return (va >> 12 << 17 | asid << 1 | 1) % (1 << 64)


def _tlb(hw: Hardware) -> memoryview:
    """All TLBs as words: entry i is (tag, pte) at 2 * i; those of one CPU follow each other."""
    return hw.tlb.view(np.uint64).reshape(-1).data


class _Cpu:
    """One CPU running in one address space: translate() is the MMU."""

    def __init__(self, hw: Hardware, cpu: int, asid: int, pgd: int) -> None:
        self.ram = pt.words(hw)
        if not 0 <= cpu < hw.nr_cpus:
            raise ValueError(f"cpu {cpu} does not exist (0..{hw.nr_cpus - 1})")
        if not 0 <= asid <= ASID_MAX:
            raise ValueError(f"asid {asid} does not fit 16 bits")
        if pt.pte_pfn(pgd) >= hw.nr_frames:
            raise ValueError(f"root table {pgd:#x} is outside RAM")
        self.hw, self.asid, self.pgd = hw, asid, pgd
        self.tlb = _tlb(hw)
        self.entries = hw.tlb.shape[1]
        self.first = cpu * self.entries
        self.misses = 0

    def translate(self, va: int, access: tuple[int, int]) -> int:
        """Physical address for an access to va, or -1 for a page fault."""
        need, leaves = access
        if va >= pt.user_limit(self.hw.levels):
            return -1
        slot = 2 * (self.first + (va >> 12) % self.entries)
        tag = tlb_tag(va, self.asid)
        hit = self.tlb[slot] == tag
        pte: int = self.tlb[slot + 1]
        if not hit or pte & (need | leaves) != need | leaves:
            self.misses += 1
            pte = self._walk(va, need, leaves)
            if pte == 0 or pt.pte_pfn(pte) >= self.hw.nr_frames:
                if hit:
                    self.tlb[slot] = 0
                return -1
            self.tlb[slot], self.tlb[slot + 1] = tag, pte
        return (pte & pt.PTE_ADDR_MASK) + va % PAGE_SIZE

    def _walk(self, va: int, need: int, leaves: int) -> int:
        """The leaf with its bits set, in the table too; 0 if there is none or it does not grant `need`."""
        ram, levels = self.ram, self.hw.levels
        index = pt.pmd_index(ram, levels, self.pgd, va)
        if index < 0 or not ram[index] & pt.PTE_PRESENT:
            return 0
        huge = ram[index] & pt.PTE_PSE != 0
        if not huge:
            index = pt.pte_index(ram, levels, self.pgd, va)
        if ram[index] & need != need:
            return 0
        ram[index] |= leaves
        pte: int = ram[index]
        return (pte & ~pt.PTE_PSE) + (va & (1 << pt.PMD_SHIFT) - PAGE_SIZE) if huge else pte

    def done(self) -> None:
        """Charge the walks to the clock."""
        self.hw.advance(self.misses * self.hw.cost["walk"])


def _move(cpu: _Cpu, va: int, n: int, access: tuple[int, int], chunk: Callable[[int, int, int], None]) -> int:
    """Call chunk(physical address, bytes done so far, bytes now) page by page; returns the bytes done."""
    done = 0
    while done < n:
        pa = cpu.translate((va + done) % (1 << 64), access)
        if pa < 0:
            break
        now = min(PAGE_SIZE - pa % PAGE_SIZE, n - done)
        chunk(pa, done, now)
        done += now
    cpu.done()
    return done


def read(hw: Hardware, cpu: int, asid: int, pgd: int, va: int, buf: bytearray | memoryview) -> int:
    """Load len(buf) bytes at va into buf. Returns bytes done."""
    mmu = _Cpu(hw, cpu, asid, pgd)
    ram, out = hw.ram.data, memoryview(buf).cast("B")

    def chunk(pa: int, done: int, now: int) -> None:
        out[done : done + now] = ram[pa : pa + now]

    return _move(mmu, va, len(out), READ, chunk)


def write(hw: Hardware, cpu: int, asid: int, pgd: int, va: int, buf: bytes | bytearray | memoryview) -> int:
    """Store the bytes of buf at va. Returns bytes done."""
    mmu = _Cpu(hw, cpu, asid, pgd)
    ram, data = hw.ram.data, memoryview(buf).cast("B")

    def chunk(pa: int, done: int, now: int) -> None:
        ram[pa : pa + now] = data[done : done + now]

    return _move(mmu, va, len(data), WRITE, chunk)


def touch(
    hw: Hardware, cpu: int, asid: int, pgd: int, va: int, stride: int, count: int, write: bool, value: int = 1
) -> int:
    """Load one byte, or store `value`, at va, va + stride, ... `count` times. Returns accesses done."""
    mmu = _Cpu(hw, cpu, asid, pgd)
    ram = hw.ram.data
    done = 0
    for i in range(count):
        pa = mmu.translate((va + i * stride) % (1 << 64), WRITE if write else READ)
        if pa < 0:
            break
        if write:
            ram[pa] = value
        done += 1
    mmu.done()
    return done


def _flush(hw: Hardware, keep: "npt.NDArray[np.bool_]", pages: int) -> None:
    """Drop the entries not kept, and charge one shootdown: the sender's share and that of every CPU that answers."""
    hw.tlb["tag"] *= keep
    hw.advance(hw.cost["flush"] + hw.cost["flush_cpu"] * hw.nr_cpus)
    hw.trace(EV_TLB_FLUSH, pages, TLB_REMOTE_SEND_IPI)


def _of_mm(hw: Hardware, asid: int) -> "npt.NDArray[np.bool_]":
    tags = hw.tlb["tag"]
    match: npt.NDArray[np.bool_] = (tags >> np.uint64(1) & np.uint64(ASID_MAX)) == asid
    return match


def flush_tlb_page(hw: Hardware, asid: int, va: int) -> None:
    """Drop the translation of one page on every CPU."""
    _flush(hw, hw.tlb["tag"] != np.uint64(tlb_tag(va, asid)), 1)


def flush_tlb_range(hw: Hardware, asid: int, start: int, end: int) -> None:
    """Drop the translations of all pages that [start, end) touches, on every CPU: one shootdown for the lot."""
    if end <= start:
        return
    pages = hw.tlb["tag"] >> np.uint64(17)
    inside = (pages >= start >> 12) & (pages <= end - 1 >> 12)
    _flush(hw, ~(_of_mm(hw, asid) & inside), end - start + PAGE_SIZE - 1 >> 12)


def flush_tlb_mm(hw: Hardware, asid: int) -> None:
    """Drop every translation of one address space on every CPU."""
    _flush(hw, ~_of_mm(hw, asid), (1 << 64) - 1)


def flush_tlb_all(hw: Hardware) -> None:
    """Empty every TLB."""
    _flush(hw, np.zeros(hw.tlb.shape, bool), (1 << 64) - 1)
