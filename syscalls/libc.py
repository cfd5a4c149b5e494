"""`sys.libc`: the C library as ctypes has it on a host, for code that makes its system calls through ctypes.

    libc = ctypes.CDLL(None, use_errno=True)                       # on a host
    libc = sys.libc                                                # on this machine

    libc.syscall(279, 0, n, pages, None, status, 0)                # move_pages, either way

A call goes into registers as ctypes would put it there, the mistakes that C forgives included: without `argtypes` an
int is cut to 32 bits, without `restype` a result is.  The result is -1 and `ctypes.get_errno()` says why, or what the
call returns.

An int is an address of the machine, or a number.  What is none on the machine, but a ctypes object (an array, a
structure, `byref()`, `pointer()`, what `cast()` makes of them) or bytes, is copied into the program's memory before the
call and out of it after it, as `sys.NAME()` does with lists.  A mask or an array that is too short for what the call is
told of it is found (BufferError), where a host would read or overwrite whatever lies behind it.

Functions are the system calls of the table that the C library or libnuma has under that name, with C's order of
arguments, and `memcpy`, `memmove`, `memset`: a program's loads and stores.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from inspect import ismethod
from typing import TYPE_CHECKING, Any

from numalab.syscalls.kinds import Kind
from numalab.syscalls.table import BY_NAME, BY_NUMBER, Syscall

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["Libc", "LibcFunction"]

Act = Callable[[Callable[["Sys"], int]], int]
"""How to act as a program: called with a function of its `sys`, returns what that does."""

_PATTERN = b"\xa5" * 128  # lies behind each argument; as long as a mask of 1024 nodes
_PAGE_SIZE = 4096

# In the C library these are other functions than the calls of that name, or there is none.
_NOT_THE_CALL = frozenset(
    ["brk", "clone", "clone3", "execve", "exit", "exit_group", "fork", "sched_getaffinity", "vfork"]
)


class Libc:
    """The functions of the C library, as attributes.

    act: how to get at the program that calls.  like: the real library; what it knows of a function's `argtypes`,
    `restype` and `errcheck` is taken over.
    """

    def __init__(self, act: Act, like: ctypes.CDLL | None = None) -> None:
        self._act = act
        self._like = like

    def __getattr__(self, name: str) -> LibcFunction:
        """A function; as with ctypes it is the same one each time."""
        function = self[name]
        setattr(self, name, function)
        return function

    def __getitem__(self, name: str) -> LibcFunction:
        """A function of its own, which shares no `argtypes` with others. Raises AttributeError if there is none."""
        known = vars(self._like).get(name) if self._like is not None else None
        return LibcFunction(self._act, name, known)


class LibcFunction:
    """One function. argtypes, restype, errcheck: as ctypes has them.

    like: one of ctypes' functions to take these three from.
    """

    def __init__(self, act: Act, name: str, like: Any = None) -> None:
        """Raises AttributeError if there is no function of that name."""
        if name not in _FUNCTIONS and (name not in BY_NAME or name in _NOT_THE_CALL):
            raise AttributeError(f"the C library of a numalab machine has no function {name!r}")
        self._act = act
        self.__name__ = name
        self.argtypes: Any = getattr(like, "argtypes", None)
        self.restype: Any = getattr(like, "restype", ctypes.c_int)
        self.errcheck: Any = getattr(like, "errcheck", None)

    def __repr__(self) -> str:
        return f"<{self.__name__} of a numalab machine>"

    def __call__(self, *args: Any) -> Any:
        types = tuple(self.argtypes or ())
        if len(args) < len(types):
            raise TypeError(f"this function takes at least {len(types)} arguments ({len(args)} given)")
        values = []
        for n, arg in enumerate(args):
            try:
                values.append(_convert(arg, types[n] if n < len(types) else None))
            except (TypeError, OverflowError) as error:
                raise ctypes.ArgumentError(f"argument {n + 1}: {type(error).__name__}: {error}") from None
        result = self._act(lambda sys: _perform(sys, self.__name__, values))
        if -4095 <= result < 0:
            ctypes.set_errno(-result)
            result = -1
        value = self._as_restype(result)
        return self.errcheck(value, self, args) if self.errcheck else value

    def _as_restype(self, result: int) -> Any:
        if self.restype is None:
            return None
        value = self.restype(result)
        return value.value if _is_plain(self.restype) else value


class _Block:
    """An argument that points to memory of the host: its bytes, and where to put what the call made of them."""

    def __init__(self, owner: Any, offset: int = 0) -> None:
        self._owner = owner  # keeps the memory
        if isinstance(owner, bytes):
            self._address, self.data = 0, owner + b"\0"
        else:
            self._address = ctypes.addressof(owner) + offset
            self.data = ctypes.string_at(self._address, ctypes.sizeof(owner) - offset)

    def take(self, data: bytes) -> None:
        """The call has ended, and this is there now. Raises BufferError if it has written beyond the end."""
        size = len(self.data)
        if data[size:] != _PATTERN:
            raise BufferError(
                f"the kernel wrote beyond the end of an argument, {type(self._owner).__name__} of {size} bytes: "
                "is the count or maxnode too large?"
            )
        if self._address:
            ctypes.memmove(self._address, data, size)


def _perform(sys: Sys, name: str, values: list[int | _Block]) -> int:
    """Put what the pointers need into the program's memory, make the call, and pick up what it filled in."""
    if name in ("memcpy", "memmove"):
        return _copy(sys, *values)
    blocks = [value for value in values if isinstance(value, _Block)]
    try:
        addresses = sys.lend(*(block.data + _PATTERN for block in blocks)) if blocks else []
    except OSError as error:
        return -(error.errno or 0)
    places = iter(addresses)
    registers = [next(places) if isinstance(value, _Block) else value for value in values]
    if name == "syscall" and registers:
        _check_sizes(BY_NUMBER.get(registers[0]), values[1:])
    function = _FUNCTIONS.get(name)
    if function is not None:
        result = function(sys, *registers)
    else:
        _check_sizes(BY_NAME[name], values)
        result = sys.raw(BY_NAME[name].number, *registers)
    for block, address in zip(blocks, addresses, strict=True):
        block.take(sys.memory.read(address, len(block.data) + len(_PATTERN)))
    return result


# Bytes that the kernel reads, from the argument that counts them.
_READS: dict[Kind, Callable[[int], int]] = {
    Kind.NODEMASK: lambda maxnode: -(-(maxnode - 1) // 64) * 8 if 0 < maxnode <= 8 * _PAGE_SIZE else 0,
    Kind.PAGES: lambda count: 8 * count,
    Kind.NODES: lambda count: 4 * count,
    Kind.BUF: lambda count: count,
}


def _check_sizes(row: Syscall | None, values: list[int | _Block]) -> None:
    """Whether arguments that the kernel reads are as long as it is told. Raises BufferError for one that is not."""
    for arg, value in zip(row.args if row else (), values, strict=False):
        if isinstance(value, _Block) and arg.kind in _READS and arg.size_in < len(values):
            count = values[arg.size_in]
            if isinstance(count, int) and _READS[arg.kind](count) > len(value.data):
                raise BufferError(
                    f"{row.name if row else ''}: {arg.name} has {len(value.data)} bytes, "
                    f"and the kernel is told to read {_READS[arg.kind](count)}"
                )


def _copy(sys: Sys, dest: int | _Block, src: int | _Block, n: int | _Block) -> int:
    """memmove(), straight between the host's memory and the program's."""
    if isinstance(n, _Block):
        raise TypeError("the third argument is a number of bytes")
    for block in (dest, src):
        if isinstance(block, _Block) and n > len(block.data):
            raise BufferError(f"{n} bytes are asked for of an argument that has {len(block.data)}")
    data = src.data[:n] if isinstance(src, _Block) else sys.memory.read(src, n)
    if isinstance(dest, _Block):
        dest.take(data + dest.data[n:] + _PATTERN)
        return 0
    sys.memory.write(dest, data)
    return dest


def _memset(sys: Sys, dest: int, value: int, n: int) -> int:
    sys.memory.write(dest, bytes([value & 0xFF]) * n)
    return dest


_FUNCTIONS: dict[str, Callable[..., int]] = {
    "syscall": lambda sys, number, *registers: sys.raw(number, *registers),
    "memcpy": _copy,
    "memmove": _copy,
    "memset": _memset,
    "getpagesize": lambda sys: _PAGE_SIZE,
    "sched_getcpu": lambda sys: sys.getcpu().cpu,
}


# Arguments, as ctypes converts them


def _convert(arg: Any, argtype: Any) -> int | _Block:
    """What goes into the register. Raises TypeError, OverflowError for what ctypes refuses, too."""
    if argtype is not None:
        param = argtype.from_param(arg)
        if ismethod(argtype.from_param):  # somebody's own: what it returns is passed
            arg = param
        elif isinstance(arg, int) or argtype is ctypes.c_char:
            arg = arg if isinstance(arg, argtype) else argtype(arg)
    if arg is None:
        return 0
    if isinstance(arg, int):
        if not -(1 << 63) <= arg < 1 << 64:
            raise OverflowError("int too long to convert")
        return ctypes.c_int(arg).value
    if isinstance(arg, bytes):
        return _Block(arg)
    if _is_plain(type(arg)) and arg._type_ in "cbBhHiIlLqQ?P":
        into_host = arg._type_ == "P" and (arg._objects or hasattr(arg, "_arr"))
        return _target(arg) if into_host else _number(arg.value)
    if isinstance(arg, ctypes.c_char_p):
        return 0 if arg.value is None else _Block(arg.value)
    if isinstance(arg, ctypes.Array):
        return _Block(arg)
    if isinstance(arg, ctypes._Pointer):
        return _target(arg) if _address_in(arg) else 0
    if type(arg).__name__ == "CArgObject":  # byref()
        return _Block(arg._obj, _address_in(arg) - ctypes.addressof(arg._obj))
    if hasattr(arg, "_as_parameter_"):
        return _convert(arg._as_parameter_, None)
    raise TypeError(f"Don't know how to convert a {type(arg).__name__}")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else int.from_bytes(value or b"", "little")


def _is_plain(kind: Any) -> bool:
    """Whether ctypes unpacks it: c_long and its like, but no type made from them."""
    return isinstance(kind, type) and kind.__base__ is ctypes.c_int.__base__


def _address_in(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _target(pointer: Any) -> _Block:
    """What a pointer points into: one of the objects that it keeps alive, or the numpy array that it is of."""
    address = _address_in(pointer)
    array = getattr(pointer, "_arr", None)
    if array is not None:
        return _Block((ctypes.c_char * array.nbytes).from_buffer(array))
    for owner in _kept(pointer):
        offset = address - ctypes.addressof(owner)
        if 0 <= offset < ctypes.sizeof(owner):
            return _Block(owner, offset)
    raise TypeError("a pointer to memory of the host that no ctypes object has; give the object itself")


def _kept(pointer: Any) -> list[Any]:
    """The ctypes objects that a pointer keeps alive, largest first."""
    found, look = [], [pointer._objects]
    while look:
        each = look.pop()
        if isinstance(each, dict):
            look += each.values()
        elif each is not None and hasattr(each, "_b_base_"):
            found.append(each)
    return sorted(found, key=ctypes.sizeof, reverse=True)
