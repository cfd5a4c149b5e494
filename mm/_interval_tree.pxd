# Which of many areas map these pages: a tree by page index (mm/interval_tree.c).
#
# A treap over the slots of an array: node slot + 1 is what stands there, ordered by its first page, and knows how far
# it and those below it reach. Deliberately different: Linux's is a red-black tree of the areas themselves.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc

cdef struct interval_node:
    uint64_t first              # pages
    uint64_t last
    uint64_t most               # the last page of all from here downwards
    uint32_t left               # nodes, 0 = none
    uint32_t right
    uint32_t up
    uint32_t prio               # not above its parent's

cdef struct interval_tree:
    interval_node *node         # NULL = there is no tree
    uint64_t *found             # slots: what the last question found
    uint64_t seed
    uint32_t top
    uint32_t pad


cdef inline bint interval_grow(interval_tree *t, uint32_t slots) noexcept nogil:
    """Room for so many. False: there is no memory."""
    cdef void *new = realloc(t.found, slots * sizeof(uint64_t))
    if new == NULL:
        return False
    t.found = <uint64_t *>new
    new = realloc(t.node, (slots + 1) * sizeof(interval_node))
    if new == NULL:
        return False
    t.node = <interval_node *>new
    return True


cdef inline void interval_free(interval_tree *t) noexcept nogil:
    free(t.node)
    free(t.found)


cdef inline void interval_update(interval_node *node, uint32_t n) noexcept nogil:
    """How far those from this node downwards reach."""
    cdef uint64_t most = node[n].last
    if node[n].left and node[node[n].left].most > most:
        most = node[node[n].left].most
    if node[n].right and node[node[n].right].most > most:
        most = node[node[n].right].most
    node[n].most = most


cdef inline void interval_replace(interval_tree *t, uint32_t up, uint32_t old, uint32_t new) noexcept nogil:
    """Another node hangs where `old` did."""
    if up == 0:
        t.top = new
    elif t.node[up].left == old:
        t.node[up].left = new
    else:
        t.node[up].right = new
    if new:
        t.node[new].up = up


cdef inline void interval_rise(interval_tree *t, uint32_t n) noexcept nogil:
    """Rotate a node into its parent's place."""
    cdef interval_node *node = t.node
    cdef uint32_t p = node[n].up, inner
    interval_replace(t, node[p].up, p, n)
    if node[p].left == n:
        inner = node[n].right
        node[p].left = inner
        node[n].right = p
    else:
        inner = node[n].left
        node[p].right = inner
        node[n].left = p
    if inner:
        node[inner].up = p
    node[p].up = n
    interval_update(node, p)
    interval_update(node, n)


cdef inline void interval_insert(interval_tree *t, uint32_t slot, uint64_t first, uint64_t last) noexcept nogil:
    """What stands in a slot has these pages from now on."""
    cdef interval_node *node = t.node
    cdef uint32_t n = slot + 1, p = t.top, next
    t.seed = t.seed * 6364136223846793005ULL + 1442695040888963407ULL
    node[n].first, node[n].last, node[n].most = first, last, last
    node[n].left, node[n].right, node[n].up = 0, 0, 0
    node[n].prio = <uint32_t>(t.seed >> 32)
    if p == 0:
        t.top = n
        return
    while True:
        if node[p].most < last:
            node[p].most = last
        next = node[p].left if first < node[p].first else node[p].right
        if next == 0:
            break
        p = next
    if first < node[p].first:
        node[p].left = n
    else:
        node[p].right = n
    node[n].up = p
    while node[n].up and node[node[n].up].prio < node[n].prio:
        interval_rise(t, n)


cdef inline void interval_remove(interval_tree *t, uint32_t slot) noexcept nogil:
    """Nothing stands in a slot any more."""
    cdef interval_node *node = t.node
    cdef uint32_t n = slot + 1, up
    while node[n].left and node[n].right:
        interval_rise(t, node[n].left if node[node[n].left].prio > node[node[n].right].prio else node[n].right)
    up = node[n].up
    interval_replace(t, up, n, node[n].left if node[n].left else node[n].right)
    while up:
        interval_update(node, up)
        up = node[up].up


cdef inline void interval_move(interval_tree *t, uint32_t slot, uint32_t to) noexcept nogil:
    """What stood in one slot stands in another."""
    cdef interval_node *node = t.node
    cdef uint32_t n = slot + 1, new = to + 1
    node[new] = node[n]
    interval_replace(t, node[n].up, n, new)
    if node[new].left:
        node[node[new].left].up = new
    if node[new].right:
        node[node[new].right].up = new


cdef inline int by_slot(const void *one, const void *two) noexcept nogil:
    cdef uint64_t a = (<const uint64_t *>one)[0], b = (<const uint64_t *>two)[0]
    return (a > b) - (a < b)


cdef inline uint32_t interval_slots(interval_tree *t, uint64_t first, uint64_t last) noexcept nogil:
    """The slots of all that has any of the pages [first, last], ascending, in ``t.found``; how many."""
    cdef interval_node *node = t.node
    cdef uint32_t n = t.top, came = 0, k = 0
    while n:
        # Down to the left as long as something there may reach so far; back from the left: this node, then its right.
        if came == node[n].up and node[n].left and node[node[n].left].most >= first:
            came, n = n, node[n].left
            continue
        if came == node[n].up or (came and came == node[n].left):
            if node[n].first <= last and node[n].last >= first:
                t.found[k] = n - 1
                k += 1
            if node[n].right and node[n].first <= last and node[node[n].right].most >= first:
                came, n = n, node[n].right
                continue
        came, n = n, node[n].up
    qsort(t.found, k, sizeof(uint64_t), by_slot)
    return k
