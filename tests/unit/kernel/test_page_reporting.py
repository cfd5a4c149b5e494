"""The host gets back what programs have freed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import numalab
from numalab.kernel.machine import Machine
from numalab.mm import page_reporting
from numalab.mm._constants import MAX_ORDER, ORDER_FREE
from numalab.syscalls.sys import Sys

PAGE, MIB = 4096, 1 << 20
SIZE = 128 * MIB
SLACK = 24 * MIB  # tables, what describes frames, blocks in which something is still used


def rss() -> int:
    """What this process has of the host's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def boot(*, debug_vm: bool = False) -> Machine:
    return numalab.boot("4x512M", debug_vm=debug_vm)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """While programs run, the host gets memory back as soon as it does when they rest."""
    monkeypatch.setattr(page_reporting, "MUCH", page_reporting.ENOUGH)


def filled(sys: Sys, size: int = SIZE) -> int:
    addr = sys.mmap(size)
    sys.memory.touch(addr, size // PAGE)
    return addr


def free_blocks(machine: Machine) -> list[int]:
    return [
        pfn
        for pfn in range(0, machine.hw.nr_frames, 1 << MAX_ORDER)
        if machine.mem.order[pfn] == ORDER_FREE | MAX_ORDER
    ]


def test_a_program_that_has_ended_costs_the_host_nothing() -> None:
    with boot() as machine:
        before, used = rss(), []

        def main(sys: Sys) -> None:
            filled(sys)
            used.append(rss() - before)

        machine.run(main)
        assert used[0] >= SIZE
        assert rss() - before < SLACK


@pytest.mark.usefixtures("soon")
def test_pages_that_move_leave_nothing_behind_while_the_program_runs() -> None:
    def main(sys: Sys) -> None:
        addr = filled(sys)
        sys.memory.write(addr + SIZE // 2, b"here")
        sys.migrate_pages(0, [0], [1])  # page tables stay behind, and keep their blocks from being free
        before = rss()
        for source in (1, 2):
            assert sys.migrate_pages(0, [source], [source + 1]) == 0
            sys.sleep(1)
            assert rss() - before < SLACK
        assert sys.memory.read(addr + SIZE // 2, 4) == b"here"

    with boot() as machine:
        machine.run(main)


@pytest.mark.usefixtures("soon")
def test_free_blocks_are_zeros_and_what_is_used_stays() -> None:
    kept = {}

    def main(sys: Sys) -> None:
        areas = [filled(sys, SIZE // 16) for _ in range(16)]
        for area in areas[1::2]:
            for addr in range(area, area + SIZE // 16, MIB):
                kept[addr] = addr.to_bytes(8, "little")
                sys.memory.write(addr, kept[addr])
        for area in areas[::2]:
            sys.munmap(area, SIZE // 16)
        sys.sleep(1)
        assert {addr: sys.memory.read(addr, 8) for addr in kept} == kept

    with boot() as machine:
        machine.run(main)
        blocks = free_blocks(machine)
        assert len(blocks) > 16
        for pfn in blocks:
            assert not machine.hw.ram[pfn * PAGE : (pfn + (1 << MAX_ORDER)) * PAGE].any()


def test_little_is_kept() -> None:
    with boot() as machine:
        machine.run(lambda sys: filled(sys, 8 * MIB) and 0)
        assert np.count_nonzero(machine.hw.ram[::PAGE]) >= 8 * MIB // PAGE


def test_poison_stays() -> None:
    with boot(debug_vm=True) as machine:
        machine.run(lambda sys: filled(sys) and 0)
        for pfn in free_blocks(machine):
            assert machine.hw.ram[pfn * PAGE]
        machine.check_invariants()
