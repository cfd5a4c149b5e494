# Which of the areas that may map a file's or an anon_vma's pages map these: a tree by page index (mm/interval_tree.c).
#
# Areas stand in an array, in the order in which they came, and are walked in that order. From INTERVAL_MIN on there is
# also a treap over the array: node slot + 1 is the area in that slot, ordered by its first page, and knows how far the
# areas below it reach. Few areas are all looked at, which is faster. Deliberately different: Linux's is a red-black
# tree of the areas themselves, walked in its own order.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc

from numalab.mm._mm_types cimport anon_c, interval_node, vma_c

cdef enum:
    INTERVAL_MIN = 64


cdef inline uint64_t vma_first(const vma_c *v) noexcept nogil:
    return v.pgoff


cdef inline uint64_t vma_last(const vma_c *v) noexcept nogil:
    return v.pgoff + ((v.end - v.start) >> 12) - 1


cdef inline void interval_update(anon_c *a, uint32_t n) noexcept nogil:
    """How far the areas from this node downwards reach."""
    cdef interval_node *t = a.tree
    cdef uint64_t most = vma_last(a.vmas[n - 1])
    if t[n].left and t[t[n].left].most > most:
        most = t[t[n].left].most
    if t[n].right and t[t[n].right].most > most:
        most = t[t[n].right].most
    t[n].most = most


cdef inline void interval_replace(anon_c *a, uint32_t up, uint32_t old, uint32_t new) noexcept nogil:
    """Another node hangs where `old` did."""
    if up == 0:
        a.top = new
    elif a.tree[up].left == old:
        a.tree[up].left = new
    else:
        a.tree[up].right = new
    if new:
        a.tree[new].up = up


cdef inline void interval_rise(anon_c *a, uint32_t n) noexcept nogil:
    """Rotate a node into its parent's place."""
    cdef interval_node *t = a.tree
    cdef uint32_t p = t[n].up, inner
    interval_replace(a, t[p].up, p, n)
    if t[p].left == n:
        inner = t[n].right
        t[p].left = inner
        t[n].right = p
    else:
        inner = t[n].left
        t[p].right = inner
        t[n].left = p
    if inner:
        t[inner].up = p
    t[p].up = n
    interval_update(a, p)
    interval_update(a, n)


cdef inline void interval_insert(anon_c *a, uint32_t slot) noexcept nogil:
    """The area in a slot is there, or has another range."""
    cdef interval_node *t = a.tree
    cdef uint32_t n = slot + 1, p = a.top, next
    cdef uint64_t first = vma_first(a.vmas[slot]), last = vma_last(a.vmas[slot])
    if t == NULL:
        return
    a.seed = a.seed * 6364136223846793005ULL + 1442695040888963407ULL
    t[n].left, t[n].right, t[n].up = 0, 0, 0
    t[n].prio = <uint32_t>(a.seed >> 32)
    t[n].most = last
    if p == 0:
        a.top = n
        return
    while True:
        if t[p].most < last:
            t[p].most = last
        next = t[p].left if first < vma_first(a.vmas[p - 1]) else t[p].right
        if next == 0:
            break
        p = next
    if first < vma_first(a.vmas[p - 1]):
        t[p].left = n
    else:
        t[p].right = n
    t[n].up = p
    while t[n].up and t[t[n].up].prio < t[n].prio:
        interval_rise(a, n)


cdef inline void interval_remove(anon_c *a, uint32_t slot) noexcept nogil:
    """The area in a slot is about to go, or to have another range."""
    cdef interval_node *t = a.tree
    cdef uint32_t n = slot + 1, up
    if t == NULL:
        return
    while t[n].left and t[n].right:
        interval_rise(a, t[n].left if t[t[n].left].prio > t[t[n].right].prio else t[n].right)
    up = t[n].up
    interval_replace(a, up, n, t[n].left if t[n].left else t[n].right)
    while up:
        interval_update(a, up)
        up = t[up].up


cdef inline void interval_move(anon_c *a, uint32_t slot, uint32_t to) noexcept nogil:
    """The area of one slot stands in another now."""
    cdef interval_node *t = a.tree
    cdef uint32_t n = slot + 1, new = to + 1
    if t == NULL:
        return
    t[new] = t[n]
    interval_replace(a, t[n].up, n, new)
    if t[new].left:
        t[t[new].left].up = new
    if t[new].right:
        t[t[new].right].up = new


cdef inline bint interval_grow(anon_c *a) noexcept nogil:
    """Room for more areas, and from INTERVAL_MIN on the tree. False: there is no memory."""
    cdef uint32_t size = 2 * a.size + 4, slot
    cdef bint plant = a.tree == NULL and size > INTERVAL_MIN
    cdef void *new = realloc(a.vmas, size * sizeof(vma_c *))
    if new == NULL:
        return False
    a.vmas = <vma_c **>new
    if a.tree != NULL or plant:
        new = realloc(a.found, size * sizeof(uint64_t))
        if new == NULL:
            return False
        a.found = <uint64_t *>new
        new = realloc(a.tree, (size + 1) * sizeof(interval_node))
        if new == NULL:
            return False
        a.tree = <interval_node *>new
    a.size = size
    if plant:
        for slot in range(a.count):
            interval_insert(a, slot)
    return True


cdef inline void interval_free(anon_c *a) noexcept nogil:
    free(a.vmas)
    free(a.tree)
    free(a.found)


cdef inline int by_slot(const void *one, const void *two) noexcept nogil:
    cdef uint64_t a = (<const uint64_t *>one)[0], b = (<const uint64_t *>two)[0]
    return (a > b) - (a < b)


cdef inline uint32_t interval_slots(anon_c *a, uint64_t first, uint64_t last) noexcept nogil:
    """The slots of the areas that map any of the pages [first, last], ascending, in ``a.found``; how many."""
    cdef interval_node *t = a.tree
    cdef uint32_t n = a.top, came = 0, k = 0
    while n:
        # Down to the left as long as an area there may reach so far; back from the left: this node, then its right.
        if came == t[n].up and t[n].left and t[t[n].left].most >= first:
            came, n = n, t[n].left
            continue
        if came == t[n].up or (came == t[n].left and came):
            if vma_first(a.vmas[n - 1]) <= last and vma_last(a.vmas[n - 1]) >= first:
                a.found[k] = n - 1
                k += 1
            if t[n].right and vma_first(a.vmas[n - 1]) <= last and t[t[n].right].most >= first:
                came, n = n, t[n].right
                continue
        came, n = n, t[n].up
    qsort(a.found, k, sizeof(uint64_t), by_slot)
    return k


cdef inline uint32_t rmap_areas(anon_c *a, uint64_t first, uint64_t last, vma_c ***areas) noexcept nogil:
    """The areas that may map pages [first, last]: an array of them, in order, good until the next call; how many."""
    cdef uint32_t i, k
    if a.tree == NULL:
        areas[0] = a.vmas
        return a.count
    k = interval_slots(a, first, last)
    for i in range(k):
        a.found[i] = <uint64_t>a.vmas[a.found[i]]
    areas[0] = <vma_c **>a.found
    return k
