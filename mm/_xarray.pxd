# The pages of a file by index: the part of Linux's XArray that a page cache needs (lib/xarray.c).
#
# A tree of nodes of 512 words. At level 1 a word is an entry: 0, a page (xa_page), or the swap entry of a page that was
# written out (xa_value, odd, as Linux marks its value entries). Nodes live until the file goes. Deliberately different:
# they are host memory, which no node of the machine accounts for, and there are no marks.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    XA_SHIFT = 9
    XA_SLOTS = 512

cdef struct xarray:
    void **root                 # NULL = no page was ever here
    uint32_t levels
    uint32_t pad
    uint64_t count              # pages in it


cdef inline uint64_t xa_page(uint32_t pfn) noexcept nogil:
    return <uint64_t>pfn << 1


cdef inline uint64_t xa_value(uint64_t swap_entry) noexcept nogil:
    return swap_entry | 1


cdef inline bint xa_is_value(uint64_t entry) noexcept nogil:
    return entry & 1


cdef inline uint64_t xa_swap_entry(uint64_t entry) noexcept nogil:
    """The swap entry of a value."""
    return entry & ~<uint64_t>1


cdef inline uint32_t xa_pfn(uint64_t entry) noexcept nogil:
    """The frame of a page entry, 0 for none and for a value."""
    return 0 if entry & 1 else <uint32_t>(entry >> 1)


cdef inline uint64_t *xa_slot(const xarray *xa, uint64_t index) noexcept nogil:
    """Where the entry of `index` stands, NULL if nothing was ever near it."""
    cdef void **node = xa.root
    cdef uint32_t level = xa.levels
    if level == 0 or (XA_SHIFT * level < 64 and index >> (XA_SHIFT * level)):
        return NULL
    while level > 1:
        level -= 1
        node = <void **>node[(index >> (XA_SHIFT * level)) & (XA_SLOTS - 1)]
        if node == NULL:
            return NULL
    return <uint64_t *>node + (index & (XA_SLOTS - 1))


cdef inline uint64_t xa_load(const xarray *xa, uint64_t index) noexcept nogil:
    cdef uint64_t *slot = xa_slot(xa, index)
    return slot[0] if slot != NULL else 0


cdef inline uint64_t *xa_reserve(xarray *xa, uint64_t index) noexcept nogil:
    """xa_slot(), with the nodes on the way made; NULL: the host is out of memory."""
    cdef void **node
    cdef uint32_t level, at
    while xa.levels == 0 or (XA_SHIFT * xa.levels < 64 and index >> (XA_SHIFT * xa.levels)):
        node = <void **>calloc(XA_SLOTS, sizeof(void *))
        if node == NULL:
            return NULL
        node[0] = xa.root
        xa.root = node
        xa.levels += 1
        if xa.levels > 1 and node[0] == NULL:
            node[0] = calloc(XA_SLOTS, sizeof(void *))
            if node[0] == NULL:
                return NULL
    node = xa.root
    level = xa.levels
    while level > 1:
        level -= 1
        at = (index >> (XA_SHIFT * level)) & (XA_SLOTS - 1)
        if node[at] == NULL:
            node[at] = calloc(XA_SLOTS, sizeof(void *))
            if node[at] == NULL:
                return NULL
        node = <void **>node[at]
    return <uint64_t *>node + (index & (XA_SLOTS - 1))


cdef inline uint64_t *xa_find(const xarray *xa, uint64_t *index, uint64_t end) noexcept nogil:
    """The first entry in [index, end) that is not empty, and its index; NULL: there is none."""
    cdef void **node
    cdef uint32_t level
    while index[0] < end:
        if xa.levels == 0 or (XA_SHIFT * xa.levels < 64 and index[0] >> (XA_SHIFT * xa.levels)):
            return NULL
        node = xa.root
        level = xa.levels
        while level > 1 and node != NULL:
            level -= 1
            node = <void **>node[(index[0] >> (XA_SHIFT * level)) & (XA_SLOTS - 1)]
        if node != NULL:
            level = 0
            if node[index[0] & (XA_SLOTS - 1)] != NULL:
                return <uint64_t *>node + (index[0] & (XA_SLOTS - 1))
        # on behind what is empty: one slot, or all that a missing node would hold
        index[0] = ((index[0] >> (XA_SHIFT * level)) + 1) << (XA_SHIFT * level)
    return NULL


cdef inline void xa_free_node(void **node, uint32_t level) noexcept nogil:
    cdef uint32_t i
    if level > 1:
        for i in range(<uint32_t>XA_SLOTS):
            if node[i] != NULL:
                xa_free_node(<void **>node[i], level - 1)
    free(node)


cdef inline void xa_destroy(xarray *xa) noexcept nogil:
    if xa.root != NULL:
        xa_free_node(xa.root, xa.levels)
    xa.root = NULL
    xa.levels = 0
