"""Pages of hugetlb: their frames, and the PMDs that map them.

Mirrors the lowest part of mm/hugetlb.c and arch/x86/mm/hugetlbpage.c. Such a page is a huge page that stays one
(docs/adr/0008): nothing splits it, so its PMD has no table in reserve, and it is on no list. All else is decided in
mm/hugetlb.py, once for each 2 MiB.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from numalab.arch._copy cimport copy_fence, zero_page_nt
from numalab.arch._hw cimport PAGE_SHIFT, PAGE_SIZE
from numalab.arch._pagetable cimport huge_pmd, pmd_entry
from numalab.mm._huge_memory cimport free_huge_page
from numalab.mm._mm_types cimport (
    AllocCtx, HPAGE_PMD_NR, MemMap, MmStruct, NO_PFN, PG_NODE_SHIFT, PG_head, PG_hugetlb, PG_tail, memmap, page,
)
from numalab.mm._page_alloc cimport alloc_huge_node, pmd_alloc
from numalab.mm._tlbbatch cimport flush_mm


def alloc_fresh_hugetlb_folio(MemMap mem, AllocCtx ctx, int nid, uint64_t nodes, uint32_t gfp) -> int:
    """A block of frames that nobody uses becomes a page of hugetlb: its first frame, or NO_PFN.

    nid: the node tried first; nodes: no others than these, 0 = any.
    """
    cdef memmap *m = &mem.m
    cdef uint32_t head = alloc_huge_node(m, &ctx.c, nid, nodes, gfp), i
    cdef page *p
    if head == NO_PFN:
        return head
    for i in range(512):
        p = &m.hot[head + i]
        p.flags |= PG_hugetlb | (PG_tail if i else PG_head)
        p.refcount = 0
        p.mapcount = 0
        p.pincount = 0
        p.link = 0
        p.rmap = 0
    return head


def free_hugetlb_folio(MemMap mem, uint32_t head) -> None:
    """The frames of a page that nobody uses go back to the buddy allocator."""
    cdef uint32_t i
    for i in range(512):
        mem.m.hot[head + i].flags &= ~<uint32_t>PG_hugetlb
    free_huge_page(&mem.m, head)


def folio_zero_user(MemMap mem, uint32_t head) -> None:
    """Fill a page with zeros."""
    cdef uint32_t i
    for i in range(512):
        zero_page_nt(mem.m.h.ram + (<uint64_t>(head + i) << PAGE_SHIFT))
    copy_fence()
    mem.m.h.now += HPAGE_PMD_NR * mem.m.h.cost.zero_page


def copy_user_large_folio(MemMap mem, uint32_t dst, uint32_t src) -> None:
    """Copy the contents of a page."""
    memcpy(mem.m.h.ram + (<uint64_t>dst << PAGE_SHIFT), mem.m.h.ram + (<uint64_t>src << PAGE_SHIFT),
           HPAGE_PMD_NR * <uint64_t>PAGE_SIZE)
    mem.m.h.now += HPAGE_PMD_NR * mem.m.h.copy_cost[
        (mem.m.hot[src].flags >> PG_NODE_SHIFT) * 64 + (mem.m.hot[dst].flags >> PG_NODE_SHIFT)]


def huge_ptep_get(MemMap mem, MmStruct mm, uint64_t va) -> int:
    """The leaf that maps va, 0 = none."""
    cdef uint64_t *pmd = huge_pmd(mem.m.h, mm.c.pgd, va)
    return pmd[0] if pmd != NULL else 0


def hugetlb_walk(MemMap mem, MmStruct mm, uint64_t va) -> bool:
    """Is there a table that the leaf of va would stand in?"""
    return pmd_entry(mem.m.h, mm.c.pgd, va) != NULL


def huge_pte_alloc(MemMap mem, AllocCtx ctx, MmStruct mm, uint64_t va) -> bool:
    """Make the tables above the leaf of va; False: there is no frame for one."""
    return pmd_alloc(&mem.m, &ctx.c, &mm.c, va) != NULL


def set_huge_pte_at(MemMap mem, MmStruct mm, uint64_t va, uint64_t leaf) -> None:
    """Map va by this leaf, or by none (0); no TLB remembers what was there. The caller counts."""
    cdef uint64_t *pmd = pmd_entry(mem.m.h, mm.c.pgd, va)
    if pmd[0]:
        flush_mm(&mem.m, &mm.c)
    pmd[0] = leaf
