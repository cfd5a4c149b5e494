"""/sys/kernel/mm: weights of weighted interleaving, and what is off.

Mirrors the sysfs parts of mm/mempolicy.c, swap_state.c, vmscan.c and ksm.c. There are no ksmd and no
multi-generational lists: their files say that they are off, and cannot be written.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile, text_file
from numalab.kernel.state import Kernel
from numalab.mm.weights import get_il_weight, set_il_weight

__all__ = ["add_sysfs_mm", "kstrtobool", "kstrtoint"]

_FIXED: dict[str, object] = {
    "lru_gen/enabled": f"{0:#06x}", "lru_gen/min_ttl_ms": 0, "swap/vma_ra_enabled": "true",
    "ksm/advisor_max_cpu": 70, "ksm/advisor_max_pages_to_scan": 30000, "ksm/advisor_min_pages_to_scan": 500,
    "ksm/advisor_mode": "[none] scan-time", "ksm/advisor_target_scan_time": 200, "ksm/full_scans": 0,
    "ksm/general_profit": 0, "ksm/ksm_zero_pages": 0, "ksm/max_page_sharing": 256, "ksm/merge_across_nodes": 1,
    "ksm/pages_scanned": 0, "ksm/pages_shared": 0, "ksm/pages_sharing": 0, "ksm/pages_skipped": 0,
    "ksm/pages_to_scan": 100, "ksm/pages_unshared": 0, "ksm/pages_volatile": 0, "ksm/run": 0,
    "ksm/sleep_millisecs": 20, "ksm/smart_scan": 1, "ksm/stable_node_chains": 0,
    "ksm/stable_node_chains_prune_millisecs": 2000, "ksm/stable_node_dups": 0, "ksm/use_zero_pages": 0,
}  # fmt: skip


def add_sysfs_mm(k: Kernel, sys: Directory) -> None:
    """Fill /sys/kernel/mm."""
    for nid in k.topology.node_ids:
        sys.add(f"kernel/mm/mempolicy/weighted_interleave/node{nid}", _weight_file(k, nid))
    for name, text in _FIXED.items():
        sys.add(f"kernel/mm/{name}", _fixed(text))


def _fixed(text: object) -> PseudoFile:
    return text_file(lambda: f"{text}\n")


def kstrtoint(text: str, low: int, high: int) -> int:
    """kstrtoint() with base 0: one number, decimal, 0x hexadecimal or 0 octal, and at most one newline behind it.

    Errors: EINVAL for anything else, and for a number that is not within low..high.
    """
    digits = text.removesuffix("\n")
    try:
        # Python wants 0o for octal and allows blanks and underscores: neither is C's.
        if not digits.isascii() or digits != digits.strip() or "_" in digits:
            raise ValueError
        sign, bare = (digits[0], digits[1:]) if digits[:1] in ("-", "+") else ("", digits)
        octal = len(bare) > 1 and bare[0] == "0" and bare[1].isdigit()
        value = int(sign + bare, 8 if octal else 16 if bare[:2].lower() == "0x" else 10)
    except ValueError:
        raise KernelError(EINVAL, f"{text!r} is no number") from None
    if not low <= value <= high:
        raise KernelError(EINVAL, f"{value} is not within {low}..{high}")
    return value


def kstrtobool(text: str) -> bool:
    """kstrtobool(): by the first letter, y t 1 or n f 0; "on" and "off". Errors: EINVAL."""
    word = text[:2].lower()
    if word[:1] in ("y", "t", "1") or word == "on":
        return True
    if word[:1] in ("n", "f", "0") or word == "of":
        return False
    raise KernelError(EINVAL, f"{text!r} is neither yes nor no")


def _weight_file(k: Kernel, nid: int) -> PseudoFile:
    """nodeN: 1..255; 0 or nothing sets it back to 1."""

    def store(opening: Opening, text: str) -> None:
        empty = text in ("", "\n")
        set_il_weight(k.mem, nid, 0 if empty else kstrtoint(text, 0, 255))

    return PseudoFile(0o644, lambda opening: f"{get_il_weight(k.mem, nid)}\n", store)
