"""Operations on files, mounts, cgroups and swap, and those that use up or hold on to memory."""

from __future__ import annotations

import struct

from numalab.tools.scn.actor import Actor, Memory
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import PAGE, Line, blen, num
from numalab.tools.scn.text import result

__all__ = ["slurp", "spew"]

_O_RDONLY, _O_WRONLY, _O_RDWR, _O_CREAT = 0, 1, 2, 0o100
_BIG = 1 << 18
_MPOL_BIND = 2
_RW = 3  # PROT_READ|PROT_WRITE
_PRIVATE_ANONYMOUS_NOREPLACE = 0x02 | 0x20 | 0x100000
_SPLICE_F_NONBLOCK = 2
_SWAP_DEVICE = "/dev/ram0"


def slurp(actor: Actor, path: str) -> str | int:
    """The contents of a file, up to 256 KiB and the first NUL byte; or a negative errno."""
    fd = actor.process.call("open", actor.path(path), _O_RDONLY, 0)
    if fd < 0:
        return fd
    pieces, room = [], _BIG - 1
    while room > 0 and (got := actor.process.call("read", fd, Memory.BIG, room)) > 0:
        pieces.append(actor.process.load(Memory.BIG, got))
        room -= got
    actor.process.call("close", fd)
    return b"".join(pieces).decode("latin-1").partition("\0")[0]


def spew(actor: Actor, path: str, text: str) -> int:
    """Write ``text`` to a file that exists: 0 or a negative errno."""
    fd = actor.process.call("open", actor.path(path), _O_WRONLY, 0)
    if fd < 0:
        return fd
    ret = actor.process.call("write", fd, actor.path(text, Memory.TEXT2), len(text))
    actor.process.call("close", fd)
    return min(ret, 0)


@operation("file", "PATH LEN")
def file(actor: Actor, line: Line) -> str:
    """Create or resize a file, readable and writable for everyone."""
    line.need(3)
    fd = actor.process.call("open", actor.path(line.pos[1]), _O_RDWR | _O_CREAT, 0o666)
    if fd < 0:
        return result(fd)
    ret = actor.process.call("ftruncate", fd, blen(line.pos[2]))
    actor.process.call("fchmod", fd, 0o666)
    actor.process.call("close", fd)
    return result(ret)


@operation("unlink", "PATH")
def unlink(actor: Actor, line: Line) -> str:
    """Remove a file."""
    line.need(2)
    return result(actor.process.call("unlink", actor.path(line.pos[1])))


@operation("write", "PATH TEXT..")
def write(actor: Actor, line: Line) -> str:
    """Write a text to a file that exists, such as one of /proc or /sys."""
    line.need(3)
    return result(spew(actor, line.pos[1], " ".join(line.pos[2:])))


@operation("mkdir", "PATH")
def mkdir(actor: Actor, line: Line) -> str:
    """Make a directory, or a cgroup."""
    line.need(2)
    return result(actor.process.call("mkdir", actor.path(line.pos[1]), 0o755))


@operation("rmdir", "PATH")
def rmdir(actor: Actor, line: Line) -> str:
    """Remove a directory, or a cgroup."""
    line.need(2)
    return result(actor.process.call("rmdir", actor.path(line.pos[1])))


@operation("mount_tmpfs", "PATH [mpol=SPEC]")
def mount_tmpfs(actor: Actor, line: Line) -> str:
    """Make a directory and mount a tmpfs on it, with a memory policy for its files."""
    line.need(2)
    path, policy = actor.path(line.pos[1]), line.given("mpol")
    actor.process.call("mkdir", path, 0o777)
    if len(line.pos) > 2:
        options = line.pos[2]
    else:
        options = "" if policy is None else f"mpol={policy}"[:127]
    names = struct.pack("8s8s", b"t", b"tmpfs")
    actor.process.store(Memory.WORDS, names)
    data = actor.path(options, Memory.TEXT2)
    return result(actor.process.call("mount", Memory.WORDS, path, Memory.WORDS + 8, 0, data))


@operation("umount", "PATH")
def umount(actor: Actor, line: Line) -> str:
    """Unmount."""
    line.need(2)
    return result(actor.process.call("umount2", actor.path(line.pos[1]), 0))


@operation("cgjoin", "CGROUPDIR")
def cgjoin(actor: Actor, line: Line) -> str:
    """Join a cgroup: write one's pid into its cgroup.procs."""
    line.need(2)
    path = f"{line.pos[1]}/cgroup.procs"[:255]
    return result(spew(actor, path, str(actor.process.call("getpid"))))


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
