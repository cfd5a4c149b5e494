"""What a CPU does for a user access: look in the TLB, walk the tables on a miss, set accessed and dirty, move bytes.

Mirrors Intel SDM vol. 3A, 4.6 (access rights), 4.8 (accessed and dirty flags) and 4.10 (caching translations). A TLB
hit uses the entry as it stands, even if the table has changed since: a kernel that forgets a flush reads and writes
the wrong frame, as it would on hardware. What a hit does not allow walks again before it counts as a fault (so a
permission that was *added* needs no flush; AMD's rule, and what lets Linux skip those flushes), and a write through an
entry without DIRTY walks again to set the bit.

Deliberately different: rights are the leaf's alone (Linux makes the upper levels of user mappings permissive), upper
levels get no accessed bit, a 2 MiB leaf fills the TLB page by page, instruction fetches do not exist, and a leaf that
names a frame outside RAM is not permitted (hardware would raise a machine check).

Each access function stops at the first byte that is not permitted and returns how far it came: the caller faults that
address in and calls again. Within one call the last PTE table is remembered, as the CPU's paging-structure cache does
and as safely: nobody can free a table meanwhile.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from numalab.arch._hw cimport (
    EV_TLB_FLUSH, PAGE_SHIFT, PAGE_SIZE, TLB_ENTRIES, Hardware, hw as hw_t, tlb_entry, trace,
)
from numalab.arch._pagetable cimport (
    PMD_SHIFT, PTE_ACCESSED, PTE_ADDR, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_USER, pmd_entry, table_at,
)


# One run of accesses by one CPU: what does not change, the paging-structure cache, and the misses to be charged.
cdef struct cursor:
    hw_t *h
    tlb_entry *tlb              # of this CPU
    uint64_t pgd
    uint64_t asid
    uint64_t limit_shift        # va >> limit_shift != 0: not a user address
    uint64_t region             # va >> PMD_SHIFT of `table`, ~0 = none
    uint64_t *table
    uint64_t misses


cdef inline void begin(cursor *c, hw_t *h, uint32_t cpu, uint32_t asid, uint64_t pgd) noexcept nogil:
    c.h = h
    c.tlb = h.tlb + <uint64_t>cpu * TLB_ENTRIES
    c.pgd = pgd
    c.asid = asid
    c.limit_shift = PAGE_SHIFT + 9 * h.levels - 1
    c.region = <uint64_t>-1
    c.table = NULL
    c.misses = 0


cdef inline uint64_t use(uint64_t *leaf, uint64_t need, uint64_t set) noexcept nogil:
    """The leaf with accessed (and dirty) set, in the table too; 0 if it does not grant `need`."""
    cdef uint64_t pte = leaf[0]
    if (pte & need) != need:
        return 0
    if (pte & set) != set:
        pte |= set
        leaf[0] = pte
    return pte


cdef uint64_t use_pmd(cursor *c, uint64_t va, uint64_t need, uint64_t set) noexcept nogil:
    """Walk to the PMD: remember the PTE table and use its entry, or use a 2 MiB leaf. 0 if nothing there grants it."""
    cdef uint64_t *pmd = pmd_entry(c.h, c.pgd, va)
    cdef uint64_t pte
    if pmd == NULL or not pmd[0] & PTE_PRESENT:
        return 0
    if pmd[0] & PTE_PSE:
        pte = use(pmd, need, set)
        if pte == 0:
            return 0
        return (pte & ~<uint64_t>PTE_PSE) + (va & ((1 << PMD_SHIFT) - PAGE_SIZE))
    c.table = table_at(c.h, pmd[0])
    c.region = va >> PMD_SHIFT
    return use(&c.table[(va >> PAGE_SHIFT) & 511], need, set)


cdef inline uint64_t translate(cursor *c, uint64_t va, uint64_t need, uint64_t set) noexcept nogil:
    """The PTE that an access to va may use, through the TLB; 0 = page fault.

    need: the bits that the leaf must have (PRESENT, USER, RW). set: those that the access leaves behind (ACCESSED,
    DIRTY); a TLB entry that lacks one of either walks again.
    """
    cdef tlb_entry *e = c.tlb + ((va >> PAGE_SHIFT) & (TLB_ENTRIES - 1))
    cdef uint64_t tag = (va >> PAGE_SHIFT) << 17 | c.asid << 1 | 1
    cdef uint64_t pte
    if va >> c.limit_shift:
        return 0
    if e.tag == tag and (e.pte & (need | set)) == (need | set):
        return e.pte
    c.misses += 1
    if va >> PMD_SHIFT == c.region:
        pte = use(&c.table[(va >> PAGE_SHIFT) & 511], need, set)
    else:
        pte = use_pmd(c, va, need, set)
    if pte == 0 or PTE_ADDR(pte) >> PAGE_SHIFT >= c.h.nr_frames:
        # A page fault drops what the TLB has for the address (SDM 4.10.4.1).
        if e.tag == tag:
            e.tag = 0
        return 0
    e.tag = tag
    e.pte = pte
    return pte


cdef uint64_t move(cursor *c, uint64_t va, uint8_t *buf, uint64_t n, bint write) noexcept nogil:
    """Read or write n bytes at va, page by page; returns the bytes done."""
    cdef uint64_t need = PTE_PRESENT | PTE_USER | (PTE_RW if write else 0)
    cdef uint64_t set = PTE_ACCESSED | (PTE_DIRTY if write else 0)
    cdef uint64_t done = 0, chunk, pte
    cdef uint8_t *at
    while done < n:
        pte = translate(c, va + done, need, set)
        if pte == 0:
            break
        chunk = PAGE_SIZE - ((va + done) & (PAGE_SIZE - 1))
        if chunk > n - done:
            chunk = n - done
        at = c.h.ram + PTE_ADDR(pte) + ((va + done) & (PAGE_SIZE - 1))
        if write:
            memcpy(at, buf + done, chunk)
        else:
            memcpy(buf + done, at, chunk)
        done += chunk
    return done


cdef uint64_t touch_reads(cursor *c, uint64_t va, uint64_t stride, uint64_t count) noexcept nogil:
    """Loads whose value nobody looks at: all they leave behind are the TLB entry and the accessed bit."""
    cdef uint64_t i
    for i in range(count):
        if translate(c, va, PTE_PRESENT | PTE_USER, PTE_ACCESSED) == 0:
            return i
        va += stride
    return count


cdef uint64_t touch_writes(cursor *c, uint64_t va, uint64_t stride, uint64_t count, uint8_t value) noexcept nogil:
    """Stores of one byte each. (Fetching the scattered frames ahead of time was tried: the stores overlap anyway.)"""
    cdef uint64_t i, pte
    for i in range(count):
        pte = translate(c, va, PTE_PRESENT | PTE_USER | PTE_RW, PTE_ACCESSED | PTE_DIRTY)
        if pte == 0:
            return i
        (c.h.ram + PTE_ADDR(pte) + (va & (PAGE_SIZE - 1)))[0] = value
        va += stride
    return count


cdef int check(Hardware hw, uint32_t cpu, uint32_t asid, uint64_t pgd) except -1:
    """Raises ValueError for a closed machine, a CPU or an address-space id that does not exist, a root outside RAM."""
    if hw.closed:
        raise ValueError("the machine is closed")
    if cpu >= hw.h.nr_cpus:
        raise ValueError(f"cpu {cpu} does not exist (0..{hw.h.nr_cpus - 1})")
    if asid > 0xffff:
        raise ValueError(f"asid {asid} does not fit 16 bits")
    if PTE_ADDR(pgd) >> PAGE_SHIFT >= hw.h.nr_frames:
        raise ValueError(f"root table {pgd:#x} is outside RAM")
    return 0


def read(Hardware hw not None, uint32_t cpu, uint32_t asid, uint64_t pgd, uint64_t va, uint8_t[::1] buf not None):
    """Load len(buf) bytes at va into buf, as a program on `cpu` with this address space does. Returns bytes done."""
    cdef cursor c
    cdef uint64_t done = 0, n = <uint64_t>buf.shape[0]
    check(hw, cpu, asid, pgd)
    if n:
        with nogil:
            begin(&c, &hw.h, cpu, asid, pgd)
            done = move(&c, va, &buf[0], n, False)
            hw.h.now += c.misses * hw.h.cost.walk
    return done


def write(Hardware hw not None, uint32_t cpu, uint32_t asid, uint64_t pgd, uint64_t va,
          const uint8_t[::1] buf not None):
    """Store the bytes of buf at va, as a program on `cpu` with this address space does. Returns bytes done."""
    cdef cursor c
    cdef uint64_t done = 0, n = <uint64_t>buf.shape[0]
    check(hw, cpu, asid, pgd)
    if n:
        with nogil:
            begin(&c, &hw.h, cpu, asid, pgd)
            done = move(&c, va, <uint8_t *>&buf[0], n, True)
            hw.h.now += c.misses * hw.h.cost.walk
    return done


def touch(Hardware hw not None, uint32_t cpu, uint32_t asid, uint64_t pgd, uint64_t va, int64_t stride, uint64_t count,
          bint write, uint8_t value=1):
    """Load one byte, or store `value`, at va, va + stride, ... `count` times. Returns accesses done."""
    cdef cursor c
    cdef uint64_t done
    check(hw, cpu, asid, pgd)
    with nogil:
        begin(&c, &hw.h, cpu, asid, pgd)
        if write:
            done = touch_writes(&c, va, <uint64_t>stride, count, value)
        else:
            done = touch_reads(&c, va, <uint64_t>stride, count)
        hw.h.now += c.misses * hw.h.cost.walk
    return done


cdef inline void charge_flush(hw_t *h, uint64_t pages) noexcept nogil:
    """One shootdown: the sender's share and that of every CPU that must answer."""
    h.now += h.cost.flush + h.cost.flush_cpu * h.nr_cpus
    trace(h, EV_TLB_FLUSH, pages, TLB_REMOTE_SEND_IPI, 0)


def flush_tlb_page(Hardware hw not None, uint32_t asid, uint64_t va):
    """Drop the translation of one page on every CPU."""
    tlb_flush_page(&hw.h, asid, va)
    charge_flush(&hw.h, 1)


def flush_tlb_range(Hardware hw not None, uint32_t asid, uint64_t start, uint64_t end):
    """Drop the translations of all pages that [start, end) touches, on every CPU: one shootdown for the lot.

    Nothing happens, and nothing is charged, for an empty range.
    """
    if end <= start:
        return
    tlb_flush_range(&hw.h, asid, start, end)
    charge_flush(&hw.h, (end - start + PAGE_SIZE - 1) >> PAGE_SHIFT)


def flush_tlb_mm(Hardware hw not None, uint32_t asid):
    """Drop every translation of one address space on every CPU."""
    tlb_flush_mm(&hw.h, asid)
    charge_flush(&hw.h, <uint64_t>-1)


def flush_tlb_all(Hardware hw not None):
    """Empty every TLB."""
    cdef uint32_t i
    for i in range(hw.h.nr_cpus * TLB_ENTRIES):
        hw.h.tlb[i].tag = 0
    charge_flush(&hw.h, <uint64_t>-1)
