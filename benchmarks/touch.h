/* The range touch in plain C, as the floor of the kernel's: the same work on structs of the same layout, on a part of
 * RAM that the machine under test does not use. Frames come from one of three places: whole buddy blocks, an array of
 * frame numbers, or a list threaded through the struct pages (the rival of the array).
 */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

struct floor_page {
    uint32_t flags;
    int32_t refcount;
    uint32_t lru, mapcount, link, pincount;
    uint64_t rmap;
};

struct floor_cold {
    uint64_t mapping, index, private, mlock_count;
};

struct floor {
    uint8_t *ram;               /* physical address 0 */
    struct floor_page *hot;     /* by pfn, as in the machine */
    struct floor_cold *cold;
    uint8_t *order;
    uint32_t *chunks;
    uint64_t *root;
    int64_t stat[64][22];
    uint32_t head[11], nonempty;
    uint32_t *array, in_array;  /* the array of free frames */
    uint32_t list;              /* or the list of them */
    uint32_t chunk_virgin, chunk_head, chunk_tail;
    int64_t live;
    int where;
};

enum { FLOOR_BLOCKS, FLOOR_ARRAY, FLOOR_LIST };
enum { FLOOR_NONE = 0xffffffff, FLOOR_ORDER = 10, FLOOR_RUN = 512 };

static inline void floor_push(struct floor *f, int order, uint32_t pfn)
{
    struct floor_page *p = &f->hot[pfn];
    uint32_t head = f->head[order];
    p->lru = head;
    p->link = FLOOR_NONE;
    if (head != FLOOR_NONE)
        f->hot[head].link = pfn;
    f->head[order] = pfn;
    f->nonempty |= 1u << order;
    f->order[pfn] = 0x80 | order;
}

static inline uint32_t floor_take(struct floor *f, int order)
{
    uint32_t fits = f->nonempty >> order, pfn;
    struct floor_page *p;
    int o;
    if (!fits)
        return FLOOR_NONE;
    o = order + __builtin_ctz(fits);
    pfn = f->head[o];
    p = &f->hot[pfn];
    f->head[o] = p->lru;
    if (p->lru != FLOOR_NONE)
        f->hot[p->lru].link = FLOOR_NONE;
    else
        f->nonempty &= ~(1u << o);
    p->lru = p->link = 0;
    f->order[pfn] = 0;
    while (o > order)
        floor_push(f, --o, pfn + (1u << o));
    return pfn;
}

static uint32_t floor_alloc(struct floor *f, uint32_t want, uint32_t *out)
{
    uint32_t got = 0, pfn, j;
    if (f->where == FLOOR_ARRAY) {
        for (; got < want && f->in_array; got++)
            out[got] = f->array[--f->in_array];
        return got;
    }
    if (f->where == FLOOR_LIST) {
        for (; got < want && f->list != FLOOR_NONE; got++) {
            out[got] = f->list;
            f->list = f->hot[f->list].lru;
            if (f->list != FLOOR_NONE)
                f->hot[f->list].link = FLOOR_NONE;
            f->hot[out[got]].lru = f->hot[out[got]].link = 0;
            f->order[out[got]] = 0;
        }
        return got;
    }
    while (got < want) {
        int order = 31 - __builtin_clz(want - got);
        if (order > FLOOR_ORDER)
            order = FLOOR_ORDER;
        if (!(f->nonempty >> order)) {
            if (!f->nonempty)
                break;
            order = 31 - __builtin_clz(f->nonempty);
        }
        pfn = floor_take(f, order);
        for (j = 0; j < 1u << order; j++)
            out[got + j] = pfn + j;
        got += 1u << order;
    }
    return got;
}

static inline void floor_lru_add(struct floor *f, uint32_t *pfns, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        struct floor_page *p = &f->hot[pfns[i]];
        uint32_t *w = f->chunks + ((uint64_t)f->chunk_head << 6);
        if (!f->chunk_head || w[2] == 60) {
            uint32_t c = f->chunk_virgin++;
            w = f->chunks + ((uint64_t)c << 6);
            w[0] = w[2] = w[3] = 0;
            w[1] = f->chunk_head;
            if (f->chunk_head)
                f->chunks[(uint64_t)f->chunk_head << 6] = c;
            else
                f->chunk_tail = c;
            f->chunk_head = c;
        }
        p->flags |= 1u << 4;
        p->lru = (f->chunk_head << 6) + 4 + w[2];
        w[4 + w[2]++] = pfns[i];
        w[3]++;
        f->live++;
        f->stat[p->flags >> 26][0]++;
    }
}

static uint64_t *floor_table(struct floor *f, uint64_t va)
{
    uint64_t *table = f->root;
    int level;
    for (level = 3; level; level--) {
        uint64_t *entry = &table[va >> (12 + 9 * level) & 511];
        if (!(*entry & 1)) {
            uint32_t pfn;
            if (!floor_alloc(f, 1, &pfn))
                return NULL;
            memset(f->ram + ((uint64_t)pfn << 12), 0, 4096);
            f->hot[pfn].flags = 1u << 26 | 1u << 15;
            f->hot[pfn].refcount = 1;
            f->cold[pfn].index = va >> (12 + 9 * (level + 1));
            *entry = (uint64_t)pfn << 12 | 7;
        }
        table = (uint64_t *)(f->ram + (*entry & 0x000ffffffffff000ull));
    }
    return table;
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static void floor_zero_avx2(uint8_t *page)
{
    const __m256i zero = _mm256_setzero_si256();
    int at;
    for (at = 0; at < 4096; at += 32)
        _mm256_stream_si256((__m256i *)(page + at), zero);
}
#endif

static void floor_zero(struct floor *f, uint32_t *pfns, uint32_t n)
{
    uint32_t i;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        for (i = 0; i < n; i++)
            floor_zero_avx2(f->ram + ((uint64_t)pfns[i] << 12));
        _mm_sfence();
        return;
    }
#endif
    for (i = 0; i < n; i++)
        memset(f->ram + ((uint64_t)pfns[i] << 12), 0, 4096);
}

/* Write fault on n pages from va on; returns how many were mapped. */
static uint64_t floor_touch(struct floor *f, uint64_t va, uint64_t n, int zero)
{
    uint32_t pfns[FLOOR_RUN], got, want, i;
    uint64_t done = 0, first;
    while (done < n) {
        uint64_t *ptes = floor_table(f, va);
        if (!ptes)
            break;
        first = va >> 12 & 511;
        ptes += first;
        want = FLOOR_RUN - first < n - done ? FLOOR_RUN - first : n - done;
        for (i = 0; i < want && !ptes[i]; i++)
            ;
        got = floor_alloc(f, i, pfns);
        for (i = 0; i < got; i++) {
            struct floor_page *p = &f->hot[pfns[i]];
            struct floor_cold *c = &f->cold[pfns[i]];
            if (i + 16 < got) {
                __builtin_prefetch(&f->hot[pfns[i + 16]], 1);
                __builtin_prefetch(&f->cold[pfns[i + 16]], 1);
            }
            p->flags = 1u << 26 | 1u << 24 | 1u << 2 | 1u << 8 | 1u << 13 | 1u << 14;
            p->refcount = 1;
            p->mapcount = 1;
            p->pincount = 0;
            p->rmap = (uint64_t)((uint8_t *)&ptes[i] - f->ram);
            c->mapping = 1;
            c->index = (va >> 12) + i;
            c->private = c->mlock_count = 0;
            ptes[i] = (uint64_t)pfns[i] << 12 | 0x67;
        }
        f->stat[1][7] += got;
        if (zero)
            floor_zero(f, pfns, got);
        floor_lru_add(f, pfns, got);
        done += got;
        va += (uint64_t)got << 12;
        if (got < want)
            break;
    }
    return done;
}

/* Forget every page, and take these frames as the free ones: blocks of the top order, or single frames. */
static void floor_reset(struct floor *f, int where, uint32_t *pfns, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < 11; i++)
        f->head[i] = FLOOR_NONE;
    f->nonempty = 0;
    f->list = FLOOR_NONE;
    f->in_array = 0;
    f->chunk_virgin = 1;
    f->chunk_head = f->chunk_tail = 0;
    f->live = 0;
    f->where = where;
    memset(f->root, 0, 4096);
    for (i = n; i--;) {
        if (where == FLOOR_BLOCKS)
            floor_push(f, FLOOR_ORDER, pfns[i]);
        if (where == FLOOR_ARRAY)
            f->array[f->in_array++] = pfns[i];
        if (where == FLOOR_LIST) {
            f->hot[pfns[i]].lru = f->list;
            if (f->list != FLOOR_NONE)
                f->hot[f->list].link = pfns[i];
            f->list = pfns[i];
            f->order[pfns[i]] = 0x80;
        }
    }
}
