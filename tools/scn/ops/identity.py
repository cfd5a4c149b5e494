"""Operations on what a process is and may: CPUs, users, capabilities, limits."""

from __future__ import annotations

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.ops.files import slurp
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import Line, blen, num, set_mask
from numalab.tools.scn.text import mask_text, result

__all__ = ["CPU_SET", "set_affinity"]

CPU_SET = 128  # bytes of a cpu_set_t
_PR_SET_DUMPABLE = 4
_RLIMIT_MEMLOCK = 8
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = {"ipc_lock": 14, "sys_ptrace": 19, "sys_admin": 21, "sys_nice": 23, "sys_resource": 24}
_KEEP = (1 << 32) - 1  # "leave this id alone"


@operation("setaffinity", "[node=N] [cpu=N] [cpus={..}] [of=TARGET]")
def setaffinity(actor: Actor, line: Line) -> str:
    """Run (or let another process run) on the CPUs of a node, on one CPU, on some, or (none given) anywhere.

    Which CPUs a node has is read from /sys, so a node that does not exist is ENOENT, one without CPUs EINVAL.
    """
    cpu, node = line.given("cpu"), line.given("node")
    if cpu is not None:
        number = num(cpu)
        bits = (1 << number).to_bytes(CPU_SET, "little") if number < CPU_SET * 8 else bytes(CPU_SET)
    elif node is not None:
        cpus = slurp(actor, f"/sys/devices/system/node/node{node}/cpulist"[:95])
        if isinstance(cpus, int):
            return result(cpus)
        cpus = cpus[:255].partition("\n")[0]
        bits = set_mask(cpus, 0, len(cpus), CPU_SET)
    else:
        cpus = line.opt("cpus", "{0-63}")
        bits = set_mask(cpus, 1, len(cpus) - 1, CPU_SET)
    return set_affinity(actor, _whose(actor, line), bits)


def set_affinity(actor: Actor, pid: int, cpus: bytes) -> str:
    """Let the actor bind a process (0 = itself) to CPUs: the answer."""
    actor.process.store(Memory.WORDS, cpus)
    return result(actor.process.call("sched_setaffinity", pid, len(cpus), Memory.WORDS))


@operation("getaffinity", "[of=TARGET]")
def getaffinity(actor: Actor, line: Line) -> str:
    """The CPUs that a process may run on."""
    actor.process.store(Memory.WORDS, bytes(CPU_SET))
    ret = actor.process.call("sched_getaffinity", _whose(actor, line), CPU_SET, Memory.WORDS)
    if ret < 0:
        return result(ret)
    return f"ret=0 cpus={mask_text(actor.process.load(Memory.WORDS, CPU_SET))}"


def _whose(actor: Actor, line: Line) -> int:
    """The pid that ``of=`` names, 0 for the actor itself."""
    of = line.given("of")
    return 0 if of is None else actor.target(of)


@operation("getcpu", "")
def getcpu(actor: Actor, line: Line) -> str:
    """The node of the CPU that the process runs on."""
    actor.store_words("<II", 0, 0)
    ret = actor.process.call("getcpu", Memory.WORDS, Memory.WORDS + 4, 0)
    _, node = actor.load_words("<II")
    return f"{result(ret)} node={node}"


@operation("setuid", "N")
def setuid(actor: Actor, line: Line) -> str:
    """Become a user: real, effective and saved id."""
    line.need(2)
    uid = num(line.pos[1])
    return result(actor.process.call("setresuid", uid, uid, uid))


@operation("seteuid", "N")
def seteuid(actor: Actor, line: Line) -> str:
    """Set the effective user id alone."""
    line.need(2)
    return result(actor.process.call("setresuid", _KEEP, num(line.pos[1]), _KEEP))


@operation("dumpable", "0|1")
def dumpable(actor: Actor, line: Line) -> str:
    """Whether others of the same user may look into the process (PR_SET_DUMPABLE)."""
    line.need(2)
    return result(actor.process.call("prctl", _PR_SET_DUMPABLE, num(line.pos[1]), 0, 0, 0))


@operation("drop_cap", "sys_nice|sys_ptrace|sys_admin|sys_resource|ipc_lock|all")
def drop_cap(actor: Actor, line: Line) -> str:
    """Give up a capability, effective and permitted, or ``all`` of them."""
    line.need(2)
    header, data = Memory.WORDS, Memory.WORDS + 8
    actor.store_words("<Ii6I", _CAPABILITY_VERSION_3, 0, *[0] * 6)
    actor.process.call("capget", header, data)
    fields = list(actor.load_words("<Ii6I")[2:])  # effective, permitted, inheritable; twice
    number = _CAPABILITIES.get(line.pos[1])
    if number is None:
        fields = [0] * 6
    else:
        fields[0] &= ~(1 << number)
        fields[1] &= ~(1 << number)
    actor.store_words("<Ii6I", _CAPABILITY_VERSION_3, 0, *fields)
    return result(actor.process.call("capset", header, data))


@operation("rlimit_memlock", "LEN")
def rlimit_memlock(actor: Actor, line: Line) -> str:
    """Limit how much may be locked: RLIMIT_MEMLOCK, soft and hard."""
    line.need(2)
    limit = blen(line.pos[1])
    return result(actor.process.call("setrlimit", _RLIMIT_MEMLOCK, actor.store_words("<QQ", limit, limit)))
