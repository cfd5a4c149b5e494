"""What the rules of the state machine share: processes, choosing, watching, and what is checked after every step."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOMEM
from signal import SIGKILL
from typing import ClassVar, TypeVar

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, invariant

import numalab
from numalab.arch.node import Topology
from numalab.mm.invariants import InvariantError, check_invariants
from numalab.mm.mman import PROT_EXEC, PROT_READ, PROT_WRITE
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.vm_flags import VM_ACCESS_FLAGS, VM_LOCKED
from numalab.syscalls.sys import Sys

from tests.driven import Died, Program
from tests.memory_model import PAGE, ZEROS, Image, Policy

__all__ = ["MOST_PROCESSES", "PFN_MASK", "READABLE", "Base", "Process", "counts", "places", "who"]

T = TypeVar("T")

MOST_PROCESSES = 6
#: On x86 what may be written or executed may be read.
READABLE = PROT_READ | PROT_WRITE | PROT_EXEC
PFN_MASK = 0x000FFFFFFFFFF000
#: Bits of which one is set in a PTE that names a page: present, or PROT_NONE.
MAPPED = 0x101

#: Where things are mapped: 64 pages across the border of two page tables, and 16 pages under tables of their own.
NEAR, NEAR_PAGES = 0x2000_0020_0000 // PAGE - 32, 64
FAR, FAR_PAGES = 0x1000_0000_0000 // PAGE, 16
#: Beside these a process has what a C library would have: a scratch area, and a stack.
SCRATCH, STACK = 0x6000_0000_0000 // PAGE, 0x7FFF_FE00_0000 // PAGE

who = st.integers(0, MOST_PROCESSES - 1)
places = st.integers(0, 255)
counts = st.integers(1, 24)


class Process:
    """A program on the machine, and what it must find in its memory."""

    def __init__(self, program: Program, image: Image) -> None:
        self.program = program
        self.image = image


class Base(RuleBasedStateMachine):
    """spec: the machine; may_run_out: whether it is so small that memory may run out; scale: how long ranges are.

    With a scale of 30, ranges have up to 700 pages and cross page tables, batches, chunks and whatever else has an end.
    """

    spec: ClassVar[str | Topology]
    may_run_out: ClassVar[bool] = False
    scale: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.machine = numalab.boot(self.spec, seed=1, debug_vm=True)
        self.mem = self.machine.mem
        self.memory_nodes = [n for n in self.machine.topology.node_ids if self.mem.memory_nodes >> n & 1]
        self.processes: list[Process] = []
        #: Pages that the test itself took off the LRU.
        self.isolated: list[int] = []

    # Preconditions

    def has_processes(self) -> bool:
        return bool(self.processes)

    def has_room(self) -> bool:
        return len(self.processes) < MOST_PROCESSES

    def has_a_parent_and_room(self) -> bool:
        return self.has_processes() and self.has_room()

    # Choosing

    def pick(self, number: int) -> Process:
        return self.processes[number % len(self.processes)]

    def place(self, process: Process, number: int) -> int:
        """Where a range begins. Two thirds of the numbers choose among the mapped pages, the rest among all places."""
        mapped = sorted(process.image.pages)
        if number >= NEAR_PAGES + FAR_PAGES and mapped:
            return mapped[number % len(mapped)]
        number %= NEAR_PAGES + FAR_PAGES
        at = number if number < NEAR_PAGES else number - NEAR_PAGES
        return (NEAR if number < NEAR_PAGES else FAR) + at * self.scale

    def size(self, count: int) -> int:
        """Pages in a range: from 1 on, or at a larger scale from nearly that on, and not only round numbers."""
        return count * self.scale - count % self.scale

    def nodes(self, mask: int) -> set[int]:
        """Nodes that exist, at least one."""
        ids = self.machine.topology.node_ids
        return {n for i, n in enumerate(ids) if mask >> i & 1} or {ids[0]}

    def allowed(self, process: Process, vpn: int, count: int, prot: int) -> int:
        """How many pages from vpn on may be accessed in one of the ways of ``prot``."""
        pages = process.image.pages
        n = 0
        while n < count and vpn + n in pages and pages[vpn + n].prot & prot:
            n += 1
        return n

    # Acting

    def act(self, process: Process, call: Callable[[Sys], T], *, enomem: bool = False) -> T | int | None:
        """Let a process do something: its result, -errno, or None if it died for want of memory.

        enomem: ENOMEM is the answer to something else as well, such as a hole in the range.
        """
        try:
            return process.program.do(call)
        except OSError as error:
            errno = error.errno or 0
        except Died as death:
            self.killed(death.status)
            return None
        assert errno != ENOMEM or self.may_run_out or enomem, "out of memory on a machine that has plenty"
        return -errno

    def killed(self, status: int) -> None:
        """A process has ended that should not have: that is right if memory can run out here."""
        assert status == -SIGKILL
        assert self.may_run_out, "killed for want of memory on a machine that has plenty"
        self.processes = [process for process in self.processes if process.program.alive]

    def access(self, process: Process, vpn: int, count: int, call: Callable[[Sys], object]) -> bool:
        """A load or store; what it faults in under BIND must come from the nodes bound to. False: the process died."""
        vpns = process.image.mapped(vpn, count)
        before = self.ptes(process, vpns)
        self.act(process, call)
        if process not in self.processes:
            return False
        for at, pte in self.ptes(process, vpns).items():
            mode, nodes = process.image.pages[at].policy or process.image.policy or (0, 0)
            node = self.node_of(pte)
            if mode == MPOL_BIND and node >= 0 and (pte ^ before.get(at, 0)) & PFN_MASK:
                assert nodes >> node & 1, f"9: a page bound to {nodes:#x} was put on node {node}"
        return True

    # Looking

    def ptes(self, process: Process, vpns: list[int]) -> dict[int, int]:
        """PTEs by page number, of those pages that have one. Changes nothing, unlike an access."""
        ptes = np.zeros(len(vpns), np.uint64)
        addresses = np.array(vpns, np.uint64) << np.uint64(12)
        self.mem.k.pagetable.walk_batch(self.machine.hw, process.program.mm.pgd, addresses, ptes)
        return {vpn: pte for vpn, pte in zip(vpns, ptes.tolist(), strict=True) if pte}

    def frame(self, process: Process, vpn: int) -> int | None:
        """The frame of one page; None if it has none of its own."""
        pte = self.ptes(process, [vpn]).get(vpn, 0)
        if not pte & MAPPED:
            return None
        pfn = (pte & PFN_MASK) >> 12
        return pfn if pte and pfn != self.mem.zero_pfn else None

    def node_of(self, pte: int) -> int:
        """Where a PTE's page is; the zero page is nowhere, and so is a page in swap."""
        if not pte & MAPPED:
            return -1
        pfn = (pte & PFN_MASK) >> 12
        return -1 if pfn == self.mem.zero_pfn else self.mem.node_of(pfn)

    def content(self, pte: int) -> bytes:
        """The bytes of the page that a PTE names, in RAM or in swap."""
        ram = self.machine.hw.ram
        at = pte & PFN_MASK
        if not pte & MAPPED:
            area = self.mem.swap_areas[pte >> 59]
            assert area is not None
            slot = pte >> 9 & (1 << 50) - 1
            if not area.cache[slot]:
                return area.disk.store[slot * PAGE : (slot + 1) * PAGE].tobytes()
            at = int(area.cache[slot]) * PAGE
        return ram[at : at + PAGE].tobytes()

    # After every step

    @invariant()
    def no_invariant_is_broken(self) -> None:
        k = self.machine.kernel
        broken = check_invariants(k.mem, list(k.mms()), [task.ctx for task in k.pids], isolated=self.isolated)
        if broken:
            raise InvariantError(broken)

    @invariant()
    def every_byte_is_as_written(self) -> None:
        for process in self.processes:
            self.check_areas(process)
            pages = process.image.pages
            ptes = self.ptes(process, sorted(pages))
            for vpn, page in pages.items():
                if vpn in ptes:
                    assert self.content(ptes[vpn]) == page.content, f"8: other bytes at {vpn * PAGE:#x}"
                else:
                    assert page.content is ZEROS, f"8: the page at {vpn * PAGE:#x} is gone"

    def check_areas(self, process: Process) -> None:
        """Areas are where the model has pages, with the same rights, locks and policies."""
        found: dict[int, tuple[int, bool, Policy | None]] = {}
        for vma in process.program.mm.vmas.values():
            first = vma.start // PAGE
            if first < STACK and not SCRATCH <= first < SCRATCH + 64:
                policy = None if vma.policy is None else (vma.policy.mode, vma.policy.nodes)
                like = (vma.flags & VM_ACCESS_FLAGS, bool(vma.flags & VM_LOCKED), policy)
                found.update(dict.fromkeys(range(first, vma.end // PAGE), like))
        assert found == {vpn: (p.prot, p.locked, p.policy) for vpn, p in process.image.pages.items()}

    def teardown(self) -> None:
        """The programs read all they may once more themselves; then they go, and nothing stays behind."""
        try:
            self.mem.k.lru.putback(self.mem, 0, np.array(self.isolated, np.uint32))
            self.isolated = []
            for process in list(self.processes):
                self.read_everything(process)
            for process in self.processes:
                process.program.end()
            self.processes = []
            self.no_invariant_is_broken()
            assert len(list(self.machine.kernel.mms())) == 1, "only init is left"
        finally:
            self.machine.close()

    def read_everything(self, process: Process) -> None:
        image = process.image
        for vpn, page in sorted(image.pages.items()):
            if page.prot & READABLE:
                seen = self.act(process, lambda sys, at=vpn: sys.memory.read(at * PAGE, PAGE))  # type: ignore[misc]
                if seen is None:
                    return
                assert seen == page.content
