"""Transparent huge pages: who may have them, and the fault that makes one.

Mirrors the policy of mm/huge_memory.c and create_huge_pmd() of mm/memory.c; ``_huge_memory.pyx`` has the pages and the
PMDs. What an administrator sets stands in ``mem.thp``, as /sys/kernel/mm/transparent_hugepage shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numalab.mm._constants import GFP_DIRECT_RECLAIM
from numalab.mm.kernels import Why
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vm_flags import PMD_SIZE, VM_HUGEPAGE, VM_NOHUGEPAGE, VM_SHARED

if TYPE_CHECKING:
    from numalab.mm._mm_types import VMA, AllocCtx

__all__ = ["DEFRAG", "ENABLED", "ThpSettings", "huge_fault", "thp_vma_allowable", "thp_vma_suitable"]

ENABLED = ("always", "madvise", "never")
DEFRAG = ("always", "defer", "defer+madvise", "madvise", "never")


@dataclass
class ThpSettings:
    """The files of /sys/kernel/mm/transparent_hugepage."""

    enabled: str = "never"
    defrag: str = "madvise"
    use_zero_page: bool = True

    def gfp(self, madvised: bool) -> int:
        """vma_thp_gfp_mask(): may a fault try hard, on other nodes too? Only then GFP_DIRECT_RECLAIM."""
        hard = self.defrag == "always" or (madvised and self.defrag in ("madvise", "defer+madvise"))
        return GFP_DIRECT_RECLAIM if hard else 0


def thp_vma_allowable(vma: VMA, *, enforce_sysfs: bool = True) -> bool:
    """thp_vma_allowable_order(): may an area have huge pages? Only private anonymous memory.

    enforce_sysfs: as ``enabled`` says; MADV_COLLAPSE does not ask.
    """
    if vma.file is not None or vma.flags & (VM_NOHUGEPAGE | VM_SHARED) or vma.mm.thp_disabled:
        return False
    enabled = vma.mm.mem.thp.enabled
    return not enforce_sysfs or enabled == "always" or (enabled == "madvise" and vma.flags & VM_HUGEPAGE != 0)


def thp_vma_suitable(vma: VMA, addr: int) -> bool:
    """Whether the aligned 2 MiB around ``addr`` lie in the area."""
    start = addr & -PMD_SIZE
    return vma.start <= start and start + PMD_SIZE <= vma.end


def huge_fault(vma: VMA, ctx: AllocCtx, addr: int, write: bool) -> Why:
    """create_huge_pmd(): DONE when a huge page (for a read: zeros) maps the 2 MiB around ``addr``.

    NO_TARGET: small pages must do; NEED_RECLAIM: no frame for a table. Zeros too give the area an anon_vma, so that
    fork() copies them, which it does not do with small pages of zeros.
    """
    thp = vma.mm.mem.thp
    if not thp_vma_suitable(vma, addr) or not (write or thp.use_zero_page):
        return Why.NO_TARGET
    fault = vma.mm.mem.k.huge_memory.do_huge_pmd_anonymous_page
    gfp = thp.gfp(bool(vma.flags & VM_HUGEPAGE))
    why = Why(fault(vma.mm.mem, vma.mm, vma, ctx, addr & -PMD_SIZE, write, gfp))
    if why == Why.DONE:
        anon_vma_prepare(vma.mm, vma)
    return why
