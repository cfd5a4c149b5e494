"""C's numbers against the C library itself."""

import ctypes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numalab.tools.scn.cnum import strtol, strtoul, to_int32, to_long, to_ulong

LIBC = ctypes.CDLL(None)
LIBC.strtoul.restype = ctypes.c_ulong
LIBC.strtol.restype = ctypes.c_long

NUMBERISH = st.text(alphabet="0123456789abcdefxX+- \t\v\f\rg,.", max_size=30)


def library(function: str, text: str, base: int) -> tuple[int, int]:
    """Value and end index as the C library sees them."""
    buffer = ctypes.create_string_buffer(text.encode("latin-1"))
    end = ctypes.c_char_p()
    value = getattr(LIBC, function)(buffer, ctypes.byref(end), base)
    left = len(end.value or b"")
    return value, len(buffer.value) - left


@given(NUMBERISH, st.sampled_from([0, 10, 16]))
@example("0x", 0)
@example("0xg", 0)
@example("-0x10", 0)
@example("18446744073709551616", 0)
@example("-18446744073709551616", 0)
@example("  \v+08", 0)
def test_the_library_agrees(text: str, base: int) -> None:
    assert strtoul(text, 0, base) == library("strtoul", text, base)
    assert strtol(text, 0, base) == library("strtol", text, base)


@given(st.text(alphabet="0123456789 xyz", max_size=12), st.integers(0, 12))
def test_a_number_inside_a_text(text: str, start: int) -> None:
    start = min(start, len(text))
    value, end = strtoul(text, start)
    assert (value, end - start) == strtoul(text[start:])


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (to_ulong, -1, (1 << 64) - 1),
        (to_long, (1 << 64) - 5, -5),
        (to_long, 1 << 63, -(1 << 63)),
        (to_int32, 1 << 32, 0),
        (to_int32, 0xFFFFFFFF, -1),
        (to_int32, 0x80000000, -(1 << 31)),
    ],
)
def test_conversions(convert, value: int, expected: int) -> None:
    assert convert(value) == expected
