"""Memory policy: set_mempolicy, mbind, get_mempolicy, set_mempolicy_home_node."""

from __future__ import annotations

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.cnum import to_int32, to_ulong
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import (
    BADPTR,
    GMP_FLAGS,
    MASK_BYTES,
    MBIND_FLAGS,
    PAGE,
    Line,
    flags_of,
    mode_of,
    num,
    parse_range,
)  # fmt: skip
from numalab.tools.scn.text import mask_text, mode_text, result, words_text

__all__: list[str] = []

_UNTOUCHED = 0x5A5A  # in the mode before the call
_NODE = GMP_FLAGS["NODE"]


@operation("set_mempolicy", "MODE MASK [maxnode=N]")
def set_mempolicy(actor: Actor, line: Line) -> str:
    """Set the task's policy.

    The mode goes through a C int, as the call's first argument does.
    """
    line.need(3)
    mask = actor.mask(line.pos[2], Memory.M1)
    mode, maxnode = to_int32(mode_of(line.pos[1])), num(line.opt("maxnode", "65"))
    return result(actor.process.call("set_mempolicy", mode, mask, maxnode))


@operation("mbind", "RANGE MODE MASK [maxnode=N] [flags=STRICT|MOVE|MOVE_ALL]")
def mbind(actor: Actor, line: Line) -> str:
    """Set the policy of a range; with MOVE or MOVE_ALL also move the pages that are there already.

    Address, length, mode and mask pointer go into the call as they are, however wrong.
    """
    span = actor.span(line, 1)
    line.need(4)
    mask = actor.mask(line.pos[3], Memory.M1)
    mode, maxnode = mode_of(line.pos[2]), num(line.opt("maxnode", "65"))
    flags = flags_of(line.opt("flags", "0"), MBIND_FLAGS)
    return result(actor.process.call("mbind", span.addr, span.length, mode, mask, maxnode, flags))


@operation(
    "get_mempolicy",
    "[flags=NODE|ADDR|MEMS_ALLOWED] [addr=ADDR] [maxnode=N] [mode=null|bad|ro] [mask=null|bad|ro|edge] [raw=1]",
)
def get_mempolicy(actor: Actor, line: Line) -> str:
    """Ask for a policy (of the task, or with ADDR of an address), for the node of a page, or for the nodes allowed.

    ``mode`` and ``mask`` replace the pointers by bad ones.  ``wrote`` is how many bytes of the mask the kernel
    stored: they are set to ones before the call, and what is still ones at the end was not written.  With ``raw=1``
    the mode as a number and the mask as 64-bit words.
    """
    flags = flags_of(line.opt("flags", "0"), GMP_FLAGS)
    maxnode = num(line.opt("maxnode", "1024"))
    where, mode_arg, mask_arg = line.given("addr"), line.given("mode"), line.given("mask")
    addr = 0 if where is None else parse_range(where, actor.regions).addr
    mode_ptr = Memory.WORDS if mode_arg is None else {"null": 0, "ro": Memory.READ_ONLY}.get(mode_arg, BADPTR)
    edge = Memory.EDGE + PAGE - 8
    specials = {"null": 0, "ro": Memory.READ_ONLY, "edge": edge}
    mask_ptr = Memory.OM if mask_arg is None else specials.get(mask_arg, BADPTR)
    # All ones before the call: the trailing ones afterwards are what the kernel did not write.
    room = {Memory.OM: MASK_BYTES, edge: 8}.get(mask_ptr, 0)
    if room:
        actor.process.store(mask_ptr, b"\xff" * room)
    actor.store_words("<i", _UNTOUCHED)

    ret = actor.process.call("get_mempolicy", mode_ptr, mask_ptr, maxnode, addr, flags)
    answer, raw = result(ret), line.given("raw") is not None
    if mode_arg is None:
        (mode,) = actor.load_words("<i")
        if mode == _UNTOUCHED:
            answer += " mode=untouched" if ret == 0 else ""
        elif flags & _NODE:
            answer += f" node={mode}"
        else:
            answer += f" mode={hex(to_ulong(mode) & 0xFFFFFFFF) if raw else mode_text(mode)}"
    if mask_ptr == Memory.OM or (mask_ptr == edge and ret == 0):
        written = actor.process.load(mask_ptr, room).rstrip(b"\xff")
        if written:
            answer += f" nodes={words_text(written) if raw else mask_text(written)} wrote={len(written)}"
        elif ret == 0:
            answer += " nodes=untouched"
    return answer


@operation("set_home_node", "RANGE NODE [flags=N]")
def set_home_node(actor: Actor, line: Line) -> str:
    """Prefer one node among those of a bind or preferred_many range."""
    span = actor.span(line, 1)
    line.need(3)
    node, flags = num(line.pos[2]), num(line.opt("flags", "0"))
    return result(actor.process.call("set_mempolicy_home_node", span.addr, span.length, node, flags))
