# Migration entries: the non-present PTEs that stand for a page while it moves.
#
# Mirrors include/linux/swapops.h: type READ, READ_EXCLUSIVE or WRITE, offset = the old page's pfn, above it the young
# and dirty bits. Deliberately different: the entry also keeps the PTE's protection bits (present or PROT_NONE, user,
# NX), so that restoring it needs no VMA; mprotect() edits them in place.
#
# offset: bits 0..31 pfn, 32 accessed, 33 dirty, 34 NX, 35 PROT_NONE.

from libc.stdint cimport uint32_t, uint64_t

from numalab.arch._pagetable cimport (
    PTE_ACCESSED, PTE_DIRTY, PTE_NX, PTE_PRESENT, PTE_PROTNONE, PTE_RW, PTE_USER, SWP_MIGRATION_READ,
    SWP_MIGRATION_READ_EXCLUSIVE, SWP_MIGRATION_WRITE, swp_entry, swp_offset, swp_type,
)

cdef enum:
    MIG_YOUNG_SHIFT = 32
    MIG_DIRTY_SHIFT = 33
    MIG_NX_SHIFT = 34
    MIG_NONE_SHIFT = 35


cdef inline uint64_t mig_entry_make(uint64_t pte, uint32_t pfn, bint exclusive) noexcept nogil:
    """The entry that replaces a present PTE of page pfn."""
    cdef uint64_t type = SWP_MIGRATION_READ
    cdef uint64_t offset = pfn
    if pte & PTE_RW:
        type = SWP_MIGRATION_WRITE
    elif exclusive:
        type = SWP_MIGRATION_READ_EXCLUSIVE
    if pte & PTE_ACCESSED:
        offset |= <uint64_t>1 << MIG_YOUNG_SHIFT
    if pte & PTE_DIRTY:
        offset |= <uint64_t>1 << MIG_DIRTY_SHIFT
    if pte & PTE_NX():
        offset |= <uint64_t>1 << MIG_NX_SHIFT
    if pte & PTE_PROTNONE:
        offset |= <uint64_t>1 << MIG_NONE_SHIFT
    return swp_entry(type, offset)


cdef inline uint32_t mig_entry_pfn(uint64_t entry) noexcept nogil:
    return <uint32_t>swp_offset(entry)


cdef inline uint64_t mig_entry_restore(uint64_t entry, uint32_t pfn) noexcept nogil:
    """remove_migration_pte(): the present PTE again, now naming page pfn."""
    cdef uint64_t offset = swp_offset(entry)
    cdef uint64_t pte = <uint64_t>pfn << 12 | PTE_USER
    pte |= PTE_PROTNONE if offset >> MIG_NONE_SHIFT & 1 else PTE_PRESENT
    if swp_type(entry) == SWP_MIGRATION_WRITE:
        pte |= PTE_RW
    if offset >> MIG_YOUNG_SHIFT & 1:
        pte |= PTE_ACCESSED
    if offset >> MIG_DIRTY_SHIFT & 1:
        pte |= PTE_DIRTY
    if offset >> MIG_NX_SHIFT & 1:
        pte |= PTE_NX()
    return pte


cdef inline uint64_t mig_entry_to_read(uint64_t entry) noexcept nogil:
    """fork(): neither side may write, or claim the page for itself, any more."""
    return swp_entry(SWP_MIGRATION_READ, swp_offset(entry))


cdef inline uint64_t mig_entry_protect(uint64_t entry, uint64_t prot, bint may_write) noexcept nogil:
    """mprotect(): new protection bits; a writable entry of a range that may not be written becomes a reading one."""
    cdef uint64_t offset = swp_offset(entry)
    cdef uint64_t type = swp_type(entry)
    offset &= ~(<uint64_t>1 << MIG_NX_SHIFT | <uint64_t>1 << MIG_NONE_SHIFT)
    if prot & PTE_NX():
        offset |= <uint64_t>1 << MIG_NX_SHIFT
    if prot & PTE_PROTNONE:
        offset |= <uint64_t>1 << MIG_NONE_SHIFT
    if type == SWP_MIGRATION_WRITE and not may_write:
        type = SWP_MIGRATION_READ_EXCLUSIVE
    elif type == SWP_MIGRATION_READ_EXCLUSIVE and may_write:
        type = SWP_MIGRATION_WRITE
    return swp_entry(type, offset)
