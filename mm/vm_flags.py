"""The numbers of address spaces: pages, VM_* flags, limits; and arithmetic that wraps as the machine's does.

Mirrors include/linux/mm.h and include/asm-generic/page.h. The VM_* values stand in ``_mm_types.pxd`` for the
kernels; here they are again for Python, since C enums have no Python face (a test compares the two lists).
"""

from __future__ import annotations

__all__ = [
    "MASK64", "MAX_MAP_COUNT", "MMAP_MIN_ADDR", "PAGE_MASK", "PAGE_SHIFT", "PAGE_SIZE", "PMD_SIZE",
    "STACK_GUARD_GAP",
    "VM_ACCESS_FLAGS", "VM_ACCOUNT", "VM_DONTCOPY", "VM_DONTDUMP", "VM_DONTEXPAND", "VM_EXEC", "VM_GROWSDOWN",
    "VM_HUGEPAGE", "VM_HUGETLB", "VM_INIT_DEF_MASK", "VM_IO", "VM_LOCKED", "VM_LOCKED_MASK", "VM_LOCKONFAULT",
    "VM_MAYEXEC", "VM_MAYREAD", "VM_MAYSHARE", "VM_MAYWRITE", "VM_MERGEABLE", "VM_NOHUGEPAGE", "VM_NORESERVE",
    "VM_PFNMAP", "VM_RAND_READ", "VM_READ", "VM_SEQ_READ", "VM_SHARED", "VM_SPECIAL", "VM_WIPEONFORK", "VM_WRITE",
    "offset_in_page", "page_align",
]  # fmt: skip

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PMD_SIZE = 2 << 20
MASK64 = (1 << 64) - 1
PAGE_MASK = MASK64 & ~(PAGE_SIZE - 1)

VM_READ = 0x1
VM_WRITE = 0x2
VM_EXEC = 0x4
VM_SHARED = 0x8
VM_MAYREAD = 0x10
VM_MAYWRITE = 0x20
VM_MAYEXEC = 0x40
VM_MAYSHARE = 0x80
VM_GROWSDOWN = 0x100
VM_PFNMAP = 0x400
VM_LOCKED = 0x2000
VM_IO = 0x4000
VM_SEQ_READ = 0x8000
VM_RAND_READ = 0x10000
VM_DONTCOPY = 0x20000
VM_DONTEXPAND = 0x40000
VM_LOCKONFAULT = 0x80000
VM_ACCOUNT = 0x100000
VM_NORESERVE = 0x200000
VM_HUGETLB = 0x400000
VM_WIPEONFORK = 0x2000000
VM_DONTDUMP = 0x4000000
VM_HUGEPAGE = 0x20000000
VM_NOHUGEPAGE = 0x40000000
VM_MERGEABLE = 0x80000000

VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC
VM_LOCKED_MASK = VM_LOCKED | VM_LOCKONFAULT
#: Mappings with rules of their own: never merged, never mlocked.
VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP
#: What of ``mm.def_flags`` a forked child keeps.
VM_INIT_DEF_MASK = VM_NOHUGEPAGE

#: sysctl vm.max_map_count, vm.mmap_min_addr, and the boot parameter stack_guard_gap (256 pages), as booted.
MAX_MAP_COUNT = 65530
MMAP_MIN_ADDR = 65536
STACK_GUARD_GAP = 256 << PAGE_SHIFT


def page_align(n: int) -> int:
    """PAGE_ALIGN(): up to the next page boundary. Within a page of 2**64 the answer is 0, as in C."""
    return (n + PAGE_SIZE - 1) & PAGE_MASK


def offset_in_page(addr: int) -> int:
    """The low 12 bits."""
    return addr & (PAGE_SIZE - 1)
