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

__all__ = [
    "MIGRATION", "PAGE", "SPECIAL", "SWAP", "Areas", "Leaves", "Reserve", "Tables", "page_key", "reserve", "walk",
]  # fmt: skip

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
class Reserve:
    """The tables that lie in reserve for PMD leaves. parent: index of the PMD table; owner: of the address space."""

    pfn: Ints
    index: Ints
    owner: Ints
    parent: Ints


@dataclass
class Leaves:
    """Every PTE that is not zero, by address space and address. where: its physical address; pfn: what it names.

    A 2 MiB leaf is here as the 512 PTEs that it stands for, all of them at its own place.

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
) -> tuple[Tables, Leaves, Leaves, list[tuple[int, int, int]]]:
    """All tables of all address spaces, level by level: (tables, leaves, those leaves of 2 MiB as they stand there).

    And upper entries that nothing makes, as (va, owner, entry).
    """
    ram = mem.hw.ram.view(np.uint64).reshape(-1, 512)
    pfn = np.array([mm.pgd >> 12 for mm in mms], np.int64)
    owner, base = np.arange(len(mms)), np.zeros(len(mms), np.int64)
    found: list[Tables] = []
    odd: list[tuple[int, int, int]] = []
    none = np.empty(0, np.int64)
    huge = _leaves(frames, none, none, none.astype(np.uint64), none, none)
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
            if level == 1:
                leaf = (entry & np.uint64(PTE_PSE) != 0) & (entry & _MAPPED != 0)
                huge = _leaves(frames, owner[leaf], base[leaf], entry[leaf], where[leaf], pfn[leaf])
                owner, base, entry, pfn, table = (x[~leaf] for x in (owner, base, entry, pfn, table))
            odd += zip(base[~table].tolist(), owner[~table].tolist(), entry[~table].tolist(), strict=True)
            pfn, owner, base = pfn[table], owner[table], base[table]
    tables = Tables(*(np.concatenate([getattr(t, f.name) for t in found]) for f in fields(Tables)))
    leaves = _leaves(frames, owner, base, entry, where, pfn)
    return tables, _with_huge(frames, leaves, huge), huge, odd


def _with_huge(frames: Frames, leaves: Leaves, huge: Leaves) -> Leaves:
    """The PTEs that leaves of 2 MiB stand for among the others, by address space and address."""
    if not len(huge.va):
        return leaves
    part = np.tile(np.arange(512), len(huge.va))
    one = huge.pick(np.repeat(np.arange(len(huge.va)), 512))
    pte = (one.pte & ~np.uint64(PTE_PSE)) + (part << 12).astype(np.uint64)
    spread = _leaves(frames, one.owner, one.va + (part << 12), pte, one.where, one.pfn + part)
    both = Leaves(*(np.concatenate([getattr(x, f.name) for x in (leaves, spread)]) for f in fields(Leaves)))
    return both.pick(np.lexsort((both.va, both.owner)))


def reserve(frames: Frames, tables: Tables) -> Reserve:
    """What hangs on PMD tables by ``link``: table after table. A chain that leads astray or round ends there."""
    rows: list[tuple[int, int, int, int]] = []
    seen: set[int] = set()
    pmd_tables = tables.real & (tables.level == 1) & (frames.link[tables.index] != 0)
    for parent, owner in zip(
        tables.index[pmd_tables].tolist(), tables.owner[pmd_tables].tolist(), strict=True
    ):
        pfn = int(frames.link[parent])
        while pfn and pfn not in seen:
            seen.add(pfn)
            index = int(frames.index(np.array([pfn]))[0])
            if index < 0 or not frames.flags[index] & PG.TABLE:
                break
            rows.append((pfn, index, owner, parent))
            pfn = int(frames.link[index])
    return Reserve(*np.array(rows, np.int64).reshape(-1, 4).T)


def _leaves(frames: Frames, owner: Ints, va: Ints, pte: Words, where: Ints, pfn: Ints) -> Leaves:
    mapped = pte & _MAPPED != 0
    migration = pte >> np.uint64(59) >= SWP_MIGRATION_READ
    special = pte & np.uint64(PTE_SPECIAL) != 0
    kind = np.where(mapped, np.where(special, SPECIAL, PAGE), np.where(migration, MIGRATION, SWAP))
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
