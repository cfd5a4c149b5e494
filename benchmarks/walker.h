/* The page-table walk in plain C, 4 levels: with the last PTE table remembered as the kernel does it, and without. */
#include <stdint.h>
#include <stddef.h>

static inline uint64_t floor_leaf(uint64_t pmd, uint64_t va)
{
    if (pmd & 0x80 && pmd & 0x101)
        return (pmd & ~0x80ull) + (va & 0x1ff000);
    return 0;
}

static inline uint64_t floor_pmd(const uint8_t *ram, uint64_t pgd, uint64_t va)
{
    uint64_t entry = pgd | 1;
    int shift;
    for (shift = 39; shift >= 21; shift -= 9) {
        if ((entry & 0x81) != 1)
            return 0;
        entry = ((const uint64_t *)(ram + (entry & 0x000ffffffffff000ull)))[va >> shift & 511];
    }
    return entry;
}

static void floor_walk(const uint8_t *ram, uint64_t pgd, const uint64_t *vaddrs, uint64_t *ptes, ptrdiff_t n)
{
    uint64_t cached = -1, va, pmd;
    const uint64_t *table = NULL;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        va = vaddrs[i];
        if (va >> 21 != cached) {
            if (va >> 47) {
                ptes[i] = 0;
                continue;
            }
            pmd = floor_pmd(ram, pgd, va);
            if ((pmd & 0x81) != 1) {
                ptes[i] = floor_leaf(pmd, va);
                continue;
            }
            table = (const uint64_t *)(ram + (pmd & 0x000ffffffffff000ull));
            cached = va >> 21;
        }
        ptes[i] = table[va >> 12 & 511];
    }
}

static void floor_walk_plain(const uint8_t *ram, uint64_t pgd, const uint64_t *vaddrs, uint64_t *ptes, ptrdiff_t n)
{
    uint64_t va, pmd;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        va = vaddrs[i];
        pmd = va >> 47 ? 0 : floor_pmd(ram, pgd, va);
        if ((pmd & 0x81) != 1)
            ptes[i] = floor_leaf(pmd, va);
        else
            ptes[i] = ((const uint64_t *)(ram + (pmd & 0x000ffffffffff000ull)))[va >> 12 & 511];
    }
}
