"""Reading a scenario: lines, tokens, and the values that tokens stand for.

Mirrors the parsing half of the recorder, odd inputs included, because a line's answer depends on it:
lines are cut where its buffer of 4096 bytes is full, at most 63 tokens of a kind count, text is copied
through buffers of fixed size, numbers are C's (``cnum``).  Nothing here touches a machine; a wrong
line is a ``ScriptError`` whose text is what the recorder prints after ``script-error=``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from numalab.tools.scn.cnum import LONG_MAX, ULONG_MAX, strtol, strtoul, to_ulong

__all__ = [
    "ADVICE",
    "BADPTR",
    "GMP_FLAGS",
    "KERNPTR",
    "MASK_BYTES",
    "MBIND_FLAGS",
    "MODES",
    "PAGE",
    "Line",
    "Region",
    "ScriptError",
    "Span",
    "blen",
    "find",
    "flags_of",
    "int_list",
    "mode_of",
    "num",
    "parse_range",
    "prot_of",
    "script_lines",
    "set_mask",
    "split",
    "split_list",
    "word_mask",
]  # fmt: skip

PAGE = 4096
BADPTR = 0x1_0000_0000  # a user address that nobody ever maps
KERNPTR = 0xFFFF_8880_0000_0000  # an address in the kernel's half
MASK_BYTES = 16384  # room for a node mask: 131072 bits, far more than any kernel reads

_LINE_BUFFER = 4096  # fgets() reads one byte less at a time
_MAX_TOKENS = 63
_BLANKS = " \t\n"

MODES: Mapping[str, int] = {
    "default": 0, "preferred": 1, "bind": 2, "interleave": 3, "local": 4, "preferred_many": 5,
    "weighted_interleave": 6, "static": 1 << 15, "relative": 1 << 14, "balancing": 1 << 13,
}  # fmt: skip
MBIND_FLAGS: Mapping[str, int] = {"STRICT": 1, "MOVE": 2, "MOVE_ALL": 4, "LAZY": 8, "INTERNAL": 16}
GMP_FLAGS: Mapping[str, int] = {"NODE": 1, "ADDR": 2, "MEMS_ALLOWED": 4}
ADVICE: Mapping[str, int] = {
    "normal": 0, "random": 1, "sequential": 2, "willneed": 3, "dontneed": 4, "free": 8, "remove": 9,
    "dontfork": 10, "dofork": 11, "mergeable": 12, "unmergeable": 13, "hugepage": 14, "nohugepage": 15,
    "dontdump": 16, "dodump": 17, "wipeonfork": 18, "keeponfork": 19, "cold": 20, "pageout": 21, "populate_read": 22,
    "populate_write": 23, "dontneed_locked": 24, "collapse": 25, "hwpoison": 100, "soft_offline": 101,
    "guard_install": 102, "guard_remove": 103,
}  # fmt: skip


class ScriptError(Exception):
    """The line is outside the language; the text is what stands after ``script-error=``."""


@dataclass
class Line:
    """The tokens of one operation: ``pos[0]`` is its name, ``kv`` the ``key=value`` pairs in order."""

    pos: list[str]
    kv: list[tuple[str, str]] = field(default_factory=list)

    def given(self, key: str) -> str | None:
        """The value of the first ``key=``, or None."""
        return next((v for k, v in self.kv if k == key), None)

    def opt(self, key: str, default: str) -> str:
        """The value of the first ``key=``, or the default."""
        return next((v for k, v in self.kv if k == key), default)

    def need(self, count: int) -> None:
        """At least ``count`` positional tokens, the name included."""
        if len(self.pos) < count:
            raise ScriptError("missing-args")


@dataclass
class Region:
    """A mapping with a name.  ``base`` moves with mremap; ``length`` is what was asked for, in bytes."""

    name: str
    base: int
    length: int


@dataclass(frozen=True)
class Span:
    """What a RANGE stands for: an address and a length in bytes, and the region it is counted from."""

    addr: int
    length: int
    region: Region | None

    @property
    def end(self) -> int:
        """The first address behind the span, as an unsigned long (so it may wrap)."""
        return to_ulong(self.addr + self.length)

    @property
    def pages(self) -> int:
        """How many steps of a page a walk from ``addr`` to ``end`` takes: none if the end wrapped."""
        return max(0, -(-(self.end - self.addr) // PAGE))

    def page_index(self, addr: int) -> int:
        """The page number of ``addr`` counted from the region's start (from 0 without one)."""
        return to_ulong(addr - (self.region.base if self.region else 0)) // PAGE


def script_lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Number and text of each line that holds an operation: comments cut off, blanks around it too."""
    number, start = 0, 0
    while start < len(data):
        # fgets() stops after a newline or when its buffer is full; a longer line continues as the next one.
        newline = data.find(b"\n", start, start + _LINE_BUFFER - 1)
        end = newline + 1 if newline >= 0 else min(len(data), start + _LINE_BUFFER - 1)
        text = data[start:end].decode("latin-1")
        number, start = number + 1, end
        for stop in "\0\n#":
            text = text.split(stop, 1)[0]
        text = text.lstrip(" \t").rstrip(" \t\n\v\f\r")
        if text:
            yield number, text


def split(text: str) -> Line:
    """Tokens between blanks; ``key=value`` wherever a letter begins a token that has an ``=`` behind it."""
    line = Line([])
    for word in _words(text, _BLANKS):
        if len(line.pos) >= _MAX_TOKENS or len(line.kv) >= _MAX_TOKENS:
            break
        key, equals, value = word.partition("=")
        if equals and key and key[0].isascii() and key[0].isalpha():
            line.kv.append((key, value))
        else:
            line.pos.append(word)
    return line


def _words(text: str, separators: str) -> list[str]:
    """What strtok() finds: the pieces between separators, none of them empty."""
    for c in separators[1:]:
        text = text.replace(c, separators[0])
    return [w for w in text.split(separators[0]) if w]


def split_list(text: str, separator: str, room: int) -> list[str]:
    """The pieces of ``text`` after it went through a buffer of ``room`` bytes."""
    return _words(text[: room - 1], separator)


def num(text: str) -> int:
    """A number as an unsigned long; ``max`` and ``intmax`` by name, a leading minus through strtol."""
    if text == "max":
        return ULONG_MAX
    if text == "intmax":
        return 0x7FFFFFFF
    return to_ulong(strtol(text)[0]) if text.startswith("-") else strtoul(text)[0]


def blen(text: str) -> int:
    """A length in bytes: ``N`` pages, ``Nb`` bytes, ``NK``, ``NM``, ``max``."""
    if text == "max":
        return ULONG_MAX
    value, end = strtoul(text)
    scale = {"b": 1, "K": 1 << 10, "M": 1 << 20}.get(text[end : end + 1], PAGE)
    return to_ulong(value * scale)


def find(regions: list[Region], name: str) -> Region | None:
    """The region of that name, or None."""
    return next((r for r in regions if r.name == name), None)


def parse_range(text: str, regions: list[Region]) -> Span:
    """``BASE[+PAGES][.BYTES][:LEN]``; without LEN to the region's end, or one page behind a special base."""
    cut = next((i for i, c in enumerate(text) if c in "+.:"), len(text))
    name, offset, at = text[:cut], 0, cut
    region = find(regions, name)
    if region is not None:
        base = region.base
    elif name in (specials := {"null": 0, "bad": BADPTR, "kern": KERNPTR}):
        base = specials[name]
    elif text.startswith("0x"):
        base = strtoul(text, 0, 16)[0]
    else:
        raise ScriptError(f"no-such-region:{name}")
    if text[at : at + 1] == "+":
        pages, at = strtoul(text, at + 1)
        offset = to_ulong(pages * PAGE)
    if text[at : at + 1] == ".":
        count, at = strtoul(text, at + 1)
        offset = to_ulong(offset + count)
    if text[at : at + 1] == ":":
        length = blen(text[at + 1 :])
    else:
        length = PAGE if region is None else max(0, region.length - offset)
    return Span(to_ulong(base + offset), length, region)


def flags_of(text: str, names: Mapping[str, int]) -> int:
    """Names or numbers joined with ``|``; a word that is neither counts as the number it begins with: 0."""
    value = 0
    for word in split_list(text, "|", 256):
        value |= names[word] if word in names else num(word)
    return value


def mode_of(text: str) -> int:
    """A memory policy mode with its flags."""
    return flags_of(text, MODES)


def prot_of(text: str) -> int:
    """PROT_READ, PROT_WRITE and PROT_EXEC from the letters r, w and x, in any order among anything."""
    return sum(bit for letter, bit in (("r", 1), ("w", 2), ("x", 4)) if letter in text)


def set_mask(text: str, start: int, end: int, size: int) -> bytes:
    """``size`` bytes with the bits that the list ``0,2-3`` at ``text[start:end]`` names; stops at nonsense.

    Only where a number *begins* must lie before ``end``: strtoul() knows nothing of it.
    """
    bits, limit = 0, size * 8
    while start < end:
        low, after = strtoul(text, start)
        if after == start:
            break
        high = low
        if text[after : after + 1] == "-":
            high, after = strtoul(text, after + 1)
        if low <= high and low < limit:
            bits |= (1 << min(high + 1, limit)) - (1 << low)
        start = after + (text[after : after + 1] == ",")
    return bits.to_bytes(size, "little")


def word_mask(text: str) -> bytes:
    """The mask of ``raw:HEX[,HEX..]``: 64-bit words; one character of anything separates two of them."""
    words: list[int] = []
    at = 0
    while at < len(text) and len(words) < MASK_BYTES // 8:
        value, at = strtoul(text, at, 16)
        words.append(value)
        at += at < len(text)
    return b"".join(w.to_bytes(8, "little") for w in words).ljust(MASK_BYTES, b"\0")


def int_list(text: str, limit: int) -> list[int]:
    """The node list of move_pages: ``1``, ``0,1,2``, ``0,1*5``: numbers, some of them so many times."""
    values: list[int] = []
    for word in split_list(text, ",", 2048):
        value, end = strtol(word)
        repeat = strtol(word, end + 1)[0] if word[end : end + 1] == "*" else 1
        # A negative count runs, as in C, until the array is full.
        values += [value] * min(limit - len(values), repeat if repeat >= 0 else LONG_MAX)
    return values
