"""Operations that use up memory, hold on to it, or take swap away."""

from __future__ import annotations

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.ops.files import slurp, spew
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import PAGE, Line, num
from numalab.tools.scn.text import result

__all__: list[str] = []

_MPOL_BIND = 2
_RW = 3  # PROT_READ|PROT_WRITE
_PRIVATE_ANONYMOUS_NOREPLACE = 0x02 | 0x20 | 0x100000
_SPLICE_F_NONBLOCK = 2
_SWAP_DEVICE = "/dev/ram0"


@operation("eat", "NAME NODE MB")
def eat(actor: Actor, line: Line) -> str:
    """Lock a node's free memory until about MB MiB are left, as a region of that name.

    How much is free is read from the node's meminfo; the memory is bound to the node and locked.
    """
    line.need(4)
    node, leave = num(line.pos[2]), num(line.pos[3]) << 10
    spew(actor, "/proc/sys/vm/compact_memory", "1")
    free = _memfree_kib(actor, node)
    length = (free - leave) << 10 & -PAGE if free > leave else 0
    if not length:
        return "ret=-1 err=nothing-to-eat"
    base = actor.process.call("mmap", actor.next_base(), length, _RW, _PRIVATE_ANONYMOUS_NOREPLACE, -1, 0)
    if base < 0:
        return result(base)
    actor.process.store(Memory.M1, (1 << node).to_bytes(64, "little"))
    ret = actor.process.call("mbind", base, length, _MPOL_BIND, Memory.M1, 65, 0)
    if ret == 0:
        ret = actor.process.call("mlock", base, length)
    if ret:
        return result(ret)
    actor.add_region(line.pos[1], base, length)
    return "ret=0"


def _memfree_kib(actor: Actor, node: int) -> int:
    """MemFree of a node as its meminfo says it; 0 for a node that is not there."""
    text = slurp(actor, f"/sys/devices/system/node/node{node}/meminfo")
    if isinstance(text, int) or "MemFree:" not in text:
        return 0
    return int(text.partition("MemFree:")[2].split()[0])


@operation("pin", "RANGE")
def pin(actor: Actor, line: Line) -> str:
    """Hold an extra reference on up to 16 pages, by vmsplice(2) into a pipe: they cannot be moved until ``unpin``."""
    span = actor.span(line, 1)
    if actor.pipe is None:
        ret = actor.process.call("pipe", Memory.WORDS)
        if ret < 0:
            return result(ret)
        out, into = actor.load_words("<ii")
        actor.pipe = out, into
    vector = actor.store_words("<QQ", span.addr, span.length)
    ret = actor.process.call("vmsplice", actor.pipe[1], vector, 1, _SPLICE_F_NONBLOCK)
    return f"ret=0 pinned={ret // PAGE}" if ret > 0 else result(ret)


@operation("unpin", "")
def unpin(actor: Actor, line: Line) -> str:
    """Let the pinned pages go."""
    for fd in actor.pipe or ():
        actor.process.call("close", fd)
    actor.pipe = None
    return "ret=0"


@operation("swapoff", "")
def swapoff(actor: Actor, line: Line) -> str:
    """Switch swap off, after everything in it came back."""
    return result(actor.process.call("swapoff", actor.path(_SWAP_DEVICE)))


@operation("swapon", "")
def swapon(actor: Actor, line: Line) -> str:
    """Switch swap on."""
    return result(actor.process.call("swapon", actor.path(_SWAP_DEVICE), 0))
