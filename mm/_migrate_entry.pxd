# Migration entries: the non-present PTEs that stand for a page while it moves.
#
# Mirrors include/linux/swapops.h: type READ, READ_EXCLUSIVE or WRITE. Deliberately different: an entry keeps all that
# the PTE says, so that restoring it needs no VMA (mprotect() edits it in place), and keeps most of it where the PTE has
# it, so that either is made from the other in a few steps and without a branch.
#
# Bits 1 writable (type WRITE, and no other), 2 present, 5 accessed, 6 dirty, 10 PROT_NONE, 11 NX, 12..51 pfn,
# 59..63 type.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT
from numalab.arch._pagetable cimport (
    PTE_NX, PTE_PRESENT, PTE_PROTNONE, PTE_RW, PTE_USER, SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE,
    SWP_MIGRATION_WRITE, SWP_TYPE_SHIFT, pte_pfn, swp_type,
)

cdef enum:
    MIG_KEPT = 0x062            # PTE_RW, PTE_ACCESSED, PTE_DIRTY
    MIG_NX = 0x800
    MIG_NX_SHIFT = 52           # to where the PTE has it
    MIG_PROT_SHIFT = 2          # from where the PTE has present and PROT_NONE
    MIG_PROT = 0x101            # PTE_PRESENT, PTE_PROTNONE


cdef inline uint64_t mig_entry_make(uint64_t pte, uint32_t pfn, bint exclusive) noexcept nogil:
    """The entry that replaces a present PTE of page pfn."""
    cdef uint64_t write = (pte & PTE_RW) >> 1   # READ, READ_EXCLUSIVE and WRITE follow each other
    return (
        SWP_MIGRATION_READ + (write << 1 | <uint64_t>exclusive & ~write) << SWP_TYPE_SHIFT
        | <uint64_t>pfn << PAGE_SHIFT | pte & MIG_KEPT | (pte & MIG_PROT) << MIG_PROT_SHIFT
        | (pte & PTE_NX()) >> MIG_NX_SHIFT)


cdef inline uint32_t mig_entry_pfn(uint64_t entry) noexcept nogil:
    return <uint32_t>pte_pfn(entry)


cdef inline uint64_t mig_entry_restore(uint64_t entry, uint32_t pfn) noexcept nogil:
    """remove_migration_pte(): the present PTE again, now naming page pfn."""
    return (
        <uint64_t>pfn << PAGE_SHIFT | PTE_USER | entry & MIG_KEPT | entry >> MIG_PROT_SHIFT & MIG_PROT
        | (entry & MIG_NX) << MIG_NX_SHIFT)


cdef inline uint64_t mig_entry_retyped(uint64_t entry, uint64_t type) noexcept nogil:
    entry &= ~(<uint64_t>31 << SWP_TYPE_SHIFT | PTE_RW)
    return entry | type << SWP_TYPE_SHIFT | (PTE_RW if type == SWP_MIGRATION_WRITE else 0)


cdef inline uint64_t mig_entry_to_read(uint64_t entry) noexcept nogil:
    """fork(): neither side may write, or claim the page for itself, any more."""
    return mig_entry_retyped(entry, SWP_MIGRATION_READ)


cdef inline uint64_t mig_entry_protect(uint64_t entry, uint64_t prot, bint may_write) noexcept nogil:
    """mprotect(): new protection bits; a writable entry of a range that may not be written becomes a reading one."""
    cdef uint64_t type = swp_type(entry)
    entry &= ~<uint64_t>(MIG_NX | MIG_PROT << MIG_PROT_SHIFT)
    entry |= (prot & PTE_NX()) >> MIG_NX_SHIFT
    entry |= (PTE_PROTNONE if prot & PTE_PROTNONE else PTE_PRESENT) << MIG_PROT_SHIFT
    if type == SWP_MIGRATION_WRITE and not may_write:
        type = SWP_MIGRATION_READ_EXCLUSIVE
    elif type == SWP_MIGRATION_READ_EXCLUSIVE and may_write:
        type = SWP_MIGRATION_WRITE
    return mig_entry_retyped(entry, type)
