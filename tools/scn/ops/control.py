"""Operations that make, stop and replace processes.

Making and replacing a process is the controller's work, which then knows the new one; ``exit`` is an
answer here, after which the controller lets the process end.
"""

from __future__ import annotations

from numalab.tools.scn.actor import Actor
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import Line, num
from numalab.tools.scn.text import ename, result

__all__: list[str] = []


@operation("spawn", "NAME")
def spawn(actor: Actor, line: Line) -> str:
    """Fork: a new actor with the same regions, policies, credentials and CPUs."""
    line.need(2)
    slot = num(line.opt("slot", "0"))  # the controller appends it: where the name is kept
    pid = actor.controller.spawn(actor, slot)
    if pid < 0:
        return f"ret=-1 err={ename(-pid)}"
    if slot < len(actor.table.slots):
        actor.table.slots[slot].pid = pid
    return "ret=0"


@operation("exec", "")
def execute(actor: Actor, line: Line) -> str:
    """Start the program anew: regions are gone, the task's policy stays."""
    return result(actor.controller.execute(actor))


@operation("exit", "")
def leave(actor: Actor, line: Line) -> str:
    """End the process."""
    return "ret=0"


@operation("sleep", "MS")
def sleep(actor: Actor, line: Line) -> str:
    """Sleep for some milliseconds of virtual time."""
    line.need(2)
    seconds, us = divmod(num(line.pos[1]) * 1000 & 0xFFFFFFFF, 1_000_000)  # usleep() takes an unsigned int
    actor.process.call("nanosleep", actor.store_words("<qq", seconds, us * 1000), 0)
    return "ret=0"
