"""Node masks: ints in which bit n stands for node n.

Mirrors include/linux/nodemask.h and the parts of lib/bitmap.c and lib/bitmap-str.c behind it. Deliberately
different: a mask is a plain Python int of at most 64 bits (``MAX_NUMNODES``), so set operations are ``|``,
``&`` and ``~`` and need no names here.

The three mappings that memory policies rest on, with "rank" = how many set bits lie below a bit:

* fold  (orig, n)         bit b goes to bit b mod n
* onto  (orig, relmap)    bit b goes to the set bit of ``relmap`` with rank b; without one it is dropped
* remap (src, old, new)   a bit of rank r in ``old`` goes to the bit of rank r mod |new| in ``new``;
                          bits that are not in ``old`` stay where they are
"""

from __future__ import annotations

from collections.abc import Iterator

from numalab.arch.errno import EINVAL, EOVERFLOW, ERANGE, KernelError

__all__ = [
    "MAX_NUMNODES", "first_node", "next_node", "next_node_in", "node_remap", "nodelist", "nodelist_parse",
    "nodemask_hex", "nodes_fold", "nodes_in", "nodes_onto", "nodes_remap", "nodes_weight",
]  # fmt: skip

MAX_NUMNODES = 64
_UINT_MAX = 0xFFFFFFFF


def nodes_in(mask: int) -> Iterator[int]:
    """Node numbers of the set bits, ascending (for_each_node_mask)."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def nodes_weight(mask: int) -> int:
    """How many nodes."""
    return mask.bit_count()


def first_node(mask: int) -> int:
    """Lowest node; MAX_NUMNODES if the mask is empty."""
    return (mask & -mask).bit_length() - 1 if mask else MAX_NUMNODES


def next_node(node: int, mask: int) -> int:
    """Lowest node above ``node``; MAX_NUMNODES if there is none. ``node`` need not be in the mask."""
    return first_node(mask >> (node + 1) << (node + 1))


def next_node_in(node: int, mask: int) -> int:
    """The next node after ``node``, round and round; MAX_NUMNODES only if the mask is empty."""
    above = next_node(node, mask)
    return first_node(mask) if above == MAX_NUMNODES else above


def _rank(mask: int, bit: int) -> int:
    """How many set bits of ``mask`` lie below ``bit``."""
    return (mask & ((1 << bit) - 1)).bit_count()


def _nth(mask: int, rank: int) -> int:
    """The set bit of ``mask`` with that rank; there must be one."""
    for _ in range(rank):
        mask &= mask - 1
    return first_node(mask)


def nodes_fold(orig: int, size: int) -> int:
    """Every bit modulo ``size`` (bitmap_fold). size must be at least 1."""
    folded = 0
    while orig:
        folded |= orig & ((1 << size) - 1)
        orig >>= size
    return folded


def nodes_onto(orig: int, relmap: int) -> int:
    """Bit b of ``orig`` selects the set bit of ``relmap`` with rank b (bitmap_onto)."""
    return sum(1 << node for rank, node in enumerate(nodes_in(relmap)) if orig >> rank & 1)


def node_remap(node: int, old: int, new: int) -> int:
    """Where one node goes when ``old`` becomes ``new`` (bitmap_bitremap)."""
    if not old >> node & 1 or not new:
        return node
    return _nth(new, _rank(old, node) % new.bit_count())


def nodes_remap(src: int, old: int, new: int) -> int:
    """Where the nodes of ``src`` go when ``old`` becomes ``new`` (bitmap_remap)."""
    mapped = 0
    for node in nodes_in(src):
        mapped |= 1 << node_remap(node, old, new)
    return mapped


def nodelist(mask: int) -> str:
    """``0,2-3``: the form of sysfs, cpusets and numa_maps (``%*pbl``); empty for an empty mask."""
    parts = []
    while mask:
        start = first_node(mask)
        # The lowest clear bit above start ends the run.
        end = first_node(~mask >> start << start) - 1
        parts.append(str(start) if start == end else f"{start}-{end}")
        mask &= ~((1 << (end + 1)) - 1)
    return ",".join(parts)


def nodemask_hex(mask: int, bits: int = MAX_NUMNODES) -> str:
    """``00000000,00000003``: the form of /proc/PID/status (``%*pb``), groups of 32 bits, highest first."""
    groups = [f"{mask >> shift & 0xFFFFFFFF:08x}" for shift in range(0, bits, 32)]
    return ",".join(reversed(groups))


def nodelist_parse(text: str, bits: int = MAX_NUMNODES) -> int:
    """The mask in ``0,2-3``, ``all``, ``0-N`` (N = the last bit) or ``0-15:2/4`` (the first 2 of every 4).

    Parts are separated by commas, blanks or newlines; empty parts mean nothing (bitmap_parselist).
    Raises KernelError: EINVAL for what is not of this form, ERANGE for a bit at or above ``bits``, EOVERFLOW for a
    number of more than 32 bits.
    """
    mask = 0
    for part in text.replace(",", " ").split():
        mask |= _parse_range(part, bits)
    return mask


def _parse_range(part: str, bits: int) -> int:
    span, _, pattern = part.partition(":")
    if span.lower() == "all":
        first, last = 0, bits - 1
    else:
        low, dash, high = span.partition("-")
        first = _parse_bit(low, bits)
        last = _parse_bit(high, bits) if dash else first
        if pattern and not dash:
            raise KernelError(EINVAL, f"{part!r}: only a range can have a pattern")
    # Without a pattern it is one group: of no bits at all, if the last one is the last of 32.
    used = group = last + 1 & _UINT_MAX
    if ":" in part:
        used_text, slash, group_text = pattern.partition("/")
        used, group = _parse_bit(used_text, bits), _parse_bit(group_text, bits)
        if not slash or used > group:
            raise KernelError(EINVAL, f"{part!r}: a pattern is USED/GROUP")
    if not group:
        raise KernelError(EINVAL, f"{part!r}: a group of 0 bits")
    if first > last:
        raise KernelError(EINVAL, f"{part!r} runs backwards")
    if last >= bits:
        raise KernelError(ERANGE, f"{part!r}: the highest bit is {bits - 1}")
    return sum(1 << bit for bit in range(first, last + 1) if (bit - first) % group < used)


def _parse_bit(text: str, bits: int) -> int:
    if text == "N":
        return bits - 1
    if not text.isascii() or not text.isdigit():
        raise KernelError(EINVAL, f"{text!r} is not a number")
    if int(text) > _UINT_MAX:
        raise KernelError(EOVERFLOW, f"{text!r} is too large")
    return int(text)
