"""What `sys.libc` puts into registers is what ctypes puts there: a function on the host says what it got."""

from __future__ import annotations

import ctypes
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from numalab.syscalls.libc import _convert

INTEGERS = [
    ctypes.c_byte, ctypes.c_ubyte, ctypes.c_short, ctypes.c_ushort, ctypes.c_int, ctypes.c_uint, ctypes.c_long,
    ctypes.c_ulong, ctypes.c_void_p, ctypes.c_bool, ctypes.c_size_t, ctypes.c_char,
]  # fmt: skip

_echo = ctypes.CFUNCTYPE(ctypes.c_longlong, ctypes.c_longlong)(lambda register: register)

#: Interesting are the ends of types.
numbers = st.one_of(
    st.integers(-(1 << 66), 1 << 66),
    st.builds(
        lambda bit, off, sign: sign * ((1 << bit) + off),
        st.integers(6, 65),
        st.integers(-2, 2),
        st.sampled_from([1, -1]),
    ),
)


def host(arg: Any, argtype: Any = None) -> int | str:
    """The register of a real call, or the kind of error."""
    function = type(ctypes.CDLL(None).syscall)(ctypes.cast(_echo, ctypes.c_void_p).value)
    function.restype = ctypes.c_longlong
    if argtype is not None:
        function.argtypes = [argtype]
    try:
        return function(arg)
    except ctypes.ArgumentError:
        return "refused"


def ours(arg: Any, argtype: Any = None) -> int | str:
    try:
        value = _convert(arg, argtype)
    except (TypeError, OverflowError):
        return "refused"
    assert isinstance(value, int)
    return ctypes.c_longlong(value).value


@given(numbers)
def test_a_plain_int(number: int) -> None:
    assert ours(number) == host(number)


@given(numbers, st.sampled_from(INTEGERS))
def test_a_ctypes_number_and_a_declared_one(number: int, kind: Any) -> None:
    if kind is ctypes.c_char:
        number = number % 256
        given_, declared = kind(number), bytes([number])
    else:
        given_, declared = kind(number), number
    low = 8 * ctypes.sizeof(kind)
    for arg, argtype in ((given_, None), (given_, kind), (declared, kind)):
        one, other = ours(arg, argtype), host(arg, argtype)
        # C's callee looks at no more bits than the type has.
        if isinstance(one, int) and isinstance(other, int):
            one, other = one % (1 << low), other % (1 << low)
        assert one == other, (arg, argtype)
