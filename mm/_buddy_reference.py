"""Free memory: buddy lists, and the stack of frames that each CPU keeps. The lower half of the twin of _page_alloc.

Mirrors the half of mm/page_alloc.c that knows no nodes.

* **Buddy lists.** Free memory of a zone is blocks of 2^order frames, aligned to their size, with a list for each order
  from 0 to 10. Taking splits a block and puts the upper halves back; freeing merges a block with its buddy (the other
  half of the block twice as large) as long as that is free too. Frames that were never used stand in no list: the
  zone hands them out from its ``virgin`` frontier.
* **Per-CPU page sets.** Single frames come from and go to a stack of the CPU, refilled and emptied by batches. Long
  runs of frames pass it by.
"""

from __future__ import annotations

from collections.abc import Sequence

from numalab.arch._hw import EV_MM_PAGE_FREE
from numalab.mm import _constants as c
from numalab.mm._reference import View
from numalab.mm.nodemask import first_node

__all__ = [
    "buddy_free", "buddy_take", "free_pages_block", "free_pages_bulk", "free_run", "list_remove", "unpoison_page",
    "zone_alloc_bulk",
]  # fmt: skip

RUN_MIN = 8
"""A run of frames at least this long is freed as blocks, past the per-CPU set."""


# ---------------------------------------------------------------- free lists


def list_push(m: View, z: int, order: int, pfn: int) -> None:
    """Put a block in front of its list. In its first frame ``lru`` is now the next block, ``link`` the previous one."""
    head = m.zones.head[z, order]
    m.hot.lru[pfn] = head
    m.hot.link[pfn] = c.NO_PFN
    if head != c.NO_PFN:
        m.hot.link[head] = pfn
    m.zones.head[z, order] = pfn
    m.zones.nr_free[z, order] += 1
    m.zones.nonempty[z] |= 1 << order
    m.order[pfn] = c.ORDER_FREE | order


def list_remove(m: View, z: int, order: int, pfn: int) -> None:
    """Take a block out of the middle of its list, or from its head."""
    after, before = m.hot.lru[pfn], m.hot.link[pfn]
    if before == c.NO_PFN:
        m.zones.head[z, order] = after
    else:
        m.hot.lru[before] = after
    if after != c.NO_PFN:
        m.hot.link[after] = before
    m.hot.lru[pfn] = m.hot.link[pfn] = 0
    m.order[pfn] = 0
    m.zones.nr_free[z, order] -= 1
    if m.zones.nr_free[z, order] == 0:
        m.zones.nonempty[z] &= ~(1 << order)


def block_order(pfn: int, frames: int) -> int:
    """Order of the largest aligned block that starts at ``pfn`` and is at most ``frames`` long."""
    alignment = (pfn & -pfn).bit_length() - 1 if pfn else c.MAX_ORDER
    return min(alignment, c.MAX_ORDER, frames.bit_length() - 1)


def buddy_take(m: View, z: int, order: int) -> int:
    """__rmqueue(): a block from the smallest list that has one, or from the frontier; c.NO_PFN = neither has."""
    zones = m.zones
    while True:
        fits = zones.nonempty[z] >> order
        if fits:
            size = order + first_node(fits)
            pfn: int = zones.head[z, size]
            list_remove(m, z, size, pfn)
            break
        pfn = zones.virgin[z]
        if pfn >= zones.end[z]:
            return c.NO_PFN
        size = block_order(pfn, zones.end[z] - pfn)
        zones.virgin[z] += 1 << size
        if size >= order:
            break
        list_push(m, z, size, pfn)  # too small: an unaligned edge of the zone
    zones.free[z] -= 1 << order
    while size > order:  # split; the lower half goes on, the upper half back to the lists
        size -= 1
        list_push(m, z, size, pfn + (1 << size))
    return pfn


def buddy_free(m: View, z: int, pfn: int, order: int) -> None:
    """__free_one_page(): merge with the buddy while it is free, whole and in the same zone."""
    zones = m.zones
    zones.free[z] += 1 << order
    while order < c.MAX_ORDER:
        buddy = pfn ^ (1 << order)
        if not zones.start[z] <= buddy < zones.end[z] or m.order[buddy] != c.ORDER_FREE | order:
            break
        list_remove(m, z, order, buddy)
        pfn = min(pfn, buddy)
        order += 1
    list_push(m, z, order, pfn)


def free_run(m: View, z: int, pfn: int, n: int) -> None:
    """Free [pfn, pfn + n) as the largest aligned blocks it is made of."""
    while n:
        order = block_order(pfn, n)
        buddy_free(m, z, pfn, order)
        pfn += 1 << order
        n -= 1 << order


def rmqueue_bulk(m: View, z: int, want: int) -> list[int]:
    """Up to ``want`` frames, in blocks as large as the request and the lists allow."""
    zones = m.zones
    got: list[int] = []
    while len(got) < want:
        order = min((want - len(got)).bit_length() - 1, c.MAX_ORDER)
        pfn = buddy_take(m, z, order)
        if pfn == c.NO_PFN:
            # No block of that size is left, and the frontier is at the end: take the largest there is.
            if not zones.nonempty[z]:
                break
            order = zones.nonempty[z].bit_length() - 1
            pfn = buddy_take(m, z, order)
        got += range(pfn, pfn + (1 << order))
    return got


# ---------------------------------------------------------------- poison (debug_vm)


def unpoison_page(m: View, pfn: int) -> None:
    """check_poison_mem() for a frame that is about to be taken: was it written to since it was freed? One that was
    never used holds zeros; without flags it may be either.
    """
    content = m.page_bytes(pfn)
    never = not m.hot.flags[pfn] and not content[0]
    if (content != (0 if never else c.PAGE_POISON)).any() and not m.mem.corrupted:
        m.mem.corrupted = pfn


# ---------------------------------------------------------------- per-CPU page sets


def zone_alloc_bulk(m: View, z: int, cpu: int, want: int) -> list[int]:
    """rmqueue(): frames of one zone, the CPU's own first; a small request refills its set by a batch."""
    pcp, s = m.pcps, z * m.nr_cpus + cpu
    batch = m.zones.pcp_batch[z]
    got: list[int] = []
    while True:
        while len(got) < want and pcp.count[s]:
            pcp.count[s] -= 1
            got.append(pcp.pfn[s, pcp.count[s]])
        if len(got) == want:
            return got
        if want - len(got) >= batch:
            return got + rmqueue_bulk(m, z, want - len(got))
        refill = rmqueue_bulk(m, z, batch)
        if not refill:
            return got
        for i, pfn in enumerate(reversed(refill)):  # the last one in goes out first: that is the lowest frame
            pcp.pfn[s, i] = pfn
        pcp.count[s] = len(refill)


def pcp_free(m: View, z: int, cpu: int, pfn: int) -> None:
    """free_unref_page(): onto the CPU's set; a full one gives its oldest batch back to the buddy lists."""
    pcp, s = m.pcps, z * m.nr_cpus + cpu
    count = pcp.count[s]
    if count >= m.zones.pcp_high[z]:
        n = min(m.zones.pcp_batch[z], count)
        for i in range(n):
            buddy_free(m, z, pcp.pfn[s, i], 0)
        for i in range(n, count):
            pcp.pfn[s, i - n] = pcp.pfn[s, i]
        count -= n
    pcp.pfn[s, count] = pfn
    pcp.count[s] = count + 1


def free_pages_block(m: View, pfn: int, order: int) -> None:
    """Free one block of 2^order frames whose struct pages are clean already, straight to the buddy lists."""
    m.event[c.PGFREE] += 1 << order
    m.hw.trace(EV_MM_PAGE_FREE, pfn, order)
    if m.mem.debug:
        for i in range(pfn, pfn + (1 << order)):
            m.fill_page(i, c.PAGE_POISON)
    buddy_free(m, m.pfn_zone(pfn), pfn, order)


def free_pages_bulk(m: View, cpu: int, pfns: Sequence[int]) -> None:
    """Free single frames whose struct pages are clean already; ascending neighbours go as blocks."""
    m.event[c.PGFREE] += len(pfns)
    for pfn in pfns:
        m.hw.trace(EV_MM_PAGE_FREE, pfn)
    if m.mem.debug:
        for pfn in pfns:
            m.fill_page(pfn, c.PAGE_POISON)
    i = 0
    while i < len(pfns):
        z = m.pfn_zone(pfns[i])
        j = i + 1
        while j < len(pfns) and pfns[j] == pfns[j - 1] + 1 and m.pfn_zone(pfns[j]) == z:
            j += 1
        if j - i >= RUN_MIN:
            free_run(m, z, pfns[i], j - i)
        else:
            for pfn in pfns[i:j]:
                pcp_free(m, z, cpu, pfn)
        i = j
