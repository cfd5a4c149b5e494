"""Unrolled lists of pages: the lower half of the twin of _lru.

A list is a chain of chunks, from hot to cold, of 60 frame numbers each; a page keeps one number, its position
(chunk * 64 + slot). Of 64 words, four are the chunk's own:

    hotter chunk | colder chunk | fill: slots given out | live: pages still there | slot 4 | slot 5 | ... | slot 63

A new page takes the next slot of the hottest chunk. A page that leaves puts a hole in its place; a chunk in which
nothing lives any more goes back to the pool. When holes take over, the pages of a list move together.
"""

from __future__ import annotations

from numalab.mm import _constants as c
from numalab.mm._reference import View

__all__ = ["lru_check_holes", "lru_push", "lru_remove"]


def chunk_alloc(m: View) -> int:
    """A chunk from the pool, last returned first, with its header cleared."""
    chunk: int = m.chunks[c.POOL_FREE]
    if chunk:
        m.chunks[c.POOL_FREE] = m.chunks[chunk * 64 + c.CHUNK_HOTTER]
    else:
        chunk = m.chunks[c.POOL_VIRGIN]
        m.chunks[c.POOL_VIRGIN] += 1
    for word in (c.CHUNK_HOTTER, c.CHUNK_COLDER, c.CHUNK_FILL, c.CHUNK_LIVE):
        m.chunks[chunk * 64 + word] = 0
    return chunk


def chunk_free(m: View, chunk: int) -> None:
    """Back to the pool, which is a stack through CHUNK_HOTTER."""
    m.chunks[chunk * 64 + c.CHUNK_HOTTER] = m.chunks[c.POOL_FREE]
    m.chunks[c.POOL_FREE] = chunk


def lru_unlink_chunk(m: View, lst: int, chunk: int) -> None:
    """Take a chunk out of its list and give it back to the pool."""
    hotter, colder = m.chunks[chunk * 64 + c.CHUNK_HOTTER], m.chunks[chunk * 64 + c.CHUNK_COLDER]
    if hotter:
        m.chunks[hotter * 64 + c.CHUNK_COLDER] = colder
    else:
        m.lrus.head[lst] = colder
    if colder:
        m.chunks[colder * 64 + c.CHUNK_HOTTER] = hotter
    else:
        m.lrus.tail[lst] = hotter
    m.lrus.chunks[lst] -= 1
    chunk_free(m, chunk)


def lru_compact(m: View, lst: int) -> None:
    """Close the holes of a list: pages move towards its cold end in order, chunks left over go back to the pool."""
    # A page never moves towards the hot end, so what a move overwrites has been read.
    to, slot = m.lrus.tail[lst], 0
    chunk = to
    while chunk:
        for i in range(m.chunks[chunk * 64 + c.CHUNK_FILL]):
            pfn = m.chunks[chunk * 64 + 4 + i]
            if pfn == c.HOLE:
                continue
            if slot == c.CHUNK_SLOTS:
                m.chunks[to * 64 + c.CHUNK_FILL] = m.chunks[to * 64 + c.CHUNK_LIVE] = slot
                to, slot = m.chunks[to * 64 + c.CHUNK_HOTTER], 0
            m.chunks[to * 64 + 4 + slot] = pfn
            m.hot.lru[pfn] = to * 64 + 4 + slot
            slot += 1
        chunk = m.chunks[chunk * 64 + c.CHUNK_HOTTER]
    m.chunks[to * 64 + c.CHUNK_FILL] = m.chunks[to * 64 + c.CHUNK_LIVE] = slot
    m.lrus.head[lst] = to
    chunk = m.chunks[to * 64 + c.CHUNK_HOTTER]
    m.chunks[to * 64 + c.CHUNK_HOTTER] = 0
    while chunk:
        hotter = m.chunks[chunk * 64 + c.CHUNK_HOTTER]
        chunk_free(m, chunk)
        m.lrus.chunks[lst] -= 1
        chunk = hotter


def lru_check_holes(m: View) -> None:
    """Keep the slots of every list below twice its live pages, so that scans do not starve."""
    for lst in range(m.nr_lists):
        chunks, live = m.lrus.chunks[lst], m.lrus.live[lst]
        if chunks > 4 and chunks * c.CHUNK_SLOTS > 2 * live + 4 * c.CHUNK_SLOTS:
            lru_compact(m, lst)


def pool_refill(m: View) -> None:
    """Every chunk is in use, so at least half of all slots are holes: close them."""
    for lst in range(m.nr_lists):
        if m.lrus.chunks[lst] * c.CHUNK_SLOTS >= m.lrus.live[lst] + 2 * c.CHUNK_SLOTS:
            lru_compact(m, lst)


def has_room(m: View, lst: int) -> bool:
    """Whether the hottest chunk of a list has a slot that was not given out yet."""
    head = m.lrus.head[lst]
    return bool(head) and m.chunks[head * 64 + c.CHUNK_FILL] < c.CHUNK_SLOTS


def head_chunk(m: View, lst: int) -> int:
    """The hottest chunk, one with room: a new one is put before a full one."""
    if (
        not has_room(m, lst)
        and not m.chunks[c.POOL_FREE]
        and m.chunks[c.POOL_VIRGIN] >= m.chunks[c.POOL_LIMIT]
    ):
        pool_refill(m)
    head: int = m.lrus.head[lst]
    if has_room(m, lst):
        return head
    new = chunk_alloc(m)
    m.chunks[new * 64 + c.CHUNK_COLDER] = head
    if head:
        m.chunks[head * 64 + c.CHUNK_HOTTER] = new
    else:
        m.lrus.tail[lst] = new
    m.lrus.head[lst] = new
    m.lrus.chunks[lst] += 1
    return new


def lru_push(m: View, lst: int, pfn: int) -> None:
    """Put a page on the hot end of a list."""
    chunk = head_chunk(m, lst)
    position = chunk * 64 + 4 + m.chunks[chunk * 64 + c.CHUNK_FILL]
    m.chunks[position] = pfn
    m.chunks[chunk * 64 + c.CHUNK_FILL] += 1
    m.chunks[chunk * 64 + c.CHUNK_LIVE] += 1
    m.lrus.live[lst] += 1
    m.hot.lru[pfn] = position


def lru_remove(m: View, lst: int, pfn: int) -> None:
    """Take a page off its list, wherever it stands, and leave a hole."""
    position = m.hot.lru[pfn]
    chunk = position // 64
    m.chunks[position] = c.HOLE
    m.chunks[chunk * 64 + c.CHUNK_LIVE] -= 1
    m.lrus.live[lst] -= 1
    m.hot.lru[pfn] = 0
    if not m.chunks[chunk * 64 + c.CHUNK_LIVE]:
        lru_unlink_chunk(m, lst, chunk)
