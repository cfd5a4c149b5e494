"""Plain-Python twin of _pagetable: the same walks over the same RAM, as a text to read and an oracle for tests.

A page table is a page of 512 entries of 8 bytes. An address is cut into 9-bit indexes, from the top: with 4 levels

    63        47      38      29      20      11        0
    | unused | PGD   | PUD   | PMD   | PTE   | offset  |

and each entry holds the frame of the next table, until the last holds the frame of the page. With 5 levels one more
index (P4D) stands on top. A PMD entry with PSE set is a leaf of 2 MiB.

Mirrors Intel SDM vol. 3A, 4.5. RAM is one memoryview of 64-bit words; a table is the index of its first word.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from numalab.arch._hw import Hardware

PAGE_SHIFT = 12
PAGE_SIZE = 4096
PMD_SHIFT = 21
PTRS_PER_TABLE = 512

PTE_PRESENT = 0x001
PTE_RW = 0x002
PTE_USER = 0x004
PTE_ACCESSED = 0x020
PTE_DIRTY = 0x040
PTE_PSE = 0x080
PTE_PROTNONE = 0x100
PTE_SPECIAL = 0x200
PTE_ADDR_MASK = 0x000FFFFFFFFFF000
PAGE_NX = 1 << 63

SWP_TYPE_SHIFT = 59
SWP_OFFSET_SHIFT = 9
SWP_MIGRATION_READ = 29
SWP_MIGRATION_READ_EXCLUSIVE = 30
SWP_MIGRATION_WRITE = 31
MAX_SWAPFILES = 24


def pte_mapped(pte: int) -> bool:
    """Linux's pte_present(): names a frame, whether or not the hardware may use it (PROT_NONE)."""
    return pte & (PTE_PRESENT | PTE_PROTNONE) != 0


def pte_pfn(pte: int) -> int:
    """Frame number that a mapped PTE names."""
    return (pte & PTE_ADDR_MASK) >> PAGE_SHIFT


def pte_swaplike(pte: int) -> bool:
    """Neither empty nor mapped: a swap or migration entry."""
    return pte != 0 and not pte_mapped(pte)


def swp_entry(type: int, offset: int) -> int:
    """A non-present PTE: swap area (or mark) and offset in it."""
    return type << SWP_TYPE_SHIFT | offset << SWP_OFFSET_SHIFT


def swp_type(entry: int) -> int:
    return entry >> SWP_TYPE_SHIFT


def swp_offset(entry: int) -> int:
    return (entry & (1 << SWP_TYPE_SHIFT) - 1) >> SWP_OFFSET_SHIFT


def is_migration_entry(pte: int) -> bool:
    """Whether the page is on its way to another frame, which the offset names."""
    return pte_swaplike(pte) and swp_type(pte) >= SWP_MIGRATION_READ


def words(hw: Hardware) -> memoryview:
    """All RAM as 64-bit words: word i is at physical address 8 * i. Raises ValueError after close()."""
    if hw.closed:
        raise ValueError("the machine is closed")
    return hw.ram.data.cast("Q")


def table_at(entry: int) -> int:
    """Word index of the table that a non-leaf entry (or a root) points to."""
    return (entry & PTE_ADDR_MASK) >> 3


def user_limit(levels: int) -> int:
    """First address that no user can have: half of what the levels span, the rest is the kernel's."""
    return 1 << PAGE_SHIFT + 9 * levels - 1


def pmd_index(ram: memoryview, levels: int, pgd: int, va: int) -> int:
    """Word index of the PMD entry of va, or -1 when an upper level is empty."""
    table = table_at(pgd)
    for level in range(levels - 1, 1, -1):
        entry = ram[table + (va >> PAGE_SHIFT + 9 * level & 511)]
        # PSE above the PMD would be a leaf of 1 GiB, which we do not have.
        if entry & (PTE_PRESENT | PTE_PSE) != PTE_PRESENT:
            return -1
        table = table_at(entry)
    return table + (va >> PMD_SHIFT & 511)


def pte_index(ram: memoryview, levels: int, pgd: int, va: int) -> int:
    """Word index of the PTE of va, or -1 when there is no PTE table for it (a hole, or a 2 MiB leaf)."""
    pmd = pmd_index(ram, levels, pgd, va)
    if pmd < 0 or ram[pmd] & (PTE_PRESENT | PTE_PSE) != PTE_PRESENT:
        return -1
    return table_at(ram[pmd]) + (va >> PAGE_SHIFT & 511)


def pmd_leaf(pmd: int) -> bool:
    """Whether a PMD entry is a 2 MiB leaf, whether or not the hardware may use it."""
    return pmd & PTE_PSE != 0 and pte_mapped(pmd)


def leaf_pte(pmd: int, va: int) -> int:
    """The PTE that would map the small page of va inside a 2 MiB leaf: its frame lies as far into it as va does."""
    return (pmd & ~PTE_PSE) + (va & (1 << PMD_SHIFT) - PAGE_SIZE)


def map_pte(
    hw: Hardware, pgd: int, va: int, pte: int, new_table: Callable[[], int], *, huge: bool = False
) -> int:
    """Store the leaf of va, making tables on the way; returns its physical address. For hand-built tables.

    new_table() gives the physical address of a zeroed page. huge: the leaf is the PMD entry; PSE is set in it.
    Raises ValueError if a 2 MiB leaf is in the way of a small page.
    """
    ram = words(hw)
    table = table_at(pgd)
    last = 1 if huge else 0
    for level in range(hw.levels - 1, last, -1):
        at = table + (va >> PAGE_SHIFT + 9 * level & 511)
        if not ram[at] & PTE_PRESENT:
            ram[at] = new_table() | PTE_PRESENT | PTE_RW | PTE_USER
        if ram[at] & PTE_PSE:
            raise ValueError(f"{va:#x} lies in a 2 MiB page")
        table = table_at(ram[at])
    at = table + (va >> PAGE_SHIFT + 9 * last & 511)
    ram[at] = pte | PTE_PSE if huge else pte
    return at << 3


def _walk(ram: memoryview, levels: int, pgd: int, va: int) -> int:
    if va >= user_limit(levels):
        return 0
    index = pmd_index(ram, levels, pgd, va)
    if index < 0:
        return 0
    pmd: int = ram[index]
    if pmd_leaf(pmd):
        return leaf_pte(pmd, va)
    if not pmd & PTE_PRESENT or pmd & PTE_PSE:
        return 0
    pte: int = ram[table_at(pmd) + (va >> PAGE_SHIFT & 511)]
    return pte


def _check(hw: Hardware, pgd: int) -> None:
    if (pgd & PTE_ADDR_MASK) >> PAGE_SHIFT >= hw.nr_frames:
        raise ValueError(f"root table {pgd:#x} is outside RAM")


def walk(hw: Hardware, pgd: int, va: int) -> int:
    """The PTE of one address, 0 if there is none."""
    ram = words(hw)
    _check(hw, pgd)
    return _walk(ram, hw.levels, pgd, va)


def walk_batch(
    hw: Hardware, pgd: int, vaddrs: npt.NDArray[np.uint64] | Sequence[int], ptes: npt.NDArray[np.uint64]
) -> None:
    """ptes[i] = walk(vaddrs[i]). Raises ValueError if ptes is the shorter one."""
    ram, levels = words(hw), hw.levels
    _check(hw, pgd)
    if len(ptes) < len(vaddrs):
        raise ValueError(f"{len(vaddrs)} addresses, but room for {len(ptes)} PTEs")
    out = ptes.data
    for i, va in enumerate(np.ascontiguousarray(vaddrs, dtype=np.uint64).data):
        out[i] = _walk(ram, levels, pgd, va)


def walk_range(hw: Hardware, pgd: int, start: int, end: int, out: npt.NDArray[np.uint64]) -> int:
    """PTEs of the pages that [start, end) touches, 0 for those without; returns how many were written.

    That is all of them, or as many as out has room for. Raises ValueError if end lies before start.
    """
    ram, levels = words(hw), hw.levels
    _check(hw, pgd)
    if end < start:
        raise ValueError(f"the range {start:#x}..{end:#x} ends before it starts")
    first = start >> PAGE_SHIFT
    n = min(-(-end >> PAGE_SHIFT) - first, len(out)) if end > start else 0
    ptes = out.data
    for i in range(n):
        ptes[i] = _walk(ram, levels, pgd, first + i << PAGE_SHIFT)
    return n
