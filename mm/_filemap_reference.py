"""Plain-Python twin of _filemap: the page cache, the pages of files by index, and their mappings.

Mirrors mm/filemap.c (filemap_map_pages), mm/shmem.c (shmem_get_folio) and the file half of mm/rmap.c. A page of a file
belongs to the file: it is there whether somebody maps it or not, the cache holds one reference, and who maps it holds
one more. Its policy is the file's, part by part, or else that of the task that first touches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numalab.arch import _pagetable_reference as pt
from numalab.mm import _constants as c
from numalab.mm._lru_reference import free_page, lru_cache_add, mark_page_accessed, mlock_page, mlock_wait
from numalab.mm._mempolicy_reference import alloc_pages_mpol
from numalab.mm._mm_types import AddressSpace
from numalab.mm._reference import View
from numalab.mm._swap_reference import free_swap_and_cache
from numalab.mm.vm_flags import VM_LOCKED
from numalab.mm.vma_tree import linear_page_index

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MemPolicy, MmStruct

FAULT_AROUND = 16
"""fault_around_bytes, in pages."""


# ---------------------------------------------------------------- the cache


def cached_pfn(mapping: AddressSpace, index: int) -> int:
    """The frame that the cache has for a page of a file, 0 = none (or it is in swap)."""
    entry = mapping.load(index)
    return 0 if entry & 1 else entry >> 1


def page_mapping(m: View, pfn: int) -> AddressSpace | None:
    """folio_mapping(): the file that a page belongs to; None: it is anonymous, or nobody's."""
    root = None if m.hot.flags[pfn] & c.PG_anon else m.mem.rmap_root(m.cold.mapping[pfn])
    return root if isinstance(root, AddressSpace) else None


def count_cached(m: View, pfn: int, n: int) -> None:
    """NR_FILE_PAGES of the page's node, and NR_SHMEM of shared memory."""
    m.node_stat[m.node(pfn), c.NR_FILE_PAGES] += n
    if m.hot.flags[pfn] & c.PG_swapbacked:
        m.node_stat[m.node(pfn), c.NR_SHMEM] += n


def count_dirty(m: View, pfn: int, n: int) -> None:
    """folio_account_dirtied() and folio_account_cleaned(): NR_FILE_DIRTY, in which only pages of disks are."""
    if not m.hot.flags[pfn] & (c.PG_swapbacked | c.PG_anon):
        m.node_stat[m.node(pfn), c.NR_FILE_DIRTY] += n


def folio_mark_dirty(m: View, pfn: int) -> None:
    """A page of a file is no longer what the disk has. No PTE of one that is clean may be dirty, or writable."""
    if not m.hot.flags[pfn] & c.PG_dirty:
        m.hot.flags[pfn] |= c.PG_dirty
        count_dirty(m, pfn, 1)


def shared_policy_lookup(mapping: AddressSpace, index: int) -> tuple[MemPolicy | None, int]:
    """mpol_shared_policy_lookup(): the policy of one page, None = none, and where that answer ends."""
    for start, end, policy in mapping.policies:
        if index < start:
            return None, start
        if index < end:
            return policy, end
    return None, 1 << 64


def get_vma_policy(ctx: AllocCtx, vma: VMA, index: int) -> MemPolicy | None:
    """get_vma_policy(): of the page with this index; for shared memory the file's counts, not the area's."""
    shared = vma.file is not None and not vma.file.mapping.bdi
    policy = (
        shared_policy_lookup(vma.file.mapping, index)[0] if vma.file is not None and shared else vma.policy
    )
    return policy if policy is not None else ctx.policy


def shmem_full(mapping: AddressSpace) -> bool:
    """Whether the file system has no room for one page more."""
    return mapping.sb is not None and mapping.sb.used_blocks >= mapping.sb.max_blocks


def shmem_alloc(m: View, ctx: AllocCtx, mapping: AddressSpace, index: int, n: int) -> list[int]:
    """shmem_get_folio(): up to n new pages of zeros from ``index`` on, where none are.

    An empty list: no frame; the file system must not be full. Fewer than n: no frame or no room for the rest, or
    another policy begins there.
    """
    policy, end = shared_policy_lookup(mapping, index)
    if mapping.sb is not None:
        end = min(end, index + mapping.sb.max_blocks - mapping.sb.used_blocks)
    policy = policy if policy is not None else ctx.policy
    gfp = c.GFP_USER_MOVABLE | c.GFP_DIRECT_RECLAIM
    pfns = alloc_pages_mpol(m, ctx, policy, mapping.id + index, gfp, min(n, end - index))
    for i, pfn in enumerate(pfns):
        add_to_page_cache(m, mapping, index + i, pfn, c.PG_uptodate | c.PG_swapbacked)
        m.fill_page(pfn, 0)
    m.charge(len(pfns) * m.cost["zero_page"])
    lru_cache_add(m, ctx.cpu, pfns)
    return pfns


def add_to_page_cache(m: View, mapping: AddressSpace, index: int, pfn: int, flags: int) -> None:
    """__filemap_add_folio(): a new page takes an empty place of a file."""
    mapping.store(index, pfn << 1)
    mapping.nrpages += 1
    if mapping.sb is not None:
        mapping.sb.used_blocks += 1
    m.hot.flags[pfn] |= flags
    m.hot.refcount[pfn] = 1
    m.hot.mapcount[pfn] = m.hot.pincount[pfn] = m.hot.rmap[pfn] = 0
    m.cold.mapping[pfn] = mapping.id
    m.cold.index[pfn] = index
    m.cold.private[pfn] = m.cold.mlock_count[pfn] = 0
    count_cached(m, pfn, 1)


def delete_from_page_cache(m: View, pfn: int) -> None:
    """filemap_remove_folio(): the page has no file any more, and one reference less; what is not written is lost."""
    mapping = page_mapping(m, pfn)
    assert mapping is not None
    mapping.store(m.cold.index[pfn], 0)
    mapping.nrpages -= 1
    if mapping.sb is not None:
        mapping.sb.used_blocks -= 1
    count_cached(m, pfn, -1)
    if m.hot.flags[pfn] & c.PG_dirty:
        m.hot.flags[pfn] &= ~c.PG_dirty
        count_dirty(m, pfn, -1)
    m.cold.mapping[pfn] = 0
    m.hot.refcount[pfn] -= 1


def replace_in_page_cache(m: View, mapping: AddressSpace, src: int, dst: int) -> None:
    """folio_migrate_mapping(): the page at this place of the file is another one from now on."""
    mapping.store(m.cold.index[src], dst << 1)
    m.hot.refcount[src] -= 1
    m.hot.refcount[dst] += 1
    for pfn, n in ((src, -1), (dst, 1)):
        count_cached(m, pfn, n)
        if m.hot.flags[src] & c.PG_dirty:
            count_dirty(m, pfn, n)


# ---------------------------------------------------------------- mappings


def add_rss(m: View, mm: MmStruct, pfn: int, n: int) -> None:
    """mm_counter(): the rss that a mapping of the page counts for."""
    flags = m.hot.flags[pfn]
    if flags & c.PG_anon:
        mm.rss_anon += n
    elif flags & c.PG_swapbacked:
        mm.rss_shmem += n
    else:
        mm.rss_file += n


def map_file_page(m: View, cpu: int, vma: VMA, pfn: int, at: int, write: bool) -> None:
    """set_pte_range() and folio_add_file_rmap_pte(): one mapping more."""
    m.hot.refcount[pfn] += 1
    m.hot.mapcount[pfn] += 1
    first = m.hot.mapcount[pfn] == 1
    m.hot.rmap[pfn] = at * 8 if first else 0
    m.node_stat[m.node(pfn), c.NR_FILE_MAPPED] += first
    m.ram[at] = pfn << pt.PAGE_SHIFT | vma.prot
    if write:
        m.ram[at] |= pt.PTE_RW | pt.PTE_DIRTY
        folio_mark_dirty(m, pfn)
    add_rss(m, vma.mm, pfn, 1)
    if vma.flags & VM_LOCKED:
        mlock_page(m, pfn)
        mlock_wait(m, cpu, pfn)


def unmap_file_page(m: View, mm: MmStruct, pfn: int, pte: int) -> None:
    """zap_present_folio_ptes(): one mapping less. What the PTE knew of use and change goes over to the page."""
    if pte & pt.PTE_DIRTY:
        folio_mark_dirty(m, pfn)
    if pte & pt.PTE_ACCESSED:
        mark_page_accessed(m, pfn)
    add_rss(m, mm, pfn, -1)
    m.hot.rmap[pfn] = 0
    m.hot.mapcount[pfn] -= 1
    m.node_stat[m.node(pfn), c.NR_FILE_MAPPED] -= m.hot.mapcount[pfn] == 0
    m.hot.refcount[pfn] -= 1


def unmap_from_file(m: View, pfn: int, at: int, mm: MmStruct) -> None:
    """try_to_unmap_one() for a page of a file: the PTE is empty, for the page can be found again. No TLB is flushed."""
    if m.ram[at] & pt.PTE_DIRTY:
        folio_mark_dirty(m, pfn)
    m.ram[at] = 0
    add_rss(m, mm, pfn, -1)
    m.hot.mapcount[pfn] -= 1
    m.hot.refcount[pfn] -= 1


def map_pages(m: View, cpu: int, vma: VMA, table: int, va: int) -> None:
    """do_fault_around(): map what the cache has of the 16 pages around a read fault. They begin at a multiple of 16
    or where the area does, and end with the table at the latest.
    """
    assert vma.file is not None
    first = max(va & -(FAULT_AROUND * pt.PAGE_SIZE), vma.start)
    end = min(first + FAULT_AROUND * pt.PAGE_SIZE, vma.end, (va | (pt.PAGE_SIZE << 9) - 1) + 1)
    for near in range(first, end, pt.PAGE_SIZE):
        at = table + (near >> pt.PAGE_SHIFT & 511)
        index = linear_page_index(vma, near)
        beyond = index >= vma.file.mapping.size
        pfn = 0 if m.ram[at] or beyond else cached_pfn(vma.file.mapping, index)
        if pfn and m.hot.flags[pfn] & (c.PG_locked | c.PG_uptodate) == c.PG_uptodate:
            map_file_page(m, cpu, vma, pfn, at, False)


# ---------------------------------------------------------------- cutting off


def truncate_pages(mem: MemMap, cpu: int, mapping: AddressSpace, start: int, end: int) -> int:
    """truncate_inode_pages_range(): the pages [start, end) leave the cache and swap; nobody may map them any more.

    Returns 0, or the page that somebody has locked or is writing: those before it are gone.
    """
    m = View(mem)
    for index, entry in mapping.entries(start, end):
        pfn = entry >> 1
        if entry & 1:
            mapping.store(index, 0)
            mapping.nr_swapped -= 1
            if mapping.sb is not None:
                mapping.sb.used_blocks -= 1
            free_swap_and_cache(m, cpu, entry - 1)
        elif m.hot.flags[pfn] & (c.PG_locked | c.PG_writeback):
            return pfn
        else:
            delete_from_page_cache(m, pfn)
            if not m.hot.refcount[pfn]:
                free_page(m, cpu, pfn)
    return 0


def invalidate_pages(mem: MemMap, cpu: int, mapping: AddressSpace, start: int, end: int) -> int:
    """mapping_try_invalidate(): clean pages of a disk's file leave the cache if nobody uses them; how many did."""
    m = View(mem)
    used = c.PG_locked | c.PG_writeback | c.PG_dirty | c.PG_swapbacked
    gone = 0
    for _, entry in mapping.entries(start, end):
        pfn = entry >> 1
        if not entry & 1 and not m.hot.flags[pfn] & used and m.hot.refcount[pfn] == 1:
            delete_from_page_cache(m, pfn)
            free_page(m, cpu, pfn)
            gone += 1
    return gone
