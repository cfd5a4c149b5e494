"""Rules for processes and what they do to bytes: start, fork, exit, crash; touch, write, read."""

from __future__ import annotations

import random
from errno import ENOMEM
from signal import SIGSEGV

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, precondition, rule

from numalab.arch.errno import KernelError
from numalab.mm.mman import PROT_READ, PROT_WRITE
from numalab.syscalls.sys import Sys

from tests.driven import Died, Program
from tests.machine_rules.base import READABLE, Base, Process, counts, places, who
from tests.memory_model import PAGE, ZEROS, Image, Page

__all__ = ["ProcessRules"]

offsets = st.integers(0, PAGE - 1)
seeds = st.integers(0, 1 << 16)


class ProcessRules(Base):
    """A process that finds no frame dies by SIGKILL, one that errs by SIGSEGV; the others never notice."""

    @initialize(count=st.integers(8, 64), seed=seeds)
    def first_process(self, count: int, seed: int) -> None:
        """There is one process with some memory from the beginning."""
        count = self.size(count)
        self.start_process()
        if not self.processes:
            return
        process = self.processes[0]
        addr = self.act(process, lambda sys: sys.mmap(count * PAGE))
        assert addr is not None
        pages = range(addr // PAGE, addr // PAGE + count)
        process.image.pages.update(dict.fromkeys(pages, Page(PROT_READ | PROT_WRITE)))
        self.fill(0, seed)

    @rule()
    @precondition(Base.has_room)
    def start_process(self) -> None:
        try:
            self.processes.append(Process(Program.start(self.machine), Image()))
        except KernelError as error:
            errno = error.errno
        except Died as death:
            self.killed(death.status)
            return
        else:
            return
        assert self.may_run_out
        assert errno == ENOMEM

    @rule(number=who)
    @precondition(Base.has_a_parent_and_room)
    def fork(self, number: int) -> None:
        parent = self.pick(number)
        image = parent.image.child()
        child = self.act(parent, parent.program.fork)
        if isinstance(child, Program):
            try:
                child.wake()
            except Died as death:
                self.killed(death.status)
            else:
                self.processes.append(Process(child, image, parent.group))

    @rule(number=who)
    @precondition(Base.has_processes)
    def execve(self, number: int) -> None:
        """Memory goes, the policy of the task stays."""
        process = self.pick(number)
        try:
            process.program.execute()
        except OSError as error:
            errno = error.errno
        except Died as death:
            self.killed(death.status)
            return
        else:
            process.image.pages.clear()
            return
        assert self.may_run_out
        assert errno == ENOMEM

    def has_several(self) -> bool:
        return len(self.processes) > 2

    @rule(number=who)
    @precondition(has_several)
    def exit(self, number: int) -> None:
        process = self.pick(number)
        process.program.end()
        self.processes.remove(process)

    @rule(number=who, at=places, write=st.booleans())
    @precondition(has_several)
    def crash(self, number: int, at: int, write: bool) -> None:
        """Where nothing is mapped, or may not be accessed so, waits SIGSEGV."""
        process = self.pick(number)
        vpn = self.place(process, at)
        if not self.allowed(process, vpn, 1, PROT_WRITE if write else READABLE):
            with pytest.raises(Died) as death:
                process.program.do(lambda sys: sys.memory.touch(vpn * PAGE, write=write))
            assert death.value.status == -SIGSEGV
            self.processes.remove(process)

    @rule(number=who, cpu=st.integers(0, 7))
    @precondition(Base.has_processes)
    def set_affinity(self, number: int, cpu: int) -> None:
        process = self.pick(number)
        cpu %= self.machine.hw.nr_cpus
        if self.act(process, lambda sys: sys.sched_setaffinity(0, {cpu})) is not None:
            assert process.program.task.cpu == cpu

    @rule(number=who, at=places, count=counts, write=st.booleans(), value=st.integers(1, 255))
    @precondition(Base.has_processes)
    def touch(self, number: int, at: int, count: int, write: bool, value: int) -> None:
        """One load or store a page, as far as that is allowed."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        count = self.allowed(process, vpn, count, PROT_WRITE if write else READABLE)
        if not count:
            return
        alive = self.access(
            process, vpn, count, lambda sys: sys.memory.touch(vpn * PAGE + 7, count, write=write, value=value)
        )
        written = {page * PAGE + 7: bytes([value]) for page in range(vpn, vpn + count if write else vpn)}
        self.written(process, written, alive)

    @rule(number=who, at=places, count=counts, skip=offsets, cut=offsets, seed=seeds)
    @precondition(Base.has_processes)
    def write(self, number: int, at: int, count: int, skip: int, cut: int, seed: int) -> None:
        """Random bytes, beginning and ending anywhere in a page."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        count = self.allowed(process, vpn, count, PROT_WRITE)
        if count:
            begin, end = sorted((skip, count * PAGE - cut))
            self.store(process, vpn * PAGE + begin, random.Random(seed).randbytes(end - begin))

    @rule(number=who, seed=seeds)
    @precondition(Base.has_processes)
    def fill(self, number: int, seed: int) -> None:
        """Something else in every page that may be written."""
        process = self.pick(number)
        at = 0
        for vpn in sorted(process.image.pages):
            if vpn >= at and process in self.processes:
                at = vpn + self.fill_range(process, vpn, len(process.image.pages), seed)

    def fill_range(self, process: Process, vpn: int, count: int, seed: int) -> int:
        """Random bytes in the pages from vpn on that may be written, up to the first that may not; how many."""
        count = self.allowed(process, vpn, count, PROT_WRITE)
        if count:
            self.store(process, vpn * PAGE, random.Random(seed + vpn).randbytes(count * PAGE))
        return count

    def store(self, process: Process, addr: int, data: bytes) -> None:
        pages = (addr + len(data) - 1) // PAGE - addr // PAGE + 1
        alive = self.access(process, addr // PAGE, pages, lambda sys: sys.memory.write(addr, data))
        self.written(process, {addr: data}, alive)

    def written(self, process: Process, stores: dict[int, bytes], alive: bool) -> None:
        """A process has stored bytes. One that died of it has done so up to some page, and others may share that."""
        shares = [page.shared for page in process.image.pages.values() if page.shared is not None]
        before = {id(shared): dict(shared) for shared in shares}
        for addr, data in stores.items():
            process.image.write(addr, data)
        for other in self.processes if not alive else ():
            image = other.image
            there = self.present(other, sorted(image.pages))
            for vpn, page in image.pages.items():
                if page.shared is None or id(page.shared) not in before:
                    continue
                old = before[id(page.shared)].get(page.index, ZEROS)
                seen = self.content(there[vpn]) if vpn in there else ZEROS
                assert seen in (old, image.content(vpn)), f"8: other bytes at {vpn * PAGE:#x}"
                if seen == old:
                    page.shared[page.index] = old

    @rule(number=who, at=places, count=counts)
    @precondition(Base.has_processes)
    def read(self, number: int, at: int, count: int) -> None:
        """Through TLB and page tables, as the program itself sees it."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        count = self.allowed(process, vpn, count, READABLE)
        if count:
            seen = self.act(process, lambda sys: sys.memory.read(vpn * PAGE, count * PAGE))
            assert seen is None or process.image.reads(vpn, seen)

    @rule(number=who, deep=st.integers(1, 300), seed=seeds)
    @precondition(Base.has_processes)
    def use_stack(self, number: int, deep: int, seed: int) -> None:
        """The stack grows down to where it is touched."""
        process = self.pick(number)
        addr, data = process.program.mm.start_stack - deep * 977, random.Random(seed).randbytes(8)

        def call(sys: Sys) -> bytes:
            sys.memory.write(addr, data)
            return sys.memory.read(addr, 8)

        assert self.act(process, call) in (data, None)
