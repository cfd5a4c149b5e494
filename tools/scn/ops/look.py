"""Operations that look at the kernel's own account: pagemap, mincore, maps, numa_maps, smaps, vmstat, cat."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.cnum import strtoul, to_long
from numalab.tools.scn.ops.files import slurp
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import PAGE, Line, Span
from numalab.tools.scn.text import result, rle

__all__ = ["TimedOut"]

_PRESENT, _SWAPPED, _FILE = 1 << 63, 1 << 62, 1 << 61
_PFN = (1 << 55) - 1
_AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")
_PIECE = 4096  # pagemap entries in one read
_TOO_MANY = 1 << 27  # entries that the recorder does not read within its two minutes

# The counters that can be asked for, in the order in which they are printed; by default the first five.
_VMSTAT_KEYS = (
    "pgmigrate_success", "pgmigrate_fail", "numa_pages_migrated", "pswpin", "pswpout", "pgmajfault",
    "thp_migration_success", "thp_migration_split", "thp_migration_fail", "thp_fault_alloc", "thp_fault_fallback",
    "thp_collapse_alloc", "thp_collapse_alloc_failed", "thp_split_page", "thp_split_pmd",
    "unevictable_pgs_mlocked", "unevictable_pgs_munlocked", "swap_ra", "pglazyfree", "pglazyfreed",
)  # fmt: skip


class TimedOut(Exception):
    """The operation would take longer than the controller waits."""


@operation("state", "RANGE [raw=1]")
def state(actor: Actor, line: Line) -> str:
    """What pagemap says of each page: P anonymous, F file or shared, S in swap, . nothing; or its upper bits in hex."""
    span = actor.span(line, 1)
    fd = actor.process.call("open", actor.path("/proc/self/pagemap"), 0, 0)
    if fd < 0:
        return result(fd)
    if span.pages > _TOO_MANY:
        raise TimedOut
    shown = _bits_of if line.opt("raw", "") else _state_of
    text = rle(map(shown, _pagemap(actor, fd, span.addr, span.pages)))
    actor.process.call("close", fd)
    return "ret=0 state=" + text


def _bits_of(entry: int) -> str:
    return f"{entry >> _PFN.bit_length():x}"


def _state_of(entry: int) -> str:
    if entry & _PRESENT:
        return "F" if entry & _FILE else "P"
    return "S" if entry & _SWAPPED else "."


@operation("samepfn", "RANGE [mark]")
def samepfn(actor: Actor, line: Line) -> str:
    """Remember the page frames of a range (with a second word), or how many are still the same.

    At most 4096 pages; one set of frames a process, whatever the range.  Frames are hidden from those without
    CAP_SYS_ADMIN, and a hidden frame is never the same.
    """
    span = actor.span(line, 1)
    count = min(span.pages, len(actor.marked_pfns))
    fd = actor.process.call("open", actor.path("/proc/self/pagemap"), 0, 0)
    # As in the recorder a file that does not open is a file without entries.
    frames = [entry & _PFN for entry in _pagemap(actor, fd, span.addr, count)] if fd >= 0 else [0] * count
    if fd >= 0:
        actor.process.call("close", fd)
    if len(line.pos) > 2:
        actor.marked_pfns[:count] = frames
        return "ret=0"
    same = sum(1 for now, then in zip(frames, actor.marked_pfns, strict=False) if now and now == then)
    return f"ret=0 same={same} of={count}"


def _pagemap(actor: Actor, fd: int, addr: int, count: int) -> Iterator[int]:
    """The entries of ``count`` pages; 0 where the file has none."""
    page = addr // PAGE
    for first in range(page, page + count, _PIECE):
        n = min(_PIECE, page + count - first)
        got = actor.process.call("pread64", fd, Memory.BIG, 8 * n, 8 * first)
        entries = struct.unpack(f"<{max(got, 0) // 8}Q", actor.process.load(Memory.BIG, max(got, 0) // 8 * 8))
        yield from entries
        yield from [0] * (n - len(entries))


@operation("mincore", "RANGE")
def mincore(actor: Actor, line: Line) -> str:
    """Which pages are in memory, by mincore(2)."""
    span = actor.span(line, 1)
    ret = actor.process.call("mincore", span.addr, span.length, Memory.VEC)
    if ret:
        return result(ret)
    vector = actor.process.load(Memory.VEC, -(-span.length // PAGE))
    return "ret=0 in=" + rle("1" if byte & 1 else "0" for byte in vector)


@operation("maps", "RANGE")
def maps(actor: Actor, line: Line) -> str:
    """The VMAs that overlap a range: offset and length in pages, permissions."""
    return _vmas(actor, actor.span(line, 1), "/proc/self/maps")


@operation("numa_maps", "RANGE")
def numa_maps(actor: Actor, line: Line) -> str:
    """Policy and pages of the VMAs that begin in a range."""
    return _vmas(actor, actor.span(line, 1), "/proc/self/numa_maps")


def _vmas(actor: Actor, span: Span, path: str) -> str:
    text = slurp(actor, path)
    base = span.region.base if span.region else span.addr
    pieces = []
    for vma in (text if isinstance(text, str) else "").split("\n"):
        start, at = strtoul(vma, 0, 16)
        # maps says where a VMA ends; numa_maps does not, so there it counts with its first byte.
        end = start + 1 if path.endswith("numa_maps") else strtoul(vma, at + 1, 16)[0]
        if not vma or end <= span.addr or start >= span.end:
            continue
        what = _policy(vma[at:]) if path.endswith("numa_maps") else _extent(vma, start, end)
        pieces.append(f"+{_pages_between(base, start)}{what}")
    return "ret=0 [" + "; ".join(pieces) + "]"


def _pages_between(base: int, addr: int) -> int:
    """How many pages an address lies behind another, towards zero."""
    difference = to_long(addr - base)
    return abs(difference) // PAGE * (1 if difference >= 0 else -1)


def _policy(rest: str) -> str:
    """The words of a numa_maps line, without those that depend on what else the machine does."""
    words = [w for w in rest.split(" ") if w and not w.startswith(("active=", "writeback="))]
    return "".join(" " + w for w in words)


def _extent(vma: str, start: int, end: int) -> str:
    """Pages and permissions of a maps line."""
    permissions = vma.partition("-")[2].partition(" ")[2][:4]
    return f":{(end - start) // PAGE} {permissions}"


@operation("smaps", "RANGE")
def smaps(actor: Actor, line: Line) -> str:
    """What the pages of the VMAs are that overlap a range, and whose: the lines of smaps that are not 0, in kB."""
    span = actor.span(line, 1)
    base = span.region.base if span.region else span.addr
    text = slurp(actor, "/proc/self/smaps")
    areas: list[str] = []
    inside = False
    for row in (text if isinstance(text, str) else "").split("\n"):
        if area := _AREA.match(row):
            start, end = int(area[1], 16), int(area[2], 16)
            inside = end > span.addr and start < span.end
            if inside:
                areas.append(f"+{_pages_between(base, start)}:{(end - start) // PAGE}")
        elif inside and row:
            areas[-1] += _smaps_row(row)
    return "ret=0 [" + "; ".join(areas) + "]"


def _smaps_row(row: str) -> str:
    """What is not 0, and not how long the area is, or pages are if they are the usual ones."""
    label, _, rest = row.partition(":")
    if label == "VmFlags":
        return " VmFlags=" + ",".join(rest.split())
    value = strtoul(rest)[0]
    usual = label == "Size" or (label.endswith("PageSize") and value == PAGE >> 10)
    return f" {label}={value}" if value and not usual else ""


@operation("vmstat", "[mark|KEY..]")
def vmstat(actor: Actor, line: Line) -> str:
    """Remember counters (``mark``), or say how far they have come since.

    The counters are those of migration and swap; unknown keys are passed over.  All processes share one mark.
    """
    text = slurp(actor, "/proc/vmstat")
    rows = (row.partition(" ") for row in (text if isinstance(text, str) else "").split("\n"))
    values = {key: strtoul(value)[0] for key, _, value in rows}
    if line.pos[1:2] == ["mark"]:
        actor.table.vmstat_base = {key: values.get(key, 0) for key in _VMSTAT_KEYS}
        return "ret=0"
    wanted = line.pos[1:] or _VMSTAT_KEYS[:5]
    base = actor.table.vmstat_base
    return "ret=0" + "".join(f" {k}={values.get(k, 0) - base.get(k, 0)}" for k in _VMSTAT_KEYS if k in wanted)


@operation("cat", "PATH [grep=TEXT]")
def cat(actor: Actor, line: Line) -> str:
    """The lines of a file that are not empty joined by |, or of them those that hold a text."""
    line.need(2)
    text = slurp(actor, line.pos[1])
    if isinstance(text, int):
        return result(text)
    rows = [row for row in text.split("\n") if line.opt("grep", "") in row]
    actor.table.read = "\n".join(rows)
    return "ret=0 text=" + "|".join(row for row in rows if row)
