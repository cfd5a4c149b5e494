"""``walk``: what the hardware does with an address, level by level, down to the frame and what is known of it.

Nothing is changed by looking: neither ACCESSED nor a TLB entry, as the CPU's own walk would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.arch._mmu_reference import tlb_tag
from numalab.mm import _constants as c
from numalab.mm._migrate_entry_reference import mig_entry_pfn
from numalab.mm.mpol import mpol_to_str
from numalab.mm.task_mmu import show_map_vma
from numalab.mm.vma_tree import vma_lookup

if TYPE_CHECKING:
    from numalab.kernel.machine import Machine
    from numalab.mm._mm_types import VMA, MmStruct

__all__ = ["entry_text", "frame_of", "frame_text", "walk"]

_BITS = (
    (pt.PTE_RW, "writable"), (pt.PTE_USER, "user"), (pt.PTE_ACCESSED, "accessed"), (pt.PTE_DIRTY, "dirty"),
    (pt.PTE_PSE, "2 MiB leaf"), (pt.PTE_PROTNONE, "PROT_NONE"), (pt.PTE_SPECIAL, "special"), (pt.PAGE_NX, "no-exec"),
)  # fmt: skip
_MARKS = {
    pt.SWP_MIGRATION_READ: "read", pt.SWP_MIGRATION_READ_EXCLUSIVE: "read, exclusive", pt.SWP_MIGRATION_WRITE: "write",
}  # fmt: skip
_FLAGS = {
    value: name.removeprefix("PG_")
    for name, value in vars(c).items()
    if name.startswith("PG_") and value.bit_count() == 1 and value < 1 << 24
}


def walk(machine: Machine, mm: MmStruct, va: int, name: str) -> Iterator[str]:
    """The walk of one address as text, a line a level; then its page and the TLBs that hold it.

    name: what people call the page. Raises ValueError for an address that no program can have.
    """
    hw, levels = machine.hw, machine.hw.levels
    if not 0 <= va < pt.user_limit(levels):
        raise ValueError(f"{va:#x}: a program's addresses end at {pt.user_limit(levels):#x}")
    vma = vma_lookup(mm, va)
    yield f"{name} is at {va:#x}, in {_area(mm, vma) if vma is not None else 'no area: an access is SIGSEGV'}"
    ram, table = pt.words(hw), mm.pgd
    yield f"{'CR3':29} -> {frame_text(machine, pt.pte_pfn(table))}"
    for level in range(levels - 1, -1, -1):
        index = va >> pt.PAGE_SHIFT + 9 * level & 511
        entry = ram[pt.table_at(table) + index]
        yield f"{_level(level, levels)}[{index:3}] {entry:#020x} {entry_text(machine, entry, level)}"
        leaf = level == 0 or (level == 1 and pt.pmd_leaf(entry))
        if leaf and (pfn := frame_of(pt.leaf_pte(entry, va) if level else entry)):
            yield f"page  {_page(machine, pfn)}"
        if leaf or not entry & pt.PTE_PRESENT:
            break
        table = entry
    yield f"TLBs  {_tlbs(machine, mm, va)}"


def _area(mm: MmStruct, vma: VMA) -> str:
    policy = f", policy {mpol_to_str(vma.policy)}" if vma.policy is not None else ""
    return f"{' '.join(show_map_vma(mm, vma).split()[:2])}{policy}"


def _level(level: int, levels: int) -> str:
    return "PGD" if level == levels - 1 else ("PTE", "PMD", "PUD", "P4D")[level]


def frame_of(pte: int) -> int:
    """The frame that a PTE maps, or from which a page is on its way; 0 if there is none."""
    if pt.is_migration_entry(pte):
        return mig_entry_pfn(pte)
    return pt.pte_pfn(pte) if pt.pte_mapped(pte) else 0


def frame_text(machine: Machine, pfn: int) -> str:
    """`frame 0x123, node 0`."""
    return f"frame {pfn:#x}, node {machine.mem.node_of(pfn)}"


def entry_text(machine: Machine, entry: int, level: int = 0) -> str:
    """What an entry says, in words."""
    if entry == 0:
        return "empty: an access is a fault" + (", which will make the table" if level else "")
    if pt.is_migration_entry(entry):
        mark = _MARKS[pt.swp_type(entry)]
        return f"migration entry ({mark}): what was in {frame_text(machine, mig_entry_pfn(entry))}, is on its way"
    if pt.pte_swaplike(entry):
        return f"swap entry: area {pt.swp_type(entry)}, slot {pt.swp_offset(entry)}"
    bits = [word for bit, word in _BITS if entry & bit and not (level and bit == pt.PTE_PROTNONE)]
    return f"-> {frame_text(machine, pt.pte_pfn(entry))}: {', '.join(bits)}"


def _page(machine: Machine, pfn: int) -> str:
    """What struct page says of a frame."""
    hot = machine.mem.hot
    flags = [name for bit, name in _FLAGS.items() if int(hot["flags"][pfn]) & bit]
    counts = [f"{name} {int(hot[name][pfn])}" for name in ("refcount", "mapcount", "pincount")]
    return f"{pfn:#x}: {', '.join(counts)}; {' '.join(flags) or 'no flags'}"


def _tlbs(machine: Machine, mm: MmStruct, va: int) -> str:
    """The CPUs whose TLB has the address, with what it says there."""
    slot = (va >> pt.PAGE_SHIFT) % machine.hw.tlb.shape[1]
    tag = tlb_tag(va, mm.asid)
    found = [
        f"CPU {cpu} {frame_text(machine, pt.pte_pfn(int(entry['pte'])))}"
        for cpu, entry in enumerate(machine.hw.tlb[:, slot])
        if int(entry["tag"]) == tag
    ]
    return "; ".join(found) or "no CPU has it"
