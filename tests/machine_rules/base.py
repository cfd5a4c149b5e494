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
from numalab.arch._pagetable_reference import PTE_PRESENT, swp_offset, swp_type
from numalab.arch.node import Topology
from numalab.mm._constants import PG_uptodate
from numalab.mm.invariants import InvariantError, check_invariants
from numalab.mm.mman import PROT_EXEC, PROT_READ, PROT_WRITE
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.shared_policy import get_vma_policy
from numalab.mm.vm_flags import PAGE_SHIFT, VM_ACCESS_FLAGS, VM_LOCKED
from numalab.mm.vma_tree import linear_page_index, vma_lookup
from numalab.syscalls.sys import Sys

from tests.driven import Died, Program
from tests.memory_model import PAGE, ZEROS, Image, Policy

__all__ = [
    "MAPPED", "MOST_PROCESSES", "NEAR", "NEAR_PAGES", "PFN_MASK", "READABLE", "Base", "Process", "counts",
    "places", "who",
]  # fmt: skip

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
    """A program on the machine, what it must find in its memory, and the cgroup that it is in."""

    def __init__(self, program: Program, image: Image, group: int = 0) -> None:
        self.program = program
        self.image = image
        self.group = group


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
        # Who finds no frame ends himself: the model must know it beforehand.
        self.mem.out_of_memory = lambda nodes: False
        self.memory_nodes = [n for n in self.machine.topology.node_ids if self.mem.memory_nodes >> n & 1]
        self.processes: list[Process] = []
        #: The nodes that each cgroup allows, as masks; 0 is the root.
        self.mems = [self.mem.memory_nodes] * 3
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

    def killed(self, status: int, signo: int = SIGKILL) -> None:
        """A process has ended: by a signal that was due, or by SIGKILL, which is right if memory can run out here."""
        assert status in (-signo, -SIGKILL)
        wanted = self.may_run_out or status != -SIGKILL
        assert wanted, "killed for want of memory on a machine that has plenty"
        self.processes = [process for process in self.processes if process.program.alive]

    def access(self, process: Process, vpn: int, count: int, call: Callable[[Sys], object]) -> bool:
        """A load or store; what it faults in must come from the nodes of the cpuset, under BIND from those bound to.

        False: the process died.
        """
        vpns = process.image.mapped(vpn, count)
        before = {at: self.in_memory(pte) for at, pte in self.present(process, vpns).items()}
        self.act(process, call)
        if process not in self.processes:
            return False
        for at, pte in self.present(process, vpns).items():
            mode, nodes = self.policy_of(process, at)
            node = self.node_of(pte)
            if node >= 0 and self.in_memory(pte) != before.get(at):
                mems = self.mems[process.group]
                if mode == MPOL_BIND:
                    mems = nodes & mems or mems
                assert mems >> node & 1, f"9: a page that may be on {mems:#x} was put on node {node}"
        return True

    # Looking

    def ptes(self, process: Process, vpns: list[int]) -> dict[int, int]:
        """PTEs by page number, of those pages that have one. Changes nothing, unlike an access."""
        ptes = np.zeros(len(vpns), np.uint64)
        addresses = np.array(vpns, np.uint64) << np.uint64(12)
        self.mem.k.pagetable.walk_batch(self.machine.hw, process.program.mm.pgd, addresses, ptes)
        return {vpn: pte for vpn, pte in zip(vpns, ptes.tolist(), strict=True) if pte}

    def present(self, process: Process, vpns: list[int]) -> dict[int, int]:
        """The same, and in place of PTEs that are missing what shared memory has there: a page, a swap entry."""
        ptes = self.ptes(process, vpns)
        for vpn in vpns:
            if vpn not in ptes and process.image.pages[vpn].shared is not None:
                vma = vma_lookup(process.program.mm, vpn * PAGE)
                assert vma is not None
                assert vma.file is not None
                entry = vma.file.mapping.load(linear_page_index(vma, vpn * PAGE))
                if entry:
                    ptes[vpn] = entry - 1 if entry & 1 else (entry >> 1) << PAGE_SHIFT | PTE_PRESENT
        return ptes

    def policy_of(self, process: Process, vpn: int) -> Policy:
        """What decides on the node of a new page. Of shared memory the machine knows who bound it last."""
        own = process.image.pages[vpn].policy
        if process.image.pages[vpn].shared is not None:
            vma = vma_lookup(process.program.mm, vpn * PAGE)
            policy = None if vma is None else get_vma_policy(vma, vpn * PAGE)
            own = None if policy is None else (policy.mode, policy.nodes)
        return own or process.image.policy or (0, 0)

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

    def slot(self, pte: int) -> int | None:
        """The slot that a swap PTE names; None if it is none."""
        return swp_offset(pte) if pte and not pte & MAPPED else None

    def in_memory(self, pte: int) -> int:
        """The frame that holds the page that a PTE names, also in the swap cache; 0 if it is in swap alone."""
        slot = self.slot(pte)
        if slot is None:
            return (pte & PFN_MASK) >> PAGE_SHIFT
        area = self.mem.swap_areas[swp_type(pte)]
        assert area is not None
        return int(area.cache[slot])

    def content(self, pte: int) -> bytes:
        """The bytes of the page that a PTE names, in RAM or in swap."""
        ram = self.machine.hw.ram
        at = pte & PFN_MASK
        slot = self.slot(pte)
        if slot is not None:
            area = self.mem.swap_areas[swp_type(pte)]
            assert area is not None
            cached = int(area.cache[slot])
            # What is being read, or could not be read, is still where it was.
            if not cached or not int(self.mem.hot["flags"][cached]) & PG_uptodate:
                if area.zeromap[slot]:
                    return ZEROS
                return area.disk.store[slot * PAGE : (slot + 1) * PAGE].tobytes()
            at = cached * PAGE
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
            image = process.image
            ptes = self.present(process, sorted(image.pages))
            for vpn in list(image.pages):
                if vpn in ptes:
                    seen = self.content(ptes[vpn])
                    assert image.agrees(vpn, seen), f"8: other bytes at {vpn * PAGE:#x}"
                else:
                    seen = ZEROS
                    may_be = image.content(vpn) is ZEROS or image.pages[vpn].lost is ZEROS
                    assert may_be, f"8: the page at {vpn * PAGE:#x} is gone"
                image.settle(vpn, seen)

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
            while self.machine.sched.timers.skip():  # every obstacle goes
                pass
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
                assert image.agrees(vpn, seen)
