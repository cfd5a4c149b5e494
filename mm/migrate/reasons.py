"""Why pages stay, in Linux's words, and where it says so: one rule for each reason.

The kernels record the reason when they decide; this is only what it means. Files are those of 6.12; what only the
engines of 2005 and 2006 did is marked.
"""

from __future__ import annotations

from dataclasses import dataclass

from numalab.arch.errno import EACCES, EBUSY, EFAULT, ENOENT
from numalab.mm.migrate.ledger import Fate, Reason

__all__ = ["FATES", "REASONS", "Rule", "word"]


@dataclass(frozen=True)
class Rule:
    """text: what the kernel found; where: the man page or the kernel's file that rules it.

    status: the errno that move_pages(2) gives to such an entry, 0 = none.
    """

    text: str
    where: str
    status: int = 0


def word(reason: Reason | Fate) -> str:
    """`target full`."""
    return reason.name.lower().replace("_", " ")


REASONS = {
    Reason.LOCKED: Rule(
        "Somebody else held its folio lock. Passes that may not sleep go on to the next page.",
        "mm/migrate.c: migrate_folio_unmap()",
    ),
    Reason.WRITEBACK: Rule(
        "It was under writeback. Only a synchronous pass waits for the end of the write.",
        "mm/migrate.c: migrate_folio_unmap()",
    ),
    Reason.PINNED: Rule(
        "It had more references than its mappings and its cache explain, so somebody may be using its bytes: a pin "
        "(direct I/O, RDMA), a pipe, or a kernel that has not let go yet.",
        "mm/migrate.c: folio_expected_refs(); Documentation/core-api/pin_user_pages.rst",
    ),
    Reason.MAPPED: Rule(
        "A page table still named it after all its mappings were to be replaced.",
        "mm/rmap.c: try_to_migrate(); mm/migrate.c: migrate_folio_unmap()",
    ),
    Reason.SHARED: Rule(
        "Others map it too. Without MPOL_MF_MOVE_ALL, which takes CAP_SYS_NICE, only pages of one process move.",
        "mm/mempolicy.c: migrate_folio_add(); mbind(2), move_pages(2): EACCES",
        EACCES,
    ),
    Reason.NOT_ON_LRU: Rule(
        "It was on no LRU list, so it could not be isolated: somebody has it already, or it was being freed.",
        "mm/vmscan.c: folio_isolate_lru(); move_pages(2): EBUSY",
        EBUSY,
    ),
    Reason.TARGET_FULL: Rule(
        "There was no free frame where it should go (for a huge page: no free block), and reclaim found none there.",
        "mm/migrate.c: alloc_migration_target(), __GFP_THISNODE; move_pages(2): ENOMEM",
    ),
    Reason.NOT_MIGRATABLE: Rule(
        "Its area may not be migrated: VM_IO or VM_PFNMAP, under the older engines VM_LOCKED or VM_HUGETLB.",
        "mm/mempolicy.c: vma_migratable()",
    ),
    Reason.NO_SWAP: Rule(
        "No swap area had a free slot for it.",
        "mm/swap_state.c: add_to_swap(); mm/swap_slots.c: folio_alloc_swap()",
    ),
    Reason.WRITING: Rule(
        "It was dirty, and its write to disk has begun; a later pass finds it clean.",
        "mm/vmscan.c: pageout()",
    ),
    Reason.ACCESSED: Rule(
        "It has been used since it was looked at last.",
        "mm/vmscan.c: folio_check_references()",
    ),
    Reason.ACTIVE: Rule(
        "It is used so much that it belongs on the active list.",
        "mm/vmscan.c: folio_check_references()",
    ),
    Reason.DIRTY: Rule(
        "It belongs to a file, and the disk does not have its contents yet.",
        "mm/vmscan.c: shrink_folio_list()",
    ),
    Reason.MLOCKED: Rule(
        "It is locked in memory (VM_LOCKED). 6.12 migrates such pages and keeps them from swap alone; in 2005 and 2006 "
        "migrate_pages and mbind passed their areas over.",
        "mm/rmap.c: try_to_unmap(), TTU_IGNORE_MLOCK; mlock(2)",
    ),
    Reason.MIGRATING: Rule(
        "Another migration has put its own entry into the page table.",
        "mm/mempolicy.c: queue_folios_pte_range()",
        ENOENT,
    ),
    Reason.ZERO_PAGE: Rule(
        "What is read there is the page of zeros that all share; it is nobody's page.",
        "mm/memory.c: vm_normal_page(); move_pages(2): EFAULT",
        EFAULT,
    ),
    Reason.MISPLACED: Rule(
        "It lay on a node outside of the mask, and MPOL_MF_STRICT alone asks for nothing but that.",
        "mm/mempolicy.c: queue_folios_pte_range(); mbind(2): EIO",
    ),
    Reason.NO_AREA: Rule(
        "Nothing is mapped at this address, or a device.",
        "mm/migrate.c: add_folio_for_migration(); move_pages(2): EFAULT",
        EFAULT,
    ),
    Reason.ABSENT: Rule(
        "No page is present: it was never touched, or it is in swap.",
        "mm/migrate.c: add_folio_for_migration(); move_pages(2): ENOENT",
        ENOENT,
    ),
    Reason.THERE: Rule(
        "It was on the wanted node already.",
        "mm/migrate.c: add_folio_for_migration(); move_pages(2)",
    ),
}

#: What happened to pages for which there is no reason to give.
FATES = {
    Fate.QUEUED: Rule(
        "It was taken off its LRU list and put back untried: the call had ended by then.",
        "mm/migrate.c: migrate_pages(), putback_movable_pages()",
    ),
    Fate.FREED: Rule(
        "Its owner gave it up before its turn came. Such a page counts as moved.",
        "mm/migrate.c: migrate_folio_unmap(), folio_ref_count() == 1",
    ),
}
