"""Migration entries: the non-present PTEs that stand for a page while it moves.

Mirrors include/linux/swapops.h; the twin of ``_migrate_entry.pxd``. The type says what the mapping may do with the
page (READ, READ_EXCLUSIVE, WRITE), the offset which page it is and what else the PTE had:

    bits 0..31 pfn, 32 accessed, 33 dirty, 34 NX, 35 PROT_NONE
"""

from __future__ import annotations

from numalab.arch import _pagetable_reference as pt

MIG_YOUNG_SHIFT = 32
MIG_DIRTY_SHIFT = 33
MIG_NX_SHIFT = 34
MIG_NONE_SHIFT = 35

#: Bits of a PTE, and where the offset of an entry keeps each.
_KEPT = (
    (pt.PTE_ACCESSED, 1 << MIG_YOUNG_SHIFT),
    (pt.PTE_DIRTY, 1 << MIG_DIRTY_SHIFT),
    (pt.PAGE_NX, 1 << MIG_NX_SHIFT),
    (pt.PTE_PROTNONE, 1 << MIG_NONE_SHIFT),
)


def mig_entry_make(pte: int, pfn: int, exclusive: bool) -> int:
    """The entry that replaces a present PTE of page ``pfn``."""
    if pte & pt.PTE_RW:
        kind = pt.SWP_MIGRATION_WRITE
    elif exclusive:
        kind = pt.SWP_MIGRATION_READ_EXCLUSIVE
    else:
        kind = pt.SWP_MIGRATION_READ
    return pt.swp_entry(kind, pfn | sum(there for here, there in _KEPT if pte & here))


def mig_entry_pfn(entry: int) -> int:
    """The page that is on its way."""
    return pt.swp_offset(entry) & 0xFFFFFFFF


def mig_entry_restore(entry: int, pfn: int) -> int:
    """remove_migration_pte(): the present PTE again, now naming page ``pfn``."""
    offset = pt.swp_offset(entry)
    pte = pfn << pt.PAGE_SHIFT | pt.PTE_USER | sum(here for here, there in _KEPT if offset & there)
    if not pte & pt.PTE_PROTNONE:
        pte |= pt.PTE_PRESENT
    if pt.swp_type(entry) == pt.SWP_MIGRATION_WRITE:
        pte |= pt.PTE_RW
    return pte


def mig_entry_to_read(entry: int) -> int:
    """fork(): neither side may write, or claim the page for itself, any more."""
    return pt.swp_entry(pt.SWP_MIGRATION_READ, pt.swp_offset(entry))


def mig_entry_protect(entry: int, prot: int, may_write: bool) -> int:
    """mprotect(): new protection bits; a writable entry of a range that may not be written becomes a reading one."""
    offset = pt.swp_offset(entry) & ~(1 << MIG_NX_SHIFT | 1 << MIG_NONE_SHIFT)
    if prot & pt.PAGE_NX:
        offset |= 1 << MIG_NX_SHIFT
    if prot & pt.PTE_PROTNONE:
        offset |= 1 << MIG_NONE_SHIFT
    kind = pt.swp_type(entry)
    if kind == pt.SWP_MIGRATION_WRITE and not may_write:
        kind = pt.SWP_MIGRATION_READ_EXCLUSIVE
    elif kind == pt.SWP_MIGRATION_READ_EXCLUSIVE and may_write:
        kind = pt.SWP_MIGRATION_WRITE
    return pt.swp_entry(kind, offset)
