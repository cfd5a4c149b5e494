"""The pattern that ``fill`` writes and ``verify`` expects: 512 words a page, none like another.

Word ``w`` of page ``p`` under a seed is a mix of the three, so a page that was moved to the wrong
place, copied by half or never copied is seen.  ``verify`` leaves the last word of each page out:
``touch w`` stores there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WORDS", "pattern"]

WORDS = 512

_SEED, _PAGE, _WORD = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MIX = np.uint64(0xD6E8FEB86659FD93)
_MASK = (1 << 64) - 1

# The word's share of the sum is the same in every page.
_COLUMN = np.arange(WORDS, dtype=np.uint64) * np.uint64(_WORD) + np.uint64(1)


def pattern(seed: int, page: int, count: int) -> NDArray[np.uint64]:
    """The words of pages ``page`` to ``page + count``, one row a page."""
    first = np.uint64((seed * _SEED + page * _PAGE) & _MASK)
    rows = np.arange(count, dtype=np.uint64) * np.uint64(_PAGE) + first
    x = rows[:, None] + _COLUMN
    # One array and one scratch array: a fill of 64 MiB makes 8 million words.
    scratch = np.right_shift(x, np.uint64(31))
    np.bitwise_xor(x, scratch, out=x)
    np.multiply(x, _MIX, out=x)
    np.right_shift(x, np.uint64(29), out=scratch)
    return np.bitwise_xor(x, scratch, out=x)
