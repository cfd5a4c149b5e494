# x86-64 page-table format and the steps every kernel takes through it.
#
# Tables live in frames of the simulated RAM. Bits are the hardware's (Intel SDM vol. 3A, 4.5) and, where the hardware
# leaves them free, Linux's (arch/x86/include/asm/pgtable_types.h). Swap and migration entries are non-present PTEs:
# type in bits 59..63, offset in bits 9..58 (Linux stores the offset inverted, against L1TF; we have no L1TF).

from libc.stdint cimport int64_t, uint32_t, uint64_t

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._mmdebug cimport VM_BUG_ON

cpdef enum:
    PTE_PRESENT = 0x001
    PTE_RW = 0x002
    PTE_USER = 0x004
    PTE_ACCESSED = 0x020
    PTE_DIRTY = 0x040
    PTE_PSE = 0x080             # in a PMD: a 2 MiB leaf
    PTE_PROTNONE = 0x100        # Linux: "present" to mm, not to the hardware (PROT_NONE)
    PTE_SPECIAL = 0x200         # no struct page behind it (zero page)
    PTRS_PER_TABLE = 512
    PMD_SHIFT = 21
    SWP_TYPE_SHIFT = 59
    SWP_OFFSET_SHIFT = 9

# Swap types at and above this are not swap areas but marks (include/linux/swapops.h).
cpdef enum:
    SWP_MIGRATION_READ = 29
    SWP_MIGRATION_READ_EXCLUSIVE = 30
    SWP_MIGRATION_WRITE = 31
    MAX_SWAPFILES = 24


cdef inline uint64_t PTE_ADDR(uint64_t pte) noexcept nogil:
    return pte & <uint64_t>0x000ffffffffff000


cdef inline uint64_t PTE_NX() noexcept nogil:
    return <uint64_t>1 << 63


cdef inline uint64_t pte_pfn(uint64_t pte) noexcept nogil:
    return (pte & <uint64_t>0x000ffffffffff000) >> PAGE_SHIFT


cdef inline bint pte_mapped(uint64_t pte) noexcept nogil:
    """Linux's pte_present(): names a frame, whether or not the hardware may use it."""
    return (pte & (PTE_PRESENT | PTE_PROTNONE)) != 0


cdef inline bint pte_swaplike(uint64_t pte) noexcept nogil:
    return pte != 0 and (pte & (PTE_PRESENT | PTE_PROTNONE)) == 0


cdef inline uint64_t swp_entry(uint64_t type, uint64_t offset) noexcept nogil:
    return (type << SWP_TYPE_SHIFT) | (offset << SWP_OFFSET_SHIFT)


cdef inline uint32_t swp_type(uint64_t entry) noexcept nogil:
    return <uint32_t>(entry >> SWP_TYPE_SHIFT)


cdef inline uint64_t swp_offset(uint64_t entry) noexcept nogil:
    return (entry & ((<uint64_t>1 << SWP_TYPE_SHIFT) - 1)) >> SWP_OFFSET_SHIFT


cdef inline bint is_migration_entry(uint64_t pte) noexcept nogil:
    return (not pte_mapped(pte)) & (swp_type(pte) >= SWP_MIGRATION_READ)     # one branch at most


cdef inline uint64_t *table_at(hw *h, uint64_t entry) noexcept nogil:
    """The table that a non-leaf entry (or a root) points to."""
    VM_BUG_ON(pte_pfn(entry) >= h.nr_frames)
    return <uint64_t *>(h.ram + PTE_ADDR(entry))


cdef inline uint64_t *pte_table(hw *h, uint64_t root, uint64_t va, uint64_t *next) noexcept nogil:
    """The PTE table that covers va, or NULL when an upper level is empty or a 2 MiB leaf.

    next: where the answer stops being valid (end of the table, or of the hole), never 0: callers
    loop `va = min(next, end)`. Use pmd_entry() to tell a leaf from a hole.
    """
    cdef int level = <int>h.levels - 1
    cdef uint64_t entry = root
    cdef int shift
    while level > 0:
        shift = PAGE_SHIFT + 9 * level
        entry = table_at(h, entry)[(va >> shift) & 511]
        if not entry & PTE_PRESENT or entry & PTE_PSE:
            next[0] = ((va >> shift) + 1) << shift
            return NULL
        level -= 1
    next[0] = ((va >> PMD_SHIFT) + 1) << PMD_SHIFT
    return table_at(h, entry)


cdef inline uint64_t *pmd_entry(hw *h, uint64_t root, uint64_t va) noexcept nogil:
    """The PMD entry for va, or NULL when an upper level is empty (or a leaf of 1 GiB, which nobody makes)."""
    cdef int level = <int>h.levels - 1
    cdef uint64_t entry = root
    while level > 1:
        entry = table_at(h, entry)[(va >> (PAGE_SHIFT + 9 * level)) & 511]
        if (entry & (PTE_PRESENT | PTE_PSE)) != PTE_PRESENT:
            return NULL
        level -= 1
    return &table_at(h, entry)[(va >> PMD_SHIFT) & 511]


cdef inline uint64_t *pte_offset(hw *h, uint64_t root, uint64_t va) noexcept nogil:
    """The PTE of va, or NULL when there is no PTE table for it."""
    cdef uint64_t next
    cdef uint64_t *table = pte_table(h, root, va, &next)
    if table == NULL:
        return NULL
    return &table[(va >> PAGE_SHIFT) & 511]


cdef inline bint pmd_leaf(uint64_t pmd) noexcept nogil:
    """A 2 MiB leaf (pmd_trans_huge()), whether or not the hardware may use it."""
    return (pmd & PTE_PSE) != 0 and pte_mapped(pmd)


cdef inline uint64_t *huge_pmd(hw *h, uint64_t root, uint64_t va) noexcept nogil:
    """The 2 MiB leaf that maps va, or NULL."""
    cdef uint64_t *pmd = pmd_entry(h, root, va)
    return pmd if pmd != NULL and pmd_leaf(pmd[0]) else NULL


cdef inline void spread_leaf(uint64_t pmd, uint64_t *table) noexcept nogil:
    """The 512 PTEs that map what a 2 MiB leaf maps."""
    cdef uint64_t first = pmd & ~<uint64_t>PTE_PSE, i
    for i in range(512):
        table[i] = first + (i << PAGE_SHIFT)


cdef inline uint64_t *leaf_table(hw *h, uint64_t root, uint64_t va, uint64_t *spread) noexcept nogil:
    """For who only reads, where pte_table() has none: the PTEs that a 2 MiB leaf stands for, in `spread`; or NULL."""
    cdef uint64_t *pmd = huge_pmd(h, root, va)
    if pmd == NULL:
        return NULL
    spread_leaf(pmd[0], spread)
    return spread


cdef inline uint64_t pte_address(hw *h, uint64_t *pte) noexcept nogil:
    """Physical address of a PTE: what hot.rmap stores."""
    return <uint64_t>(<unsigned char *>pte - h.ram)


cdef inline uint64_t *pte_at(hw *h, uint64_t address) noexcept nogil:
    VM_BUG_ON(address >> PAGE_SHIFT >= h.nr_frames or address & 7)
    return <uint64_t *>(h.ram + address)
