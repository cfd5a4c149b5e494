/* Rivals of the LRU's chunks: an intrusive doubly linked list, as Linux has it, and the bare pointer chase through it that
 * no list can be faster than; and the chunks themselves in C, the floor. Struct pages of 32 bytes, as the machine's.
 */
#include <stdint.h>
#include <string.h>

struct rival_page {
    uint32_t flags;
    int32_t refcount;
    uint32_t next, prev;
    uint32_t mapcount, pincount;
    uint64_t rmap;
};

enum { RIVAL_LRU = 1u << 4, RIVAL_ACTIVE = 1u << 5, RIVAL_ISOLATED = 1u << 19, RIVAL_ACCESSED = 1u << 5 };

/* Link pages in this order, coldest first; page n is the list's head. */
static void rival_link(struct rival_page *map, uint32_t head, const uint32_t *pfns, uint32_t n)
{
    uint32_t i, at = head;
    for (i = 0; i < n; i++) {
        map[pfns[i]].flags = (map[pfns[i]].flags & ~RIVAL_ISOLATED) | RIVAL_LRU;
        map[pfns[i]].prev = at;
        map[at].next = pfns[i];
        at = pfns[i];
    }
    map[at].next = head;
    map[head].prev = at;
}

/* Look at n pages from the cold end: take those in use, move the others to the hot end. */
static uint32_t rival_isolate(struct rival_page *map, uint32_t head, uint32_t n, uint32_t highest, uint32_t *out)
{
    uint32_t i, taken = 0, pfn = map[head].next;
    for (i = 0; i < n && pfn != head; i++) {
        struct rival_page *p = &map[pfn];
        uint32_t next = p->next;
        map[p->prev].next = next;
        map[next].prev = p->prev;
        if (p->refcount > 0 && (p->flags >> 24 & 3) <= highest) {
            p->flags = (p->flags & ~RIVAL_LRU) | RIVAL_ISOLATED;
            p->refcount++;
            out[taken++] = pfn;
        } else {
            uint32_t hot = map[head].prev;
            p->prev = hot;
            p->next = head;
            map[hot].next = pfn;
            map[head].prev = pfn;
        }
        pfn = next;
    }
    return taken;
}

/* rival_isolate() of pages that one PTE each maps, at `ram + rmap`: its accessed bit is asked and cleared. */
static uint32_t rival_age(struct rival_page *map, uint32_t head, uint32_t n, uint8_t *ram, uint32_t *used)
{
    uint32_t i, taken = 0, pfn = map[head].next;
    *used = 0;
    for (i = 0; i < n && pfn != head; i++) {
        struct rival_page *p = &map[pfn];
        uint64_t *pte = (uint64_t *)(ram + p->rmap);
        uint32_t next = p->next;
        map[p->prev].next = next;
        map[next].prev = p->prev;
        p->flags = (p->flags & ~RIVAL_LRU) | RIVAL_ISOLATED;
        p->refcount++;
        taken++;
        if (*pte & RIVAL_ACCESSED) {
            *pte &= ~(uint64_t)RIVAL_ACCESSED;
            ++*used;
        }
        pfn = next;
    }
    return taken;
}

/* Take these pages off their list; pages and neighbours are fetched ahead. */
static inline void rival_unlink(struct rival_page *map, const uint32_t *pfns, uint32_t n, uint32_t i)
{
    struct rival_page *p = &map[pfns[i]];
    if (i + 24 < n)
        __builtin_prefetch(&map[pfns[i + 24]], 1);
    if (i + 12 < n) {
        __builtin_prefetch(&map[map[pfns[i + 12]].next], 1);
        __builtin_prefetch(&map[map[pfns[i + 12]].prev], 1);
    }
    map[p->prev].next = p->next;
    map[p->next].prev = p->prev;
}

static void rival_remove(struct rival_page *map, const uint32_t *pfns, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        rival_unlink(map, pfns, n, i);
        map[pfns[i]].flags = (map[pfns[i]].flags & ~RIVAL_LRU) | RIVAL_ISOLATED;
        map[pfns[i]].refcount++;
    }
}

/* Move these pages to the hot end of another list. */
static void rival_activate(struct rival_page *map, uint32_t head, const uint32_t *pfns, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        struct rival_page *p = &map[pfns[i]];
        uint32_t hot = map[head].prev;
        rival_unlink(map, pfns, n, i);
        p->flags |= RIVAL_ACTIVE;
        p->prev = hot;
        p->next = head;
        map[hot].next = pfns[i];
        map[head].prev = pfns[i];
    }
}

/* Visit n pages and do nothing. */
static uint32_t rival_chase(const struct rival_page *map, uint32_t head, uint32_t n)
{
    uint32_t i, pfn = map[head].next;
    for (i = 0; i < n && pfn != head; i++)
        pfn = map[pfn].next;
    return pfn;
}

/* The floor: chunks of 60 frame numbers, words 0..3 hotter, colder, fill, live. A page's `next` is its slot. */
struct floor_lru {
    struct rival_page *map;
    uint32_t *chunks, head, tail, virgin, free;
};

enum { FLOOR_HOTTER, FLOOR_COLDER, FLOOR_FILL, FLOOR_LIVE, FLOOR_SLOTS = 60 };
static const uint32_t FLOOR_HOLE = 0xffffffff;

static void floor_add(struct floor_lru *f, const uint32_t *pfns, uint32_t n)
{
    uint32_t i, c;
    for (i = 0; i < n; i++) {
        uint32_t *w = &f->chunks[f->head << 6];
        if (!f->head || w[FLOOR_FILL] == FLOOR_SLOTS) {
            c = f->free ? f->free : f->virgin++;
            w = &f->chunks[c << 6];
            if (c == f->free)
                f->free = w[FLOOR_HOTTER];
            w[FLOOR_HOTTER] = w[FLOOR_FILL] = w[FLOOR_LIVE] = 0;
            w[FLOOR_COLDER] = f->head;
            if (f->head)
                f->chunks[(f->head << 6) + FLOOR_HOTTER] = c;
            else
                f->tail = c;
            f->head = c;
        }
        f->map[pfns[i]].flags = (f->map[pfns[i]].flags & ~RIVAL_ISOLATED) | RIVAL_LRU;
        f->map[pfns[i]].next = (uint32_t)(w - f->chunks) + 4 + w[FLOOR_FILL];
        w[4 + w[FLOOR_FILL]++] = pfns[i];
        w[FLOOR_LIVE]++;
    }
}

static inline int floor_take(struct rival_page *p, uint32_t highest)
{
    if (p->refcount <= 0 || (p->flags >> 24 & 3) > highest)
        return 0;
    p->flags = (p->flags & ~RIVAL_LRU) | RIVAL_ISOLATED;
    p->refcount++;
    p->next = 0;
    return 1;
}

/* rival_isolate() from such a list; a chunk without holes, all of which is wanted, needs no test for either. */
static uint32_t floor_isolate(struct floor_lru *f, uint32_t n, uint32_t highest, uint32_t *out)
{
    uint32_t seen = 0, taken = 0, passed = 0, i, c, t;
    while (seen < n && f->tail) {
        uint32_t *w = &f->chunks[(c = f->tail) << 6], *ahead = &f->chunks[w[FLOOR_HOTTER] << 6];
        uint32_t end = 4 + w[FLOOR_FILL];
        for (i = 0; i < 64; i += 16)
            __builtin_prefetch(&f->chunks[(ahead[FLOOR_HOTTER] << 6) + i], 1);
        if (w[FLOOR_LIVE] == w[FLOOR_FILL] && w[FLOOR_LIVE] <= n - seen) {
            for (i = 4; i < end; i++) {
                __builtin_prefetch(&f->map[ahead[i]], 1);
                if (floor_take(&f->map[w[i]], highest))
                    out[taken++] = w[i];
                else
                    out[n - ++passed] = w[i];
            }
            memset(w + 4, 0xff, (end - 4) * sizeof(*w));
            seen += w[FLOOR_LIVE];
            w[FLOOR_LIVE] = 0;
        } else {
            for (i = 4; i < end && seen < n; i++) {
                __builtin_prefetch(&f->map[ahead[i]], 1);
                if (w[i] == FLOOR_HOLE)
                    continue;
                if (floor_take(&f->map[w[i]], highest))
                    out[taken++] = w[i];
                else
                    out[n - ++passed] = w[i];
                w[i] = FLOOR_HOLE;
                w[FLOOR_LIVE]--;
                seen++;
            }
        }
        if (!w[FLOOR_LIVE]) {
            f->tail = w[FLOOR_HOTTER];
            if (f->tail)
                f->chunks[(f->tail << 6) + FLOOR_COLDER] = 0;
            else
                f->head = 0;
            w[FLOOR_HOTTER] = f->free;
            f->free = c;
        }
    }
    for (i = 0; i < passed / 2; i++) {
        t = out[n - passed + i];
        out[n - passed + i] = out[n - 1 - i];
        out[n - 1 - i] = t;
    }
    floor_add(f, out + n - passed, passed);
    return taken;
}
