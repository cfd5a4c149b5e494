"""Making a huge page of the small ones that map 2 MiB: the scan, and the copy.

Mirrors hpage_collapse_scan_pmd() and collapse_huge_page() of mm/khugepaged.c. Deliberately different: scan and copy are
one step, for nothing changes in between; only where a page is in swap the driver (mm/khugepaged.py) reads it in and
calls again.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE, hw
from numalab.arch._pagetable cimport (
    PTE_DIRTY, PTE_RW, PTE_SPECIAL, is_migration_entry, pmd_entry, pmd_leaf, pte_address, pte_mapped, pte_pfn, table_at,
)
from numalab.mm._huge_memory cimport HPAGE_PMD_SIZE, add_huge_to_lru, new_huge_page, set_huge_pmd
from numalab.mm._memory cimport zap_table
from numalab.mm._mm_types cimport (
    AllocCtx, GFP_DIRECT_RECLAIM, GFP_USER_MOVABLE, MAX_NUMNODES, MemMap, MmStruct, NO_PFN, PG_NODE_SHIFT, PG_locked,
    PG_lru, PG_swapcache, THP_COLLAPSE_ALLOC, THP_COLLAPSE_ALLOC_FAILED, VMA, VM_LOCKED, VM_WRITE, memmap, page,
)
from numalab.mm._page_alloc cimport alloc_huge_node

# enum scan_result: mm.khugepaged.Scan.
cdef enum:
    SCAN_SUCCEED = 1
    SCAN_PMD_NONE = 3
    SCAN_PMD_MAPPED = 4
    SCAN_PTE_NON_PRESENT = 9
    SCAN_PAGE_RO = 12
    SCAN_PAGE_COUNT = 15
    SCAN_PAGE_LRU = 16
    SCAN_PAGE_LOCK = 17
    SCAN_SWAP = 30              # not one of Linux's: a page must be read in first
    SCAN_ALLOC_HUGE_PAGE_FAIL = 24


cdef int scan_pmd(memmap *m, uint64_t *table, uint32_t *load) noexcept nogil:
    """hpage_collapse_scan_pmd() as MADV_COLLAPSE has it: empty PTEs and shared pages do not matter. load: pages by
    node.
    """
    cdef bint writable = False, swapped = False
    cdef uint64_t pte
    cdef uint32_t i
    cdef page *p
    memset(load, 0, MAX_NUMNODES * sizeof(uint32_t))
    for i in range(512):
        pte = table[i]
        if pte == 0 or pte_mapped(pte) and pte & PTE_SPECIAL:
            continue
        if not pte_mapped(pte):
            if is_migration_entry(pte):
                return SCAN_PTE_NON_PRESENT
            swapped = True
            continue
        writable |= (pte & PTE_RW) != 0
        p = &m.hot[pte_pfn(pte)]
        load[p.flags >> PG_NODE_SHIFT] += 1
        if not p.flags & PG_lru:
            return SCAN_PAGE_LRU
        if p.flags & PG_locked:
            return SCAN_PAGE_LOCK
        if <uint32_t>p.refcount != p.mapcount + ((p.flags & PG_swapcache) != 0):
            return SCAN_PAGE_COUNT
    if not writable:
        return SCAN_PAGE_RO
    return SCAN_SWAP if swapped else SCAN_SUCCEED


cdef uint32_t alloc_where_most_are(memmap *m, AllocCtx ctx, const uint32_t *load) noexcept nogil:
    """alloc_charge_folio(): a huge page on the node that has most of the small ones; policies are not asked."""
    cdef int nid, best = 0
    cdef uint64_t nodes = 0
    cdef uint32_t head
    for nid in range(MAX_NUMNODES):
        if load[nid] > load[best]:
            best = nid
    for nid in range(MAX_NUMNODES):
        if load[nid] == load[best]:
            nodes |= <uint64_t>1 << nid
    head = alloc_huge_node(m, &ctx.c, best, nodes, GFP_USER_MOVABLE | GFP_DIRECT_RECLAIM)
    m.event[THP_COLLAPSE_ALLOC_FAILED if head == NO_PFN else THP_COLLAPSE_ALLOC] += 1
    return head


def collapse_huge_page(MemMap mem, MmStruct mm, VMA vma, AllocCtx ctx, uint64_t va) -> int:
    """One huge page instead of the pages of the 2 MiB at va, an area with an anon_vma; returns ``Scan``."""
    cdef memmap *m = &mem.m
    cdef hw *h = m.h
    cdef uint64_t *pmd = pmd_entry(h, mm.c.pgd, va)
    cdef uint64_t *table
    cdef uint8_t *there
    cdef uint64_t cost = 0, rights
    cdef uint32_t load[64]
    cdef uint32_t head, i, node
    cdef int result
    if pmd == NULL or pmd[0] == 0:
        return SCAN_PMD_NONE
    if pmd_leaf(pmd[0]):
        return SCAN_PMD_MAPPED
    table = table_at(h, pmd[0])
    result = scan_pmd(m, table, load)
    if result != SCAN_SUCCEED:
        return result
    head = alloc_where_most_are(m, ctx, load)
    if head == NO_PFN:
        return SCAN_ALLOC_HUGE_PAGE_FAIL
    node = m.hot[head].flags >> PG_NODE_SHIFT
    for i in range(512):
        there = h.ram + (<uint64_t>(head + i) << PAGE_SHIFT)
        if table[i] == 0 or table[i] & PTE_SPECIAL:
            memset(there, 0, PAGE_SIZE)
            cost += h.cost.zero_page
        else:
            memcpy(there, h.ram + (pte_pfn(table[i]) << PAGE_SHIFT), PAGE_SIZE)
            cost += h.copy_cost[(m.hot[pte_pfn(table[i])].flags >> PG_NODE_SHIFT) * 64 + node]
    zap_table(m, &mm.c, ctx.c.cpu, table, va, va + HPAGE_PMD_SIZE, (vma.v.flags & VM_LOCKED) != 0, False)
    new_huge_page(m, &vma.v, va, head)
    rights = vma.v.prot | PTE_DIRTY | (PTE_RW if vma.v.flags & VM_WRITE else 0)
    set_huge_pmd(m, pmd, <uint64_t>head << PAGE_SHIFT | rights, pte_address(h, table))
    add_huge_to_lru(m, ctx.c.cpu, head)
    h.now += cost
    return SCAN_SUCCEED
