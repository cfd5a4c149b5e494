"""An actor: one process that carries out operations, and the memory of its own that they need.

The recorder's actor keeps masks, page arrays and text buffers in static storage and passes pointers to
them; so does this one, in a mapping made when the actor starts.  That is why ``bad``, ``kern``,
``edge:{..}`` and ``ro`` arguments meet the same checks as on a real kernel, and why the actor's own
pages travel with the process when it is migrated.

What an actor needs of the machine is in ``process.Process``; what operations there are, in ``ops``.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from numalab.tools.scn.cnum import to_long
from numalab.tools.scn.parse import (
    BADPTR,
    KERNPTR,
    MASK_BYTES,
    PAGE,
    Line,
    Region,
    ScriptError,
    Span,
    num,
    parse_range,
    set_mask,
    word_mask,
)  # fmt: skip
from numalab.tools.scn.process import Process
from numalab.tools.scn.text import ename

__all__ = ["MAX_MEMFDS", "MAX_PAGES", "REGION_STEP", "Actor", "Controller", "Memory", "Slot", "Table"]

MAX_PAGES = 131072  # entries in the arrays of move_pages
NOBODY = 4190000  # a pid that is never given out
MAX_REGIONS = 32
MAX_MEMFDS = 8

_FIRST_SLOT = 16
# Pages between two regions: divisible by 1..16 and by 512, so that "page index modulo the number of
# nodes" is the same as for a region at address 0.
REGION_STEP = 23063040

_PROT_READ, _PROT_WRITE = 1, 2
_MADV_DONTNEED = 4
_MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 0x02, 0x10, 0x20


class Memory:
    """Addresses of the actor's own memory.

    The arrays of move_pages lie one behind the other and something lies behind them, as in the recorder:
    a call with too large a count reads and writes on from one into the next.
    """

    BASE = 0x500000
    PAGES = BASE  # move_pages: addresses,
    NODES = PAGES + 8 * MAX_PAGES  # nodes,
    STATUS = NODES + 4 * MAX_PAGES  # statuses
    M1 = STATUS + 4 * MAX_PAGES  # first mask
    M2 = M1 + MASK_BYTES  # second mask
    OM = M2 + MASK_BYTES  # the mask that get_mempolicy fills
    WORDS = OM + MASK_BYTES  # small arguments and results
    TEXT = WORDS + PAGE  # path
    TEXT2 = TEXT + PAGE  # a second string
    VEC = TEXT2 + PAGE  # mincore's vector
    BIG = VEC + 65536  # contents of a file
    END = BIG + (1 << 18)

    EDGE = 0x2_0000_0000  # a page with nothing behind it
    READ_ONLY = 0x3_0000_0000  # a page that cannot be written


@dataclass
class Slot:
    """One line of the table that all actors share: a name in use, and the pid last known under it."""

    used: bool = False
    pid: int = 0
    name: str = ""


@dataclass
class Table:
    """What all actors of one scenario share: who is who, the counters at ``vmstat mark``, what ends each obstacle.

    read: what ``cat`` has read last, with its empty lines.
    """

    slots: list[Slot] = field(default_factory=lambda: [Slot() for _ in range(16)])
    vmstat_base: dict[str, int] = field(default_factory=dict)
    obstacles: list[Callable[[], None]] = field(default_factory=list)
    read: str = ""


class Controller(Protocol):
    """What an actor needs of whoever runs the scenario, for the operations that make and replace processes."""

    def spawn(self, parent: Actor, seat: int) -> int:
        """Fork a child that takes the numbered seat: its pid or a negative errno."""

    def execute(self, actor: Actor) -> int:
        """Start the actor's program anew. Comes back only with a negative errno."""


class Actor:
    """The state of one process of a scenario, beside what the kernel keeps of it."""

    def __init__(self, process: Process, table: Table, controller: Controller) -> None:
        self.process = process
        self.table = table
        self.controller = controller
        self.places: list[Region | None] = [None] * MAX_REGIONS
        self.next_slot = _FIRST_SLOT
        self.pipe: tuple[int, int] | None = None
        self.marked_pfns = [0] * 4096
        self.memfds: dict[str, int] = {}

    def start(self) -> None:
        """Map the memory of its own, as a program does that was not forked."""
        rw = _PROT_READ | _PROT_WRITE
        self._map(Memory.BASE, Memory.END - Memory.BASE, rw)
        self._map(Memory.EDGE, PAGE, rw)
        self.process.store(Memory.EDGE, b"\1")
        self._map(Memory.READ_ONLY, PAGE, _PROT_READ)
        # A C program's heap is in use before a scenario names it: the area has an anon_vma, which says with whom it may
        # become one, and that a child's has the same pages. The page itself would only be in the way.
        heap = self.process.call("brk", 0)
        if self.process.call("brk", heap + PAGE) == heap + PAGE:
            self.process.touch(heap, PAGE, 1, True)
            self.process.call("madvise", heap, PAGE, _MADV_DONTNEED)

    def _map(self, addr: int, length: int, prot: int) -> None:
        ret = self.process.call("mmap", addr, length, prot, _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS, -1, 0)
        if ret < 0:
            raise RuntimeError(f"an actor cannot map its own memory: {ename(-ret)}")

    def forked(self) -> Actor:
        """A copy as fork makes it, but for the process: same regions at the same addresses, same marks, same pipe."""
        child = copy.copy(self)
        child.places = copy.deepcopy(self.places)
        child.marked_pfns = list(self.marked_pfns)
        child.memfds = dict(self.memfds)
        return child

    # Regions.

    @property
    def regions(self) -> list[Region]:
        """Those in use, in the order of their places: of two with one name the first is meant."""
        return [region for region in self.places if region is not None]

    def span(self, line: Line, index: int) -> Span:
        """The RANGE that token ``index`` names."""
        line.need(index + 1)
        return parse_range(line.pos[index], self.regions)

    def next_base(self) -> int:
        """Where the next mapping goes; the place is used up even if mapping fails."""
        slot, self.next_slot = self.next_slot, self.next_slot + 1
        return slot * REGION_STEP * PAGE

    def add_region(self, name: str, base: int, length: int) -> None:
        """Remember a mapping in the first free place; the 33rd finds none and cannot be named."""
        if None in self.places:
            self.places[self.places.index(None)] = Region(name[:31], base, length)

    def drop_region(self, region: Region) -> None:
        """Forget the name."""
        self.places[self.places.index(region)] = None

    # Arguments.

    def mask(self, text: str, buffer: int) -> int:
        """The pointer that a MASK stands for, its bits stored behind it."""
        if text in (pointers := {"null": 0, "bad": BADPTR, "kern": KERNPTR}):
            return pointers[text]
        last = len(text) - 1  # the list ends before the last character, whatever that is
        if text == "all":
            bits = b"\xff" * MASK_BYTES
        elif text.startswith("raw:"):
            bits = word_mask(text[4:])
        elif text.startswith("edge:{"):
            buffer, bits = Memory.EDGE + PAGE - 8, set_mask(text, 6, last, 8)
        elif text.startswith("{"):
            bits = set_mask(text, 1, last, MASK_BYTES)
        else:
            raise ScriptError(f"bad-mask:{text}")
        self.process.store(buffer, bits)
        return buffer

    def target(self, text: str) -> int:
        """The pid that a TARGET stands for."""
        fixed = {"self": 0, "nopid": NOBODY, "init": 1, "kthread": 2}
        if text in fixed:
            return fixed[text]
        if text == "me":
            return self.process.call("getpid")
        # A name in use first, then one whose process has exited: its pid is asked for all the same.
        for slot in sorted(self.table.slots, key=lambda s: not s.used):
            if slot.name == text and (slot.used or slot.pid):
                return slot.pid
        if text.startswith("pid:"):
            return to_long(num(text[4:]))
        raise ScriptError(f"no-such-target:{text[:60]}")

    def path(self, text: str, buffer: int = Memory.TEXT) -> int:
        """A pointer to ``text`` as a C string."""
        self.process.store(buffer, text.encode("latin-1") + b"\0")
        return buffer

    def open(self, path: str, flags: int) -> int:
        """A descriptor of a file, also of ``memfd:NAME``; or a negative errno."""
        if path.startswith("memfd:"):
            name = path.removeprefix("memfd:")
            if name not in self.memfds:
                raise ScriptError(f"no-such-memfd:{name[:60]}")
            return self.process.call("dup", self.memfds[name])
        return self.process.call("open", self.path(path), flags, 0o666)

    def store_words(self, form: str, *values: int) -> int:
        """A pointer to a small structure; ``form`` as in the struct module."""
        self.process.store(Memory.WORDS, struct.pack(form, *values))
        return Memory.WORDS

    def load_words(self, form: str) -> tuple[int, ...]:
        """What a call left in the small structure."""
        return struct.unpack(form, self.process.load(Memory.WORDS, struct.calcsize(form)))
