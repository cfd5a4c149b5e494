"""The buddy allocator: order-0 frames taken and given back one after the other, against the same lists in C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from numalab.arch.sparse import sparse

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Value

FRAMES = 1 << 16
Frames = NDArray[np.uint32]


def measure() -> dict[str, Value]:
    buddy = build.load("buddy")
    mem = machine.build("2x512M")
    node = 1  # its only zone begins and ends where top-order blocks do
    [index] = np.flatnonzero(mem.zones["node"] == node)
    zone = mem.zones[index]
    start, end = int(zone["start"]), int(zone["end"])
    spanned = mem.hw.nr_frames
    floor = buddy.Floor(sparse(32 * spanned, np.uint8, huge=True), sparse(spanned, np.uint8), start, end)
    everything, out = np.zeros(end - start, np.uint32), np.zeros(FRAMES, np.uint32)
    # Until its first use a frame is in no list; afterwards both sides have all of theirs there.
    buddy.free0(mem, index, everything[: buddy.alloc0(mem, index, everything)])
    shuffle = np.random.default_rng().permutation(FRAMES)
    as_taken = np.arange(FRAMES)

    def alloc(take: Callable[[Frames], int], free: Callable[[Frames], None]) -> Contender:
        def run() -> int:
            begin = now()
            got = take(out)
            taken = now() - begin
            assert got == FRAMES
            free(out)
            return taken

        return run

    def free(
        take: Callable[[Frames], int], give: Callable[[Frames], None], order: NDArray[np.int64]
    ) -> Contender:
        def run() -> int:
            assert take(out) == FRAMES
            frames = out[order]
            begin = now()
            give(frames)
            return now() - begin

        return run

    def ours(frames: Frames) -> int:
        got: int = buddy.alloc0(mem, index, frames)
        return got

    def ours_back(frames: Frames) -> None:
        buddy.free0(mem, index, frames)

    ns = shortest(
        {
            "alloc": alloc(ours, ours_back),
            "alloc floor": alloc(floor.alloc0, floor.free0),
            "free": free(ours, ours_back, as_taken),
            "free floor": free(floor.alloc0, floor.free0, as_taken),
            "free random": free(ours, ours_back, shuffle),
            "free random floor": free(floor.alloc0, floor.free0, shuffle),
        },
        repeats=15,
    )
    mem.hw.close()
    return {
        f"buddy-{name.replace(' ', '-')}-floor": ns[name] / ns[f"{name} floor"]
        for name in ("alloc", "free", "free random")
    }
