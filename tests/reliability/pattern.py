"""Memory whose owner knows every byte of it: what he wrote he must find, wherever its pages have gone meanwhile."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from numalab.syscalls.sys import Sys

__all__ = ["PAGE", "Pattern"]

PAGE = 4096
_PIECE = 256  # pages written or read at a time
_NUMBERS = np.arange(_PIECE * PAGE // 8, dtype=np.uint64).reshape(_PIECE, -1)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Pattern:
    """Pages at an address. No two have the same contents; the first word of each says how often it was stamped."""

    def __init__(self, addr: int, pages: int, seed: int) -> None:
        self.addr = addr
        self.pages = pages
        self.stamps = np.zeros(pages, np.uint64)
        self._seed = np.uint64(seed << 40)

    def fill(self, sys: Sys) -> None:
        for first in range(0, self.pages, _PIECE):
            sys.memory.write(self.addr + first * PAGE, self.contents(first).data)

    def stamp(self, sys: Sys, page: int) -> None:
        """Write to a page."""
        self.stamps[page] += np.uint64(1)
        sys.memory.write(self.addr + page * PAGE, self.stamps[page].tobytes())

    def lost(self, sys: Sys, first: int = 0, pages: int | None = None) -> int:
        """Bytes that are not what was written there."""
        end = self.pages if pages is None else first + pages
        wrong = 0
        for at in range(first, end, _PIECE):
            wanted = self.contents(at)[: end - at]
            found = np.frombuffer(sys.memory.read(self.addr + at * PAGE, len(wanted) * PAGE), np.uint64)
            if (found != wanted.ravel()).any():
                wrong += int((found.view(np.uint8) != wanted.view(np.uint8).ravel()).sum())
        return wrong

    def contents(self, first: int) -> npt.NDArray[np.uint64]:
        """A row for each of the next pages."""
        end = min(first + _PIECE, self.pages)
        words: npt.NDArray[np.uint64] = _NUMBERS[: end - first] + np.uint64(first * PAGE // 8)
        words |= self._seed
        words *= _MIX
        words[:, 0] = self.stamps[first:end]
        return words
