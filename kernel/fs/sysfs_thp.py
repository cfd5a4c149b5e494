"""/sys/kernel/mm/transparent_hugepage: who gets huge pages, and how hard the kernel tries.

Mirrors the sysfs part of mm/huge_memory.c. ``shmem_enabled`` can only be read: shared memory has no huge pages here.
"""

from __future__ import annotations

from collections.abc import Sequence

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile
from numalab.kernel.fs.sysfs_mm import kstrtoint
from numalab.kernel.state import Kernel
from numalab.mm.huge_memory import DEFRAG, ENABLED
from numalab.mm.vm_flags import PMD_SIZE

__all__ = ["add_sysfs_thp"]

SHMEM_ENABLED = ("always", "within_size", "advise", "never", "deny", "force")


def add_sysfs_thp(k: Kernel, sys: Directory) -> None:
    """Fill /sys/kernel/mm/transparent_hugepage."""
    here = "kernel/mm/transparent_hugepage"
    sys.add(f"{here}/enabled", _choice(k, "enabled", ENABLED))
    sys.add(f"{here}/defrag", _choice(k, "defrag", DEFRAG))
    sys.add(f"{here}/use_zero_page", _use_zero_page(k))
    sys.add(f"{here}/hpage_pmd_size", PseudoFile(0o444, lambda opening: f"{PMD_SIZE}\n"))
    sys.add(f"{here}/shmem_enabled", PseudoFile(0o444, lambda opening: _bracketed(SHMEM_ENABLED, "never")))


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
