"""Python values for system call arguments: sets for masks, lists for arrays, strings for paths.

`sys.NAME(...)` takes the arguments of the man page, in its order or by name.  A plain int always goes into the
register as it is, so a pointer may be given as one.  Where a pointer is wanted, a Python value is stored in the
scratch area and its address passed; a pointer to what the call fills in may be left out, the answer then
carries it; a count may be left out where it follows from the thing counted.

    sys.mbind(addr, length, MPOL_BIND, {0, 2}, flags=MPOL_MF_MOVE)      maxnode follows from the set
    sys.mbind(addr, length, MPOL_BIND, pointer, 65, MPOL_MF_MOVE)       as in C
    sys.move_pages(0, pages, [1, 1]).status                             count follows, status is filled in
    sys.migrate_pages(pid, {0}, {1})                                    maxnode is passed over
    sys.open("/proc/vmstat")                                            flags are 0

A call goes in three steps: `bind()` works out registers and what has to be placed, the caller (`sys.py`) places it
and makes the call, then reads back what the slots ask for.
"""

from __future__ import annotations

import math
import operator
import reprlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from numalab.syscalls.kinds import Arg, Kind
from numalab.syscalls.stat import STAT
from numalab.syscalls.table import Syscall
from numalab.syscalls.uaccess import MAX_NUMNODES

__all__ = ["Answer", "Bound", "Rusage", "Stat", "bind"]

_MASK = (1 << 64) - 1
_UNWRITTEN = 0x7FFFFFF1  # neither a node nor an errno: what a status array holds before the call
_CAP_VERSION_3 = 0x20080522
_MASK_BITS = 1 << 15  # a page of them: no call reads more
_CPU_BYTES = 128  # of a cpu_set_t, as the C library has it
_MOST = 16 << 20  # bytes of room for one output, however large the count


class Answer(int):
    """What a call returned: an int, with what the call filled in as attributes named like the arguments.

    `sys.get_mempolicy()` is 0 and has `.mode` and `.nodemask`.
    """

    outputs: dict[str, Any]

    def __new__(cls, value: int, outputs: dict[str, Any]) -> Self:
        answer = super().__new__(cls, value)
        answer.outputs = outputs
        return answer

    def __getattr__(self, name: str) -> Any:
        if name == "outputs" or name not in self.outputs:
            raise AttributeError(f"the call has no output {name!r}")
        return self.outputs[name]

    def __repr__(self) -> str:
        return " ".join([int.__repr__(self), *(f"{name}={value!r}" for name, value in self.outputs.items())])


class Rusage(NamedTuple):
    """The part of struct rusage that is kept."""

    ru_minflt: int
    ru_majflt: int


class Stat(NamedTuple):
    """struct stat, without what is always 0. Times are in ns; there is one, that of the last change."""

    st_dev: int
    st_ino: int
    st_nlink: int
    st_mode: int
    st_uid: int
    st_gid: int
    st_size: int
    st_blksize: int
    st_blocks: int
    st_mtime_ns: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A pointer argument that gets a place in the scratch area: what to store there, and how to read it afterwards."""

    index: int
    item: bytes | int
    read: Callable[[bytes], Any] | None = None


@dataclass
class Bound:
    """Arguments ready for a call: registers, where those in `slots` still miss their addresses."""

    row: Syscall
    registers: list[int]
    slots: list[Slot]

    def name(self, slot: Slot) -> str:
        return self.row.args[slot.index].name


def bind(row: Syscall, given: tuple[Any, ...], named: dict[str, Any]) -> Bound:
    """Match Python values to the arguments of a call. Raises TypeError or ValueError for what cannot be one."""
    # The common case costs no more than it must: only numbers, and all of them.
    if not named and len(given) == len(row.args) and all(map(_is_int, given)):
        return Bound(row, [operator.index(value) & _MASK for value in given], [])
    values = _match(row, given, named)
    # Counts first: how much room an output needs depends on them.
    sizes = {arg.size_in for arg in row.args if arg.size_in >= 0}
    for index in sizes:
        if values[index] is None:
            values[index] = _count_for(row, values, index)
    registers: list[int] = []
    slots: list[Slot] = []
    for index, (arg, value) in enumerate(zip(row.args, values, strict=True)):
        slot = _slot(index, arg, value, values)
        if slot is not None:
            slots.append(slot)
            registers.append(0)
        else:
            registers.append(0 if value is None else operator.index(value) & _MASK)
    return Bound(row, registers, slots)


def _match(row: Syscall, given: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    """One value an argument, None where there is none. A count is passed over if no number stands in its place."""
    names = [arg.name for arg in row.args]
    counted = {arg.size_in for arg in row.args if arg.size_in >= 0}
    values: list[Any] = [None] * len(names)
    at = 0
    for value in given:
        # `migrate_pages(0, {0}, {1})`: a set cannot be maxnode, so that was left out.
        if at in counted and value is not None and not _is_int(value):
            at += 1
        if at >= len(names):
            raise TypeError(f"{row.name}() takes at most {len(names)} arguments")
        values[at] = value
        at += 1
    for name, value in named.items():
        if name not in names:
            raise TypeError(f"{row.name}() has no argument {name!r}: it has {', '.join(names) or 'none'}")
        index = names.index(name)
        if values[index] is not None:
            raise TypeError(f"{row.name}() got {name!r} twice")
        values[index] = value
    return values


def _is_int(value: object) -> bool:
    """Whether a value is a number; numpy's arrays have an __index__ too, but stand for their members."""
    return isinstance(value, int) or (hasattr(value, "__index__") and not getattr(value, "ndim", 0))


def _members(value: Iterable[int], what: str) -> list[int]:
    """The numbers in a collection. Raises TypeError, in words for the caller of the system call."""
    try:
        return [operator.index(member) for member in value]
    except TypeError:
        raise TypeError(f"{what} is {value!r}: give an address, or a set or list of numbers") from None


def _count_for(row: Syscall, values: list[Any], index: int) -> int:
    """The count that was left out: how much the things it counts need."""
    counts = [0]
    for arg, value in zip(row.args, values, strict=True):
        if arg.size_in != index or _is_int(value):
            continue
        if arg.kind is Kind.NODEMASK and value is not None:
            # One more than the bits that are read; whole words.
            top = min(max(_members(value, arg.name), default=0), _MASK_BITS)
            counts.append(-(-(top + 1) // 64) * 64 + 1)
        elif arg.kind is Kind.NODEMASK_OUT:
            # As many as the kernel may have, whatever this machine has.
            counts.append(MAX_NUMNODES)
        elif arg.kind in (Kind.CPUMASK, Kind.CPUMASK_OUT):
            counts.append(_CPU_BYTES)
        elif value is not None:
            counts.append(len(value))
    return max(counts)


def _slot(index: int, arg: Arg, value: Any, values: list[Any]) -> Slot | None:
    """What a pointer argument needs in the scratch area; None for a number, and for a pointer given as one."""
    if _is_int(value):
        return None
    size = operator.index(values[arg.size_in]) if arg.size_in >= 0 else 0
    if value is not None and arg.kind in _INPUT:
        return Slot(index, _INPUT[arg.kind](arg, value, size))
    if value is None and arg.kind is Kind.CAP_HEADER:
        return Slot(index, struct.pack("<Ii", _CAP_VERSION_3, 0))
    if value is None and arg.kind in _OUTPUT:
        room, read = _OUTPUT[arg.kind]
        item = room(size)
        return Slot(index, item, read) if item else None
    return None


# Values that are stored before the call: bytes from (argument, value, count)


def _bits(members: list[int], size: int) -> bytes:
    """A bit mask of at least `size` bytes. Raises TypeError for a negative member."""
    if any(member < 0 for member in members):
        raise TypeError("a mask has no negative members")
    mask = sum(1 << member for member in set(members) if member < _MASK_BITS)
    return mask.to_bytes(max(size, -(-mask.bit_length() // 8)), "little")


def _nodemask(arg: Arg, value: Any, maxnode: int) -> bytes:
    # The kernel reads whole words up to bit maxnode - 2; beyond a page it refuses to.
    words = -(-min(max(maxnode - 1, 0), 1 << 15) // 64)
    return _bits(_members(value, arg.name), words * 8)


def _cpumask(arg: Arg, value: Any, length: int) -> bytes:
    # The kernel reads no more than it has CPUs for, so a longer mask than the C library's is of no use.
    return _bits(_members(value, arg.name), min(length, _CPU_BYTES))


def _pack(form: str, arg: Arg, members: list[int]) -> bytes:
    """Numbers of C types, as a `struct` format. Raises ValueError if there are too few or many, or one does not fit."""
    try:
        return struct.pack("<" + form, *members)
    except struct.error as error:
        raise ValueError(f"{arg.name} is {reprlib.repr(members)}: {error}") from None


def _array(form: str) -> Callable[[Arg, Any, int], bytes]:
    """An array of numbers of one C type."""

    def pack(arg: Arg, value: Any, count: int) -> bytes:
        members = _members(value, arg.name)
        return _pack(f"{len(members)}{form}", arg, members)

    return pack


def _text(arg: Arg, value: Any, count: int) -> bytes:
    """A C string: a path, or a name for prctl."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"{arg.name} is {value!r}: give a string or bytes")
    return bytes(value) + b"\0"


def _data(arg: Arg, value: Any, count: int) -> bytes:
    """Bytes to write, without the NUL."""
    return _text(arg, value, count)[:-1]


def _timespec(arg: Arg, value: Any, count: int) -> bytes:
    """Seconds as a float, or (seconds, nanoseconds)."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{arg.name} is {value}: give a number of seconds")
        value = divmod(round(value * 1e9), 1_000_000_000)
    return _pack("2q", arg, _members(value, arg.name))


def _pair(arg: Arg, value: Any, count: int) -> bytes:
    """struct rlimit: (soft, hard)."""
    return _pack("2Q", arg, [member & _MASK for member in _members(value, arg.name)])


def _cap_data(arg: Arg, value: Any, count: int) -> bytes:
    """(effective, permitted, inheritable) as two structures of three words: the low halves, then the high ones."""
    sets = _members(value, arg.name)
    return b"".join(_pack("3I", arg, [s >> 32 * i & 0xFFFFFFFF for s in sets]) for i in range(2))


_INPUT: dict[Kind, Callable[[Arg, Any, int], bytes]] = {
    Kind.NODEMASK: _nodemask,
    Kind.CPUMASK: _cpumask,
    Kind.PAGES: _array("Q"),
    Kind.NODES: _array("i"),
    Kind.PATH: _text,
    Kind.STRING: _text,
    Kind.MOUNT_TYPE: _text,
    Kind.MOUNT_DATA: _text,
    Kind.PRCTL_ARG: _text,
    Kind.BUF: _data,
    Kind.TIMESPEC: _timespec,
    Kind.RLIMIT: _pair,
    Kind.CAP_HEADER: lambda arg, value, count: _pack("Ii", arg, _members(value, arg.name)),
    Kind.CAP_DATA: _cap_data,
}


# What is read after the call: room for it, or what to store before, from the count; and how to read it


def _set_of(data: bytes) -> frozenset[int]:
    """The set bits of a mask."""
    mask = int.from_bytes(data, "little")
    return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def _statuses(data: bytes) -> list[int | None]:
    """Entries of a status array; None for those that the kernel did not write."""
    return [None if s == _UNWRITTEN else s for (s,) in struct.iter_unpack("<i", data)]


def _number(form: str) -> tuple[Callable[[int], bytes | int], Callable[[bytes], Any]]:
    """Room for one number, and how to read it."""
    size = struct.calcsize("<" + form)
    return (lambda count: bytes(size)), (lambda data: struct.unpack("<" + form, data)[0])


def _numbers(form: str) -> tuple[Callable[[int], bytes | int], Callable[[bytes], Any]]:
    """Room for a structure of numbers, and how to read it as a tuple."""
    size = struct.calcsize("<" + form)
    return (lambda count: bytes(size)), (lambda data: struct.unpack("<" + form, data))


def _read_caps(data: bytes) -> tuple[int, int, int]:
    """The inverse of _cap_data()."""
    low, high = struct.unpack("<3I", data[:12]), struct.unpack("<3I", data[12:])
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    return effective, permitted, inheritable


def _read_stat(data: bytes) -> Stat:
    dev, ino, nlink, mode, uid, gid, _, size, blksize, blocks, sec, nsec, *_ = STAT.unpack(data)
    return Stat(dev, ino, nlink, mode, uid, gid, size, blksize, blocks, sec * 10**9 + nsec)


_OUTPUT: dict[Kind, tuple[Callable[[int], bytes | int], Callable[[bytes], Any]]] = {
    Kind.NODEMASK_OUT: (lambda maxnode: bytes(-(-min(max(maxnode - 1, 0), 1 << 15) // 64) * 8), _set_of),
    Kind.CPUMASK_OUT: (lambda length: bytes(min(length, _CPU_BYTES)), _set_of),
    Kind.MODE_OUT: _number("i"),
    Kind.UINT_OUT: _number("I"),
    Kind.PIPE_OUT: _numbers("2i"),
    Kind.WSTATUS_OUT: _number("i"),
    Kind.STATUS_OUT: (lambda count: struct.pack("<i", _UNWRITTEN) * min(count, _MOST // 4), _statuses),
    Kind.VEC_OUT: (lambda length: bytes(min(-(-length // 4096), _MOST)), bytes),
    Kind.BUF_OUT: (lambda count: min(count, _MOST), bytes),
    Kind.DIRENTS_OUT: (lambda count: min(count, _MOST), bytes),
    Kind.TIMESPEC_OUT: _numbers("2q"),
    Kind.REMAIN_OUT: _numbers("2q"),
    Kind.RLIMIT_OUT: _numbers("2Q"),
    Kind.RUSAGE_OUT: (lambda count: bytes(144), lambda data: Rusage(*struct.unpack_from("<2q", data, 64))),
    Kind.STAT_OUT: (lambda count: bytes(STAT.size), _read_stat),
    Kind.CAP_DATA_OUT: (lambda count: bytes(24), _read_caps),
}
