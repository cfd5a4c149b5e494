"""move_pages(2): each page to the node that its own entry names, or where each page is.

Mirrors do_pages_move() and do_pages_stat() of mm/migrate.c. Linux reads the caller's arrays while it moves and
writes statuses as it goes; an unreadable entry ends the call with what was done before it done. So this is the
one place of mm that touches user arrays, through the three callbacks of ``UserArrays`` that ``syscalls`` supplies.

Consecutive entries with the same target form one batch. A page that gets a status of its own ends the batch; a
batch that leaves pages behind ends the call, without statuses for that batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from numalab.arch.errno import EACCES, EFAULT, ENODEV, KernelError
from numalab.mm.migrate.batched import (
    PageList,
    Target,
    lru_cache_disable,
    movable_pages,
    putback_movable_pages,
)
from numalab.mm.migrate.engine import engine_of
from numalab.mm.migrate.ledger import Ledger, open_ledger
from numalab.mm.mmap_lock import mmap_read_lock
from numalab.mm.vm_flags import VM_HUGETLB, VM_IO, VM_PFNMAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numalab.mm._mm_types import AllocCtx, MemMap, MmStruct

__all__ = ["UserArrays", "do_pages_move", "do_pages_stat"]

#: Entries read, moved and answered at a time: nothing is ever sized by the caller's count.
CHUNK = 2048
#: DO_PAGES_STAT_CHUNK_NR: a query answers so many entries, then writes them.
STAT_CHUNK = 16


class UserArrays(Protocol):
    """The arrays of one call. Reading returns the entries before the first unreadable one, which may be none."""

    def read_pages(self, at: int, n: int) -> NDArray[np.uint64]: ...

    def read_nodes(self, at: int, n: int) -> NDArray[np.int32]: ...

    def write_status(self, at: int, values: NDArray[np.int32]) -> int:
        """Store from entry ``at`` on; returns how many could be stored."""
        ...


def do_pages_stat(mem: MemMap, mm: MmStruct, nr_pages: int, arrays: UserArrays) -> None:
    """Status of every page: its node, -ENOENT, or -EFAULT. Raises KernelError(EFAULT) at the first bad entry."""
    at = 0
    while at < nr_pages:
        # Linux goes by 16 entries: an unreadable one hides the answers of its own 16 only.
        pages = arrays.read_pages(at, min(nr_pages - at, CHUNK))
        whole = len(pages) if at + len(pages) == nr_pages else len(pages) - len(pages) % STAT_CHUNK
        if not whole:
            raise KernelError(EFAULT, "pages[] cannot be read")
        status = np.empty(whole, np.int32)
        with mmap_read_lock(mm):
            mem.k.migrate.pages_status(mem, mm, pages[:whole], status)
        if arrays.write_status(at, status) < whole:
            raise KernelError(EFAULT, "status[] cannot be written")
        at += whole


class _Move:
    """One do_pages_move(): the batch being collected and where it started."""

    def __init__(
        self,
        mem: MemMap,
        mm: MmStruct,
        ctx: AllocCtx,
        nr_pages: int,
        arrays: UserArrays,
        move_all: bool,
        batch: PageList,
        ledger: Ledger,
    ) -> None:
        self.mem, self.mm, self.ctx = mem, mm, ctx
        self.nr_pages = nr_pages
        self.arrays = arrays
        self.move_all = move_all
        self.engine = engine_of(mem, aiming=True)
        self.ledger = ledger
        self.batch = batch
        self.node = -1
        self.start = 0

    def store(self, at: int, values: NDArray[np.int32]) -> None:
        if self.arrays.write_status(at, values) < len(values):
            raise KernelError(EFAULT, "status[] cannot be written")

    def flush(self, at: int) -> int:
        """move_pages_and_store_status(): move the batch [start, at); returns 0, or pages left behind and never tried.

        Raises KernelError: ENOMEM (the target filled up), EFAULT (status[] cannot be written).
        """
        if not len(self.batch):
            return 0
        moved = self.ledger.moved
        err = self.engine.migrate(self.mem, self.ctx, self.batch, Target(nid=self.node), self.ledger)
        self.ledger.pairs.append((0, self.node, self.ledger.moved - moved))
        putback_movable_pages(self.mem, self.ctx, self.batch)
        if err < 0:
            raise KernelError(-err, "the target node is full")
        if err:
            return err + self.nr_pages - at
        for lo in range(self.start, at, CHUNK):
            self.store(lo, np.full(min(at - lo, CHUNK), self.node, np.int32))
        return 0

    def run_of_node(self, at: int, pages: NDArray[np.uint64], node: int) -> int:
        """Entries ``at``... that all name ``node``; returns 0 or the positive result that ends the call."""
        if self.node >= 0 and node != self.node:
            left = self.flush(at)
            if left:
                return left
            self.node = -1
        i = 0
        status = np.empty(len(pages), np.int32)
        while i < len(pages):
            if self.node < 0:
                self.node, self.start = node, at + i
            self.ledger.begin(len(self.ledger.pairs))
            with mmap_read_lock(self.mm):
                before = self.mem.hw.now
                done, queued, stopped = self.mem.k.migrate.queue_addresses(
                    self.mem,
                    self.mm,
                    pages[i:],
                    node,
                    self.move_all,
                    status[i:],
                    self.batch,
                    len(self.batch) > 0,
                    VM_IO | VM_PFNMAP | self.engine.passes_over & VM_HUGETLB,
                )
            isolating = queued * self.mem.hw.cost["isolate_page"]
            self.ledger.walked(self.mem.hw.now - before, done, isolating)
            # Of the entries done, first come some with a status, then those queued, then perhaps one with a status.
            head = done - queued - stopped
            if head:
                self.store(at + i, status[i : i + head])
                self.start = at + i + head
            i += done
            if stopped:
                self.store_last(at + i - 1, status[i - 1 : i])
                left = self.flush(at + i - 1)
                if left:
                    return left - 1  # entry i itself has its answer
                self.node = -1
        return 0

    def store_last(self, at: int, value: NDArray[np.int32]) -> None:
        """store_status() for one entry; if it fails, what was queued before is still moved."""
        if self.arrays.write_status(at, value) < 1:
            self.flush(at)
            raise KernelError(EFAULT, "status[] cannot be written")


def do_pages_move(
    mem: MemMap,
    mm: MmStruct,
    ctx: AllocCtx,
    task_nodes: int,
    nr_pages: int,
    arrays: UserArrays,
    *,
    move_all: bool,
) -> int:
    """Move each page to its node; task_nodes: the nodes that the target task may use.

    Returns 0, or the pages left behind by the batch that failed plus all never tried. Raises KernelError: EFAULT (an
    entry cannot be read or its status not written), ENODEV (no such node, or none with memory), EACCES (a node
    outside ``task_nodes``), ENOMEM (a target filled up).
    """
    lru_cache_disable(mem)
    ledger = open_ledger(mem, ctx, engine_of(mem, aiming=True).name, "syscall_or_cpuset")
    with movable_pages(
        mem, ctx, ledger
    ) as batch:  # some may still wait in it when an answer could not be written
        return _move_all_entries(_Move(mem, mm, ctx, nr_pages, arrays, move_all, batch, ledger), task_nodes)


def _move_all_entries(move: _Move, task_nodes: int) -> int:
    at = 0
    error: KernelError | None = None
    while at < move.nr_pages and error is None:
        want = min(move.nr_pages - at, CHUNK)
        pages = move.arrays.read_pages(at, want)
        nodes = move.arrays.read_nodes(at, len(pages))
        n = len(nodes)
        if n < want:
            error = KernelError(EFAULT, "pages[] or nodes[] cannot be read")
        bad, error = _first_bad_node(move.mem, nodes[:n], task_nodes, error)
        cuts = np.flatnonzero(np.diff(nodes[:bad])) + 1
        for lo, hi in zip([0, *cuts], [*cuts, bad], strict=True):
            if lo < hi:
                left = move.run_of_node(at + int(lo), pages[lo:hi], int(nodes[lo]))
                if left:
                    return left
        at += bad
    try:
        left = move.flush(at)
    except KernelError:
        if error is None:
            raise
        left = 0
    if error is not None:
        raise error
    return left


def _first_bad_node(
    mem: MemMap, nodes: NDArray[np.int32], task_nodes: int, error: KernelError | None
) -> tuple[int, KernelError | None]:
    """How many entries come before the first whose node is refused, and the error that ends the call there."""
    for errno, mask in ((ENODEV, mem.memory_nodes), (EACCES, task_nodes)):
        allowed = np.zeros(64, bool)
        allowed[[i for i in range(64) if mask >> i & 1]] = True
        bad = np.flatnonzero((nodes < 0) | (nodes >= 64) | ~allowed[np.clip(nodes, 0, 63)])
        if len(bad):
            nodes = nodes[: bad[0]]
            error = KernelError(
                errno, "a node without memory" if errno == ENODEV else "a node outside the cpuset"
            )
    return len(nodes), error
