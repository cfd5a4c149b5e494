"""Operations on files, mounts and cgroups."""

from __future__ import annotations

import struct

from numalab.syscalls.readdir import dirents
from numalab.tools.scn.actor import MAX_MEMFDS, Actor, Memory
from numalab.tools.scn.ops.registry import operation
from numalab.tools.scn.parse import Line, ScriptError, blen, flags_of
from numalab.tools.scn.text import result

__all__ = ["slurp", "spew"]

_O_RDONLY, _O_WRONLY, _O_RDWR, _O_CREAT, _O_DIRECTORY = 0, 1, 2, 0o100, 0o200000
_BIG = 1 << 18
_MEMFD_FLAGS = {"cloexec": 1, "allow_sealing": 2, "hugetlb": 4}
_FALLOCATE_FLAGS = {
    "keep_size": 1, "punch_hole": 2, "collapse_range": 8, "zero_range": 16, "insert_range": 32, "unshare_range": 64,
}  # fmt: skip


def slurp(actor: Actor, path: str) -> str | int:
    """The contents of a file, up to 256 KiB and the first NUL byte; or a negative errno."""
    fd = actor.process.call("open", actor.path(path), _O_RDONLY, 0)
    if fd < 0:
        return fd
    pieces, room, got = [], _BIG - 1, 0
    while room > 0 and (got := actor.process.call("read", fd, Memory.BIG, room)) > 0:
        pieces.append(actor.process.load(Memory.BIG, got))
        room -= got
    actor.process.call("close", fd)
    if got < 0 and not pieces:
        return got
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
    fd = actor.open(line.pos[1], _O_RDWR | _O_CREAT)
    if fd < 0:
        return result(fd)
    ret = actor.process.call("ftruncate", fd, blen(line.pos[2]))
    actor.process.call("fchmod", fd, 0o666)
    actor.process.call("close", fd)
    return result(ret)


@operation("memfd", "NAME [LEN] [flags=cloexec|allow_sealing|hugetlb]")
def memfd(actor: Actor, line: Line) -> str:
    """Make a file without a name, by memfd_create(2); ``memfd:NAME`` stands for it wherever a PATH is opened."""
    line.need(2)
    name, flags = line.pos[1], flags_of(line.opt("flags", "0"), _MEMFD_FLAGS)
    fd = actor.process.call("memfd_create", actor.path(name), flags & 0xFFFFFFFF)
    if fd < 0:
        return result(fd)
    if len(actor.memfds) >= MAX_MEMFDS:
        raise ScriptError("too-many-memfds")
    actor.memfds.setdefault(name[:31], fd)  # of two with one name the first is meant
    return result(actor.process.call("ftruncate", fd, blen(line.pos[2])) if len(line.pos) > 2 else 0)


@operation(
    "fallocate",
    "PATH OFF LEN [flags=keep_size|punch_hole|collapse_range|zero_range|insert_range|unshare_range]",
)
def fallocate(actor: Actor, line: Line) -> str:
    """Give a part of a file its memory, or take it away (``punch_hole|keep_size``). OFF is a LEN."""
    line.need(4)
    mode = flags_of(line.opt("flags", "0"), _FALLOCATE_FLAGS)
    return _with_file(actor, line, "fallocate", mode, blen(line.pos[2]), blen(line.pos[3]))


@operation("pread", "PATH OFF LEN")
def pread(actor: Actor, line: Line) -> str:
    """Read a part of a file into the actor's memory, by pread(2): the answer is the number of bytes."""
    return _transfer(actor, line, "pread64")


@operation("pwrite", "PATH OFF LEN")
def pwrite(actor: Actor, line: Line) -> str:
    """Write ones to a part of a file, by pwrite(2): the answer is the number of bytes."""
    return _transfer(actor, line, "pwrite64")


@operation("fsync", "PATH")
def fsync(actor: Actor, line: Line) -> str:
    """Write a file back."""
    line.need(2)
    return _with_file(actor, line, "fsync")


def _transfer(actor: Actor, line: Line, call: str) -> str:
    line.need(4)
    offset, length = blen(line.pos[2]), blen(line.pos[3])
    if length > _BIG:
        raise ScriptError("too-long")
    actor.process.store(Memory.BIG, bytes([1]) * length)
    return _with_file(actor, line, call, Memory.BIG, length, offset)


def _with_file(actor: Actor, line: Line, call: str, *args: int) -> str:
    """The answer of a call on the file that the first word names."""
    fd = actor.open(line.pos[1], _O_RDWR)
    if fd < 0:
        return result(fd)
    ret = actor.process.call(call, fd, *args)
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


@operation("ls", "PATH [grep=TEXT]")
def ls(actor: Actor, line: Line) -> str:
    """The names in a directory, sorted, or of them those that hold a text."""
    line.need(2)
    fd = actor.process.call("open", actor.path(line.pos[1]), _O_RDONLY | _O_DIRECTORY, 0)
    if fd < 0:
        return result(fd)
    names: list[str] = []
    while (got := actor.process.call("getdents64", fd, Memory.BIG, _BIG)) > 0:
        names += dirents(actor.process.load(Memory.BIG, got))
    actor.process.call("close", fd)
    wanted = line.opt("grep", "")
    return "ret=0 names=" + ",".join(
        sorted(name for name in names if name not in {".", ".."} and wanted in name)
    )


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
