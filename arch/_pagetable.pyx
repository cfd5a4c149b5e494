"""The page-table walker: what is the PTE of an address, for one address, a batch of them, or a range.

Mirrors the hardware's walk (Intel SDM vol. 3A, 4.5) and Linux's software one (mm/pagewalk.c, lookup_address()).
Deliberately different from the hardware: no permission is checked and no accessed bit is set (that is _mmu's work), and
the entry is returned whatever it is: absent pages have their swap or migration entry, PROT_NONE pages theirs.

Shared by all functions: `pgd` is the physical address of the root table; a 2 MiB leaf answers as the small page inside
it would; addresses that no user can have (from 2**47 with 4 levels, 2**56 with 5) have no entry. The inline steps that
other kernels take are in _pagetable.pxd. A batch remembers the last PTE table it was in (the CPU's paging-structure
cache): addresses in order need one load each, which halves their time, and random ones pay a compare.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset, memcpy

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, Hardware, hw as hw_t

# For Python; C code has the inline functions of the .pxd. The other bits come from its enums.
PTE_ADDR_MASK = 0x000ffffffffff000
PAGE_NX = 1 << 63


cdef inline uint64_t leaf_of_pmd(uint64_t pmd, uint64_t va) noexcept nogil:
    """The PTE of the small page of va inside a 2 MiB leaf, 0 if the entry is no leaf."""
    if pmd & PTE_PSE and pmd & (PTE_PRESENT | PTE_PROTNONE):
        return (pmd & ~<uint64_t>PTE_PSE) + (va & ((1 << PMD_SHIFT) - PAGE_SIZE))
    return 0


cdef inline uint64_t pmd_of(unsigned char *ram, uint64_t pgd, uint64_t va, int levels) noexcept nogil:
    """The PMD entry of va, 0 where a level above is empty. levels is a constant at every call, so the loop unrolls."""
    cdef uint64_t entry = pgd | PTE_PRESENT
    cdef int shift = PAGE_SHIFT + 9 * (levels - 1)
    while shift >= PMD_SHIFT:
        if (entry & (PTE_PRESENT | PTE_PSE)) != PTE_PRESENT:
            return 0
        entry = (<uint64_t *>(ram + (entry & <uint64_t>0x000ffffffffff000)))[(va >> shift) & 511]
        shift -= 9
    return entry


cdef inline uint64_t walk_one(unsigned char *ram, uint64_t pgd, uint64_t va, int levels) noexcept nogil:
    cdef uint64_t pmd
    if va >> (PAGE_SHIFT + 9 * levels - 1):
        return 0
    pmd = pmd_of(ram, pgd, va, levels)
    if (pmd & (PTE_PRESENT | PTE_PSE)) != PTE_PRESENT:
        return leaf_of_pmd(pmd, va)
    return (<uint64_t *>(ram + (pmd & <uint64_t>0x000ffffffffff000)))[(va >> PAGE_SHIFT) & 511]


cdef inline void walk_many(unsigned char *ram, uint64_t pgd, const uint64_t *vaddrs, uint64_t *ptes, Py_ssize_t n,
                           int levels) noexcept nogil:
    """vaddrs[0..n) to ptes[0..n)."""
    cdef uint64_t va, pmd, here, cached = <uint64_t>-1
    cdef uint64_t *table = NULL
    cdef Py_ssize_t i
    for i in range(n):
        va = vaddrs[i]
        here = va >> PMD_SHIFT
        if here != cached:
            # Only tables are remembered: a hole or a leaf walks again, and so does whatever comes after it.
            if va >> (PAGE_SHIFT + 9 * levels - 1):
                ptes[i] = 0
                continue
            pmd = pmd_of(ram, pgd, va, levels)
            if (pmd & (PTE_PRESENT | PTE_PSE)) != PTE_PRESENT:
                ptes[i] = leaf_of_pmd(pmd, va)
                continue
            table = <uint64_t *>(ram + (pmd & <uint64_t>0x000ffffffffff000))
            cached = here
        ptes[i] = table[(va >> PAGE_SHIFT) & 511]


cdef Py_ssize_t copy_range(hw_t *h, uint64_t pgd, uint64_t start, Py_ssize_t n, uint64_t *out) noexcept nogil:
    """PTEs of n pages from start on, one memcpy a table. Returns n."""
    cdef uint64_t va = start, next, first, limit = <uint64_t>1 << (PAGE_SHIFT + 9 * h.levels - 1)
    cdef uint64_t *table
    cdef uint64_t *entry
    cdef Py_ssize_t done = 0, run, i
    while done < n:
        if va >= limit:
            memset(&out[done], 0, <size_t>(n - done) * sizeof(uint64_t))
            break
        table = pte_table(h, pgd, va, &next)
        run = <Py_ssize_t>((next - va) >> PAGE_SHIFT)
        if run > n - done:
            run = n - done
        if table != NULL:
            memcpy(&out[done], &table[(va >> PAGE_SHIFT) & 511], <size_t>run * sizeof(uint64_t))
        else:
            entry = pmd_entry(h, pgd, va)
            first = 0 if entry == NULL else leaf_of_pmd(entry[0], va)
            if first == 0:
                memset(&out[done], 0, <size_t>run * sizeof(uint64_t))
            else:
                for i in range(run):
                    out[done + i] = first + (<uint64_t>i << PAGE_SHIFT)
        done += run
        va += <uint64_t>run << PAGE_SHIFT
    return n


cdef int check(Hardware hw, uint64_t pgd) except -1:
    """Raises ValueError for a closed machine or a root table outside RAM."""
    if hw.closed:
        raise ValueError("the machine is closed")
    if PTE_ADDR(pgd) >> PAGE_SHIFT >= hw.h.nr_frames:
        raise ValueError(f"root table {pgd:#x} is outside RAM")
    return 0


def walk(Hardware hw not None, uint64_t pgd, uint64_t va):
    """The PTE of one address as an int, 0 if there is none."""
    check(hw, pgd)
    return walk_one(hw.h.ram, PTE_ADDR(pgd), va, 4) if hw.h.levels == 4 else walk_one(hw.h.ram, PTE_ADDR(pgd), va, 5)


def walk_batch(Hardware hw not None, uint64_t pgd, const uint64_t[::1] vaddrs not None, uint64_t[::1] ptes not None):
    """ptes[i] = walk(vaddrs[i]) for a uint64 array of addresses. Raises ValueError if ptes is the shorter one."""
    cdef Py_ssize_t n = vaddrs.shape[0]
    cdef unsigned char *ram = hw.h.ram
    check(hw, pgd)
    if ptes.shape[0] < n:
        raise ValueError(f"{n} addresses, but room for {ptes.shape[0]} PTEs")
    if n == 0:
        return
    pgd = PTE_ADDR(pgd)
    if hw.h.levels == 4:
        with nogil:
            walk_many(ram, pgd, &vaddrs[0], &ptes[0], n, 4)
    else:
        with nogil:
            walk_many(ram, pgd, &vaddrs[0], &ptes[0], n, 5)


def walk_range(Hardware hw not None, uint64_t pgd, uint64_t start, uint64_t end, uint64_t[::1] out not None):
    """PTEs of the pages that [start, end) touches, in order, 0 for those without; returns how many were written.

    That is all of them, or as many as out has room for. Raises ValueError if end lies before start.
    """
    cdef Py_ssize_t n = out.shape[0]
    cdef uint64_t pages
    check(hw, pgd)
    if end < start:
        raise ValueError(f"the range {start:#x}..{end:#x} ends before it starts")
    if end == start:
        return 0
    start &= ~<uint64_t>(PAGE_SIZE - 1)
    # Not (end + PAGE_SIZE - 1): the last page of 64 bits has no end.
    pages = ((end - start) >> PAGE_SHIFT) + (1 if end & (PAGE_SIZE - 1) else 0)
    if pages < <uint64_t>n:
        n = <Py_ssize_t>pages
    if n == 0:
        return 0
    with nogil:
        copy_range(&hw.h, pgd, start, n, &out[0])
    return n
