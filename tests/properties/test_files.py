"""A file that is written, read, cut off, mapped, stored into and forked behaves like an array of bytes.

Two machines do the same, one on the compiled kernels and one on their twins: they must have the same memory after each
step, in which no invariant is broken. What programs see of it is compared with a model in plain Python.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from numalab.arch.errno import ENOSPC, KernelError
from numalab.mm._mm_types import MmStruct, ShmemSbInfo
from numalab.mm.filemap import filemap_read, generic_perform_write
from numalab.mm.memory import UserFault, read_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.mincore import do_mincore
from numalab.mm.mman import MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_mmap, do_munmap
from numalab.mm.mpol import MPOL_BIND, MPOL_INTERLEAVE
from numalab.mm.shmem import shmem_fallocate, shmem_punch_hole
from numalab.mm.truncate import truncate_setsize

from tests.mm_machine import PAGE, MemFile, MmMachine

PAGES = 20  # the file may grow so far
ROOM = 14  # pages that the file system has
BASE = 0x10_0000_0000
STRIDE = 1 << 32  # a window is never near another, so that none are merged

sizes = st.integers(0, PAGES * PAGE) | st.integers(0, PAGES).map(lambda n: n * PAGE)
offsets = st.integers(0, (PAGES - 1) * PAGE) | st.integers(0, PAGES - 1).map(lambda n: n * PAGE)
lengths = st.integers(1, 3 * PAGE) | st.sampled_from([PAGE, 6 * PAGE])
picks = st.integers(0, 1 << 16)


class Side:
    """One of the two machines."""

    def __init__(self, twins: bool) -> None:
        self.m = MmMachine("2x1M,cpus=2", twins=twins)
        self.sb = ShmemSbInfo(ROOM)
        self.file = MemFile(self.m.mem, self.sb)
        self.m.new_mm()

    def mm(self, process: int) -> MmStruct:
        return self.m.mms[process]


@dataclass
class Window:
    """A mapping of one process. own: private copies of pages, by index in the file."""

    at: int
    first: int
    pages: int
    shared: bool
    own: dict[int, bytes] = field(default_factory=dict)


class FileMachine(RuleBasedStateMachine):
    """The model: pages of the file (one that is not there is zeros), its size, and windows by process."""

    @initialize()
    def boot(self) -> None:
        self.sides = [Side(twins) for twins in (False, True)]
        self.pages: dict[int, bytearray] = {}
        self.size = 0
        self.windows: list[list[Window]] = [[]]
        self.next = 0
        self.rng = random.Random(0)

    # Both machines

    @property
    def full(self) -> bool:
        return self.sides[0].sb.used_blocks == ROOM

    def page(self, index: int) -> bytes:
        return bytes(self.pages.get(index, bytes(PAGE)))

    def put(self, pos: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self.pages.setdefault((pos + i) // PAGE, bytearray(PAGE))[(pos + i) % PAGE] = byte

    def clear(self, start: int, end: int) -> None:
        for index in range(start // PAGE, -(-end // PAGE)):
            if index in self.pages:
                low, high = max(start, index * PAGE), min(end, (index + 1) * PAGE)
                self.pages[index][low % PAGE : low % PAGE + high - low] = bytes(high - low)

    def pick(self, n: int) -> tuple[int, Window]:
        known = [(process, window) for process, windows in enumerate(self.windows) for window in windows]
        return known[n % len(known)]

    def has_windows(self) -> bool:
        return any(self.windows)

    # The file by itself

    @rule(pos=offsets, n=lengths)
    def pwrite(self, pos: int, n: int) -> None:
        data = self.rng.randbytes(n)
        results = []
        for side in self.sides:
            try:
                results.append(generic_perform_write(side.file.mapping, side.m.ctx, pos, data))
            except KernelError as error:
                results.append(-error.errno)
        assert results[0] == results[1]
        assert results[0] == n or (self.full and (results[0] > 0 or results[0] == -ENOSPC))
        if results[0] > 0:
            self.put(pos, data[: results[0]])
            self.size = max(self.size, pos + results[0])

    @rule(pos=offsets, n=lengths)
    def read(self, pos: int, n: int) -> None:
        whole = b"".join(self.page(index) for index in range(-(-self.size // PAGE)))[: self.size]
        for side in self.sides:
            assert filemap_read(side.file.mapping, side.m.ctx, pos, n) == whole[pos : pos + n]

    @rule(size=sizes)
    def truncate(self, size: int) -> None:
        for side in self.sides:
            truncate_setsize(side.file.mapping, side.m.ctx, size)
        if size < self.size:
            self.clear(size, PAGES * PAGE)
            for windows in self.windows:
                for window in windows:
                    for index in [index for index in window.own if index * PAGE >= size]:
                        del window.own[index]
        self.size = size

    @rule(offset=offsets, n=lengths, keep_size=st.booleans())
    def fallocate(self, offset: int, n: int, keep_size: bool) -> None:
        before = self.sides[0].sb.used_blocks
        outcomes = []
        for side in self.sides:
            try:
                shmem_fallocate(side.file.mapping, side.m.ctx, offset, n, keep_size=keep_size)
                outcomes.append(0)
            except KernelError as error:
                outcomes.append(error.errno)
        assert outcomes[0] == outcomes[1]
        assert outcomes[0] in (0, ENOSPC)
        if outcomes[0]:
            assert self.sides[0].sb.used_blocks == before
        elif not keep_size:
            self.size = max(self.size, offset + n)

    @rule(offset=offsets, n=lengths)
    def punch_hole(self, offset: int, n: int) -> None:
        for side in self.sides:
            shmem_punch_hole(side.file.mapping, side.m.ctx, offset, n)
        self.clear(offset, offset + n)

    # Mappings

    @rule(process=picks, first=st.integers(0, PAGES - 1), pages=st.integers(1, 8), shared=st.booleans())
    def map(self, process: int, first: int, pages: int, shared: bool) -> None:
        process %= len(self.windows)
        self.next += 1
        at = BASE + self.next * STRIDE
        flags = (MAP_SHARED if shared else MAP_PRIVATE) | MAP_FIXED
        for side in self.sides:
            do_mmap(
                side.mm(process),
                side.m.ctx,
                at,
                pages * PAGE,
                PROT_READ | PROT_WRITE,
                flags,
                first,
                side.file,
            )
        self.windows[process].append(Window(at, first, pages, shared))

    @precondition(has_windows)
    @rule(n=picks, offset=st.integers(0, 8 * PAGE - 1), size=st.integers(1, 2 * PAGE))
    def store(self, n: int, offset: int, size: int) -> None:
        process, window = self.pick(n)
        offset %= window.pages * PAGE
        data = self.rng.randbytes(min(size, window.pages * PAGE - offset))
        done = []
        for side in self.sides:
            try:
                write_user(side.mm(process), side.m.ctx, window.at + offset, data)
                done.append(len(data))
            except UserFault as fault:
                done.append(fault.done)
        assert done[0] == done[1]
        stopped = window.first + (offset + done[0]) // PAGE
        assert done[0] == len(data) or stopped * PAGE >= self.size or self.full
        for i, byte in enumerate(data[: done[0]]):
            index, inside = window.first + (offset + i) // PAGE, (offset + i) % PAGE
            if window.shared:
                self.pages.setdefault(index, bytearray(PAGE))[inside] = byte
            else:
                own = bytearray(window.own.get(index, self.page(index)))
                own[inside] = byte
                window.own[index] = bytes(own)

    @precondition(has_windows)
    @rule(n=picks)
    def load(self, n: int) -> None:
        process, window = self.pick(n)
        for i in range(window.pages):
            index = window.first + i
            seen = []
            for side in self.sides:
                try:
                    seen.append(read_user(side.mm(process), side.m.ctx, window.at + i * PAGE, PAGE))
                except UserFault:
                    seen.append(b"")
            assert seen[0] == seen[1]
            if seen[0]:
                assert seen[0] == window.own.get(index, self.page(index))
            else:
                assert index * PAGE >= self.size or self.full

    @precondition(has_windows)
    @rule(n=picks, nodes=st.sampled_from([1, 2, 3]), mode=st.sampled_from([MPOL_BIND, MPOL_INTERLEAVE]))
    def mbind(self, n: int, nodes: int, mode: int) -> None:
        process, window = self.pick(n)
        for side in self.sides:
            mm = side.mm(process)
            do_mbind(side.m.mem, mm, side.m.ctx, window.at, window.pages * PAGE, mode, 0, nodes, 0)

    @precondition(has_windows)
    @rule(n=picks)
    def munmap(self, n: int) -> None:
        process, window = self.pick(n)
        for side in self.sides:
            do_munmap(side.mm(process), side.m.ctx, window.at, window.pages * PAGE)
        self.windows[process].remove(window)

    @precondition(lambda self: len(self.windows) < 4)
    @rule(process=picks)
    def fork(self, process: int) -> None:
        process %= len(self.windows)
        for side in self.sides:
            side.m.fork(side.mm(process))
        copies = [Window(w.at, w.first, w.pages, w.shared, dict(w.own)) for w in self.windows[process]]
        self.windows.append(copies)

    @precondition(lambda self: len(self.windows) > 1)
    @rule(process=picks)
    def exit(self, process: int) -> None:
        process %= len(self.windows)
        for side in self.sides:
            side.m.exit(side.mm(process))
        del self.windows[process]

    # What must hold

    @invariant()
    def nothing_is_broken_and_the_twins_agree(self) -> None:
        one, other = (side.m for side in self.sides)
        assert one.check() == []
        for name in ("hot", "cold", "node_stat", "event"):
            assert np.array_equal(getattr(one.mem, name), getattr(other.mem, name)), name
        assert one.hw.now == other.hw.now
        assert self.sides[0].file.mapping.entries() == self.sides[1].file.mapping.entries()
        assert self.sides[0].file.mapping.i_size == self.size
        for process, windows in enumerate(self.windows):
            for window in windows:
                both = [do_mincore(side.mm(process), window.at, window.pages * PAGE) for side in self.sides]
                assert both[0] == both[1]

    def teardown(self) -> None:
        for side in self.sides:
            for mm in list(side.m.mms):
                side.m.exit(mm)
            side.file.close()
            assert side.m.check() == []
            assert side.sb.used_blocks == 0
            side.m.close()


def test_any_sequence() -> None:
    # A quarter of the profile's runs: each step is done twice and checked twice.
    runs = max(10, settings().max_examples // 4)
    run_state_machine_as_test(
        FileMachine, settings=settings(max_examples=runs, suppress_health_check=[HealthCheck.too_slow])
    )
