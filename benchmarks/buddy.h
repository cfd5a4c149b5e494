/* The buddy allocator's lists in plain C, as the floor of the kernel's: links through the struct pages, order bytes. */
#include <stdint.h>

struct floor_page {
    uint32_t flags;
    int32_t refcount;
    uint32_t lru, mapcount, link, pincount;
    uint64_t rmap;
};

struct floor_zone {
    struct floor_page *hot;
    uint8_t *order;
    uint32_t start, end, nonempty;
    int64_t free;
    uint32_t head[11], nr_free[11];
};

enum { FLOOR_NONE = 0xffffffff, FLOOR_ORDER = 10 };

static inline void floor_push(struct floor_zone *z, int order, uint32_t pfn)
{
    struct floor_page *p = &z->hot[pfn];
    uint32_t head = z->head[order];
    p->lru = head;
    p->link = FLOOR_NONE;
    if (head != FLOOR_NONE)
        z->hot[head].link = pfn;
    z->head[order] = pfn;
    z->nr_free[order]++;
    z->nonempty |= 1u << order;
    z->order[pfn] = 0x80 | order;
}

static inline void floor_remove(struct floor_zone *z, int order, uint32_t pfn)
{
    struct floor_page *p = &z->hot[pfn];
    if (p->link == FLOOR_NONE)
        z->head[order] = p->lru;
    else
        z->hot[p->link].lru = p->lru;
    if (p->lru != FLOOR_NONE)
        z->hot[p->lru].link = p->link;
    p->lru = p->link = 0;
    z->order[pfn] = 0;
    if (!--z->nr_free[order])
        z->nonempty &= ~(1u << order);
}

static uint32_t floor_take(struct floor_zone *z, int order)
{
    uint32_t fits = z->nonempty >> order, pfn;
    int o;
    if (!fits)
        return FLOOR_NONE;
    o = order + __builtin_ctz(fits);
    pfn = z->head[o];
    floor_remove(z, o, pfn);
    z->free -= (int64_t)1 << order;
    while (o > order) {
        o--;
        floor_push(z, o, pfn + (1u << o));
    }
    return pfn;
}

static void floor_give(struct floor_zone *z, uint32_t pfn, int order)
{
    z->free += (int64_t)1 << order;
    while (order < FLOOR_ORDER) {
        uint32_t buddy = pfn ^ (1u << order);
        if (buddy < z->start || buddy >= z->end || z->order[buddy] != (0x80 | order))
            break;
        floor_remove(z, order, buddy);
        pfn &= buddy;
        order++;
    }
    floor_push(z, order, pfn);
}

static void floor_zone_reset(struct floor_zone *z)
{
    uint32_t pfn;
    int order;
    z->nonempty = 0;
    z->free = z->end - z->start;
    for (order = 0; order <= FLOOR_ORDER; order++) {
        z->head[order] = FLOOR_NONE;
        z->nr_free[order] = 0;
    }
    for (pfn = z->end; pfn > z->start; pfn -= 1u << FLOOR_ORDER)
        floor_push(z, FLOOR_ORDER, pfn - (1u << FLOOR_ORDER));
}

static uint32_t floor_alloc0(struct floor_zone *z, uint32_t *out, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        out[i] = floor_take(z, 0);
        if (out[i] == FLOOR_NONE)
            break;
    }
    return i;
}

static void floor_free0(struct floor_zone *z, const uint32_t *pfns, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++)
        floor_give(z, pfns[i], 0);
}
