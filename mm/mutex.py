"""A lock that may be held while its owner sleeps.

Mirrors struct mutex, and stands for i_rwsem and f_pos_lock too, whose readers need not be let in side by side where one
task runs at a time.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numalab.mm._mm_types import MemMap

__all__ = ["Mutex"]


class Mutex:
    """``with mutex:`` sleeps until nobody else has it. what: its name in the report of a deadlock."""

    def __init__(self, mem: MemMap, what: str) -> None:
        self._mem = mem
        self._what = what
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            self._mem.waits.wait(self._what, lambda: not self._held)
        self._held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._held = False
