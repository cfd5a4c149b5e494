"""Migration entries: the non-present PTEs that stand for a page while it moves.

Mirrors include/linux/swapops.h; the twin of ``_migrate_entry.pxd``. The type says what the mapping may do with the
page (READ, READ_EXCLUSIVE, WRITE), the other bits which page it is and what else the PTE had:

    1 writable, 2 present, 5 accessed, 6 dirty, 10 PROT_NONE, 11 NX, 12..51 pfn, 59..63 type
"""

from __future__ import annotations

from numalab.arch import _pagetable_reference as pt

MIG_NX = 0x800
MIG_PROT_SHIFT = 2

#: Bits of a PTE, and which bit of an entry keeps each.
_PROT = (
    (pt.PTE_PRESENT, pt.PTE_PRESENT << MIG_PROT_SHIFT),
    (pt.PTE_PROTNONE, pt.PTE_PROTNONE << MIG_PROT_SHIFT),
    (pt.PAGE_NX, MIG_NX),
)
_KEPT = (
    (pt.PTE_RW, pt.PTE_RW),
    (pt.PTE_ACCESSED, pt.PTE_ACCESSED),
    (pt.PTE_DIRTY, pt.PTE_DIRTY),
    *_PROT,
)


def mig_entry_make(pte: int, pfn: int, exclusive: bool) -> int:
    """The entry that replaces a present PTE of page ``pfn``."""
    if pte & pt.PTE_RW:
        kind = pt.SWP_MIGRATION_WRITE
    elif exclusive:
        kind = pt.SWP_MIGRATION_READ_EXCLUSIVE
    else:
        kind = pt.SWP_MIGRATION_READ
    return _retyped(pfn << pt.PAGE_SHIFT | sum(there for here, there in _KEPT if pte & here), kind)


def mig_entry_pfn(entry: int) -> int:
    """The page that is on its way."""
    return pt.pte_pfn(entry)


def mig_entry_restore(entry: int, pfn: int) -> int:
    """remove_migration_pte(): the present PTE again, now naming page ``pfn``."""
    return pfn << pt.PAGE_SHIFT | pt.PTE_USER | sum(here for here, there in _KEPT if entry & there)


def _retyped(entry: int, kind: int) -> int:
    entry &= (1 << pt.SWP_TYPE_SHIFT) - 1 & ~pt.PTE_RW
    return kind << pt.SWP_TYPE_SHIFT | entry | (pt.PTE_RW if kind == pt.SWP_MIGRATION_WRITE else 0)


def mig_entry_to_read(entry: int) -> int:
    """fork(): neither side may write, or claim the page for itself, any more."""
    return _retyped(entry, pt.SWP_MIGRATION_READ)


def mig_entry_protect(entry: int, prot: int, may_write: bool) -> int:
    """mprotect(): new protection bits; a writable entry of a range that may not be written becomes a reading one."""
    kind = pt.swp_type(entry)
    prot |= 0 if prot & pt.PTE_PROTNONE else pt.PTE_PRESENT
    for here, there in _PROT:
        entry = entry | there if prot & here else entry & ~there
    if kind == pt.SWP_MIGRATION_WRITE and not may_write:
        kind = pt.SWP_MIGRATION_READ_EXCLUSIVE
    elif kind == pt.SWP_MIGRATION_READ_EXCLUSIVE and may_write:
        kind = pt.SWP_MIGRATION_WRITE
    return _retyped(entry, kind)
