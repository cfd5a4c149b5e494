"""Range touch: against the host's page faults, against memset of the pages, against the same work in C.

Fresh: whole buddy blocks. Scattered: single frames, no two of them neighbours, in the order of a shuffled free.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numalab.arch.sparse import sparse

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest

PAGES = 1 << 16
SCATTERED = 1 << 18
NODE = 1  # its lowest zone reaches over the whole node


def timed(work: Callable[[], object], before: Callable[[], object], after: Callable[[], object]) -> Contender:
    def run() -> int:
        before()
        start = now()
        work()
        taken = now() - start
        after()
        return taken

    return run


def host_touch(pages: int) -> Contender:
    host = build.load("host")

    def run() -> int:
        start = now()
        address = host.map_pages(pages)
        host.touch(address, pages)
        taken = now() - start
        host.unmap(address, pages)
        return taken

    return run


class FloorMachine:
    """The C floor of benchmarks/touch.h with frames of a node that the machine under test does not touch."""

    def __init__(self, mem: machine.MemMap, frames: np.ndarray, blocks: bool) -> None:
        touch = build.load("touch")
        spanned = mem.hw.nr_frames
        self.floor = touch.Floor(
            mem,
            sparse(32 * spanned, np.uint8, huge=True),
            sparse(32 * spanned, np.uint8, huge=True),
            sparse(spanned, np.uint8),
            sparse(4 * spanned + 4096, np.uint32),
            sparse(spanned, np.uint32),
            int(frames[0]),
        )
        self.frames = (frames[1024::1024] if blocks else frames[1:]).copy()
        self.touch_module = touch

    def contender(self, where: int, pages: int, zero: bool) -> Contender:
        def work() -> None:
            assert self.floor.touch(1 << 30, pages, zero) == pages

        return timed(work, lambda: self.floor.reset(where, self.frames), lambda: None)


def measure() -> dict[str, float]:
    values = {}
    mem = machine.build("2x1536M")
    values |= fresh(mem)
    mem.hw.close()
    mem = machine.build("2x3G")
    values |= scattered(mem, np.random.default_rng())
    mem.hw.close()
    return values


def contenders(program: machine.Program) -> dict[str, Contender]:
    """The kernel's touch with its zeroing and without, and memset of the same pages."""
    touch = build.load("touch")
    [vma] = program.mm.vmas.values()
    assert vma.anon_vma is not None

    def without_zeroing() -> None:
        touch.touch_metadata(program.mem, program.mm, vma, program.ctx, program.start, program.end)

    def zap() -> None:
        program.mem.k.memory.zap_range(program.mem, program.mm, program.ctx.cpu, program.start, program.end)

    def memset() -> int:
        program.touch()
        pfns = ((program.ptes() >> 12) & 0xFFFFFFFF).astype(np.uint32)
        start = now()
        touch.set_pages(program.mem, pfns)
        taken = now() - start
        zap()
        return taken

    return {
        "touch": timed(program.touch, lambda: None, zap),
        "metadata": timed(without_zeroing, lambda: None, zap),
        "memset": memset,
        "host": host_touch(program.pages),
    }


def fresh(mem: machine.MemMap) -> dict[str, float]:
    program = machine.Program(mem, PAGES, NODE)
    program.touch()
    program.mem.k.memory.zap_range(mem, program.mm, program.ctx.cpu, program.start, program.end)
    zone = mem.zones[mem.zones["node"] == 0][-1]
    first = -int(-int(zone["start"]) // 1024) * 1024
    floor = FloorMachine(mem, np.arange(first, int(zone["end"]), dtype=np.uint32), True)
    blocks = build.load("touch").BLOCKS
    ns = shortest(
        contenders(program)
        | {
            "floor": floor.contender(blocks, PAGES, True),
            "floor metadata": floor.contender(blocks, PAGES, False),
        }
    )
    program.close()
    return {
        "touch-fresh-host": ns["host"] / ns["touch"],
        "touch-fresh-metadata": ns["metadata"] / ns["memset"],
        "touch-floor": ns["touch"] / ns["floor"],
        "touch-metadata-floor": ns["metadata"] / ns["floor metadata"],
    }


def scattered(mem: machine.MemMap, rng: np.random.Generator) -> dict[str, float]:
    program = machine.Program(mem, SCATTERED, NODE)
    zone = mem.zones[mem.zones["node"] == 0][-1]
    with machine.scattered_frames(mem, NODE, SCATTERED, rng):
        program.touch()
        program.mem.k.memory.zap_range(mem, program.mm, program.ctx.cpu, program.start, program.end)
        pairs = rng.permutation(np.arange(int(zone["start"]) // 2, int(zone["end"]) // 2, dtype=np.uint32))
        frames = pairs[: SCATTERED + 4096] * 2
        floor = FloorMachine(mem, frames, False)
        touch = build.load("touch")
        ns = shortest(
            contenders(program)
            | {
                "array": floor.contender(touch.ARRAY, SCATTERED, False),
                "list": floor.contender(touch.LIST, SCATTERED, False),
            }
        )
        program.close()
    return {
        "touch-scattered-host": ns["host"] / ns["touch"],
        "touch-scattered-metadata": ns["metadata"] / ns["memset"],
        "touch-array": ns["list"] / ns["metadata"],
        "touch-metadata-array": ns["metadata"] / ns["array"],
    }
