"""Operations that change the address space: mmap and its relatives, mlock, madvise."""

from __future__ import annotations

from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import ADVICE, Line, ScriptError, blen, find, flags_of, num, prot_of
from numalab.tools.scn.text import result

__all__: list[str] = []

_MAP_SHARED, _MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x01, 0x02, 0x20, 0x100000
_MAP_FLAGS = (("noreserve", 0x4000), ("populate", 0x8000), ("locked", 0x2000), ("hugetlb", 0x40000))
_MREMAP_MAYMOVE_FIXED = 1 | 2
_MLOCK_ONFAULT = 1
O_RDWR = 2


@operation(
    "mmap",
    "NAME LEN [kind=private|shared] [file=PATH] [off=LEN] [prot=rwx-] [flags=noreserve,populate,locked,hugetlb]",
)
def mmap(actor: Actor, line: Line) -> str:
    """Map memory and give it a name.

    mmap(2) at a place of the region's own, far from all others (MAP_FIXED_NOREPLACE), private and anonymous unless
    ``kind`` and ``file`` say otherwise.  Words of ``flags`` are found anywhere in its text, so any separator will do.
    """
    line.need(3)
    if find(actor.regions, line.pos[1]):
        raise ScriptError("region-exists")
    length, file, words = blen(line.pos[2]), line.given("file"), line.opt("flags", "")
    flags = _MAP_FIXED_NOREPLACE | (_MAP_SHARED if line.opt("kind", "private") == "shared" else _MAP_PRIVATE)
    flags |= sum(bit for word, bit in _MAP_FLAGS if word in words)
    fd = -1
    if file is None:
        flags |= _MAP_ANONYMOUS
    else:
        fd = actor.process.call("open", actor.path(file), O_RDWR, 0)
        if fd < 0:
            return "open " + result(fd)
    prot, offset = prot_of(line.opt("prot", "rw")), blen(line.opt("off", "0"))
    base = actor.process.call("mmap", actor.next_base(), length, prot, flags, fd, offset)
    if fd >= 0:
        actor.process.call("close", fd)
    if base < 0:
        return result(base)
    actor.add_region(line.pos[1], base, length)
    return "ret=0"


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


@operation("mremap", "REGION LEN")
def mremap(actor: Actor, line: Line) -> str:
    """Resize a region, moving it to a new address.

    mremap(2) with MREMAP_MAYMOVE and MREMAP_FIXED: the new place is the one that a new region would have got.
    """
    span = actor.span(line, 1)
    line.need(3)
    if span.region is None:
        raise ScriptError("syntax")
    length = blen(line.pos[2])
    new = actor.next_base()
    base = actor.process.call("mremap", span.addr, span.length, length, _MREMAP_MAYMOVE_FIXED, new)
    if base < 0:
        return result(base)
    span.region.base, span.region.length = base, length
    return "ret=0"


@operation("mprotect", "RANGE PROT")
def mprotect(actor: Actor, line: Line) -> str:
    """Change protection: any of r, w and x; anything else, such as -, for none."""
    span = actor.span(line, 1)
    line.need(3)
    return result(actor.process.call("mprotect", span.addr, span.length, prot_of(line.pos[2])))


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


@operation("madvise", "RANGE ADVICE")
def madvise(actor: Actor, line: Line) -> str:
    """Give advice about a range: dontneed, pageout, hugepage, ... or a number.

    A word that is no advice counts as 0, which is ``normal``.
    """
    span = actor.span(line, 1)
    line.need(3)
    return result(actor.process.call("madvise", span.addr, span.length, flags_of(line.pos[2], ADVICE)))
