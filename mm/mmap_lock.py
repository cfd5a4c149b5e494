"""mmap_lock: who may change the areas of an address space, and who relies on them while he sleeps.

Threads share an address space, and a system call may sleep while it changes one: for a table that a fork or a move
needs. So whoever changes areas holds the lock for writing, and whoever keeps an area while he sleeps for reading:

    write   mmap, munmap, brk, mprotect, mremap, mlock, mbind, advice that changes areas, fork (source and copy), exit
    read    advice on pages, swapoff, mincore, msync, and the walks of migrate_pages and move_pages

A fault holds it from one sleep to the next (VM_FAULT_RETRY): it only waits for a writer, and looks the area up again
after each sleep. Pages are made present, migrated and written back without the lock, as in Linux.

Mirrors include/linux/mmap_lock.h. A writer who asks again already has it: mmap() calls munmap(), mprotect() populates.
Files that lose a mapping are let go after the lock (Linux: task_work, on the way back to the program), since the last
reference gives up the file's pages, and so sleeps when somebody has locked one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from numalab.mm._mm_types import AllocCtx, MmStruct
    from numalab.mm.filemap import MappedFile
    from numalab.mm.waits import Waits

__all__ = ["MmapLock", "mmap_read_lock", "mmap_write_lock"]


class MmapLock:
    """The lock of one address space. writer: the task that holds it for writing, so many times (``depth``).

    unmapped: files to let go after the lock.
    """

    __slots__ = ("depth", "readers", "unmapped", "writer")

    def __init__(self) -> None:
        self.readers = 0
        self.writer: AllocCtx | None = None
        self.depth = 0
        self.unmapped: list[MappedFile] = []

    def down_read(self, waits: Waits) -> None:
        """Sleep until nobody writes, and hold it with other readers."""
        if self.writer is not None:
            waits.wait("an address space that is being changed", lambda: self.writer is None)
        self.readers += 1

    def up_read(self) -> None:
        """One reader less."""
        self.readers -= 1

    def wait_for_writer(self, waits: Waits, ctx: AllocCtx) -> None:
        """Sleep until no other task writes: enough for who holds it no longer than to his next sleep."""
        if self.writer is not None and self.writer is not ctx:
            waits.wait("an address space that is being changed", lambda: self.writer is None)

    def down_write(self, waits: Waits, ctx: AllocCtx) -> None:
        """Sleep until nobody has it, and hold it alone."""
        if self.writer is not ctx and (self.writer is not None or self.readers):
            waits.wait("an address space that is in use", lambda: self.writer is None and not self.readers)
        self.writer = ctx
        self.depth += 1

    def up_write(self) -> list[MappedFile]:
        """Release it; returns the files to let go now."""
        self.depth -= 1
        if self.depth:
            return []
        self.writer = None
        unmapped, self.unmapped = self.unmapped, []
        return unmapped


class mmap_read_lock:  # noqa: N801
    """Hold an address space's lock for reading: ``with mmap_read_lock(mm): ...``."""

    __slots__ = ("_mm",)

    def __init__(self, mm: MmStruct) -> None:
        self._mm = mm

    def __enter__(self) -> None:
        self._mm.mmap_lock.down_read(self._mm.mem.waits)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mm.mmap_lock.up_read()


class mmap_write_lock:  # noqa: N801
    """Hold an address space's lock for writing, on behalf of a task: ``with mmap_write_lock(mm, ctx): ...``."""

    __slots__ = ("_ctx", "_mm")

    def __init__(self, mm: MmStruct, ctx: AllocCtx) -> None:
        self._mm = mm
        self._ctx = ctx

    def __enter__(self) -> None:
        self._mm.mmap_lock.down_write(self._mm.mem.waits, self._ctx)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._mm.mmap_lock.up_write():
            file.fput(self._ctx.cpu)
