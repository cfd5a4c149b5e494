"""Whole migrations, contents and ledger included: against memcpy of the same pages in the same order.

migrate: migrate_pages(2) from one node to another below the system call; metadata: all of it but the copies.
swap-out: the same by eviction to a swap area in memory; the way back is a read of every page. Physical order: pages lie
one behind the other; random: in the order of a shuffled free. flat: the dearest over the cheapest page of 64 MiB,
512 MiB and 4 GiB.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numalab.arch import _copy
from numalab.arch.disk import Disk
from numalab.mm._mm_types import MemMap
from numalab.mm._page_list import PageList
from numalab.mm.memory import handle_mm_fault
from numalab.mm.migrate.batched import lru_cache_disable
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


class Passes:
    """One program whose pages all lie on the first node at the start of each pass, in the same order."""

    def __init__(self, mem: MemMap) -> None:
        self.mem = mem
        self.touch = build.load("touch")
        self.kernels = build.load("migrate")
        self.program = machine.Program(mem, PAGES, FROM)
        self.store = np.zeros(PAGES * machine.PAGE, np.uint8)
        self.before = self.after = np.zeros(0, np.uint32)

    def settle(self, engine: str) -> None:
        self.mem.engine = engine
        self.program.unmap()
        self.program.map()
        self.program.touch()

    def move(self) -> int:
        program = self.program
        start = now()
        stay = do_migrate_pages(self.mem, program.mm, program.ctx, 1 << FROM, 1 << TO, MOVE)
        taken = now() - start
        assert not stay
        return taken

    def migrate(self) -> int:
        self.settle("batched")
        self.before = frames_of(self.program)
        taken = self.move()
        self.after = frames_of(self.program)
        return taken

    def sse2(self) -> int:
        usual = _copy.which()
        _copy.choose("sse2")
        taken = self.migrate()
        _copy.choose(usual)
        return taken

    def metadata(self) -> int:
        """Find the pages, isolate, unmap, map the new ones, free the old ones."""
        mem, program, kernels = self.mem, self.program, self.kernels
        self.settle("batched")
        lru_cache_disable(mem)
        mem.hw.ram[int(frames_of(program)[0]) * machine.PAGE] = 1
        left, why = np.empty(512, np.uint32), np.empty(512, np.uint8)
        pages, stats = PageList(), kernels.MigrateStats()
        kernels.set_copying(False)
        start = now()
        kernels.queue_range(mem, program.mm, program.start, program.end, 1 << FROM, False, MOVE, pages)
        kernels.migrate_batch(mem, program.ctx, pages.take(), 0, kernels.Target(TO), stats, left, why)
        taken = now() - start
        assert stats.moved == PAGES
        assert mem.hw.ram[int(frames_of(program)[0]) * machine.PAGE] == 0, "this one was copied"
        return taken

    def memcpy(self) -> int:
        start = now()
        self.touch.copy_pages(self.mem, self.before, self.after)
        return now() - start

    def evict(self) -> int:
        self.settle("swap")
        return self.move()

    def come_back(self) -> int:
        """After evict()."""
        program = self.program
        start = now()
        handle_mm_fault(program.mm, program.ctx, program.start, program.end, False)
        return now() - start

    def copy_out(self) -> int:
        start = now()
        self.touch.copy_out(self.mem, self.before, self.store)
        return now() - start


def one_order(mem: MemMap) -> dict[str, Value]:
    passes = Passes(mem)
    contenders: dict[str, Contender] = {
        "migrate": passes.migrate,
        "memcpy": passes.memcpy,
        "metadata": passes.metadata,
        "evict": passes.evict,
        "back": passes.come_back,
        "copy out": passes.copy_out,
    }
    if "sse2" in _copy.paths():
        contenders["sse2"] = passes.sse2
    ns = shortest(contenders, repeats=5)
    passes.program.close()
    return {
        "migrate-memcpy": ns["memcpy"] / ns["migrate"],
        "migrate-sse2": ns["memcpy"] / ns["sse2"] if "sse2" in ns else Skipped("this processor has no SSE2"),
        "migrate-metadata": ns["metadata"] / ns["memcpy"],
        "swap-out-memcpy": ns["copy out"] / ns["evict"],
        "migrate-swap": (ns["evict"] + ns["back"]) / ns["migrate"],
        "migrate-ns": ns["migrate"] / PAGES,
        "swap-out-ns": ns["evict"] / PAGES,
    }
