"""The pattern against its definition, one word at a time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numalab.tools.scn.pattern import WORDS, pattern

ULONG = st.integers(0, (1 << 64) - 1)
MASK = (1 << 64) - 1


def word(seed: int, page: int, w: int) -> int:
    x = (seed * 0x9E3779B97F4A7C15 + page * 0xBF58476D1CE4E5B9 + w * 0x94D049BB133111EB + 1) & MASK
    x ^= x >> 31
    x = x * 0xD6E8FEB86659FD93 & MASK
    return x ^ x >> 29


@given(ULONG, ULONG, st.integers(1, 5), st.data())
def test_words(seed: int, page: int, count: int, data: st.DataObject) -> None:
    words = pattern(seed, page, count)
    assert words.shape == (count, WORDS)
    row, column = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, WORDS - 1))
    assert int(words[row, column]) == word(seed, (page + row) & MASK, column)


def test_pages_differ() -> None:
    words = pattern(1, 0, 64)
    assert len({row.tobytes() for row in words}) == 64


@pytest.mark.timed
def test_64_mib_take_well_under_two_seconds() -> None:
    start = time.perf_counter()
    for first in range(0, 16384, 256):
        pattern(7, first, 256)
    assert time.perf_counter() - start < 1.5
