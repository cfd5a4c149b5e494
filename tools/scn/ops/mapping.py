"""Operations that change the address space: mmap and its relatives, mlock, madvise."""

from __future__ import annotations

import errno

from numalab.tools.scn.actor import Actor
from numalab.tools.scn.cnum import to_int32, to_ulong
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import (
    ADVICE,
    PAGE,
    Line,
    ScriptError,
    blen,
    find,
    flags_of,
    num,
    parse_range,
    prot_of,
    split_list,
)  # fmt: skip
from numalab.tools.scn.text import result

__all__: list[str] = []

_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x01, 0x02, 0x10, 0x20, 0x100000
_MAP_FLAGS = {
    "noreserve": 0x4000, "populate": 0x8000, "nonblock": 0x10000, "locked": 0x2000, "hugetlb": 0x40000,
    "huge_2mb": 21 << 26, "huge_1gb": 30 << 26, "growsdown": 0x100,
}  # fmt: skip
_MREMAP_FLAGS = {"maymove": 1, "fixed": 2, "dontunmap": 4}
_MLOCKALL_FLAGS = {"current": 1, "future": 2, "onfault": 4}
_MSYNC_FLAGS = {"async": 1, "invalidate": 2, "sync": 4}
_MLOCK_ONFAULT = 1
_MOST_RANGES = 16  # of process_madvise
_HEAP_ALIGN = 60 * PAGE  # "page index mod n" is what it would be for a heap at 0, for up to six nodes
O_RDWR = 2


@operation(
    "mmap",
    "NAME LEN [kind=private|shared] [file=PATH] [off=LEN] [prot=rwx-] [at=ADDR] "
    "[flags=noreserve,populate,nonblock,locked,hugetlb,huge_2mb,huge_1gb,growsdown]",
)
def mmap(actor: Actor, line: Line) -> str:
    """Map memory and give it a name.

    mmap(2) at a place of the region's own, far from all others (MAP_FIXED_NOREPLACE), private and anonymous unless
    ``kind`` and ``file`` say otherwise; ``at`` puts it over whatever is there (MAP_FIXED).  Between
    words of ``flags`` stands ``,`` or ``|``.
    """
    line.need(3)
    _must_be_new(actor, line.pos[1])
    length, file, words = blen(line.pos[2]), line.given("file"), line.opt("flags", "")
    at = line.given("at")
    flags = _MAP_SHARED if line.opt("kind", "private") == "shared" else _MAP_PRIVATE
    flags |= _MAP_FIXED_NOREPLACE if at is None else _MAP_FIXED
    flags |= sum(bit for word, bit in _MAP_FLAGS.items() if word in words)
    fd = -1
    if file is None:
        flags |= _MAP_ANONYMOUS
    else:
        fd = actor.open(file, O_RDWR)
        if fd < 0:
            return "open " + result(fd)
    prot, offset = prot_of(line.opt("prot", "rw")), blen(line.opt("off", "0"))
    place = actor.next_base() if at is None else parse_range(at, actor.regions).addr
    base = actor.process.call("mmap", place, length, prot, flags, fd, offset)
    if fd >= 0:
        actor.process.call("close", fd)
    if base < 0:
        return result(base)
    actor.add_region(line.pos[1], base, length)
    return "ret=0"


def _must_be_new(actor: Actor, name: str) -> None:
    if find(actor.regions, name):
        raise ScriptError("region-exists")


@operation("munmap", "RANGE")
def munmap(actor: Actor, line: Line) -> str:
    """Unmap a range; the region keeps its name.

    What is left of the region can still be used, and the hole named: that is how scenarios make holes.
    """
    span = actor.span(line, 1)
    return result(actor.process.call("munmap", span.addr, span.length))


@operation("drop", "REGION")
def drop(actor: Actor, line: Line) -> str:
    """Unmap a region and forget its name, which may then be given again."""
    span = actor.span(line, 1)
    ret = actor.process.call("munmap", span.addr, span.length)
    if ret == 0 and span.region is not None:
        actor.drop_region(span.region)
    return result(ret)


@operation("mremap", "RANGE LEN [flags=maymove|fixed|dontunmap] [to=ADDR] [as=NAME]")
def mremap(actor: Actor, line: Line) -> str:
    """Resize a region, moving it to a new address, or (``flags=0``) where it is.

    mremap(2) with MREMAP_MAYMOVE and MREMAP_FIXED unless ``flags`` says otherwise.  The new place is the one that a
    new region would have got, or ``to``; with ``maymove`` alone the kernel chooses.  The region is then what came of
    the range; with ``as`` that gets a name of its own.  If ``flags`` is given the answer says whether it moved.
    """
    span, given, to, name = actor.span(line, 1), line.given("flags"), line.given("to"), line.given("as")
    flags = flags_of("maymove|fixed" if given is None else given, _MREMAP_FLAGS)
    line.need(3)
    if span.region is None:
        raise ScriptError("syntax")
    if name is not None:
        _must_be_new(actor, name)
    length, new = blen(line.pos[2]), 0
    if to is not None:
        new = parse_range(to, actor.regions).addr
    elif flags & ~1:
        new = actor.next_base()
    base = actor.process.call("mremap", span.addr, span.length, length, to_int32(flags), new)
    if base < 0:
        return result(base)
    if name is None:
        span.region.base, span.region.length = base, length
    else:
        actor.add_region(name, base, length)
    return "ret=0" if given is None else f"ret=0 moved={int(base != span.addr)}"


@operation("brk", "NAME LEN")
def brk(actor: Actor, line: Line) -> str:
    """Make the heap so long, by brk(2); its first use gives it a name and a beginning on a round page.

    What lies between the end of the heap so far and that page is unmapped.
    """
    line.need(3)
    region, length = find(actor.regions, line.pos[1]), blen(line.pos[2])
    if region is None:
        first = -(-actor.process.call("brk", 0) // PAGE) * PAGE
        base = first // _HEAP_ALIGN * _HEAP_ALIGN + _HEAP_ALIGN
    else:
        base = region.base
    end = to_ulong(base + length)
    if actor.process.call("brk", end) != end:
        return result(-errno.ENOMEM)
    if region is not None:
        region.length = length
        return "ret=0"
    actor.process.call("munmap", first, base - first)
    actor.add_region(line.pos[1], base, length)
    return "ret=0"


@operation("mprotect", "RANGE PROT")
def mprotect(actor: Actor, line: Line) -> str:
    """Change protection: any of r, w and x; anything else, such as -, for none."""
    span = actor.span(line, 1)
    line.need(3)
    return result(actor.process.call("mprotect", span.addr, span.length, prot_of(line.pos[2])))


@operation("msync", "RANGE sync|async|invalidate")
def msync(actor: Actor, line: Line) -> str:
    """Write the pages of a file mapping back."""
    span = actor.span(line, 1)
    line.need(3)
    flags = to_int32(flags_of(line.pos[2], _MSYNC_FLAGS))
    return result(actor.process.call("msync", span.addr, span.length, flags))


@operation("mlock", "RANGE [flags=onfault]")
def mlock(actor: Actor, line: Line) -> str:
    """Lock pages in memory, which brings them in.

    mlock(2), or mlock2(2) when ``flags`` is given: ``onfault`` locks what is there and what comes, a number goes into
    the call as it is.
    """
    span, flags = actor.span(line, 1), line.given("flags")
    if flags is None:
        return result(actor.process.call("mlock", span.addr, span.length))
    bits = _MLOCK_ONFAULT if flags == "onfault" else num(flags)
    return result(actor.process.call("mlock2", span.addr, span.length, bits))


@operation("munlock", "RANGE")
def munlock(actor: Actor, line: Line) -> str:
    """Unlock pages."""
    span = actor.span(line, 1)
    return result(actor.process.call("munlock", span.addr, span.length))


@operation("mlockall", "current|future|onfault")
def mlockall(actor: Actor, line: Line) -> str:
    """Lock all memory that is there, all that will come, or (with ``onfault``) what is touched of it."""
    line.need(2)
    return result(actor.process.call("mlockall", to_int32(flags_of(line.pos[1], _MLOCKALL_FLAGS))))


@operation("munlockall", "")
def munlockall(actor: Actor, line: Line) -> str:
    """Unlock all memory, also for the future."""
    return result(actor.process.call("munlockall"))


@operation("madvise", "RANGE ADVICE")
def madvise(actor: Actor, line: Line) -> str:
    """Give advice about a range: dontneed, pageout, hugepage, ... or a number."""
    span = actor.span(line, 1)
    line.need(3)
    return result(actor.process.call("madvise", span.addr, span.length, flags_of(line.pos[2], ADVICE)))


@operation("process_madvise", "TARGET RANGE,.. ADVICE [flags=N]")
def process_madvise(actor: Actor, line: Line) -> str:
    """Give advice about ranges of another process, up to 16: the answer is the number of bytes.

    The ranges are addresses of this actor's regions, which a child has at the same places.
    """
    line.need(4)
    spans = [parse_range(word, actor.regions) for word in split_list(line.pos[2], ",", 2048)[:_MOST_RANGES]]
    advice = flags_of(line.pos[3], ADVICE)
    pid = actor.target("me" if line.pos[1] == "self" else line.pos[1])
    fd = actor.process.call("pidfd_open", pid, 0)
    if fd < 0:
        return "pidfd_open " + result(fd)
    words = [word for span in spans for word in (span.addr, span.length)]
    vector = actor.store_words(f"<{len(words)}Q", *words)
    ret = actor.process.call("process_madvise", fd, vector, len(spans), advice, num(line.opt("flags", "0")))
    actor.process.call("close", fd)
    return result(ret)
