"""Whole migrations, contents and ledger included: against memcpy of the same pages in the same order.

migrate: migrate_pages(2) from one node to another below the system call. swap-out: the same by eviction to a swap area
in memory; the way back is a read of every page. Physical order: pages lie one behind the other; random: in the order of
a shuffled free. flat: the dearest over the cheapest page of 64 MiB, 512 MiB and 4 GiB.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numalab.arch.disk import Disk
from numalab.mm._mm_types import MemMap
from numalab.mm.memory import handle_mm_fault
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.swapfile import swapon

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Skipped, Value

PAGES = 1 << 16
HUGE = 1 << 20  # 4 GiB
FROM, TO = 1, 0  # node 1's lowest zone reaches over the whole node
MOVE = 2
Frames = NDArray[np.uint32]


def measure() -> dict[str, Value]:
    values: dict[str, Value] = {}
    rng = np.random.default_rng()
    for order in ("physical", "random"):
        mem = machine.build("2x1536M")
        swapon(mem, Disk(mem.hw, mem.timers, "store", PAGES + 64))
        scattered = machine.scattered_frames(mem, FROM, PAGES, rng) if order == "random" else nullcontext()
        with scattered:
            values |= {f"{name}-{order}": value for name, value in one_order(mem).items()}
        mem.hw.close()
    return values | flat()


def flat() -> dict[str, Value]:
    """What a page costs whether few or many move."""
    need = (2 * HUGE + (1 << 17)) * machine.PAGE
    if need > available():
        return {"migrate-flat": Skipped(f"needs {need >> 30} GiB of the host's memory")}
    mem = machine.build(f"2x{(HUGE + (1 << 15)) * machine.PAGE >> 20}M")
    programs = {str(pages): machine.Program(mem, pages, FROM) for pages in (HUGE >> 6, HUGE >> 3, HUGE)}

    def migrate(program: machine.Program) -> Contender:
        def run() -> int:
            program.map()
            program.touch()
            start = now()
            left = do_migrate_pages(mem, program.mm, program.ctx, 1 << FROM, 1 << TO, MOVE)
            taken = now() - start
            assert not left
            program.unmap()
            return taken

        return run

    ns = shortest({name: migrate(program) for name, program in programs.items()}, repeats=5)
    mem.hw.close()
    each = [taken / int(name) for name, taken in ns.items()]
    return {"migrate-flat": max(each) / min(each)}


def available() -> int:
    """MemAvailable of the host, in bytes."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) << 10


def frames_of(program: machine.Program) -> Frames:
    return ((program.ptes() >> np.uint64(12)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def one_order(mem: MemMap) -> dict[str, Value]:
    module = build.load("touch")
    program = machine.Program(mem, PAGES, FROM)
    store = np.zeros(PAGES * machine.PAGE, np.uint8)
    before: Frames = np.zeros(0, np.uint32)
    after = before

    def settle() -> None:
        """Every page on the first node, in its order."""
        program.unmap()
        program.map()
        program.touch()

    def migrate() -> int:
        nonlocal before, after
        mem.engine = "batched"
        settle()
        before = frames_of(program)
        start = now()
        left = do_migrate_pages(mem, program.mm, program.ctx, 1 << FROM, 1 << TO, MOVE)
        taken = now() - start
        assert not left
        after = frames_of(program)
        return taken

    def memcpy() -> int:
        start = now()
        module.copy_pages(mem, before, after)
        return now() - start

    def evict() -> int:
        mem.engine = "swap"
        settle()
        start = now()
        left = do_migrate_pages(mem, program.mm, program.ctx, 1 << FROM, 1 << TO, MOVE)
        taken = now() - start
        assert not left
        return taken

    def come_back() -> int:
        """Every page is in swap here."""
        start = now()
        handle_mm_fault(program.mm, program.ctx, program.start, program.end, False)
        return now() - start

    def copy_out() -> int:
        start = now()
        module.copy_out(mem, before, store)
        return now() - start

    contenders: dict[str, Contender] = {
        "migrate": migrate,
        "memcpy": memcpy,
        "evict": evict,
        "back": come_back,
        "copy out": copy_out,
    }
    ns = shortest(contenders, repeats=5)
    program.close()
    return {
        "migrate-memcpy": ns["memcpy"] / ns["migrate"],
        "swap-out-memcpy": ns["copy out"] / ns["evict"],
        "migrate-swap": (ns["evict"] + ns["back"]) / ns["migrate"],
        "migrate-ns": ns["migrate"] / PAGES,
        "swap-out-ns": ns["evict"] / PAGES,
    }
