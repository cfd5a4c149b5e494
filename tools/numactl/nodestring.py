"""Nodes and CPUs as people write them: ``0-1,3``, ``!0`` (all others), ``+0`` (the first of those allowed), ``all``.

Mirrors numa_parse_nodestring() and numa_parse_cpustring(), with their odd corners: ``2-1`` is node 2, ``1,all`` is all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from numalab.tools.numactl.libnuma import MAX_NODES, Numa, warn

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["ULONG_MAX", "Unparseable", "parse_cpus", "parse_nodes", "strtoul"]

_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
ULONG_MAX = (1 << 64) - 1


class Unparseable(Exception):
    """A warning has been printed, if there is one for it."""


def strtoul(text: str) -> tuple[int, str]:
    """strtoul(text, &end, 0): the number, and what stands behind it: all of it, if there is no number."""
    found = _NUMBER.match(text)
    if found is None:
        return 0, text
    digits = found[2]
    base = 16 if digits[1:2] in ("x", "X") else 8 if digits.startswith("0") else 10
    value = min(int(digits, base), ULONG_MAX)
    return (-value if found[1] == "-" else value) & ULONG_MAX, text[found.end() :]


class _Word(Exception):
    """Here stands something that is no number."""


def parse_nodes(sys: Sys, numa: Numa, text: str, *, everywhere: bool = False) -> set[int]:
    """The nodes of a string. everywhere: not only those that the program may use. Raises Unparseable."""
    allowed = set(numa.nodes) if everywhere else numa.allowed_nodes
    if not text:
        return set()
    inverted, relative, rest = _prefixes(text)
    try:
        found = set(_numbers("node", rest, allowed, relative, MAX_NODES))
    except _Word as word:
        # The node that a device is at. No machine here has a device that says so.
        warn(_device(sys, str(word)) or f"unparseable node description `{word}'\n")
        raise Unparseable(text) from None
    if inverted:
        # As many nodes as have memory, from node 0 on.
        found ^= set(range(sum(numa.node_size(node)[0] > 0 for node in numa.nodes)))
    return found


def parse_cpus(numa: Numa, text: str, *, everywhere: bool = False) -> set[int]:
    """The CPUs of a string. everywhere: not only those that the program may run on. Raises Unparseable."""
    if not text:
        return set()
    inverted, relative, rest = _prefixes(text)
    allowed = numa.cpus if everywhere else numa.allowed_cpus
    try:
        found = set(_numbers("cpu", rest, allowed, relative, max(numa.cpus) + 1))
    except _Word as word:
        warn(f"unparseable cpu description `{word}'\n")
        raise Unparseable(text) from None
    return found ^ numa.cpus if inverted else found


def _prefixes(text: str) -> tuple[bool, bool, str]:
    inverted = text.startswith("!")
    rest = text[inverted:]
    return inverted, rest.startswith("+"), rest.removeprefix("+")


def _numbers(kind: str, text: str, allowed: Collection[int], relative: bool, size: int) -> Iterator[int]:
    """Numbers, ranges and ``all``, between commas. size: what a relative number becomes that is too large."""

    def number(text: str) -> tuple[int, str]:
        value, end = strtoul(text)
        if relative and end != text:
            negative = value >> 63
            value = ULONG_MAX if negative else next(islice(sorted(allowed), min(value, size), None), size)
        return value, end

    def shown(value: int, text: str) -> object:
        # libnuma prints a node as an int, and of CPUs the rest of the string.
        return text if kind == "cpu" else (value + (1 << 31)) % (1 << 32) - (1 << 31)

    while True:
        if text == "all":
            yield from allowed
            return
        first, end = number(text)
        if end == text:
            raise _Word(text)
        if first not in allowed:
            warn(f"{kind} argument {shown(first, text)} is out of range\n")
            raise Unparseable(text)
        yield first
        if end.startswith("-"):
            text = end[1:]
            last, end = number(text)
            if end == text:
                warn(f"missing {kind} argument {text}\n")
                raise Unparseable(text)
            if last not in allowed:
                warn(f"{kind} argument {shown(last, text)} out of range\n")
                raise Unparseable(text)
            yield from (n for n in allowed if first <= n <= last)
        if not end:
            return
        if not end.startswith(","):
            raise Unparseable(text)
        text = end[1:]


def _device(sys: Sys, text: str) -> str | None:
    """Why the node of a device is not known; None: no device is spoken of."""
    kind, colon, name = text.partition(":")
    if not colon:
        return None
    if kind == "file":
        try:
            sys.stat(name)
        except OSError:
            return f"Cannot stat file {name}"
        return f"Cannot find the device of file {name}"
    if kind == "pci" and not re.fullmatch(r"[0-9a-fA-F]+(:[0-9a-fA-F]+){1,3}", name):
        return f"Cannot parse PCI device `{name}'"
    return {
        "netdev": f"Cannot read node mask for net device `{name}'",
        "block": f"Cannot read node mask for block device `{name}'",
        "pci": f"Cannot read node mask for  device `{name}'",
        "ip": f"Cannot resolve {name}: Temporary failure in name resolution",
    }.get(kind)
