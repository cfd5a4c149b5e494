"""/sys/kernel/mm/transparent_hugepage: who gets huge pages, and how hard the kernel tries.

Mirrors the sysfs parts of mm/huge_memory.c and khugepaged.c. What belongs to huge pages of shared memory, of other
sizes, and to khugepaged, none of which are here, can only be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile, text_file
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.kernel.state import Kernel
from numalab.mm._constants import HPAGE_PMD_NR, HPAGE_PMD_ORDER
from numalab.mm.huge_memory import DEFRAG, ENABLED
from numalab.mm.vm_flags import PMD_SIZE

__all__ = ["add_sysfs_thp"]

#: khugepaged's settings, and how far it has come.
KHUGEPAGED = {
    "defrag": 1, "pages_to_scan": 8 * HPAGE_PMD_NR, "scan_sleep_millisecs": 10000, "alloc_sleep_millisecs": 60000,
    "max_ptes_none": HPAGE_PMD_NR - 1, "max_ptes_swap": HPAGE_PMD_NR // 8, "max_ptes_shared": HPAGE_PMD_NR // 2,
    "pages_collapsed": 0, "full_scans": 0,
}  # fmt: skip
#: The one size that follows ``enabled``; all others are off.
SIZE_ENABLED = ("always", "inherit", "madvise", "never")
SIZES_KB = tuple(4 << order for order in range(2, HPAGE_PMD_ORDER + 1))
SHMEM_ENABLED = ("always", "within_size", "advise", "never", "deny", "force")


def add_sysfs_thp(k: Kernel, sys: Directory) -> None:
    """Fill /sys/kernel/mm/transparent_hugepage."""
    here = "kernel/mm/transparent_hugepage"
    sys.add(f"{here}/enabled", _choice(k, "enabled", ENABLED))
    sys.add(f"{here}/defrag", _choice(k, "defrag", DEFRAG))
    sys.add(f"{here}/use_zero_page", _use_zero_page(k))
    sys.add(f"{here}/hpage_pmd_size", PseudoFile(0o444, lambda opening: f"{PMD_SIZE}\n"))
    sys.add(f"{here}/shmem_enabled", _fixed(_bracketed(SHMEM_ENABLED, "never")))
    for name, number in KHUGEPAGED.items():
        sys.add(f"{here}/khugepaged/{name}", _fixed(f"{number}\n"))
    for size in SIZES_KB:
        chosen = "inherit" if size == PMD_SIZE >> 10 else "never"
        sys.add(f"{here}/hugepages-{size}kB/enabled", _fixed(_bracketed(SIZE_ENABLED, chosen)))


def _fixed(text: str) -> PseudoFile:
    return text_file(lambda: text)


def _bracketed(words: Sequence[str], chosen: str) -> str:
    return " ".join(f"[{word}]" if word == chosen else word for word in words) + "\n"


def _choice(k: Kernel, name: str, words: Sequence[str]) -> PseudoFile:
    """A setting that is one of some words. Errors: EINVAL."""

    def store(opening: Opening, text: str) -> None:
        word = text.removesuffix("\n")
        if word not in words:
            raise KernelError(EINVAL, f"{text!r} is none of {' '.join(words)}")
        setattr(k.mem.thp, name, word)

    return PseudoFile(0o644, lambda opening: _bracketed(words, getattr(k.mem.thp, name)), store)


def _use_zero_page(k: Kernel) -> PseudoFile:
    def store(opening: Opening, text: str) -> None:
        k.mem.thp.use_zero_page = bool(kstrtoint(text, 0, 1))

    return PseudoFile(0o644, lambda opening: f"{int(k.mem.thp.use_zero_page)}\n", store)
