"""What the invariants look at, the virtual side: page tables, their entries, and the areas that these should lie in.

All tables of all address spaces are read level by level, each level with a few numpy operations. Nothing here trusts
what it reads: what is no table is kept apart for the checks to report, and never followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from numalab.arch._pagetable import PTE_PRESENT, PTE_PROTNONE, PTE_PSE, PTE_SPECIAL, SWP_MIGRATION_READ
from numalab.mm._mm_types import VMA, MemMap, MmStruct
from numalab.mm.invariants_memory import PG, Bools, Frames, Ints, Words

__all__ = ["MIGRATION", "PAGE", "SPECIAL", "SWAP", "Areas", "Leaves", "Tables", "page_key", "walk"]

_ADDRESS = np.uint64(0x000FFFFFFFFFF000)
_MAPPED = np.uint64(PTE_PRESENT | PTE_PROTNONE)
#: A page number has at most 45 bits with 5 levels of tables, kernel half included.
_VPN_BITS = 45


@dataclass
class Tables:
    """Every page-table page reached from a root. owner: index of the address space; base: first address it maps.

    real: it is a used frame marked as a table; only such ones were read.
    """

    pfn: Ints
    index: Ints
    owner: Ints
    level: Ints
    base: Ints
    real: Bools


@dataclass
class Leaves:
    """Every PTE that is not zero, by address space and address. where: its physical address; pfn: what it names.

    kind: 0 a page, 1 the zero page (SPECIAL), 2 a migration entry, 3 a swap entry.
    """

    owner: Ints
    va: Ints
    pte: Words
    where: Ints
    kind: Ints
    pfn: Ints
    index: Ints

    def pick(self, chosen: Bools | Ints) -> Leaves:
        """Some of them."""
        return Leaves(*(getattr(self, f.name)[chosen] for f in fields(self)))


PAGE, SPECIAL, MIGRATION, SWAP = range(4)


def walk(
    mem: MemMap, frames: Frames, mms: Sequence[MmStruct]
) -> tuple[Tables, Leaves, list[tuple[int, int, int]]]:
    """All tables of all address spaces, level by level; and upper entries that nothing makes, as (va, owner, entry)."""
    ram = mem.hw.ram.view(np.uint64).reshape(-1, 512)
    pfn = np.array([mm.pgd >> 12 for mm in mms], np.int64)
    owner, base = np.arange(len(mms)), np.zeros(len(mms), np.int64)
    found: list[Tables] = []
    odd: list[tuple[int, int, int]] = []
    for level in range(mem.hw.levels - 1, -1, -1):
        index = frames.index(pfn)
        real = (index >= 0) & (frames.flags[index] & PG.TABLE != 0)
        found.append(Tables(pfn, index, owner, np.full(len(pfn), level), base, real))
        pfn, owner, base = pfn[real], owner[real], base[real]
        rows = ram[pfn]
        row, column = np.nonzero(rows)
        entry = rows[row, column]
        where = (pfn[row] << 12) + 8 * column
        owner, base = owner[row], base[row] + (column << (12 + 9 * level))
        pfn = ((entry & _ADDRESS) >> np.uint64(12)).astype(np.int64)
        if level:
            table = entry & np.uint64(PTE_PRESENT | PTE_PSE) == PTE_PRESENT
            odd += zip(base[~table].tolist(), owner[~table].tolist(), entry[~table].tolist(), strict=True)
            pfn, owner, base = pfn[table], owner[table], base[table]
    tables = Tables(*(np.concatenate([getattr(t, f.name) for t in found]) for f in fields(Tables)))
    return tables, _leaves(frames, owner, base, entry, where, pfn), odd


def _leaves(frames: Frames, owner: Ints, va: Ints, pte: Words, where: Ints, pfn: Ints) -> Leaves:
    mapped = pte & _MAPPED != 0
    migration = pte >> np.uint64(59) >= SWP_MIGRATION_READ
    special = pte & np.uint64(PTE_SPECIAL) != 0
    kind = np.where(mapped, np.where(special, SPECIAL, PAGE), np.where(migration, MIGRATION, SWAP))
    # The offset of a migration entry starts at bit 9; its low 32 bits are the frame.
    offset = (pte >> np.uint64(9) & np.uint64(0xFFFFFFFF)).astype(np.int64)
    pfn = np.where(mapped, pfn, offset)
    return Leaves(owner, va, pte, where, kind, pfn, np.where(kind == SWAP, -1, frames.index(pfn)))


def page_key(owner: Ints, va: Ints) -> Ints:
    """One number for an address space and a page in it, ascending as the two are."""
    return owner << _VPN_BITS | va >> 12


@dataclass
class Areas:
    """Every area of every address space, by address space and address."""

    vma: list[VMA]
    owner: Ints
    start: Ints
    end: Ints
    pgoff: Ints
    flags: Ints

    @classmethod
    def read(cls, mms: Sequence[MmStruct]) -> Areas:
        found = ((i, vma.start, vma) for i, mm in enumerate(mms) for vma in mm.vmas.values())
        rows = sorted(found, key=lambda row: row[:2])
        vmas = [vma for _, _, vma in rows]
        numbers = [(i, start, vma.end, vma.pgoff, vma.flags) for i, start, vma in rows]
        return cls(vmas, *np.array(numbers, np.int64).reshape(-1, 5).T)

    def covering(self, owner: Ints, va: Ints) -> Ints:
        """The area of each page; -1: it lies in none."""
        at = np.searchsorted(page_key(self.owner, self.start), page_key(owner, va), side="right") - 1
        inside = (at >= 0) & (np.append(self.owner, -1)[at] == owner) & (va < np.append(self.end, 0)[at])
        return np.where(inside, at, -1)

    def touched(self, owner: Ints, start: Ints, end: Ints) -> Bools:
        """Whether any area has a page in [start, end), which is no longer than an address space."""
        at = np.searchsorted(page_key(self.owner, self.end - 1), page_key(owner, start))
        found: Bools = (np.append(self.owner, -1)[at] == owner) & (np.append(self.start, 0)[at] < end)
        return found
