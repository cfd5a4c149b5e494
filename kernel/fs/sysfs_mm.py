"""/sys/kernel/mm: weights of weighted interleaving, demotion.

Mirrors the sysfs part of mm/mempolicy.c, mm/memory-tiers.c.
"""

from __future__ import annotations

from numalab.arch.errno import EINVAL, KernelError
from numalab.kernel.fs.inode import Directory, Opening, PseudoFile
from numalab.kernel.state import Kernel
from numalab.mm.weights import get_il_weight, set_il_weight

__all__ = ["add_sysfs_mm", "kstrtobool", "kstrtoint"]


def add_sysfs_mm(k: Kernel, sys: Directory) -> None:
    """Fill /sys/kernel/mm."""
    for nid in k.topology.node_ids:
        sys.add(f"kernel/mm/mempolicy/weighted_interleave/node{nid}", _weight_file(k, nid))
    sys.add("kernel/mm/numa/demotion_enabled", _demotion_file(k))


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


def _demotion_file(k: Kernel) -> PseudoFile:
    def store(opening: Opening, text: str) -> None:
        k.demotion_enabled = kstrtobool(text)

    return PseudoFile(0o644, lambda opening: "true\n" if k.demotion_enabled else "false\n", store)
