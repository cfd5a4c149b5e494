"""munmap, fork, move_pages queries and mbind walks: each against the host's own call on as many small pages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numalab.mm._migrate import PageList

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Skipped, Value

PAGES = 1 << 16
NODE = 1
MPOL_MF_STRICT, MPOL_MF_MOVE = 1, 2


def measure() -> dict[str, Value]:
    values: dict[str, Value] = {}
    for kind in ("contiguous", "scattered"):
        mem = machine.build("2x3G")
        program = machine.Program(mem, PAGES, NODE)
        if kind == "contiguous":
            program.touch()
            values |= walks(program)
            values |= unmap_and_fork(program, kind)
        else:
            with machine.scattered_frames(mem, NODE, PAGES, np.random.default_rng()):
                program.touch()
                values |= unmap_and_fork(program, kind)
                program.close()
        mem.hw.close()
    return values


def unmap_and_fork(program: machine.Program, kind: str) -> dict[str, Value]:
    """munmap of every page, and fork() with every page present; the program's pages are there before and after."""

    def unmap() -> int:
        start = now()
        program.unmap()
        taken = now() - start
        program.map()
        program.touch()
        return taken

    def fork() -> int:
        start = now()
        child = program.fork()
        taken = now() - start
        program.exit(child)
        program.unmap()
        program.map()
        program.touch()
        return taken

    host = HostPages(program.pages)
    ns = shortest(
        {
            "unmap": unmap,
            "fork": fork,
            "host unmap": host.unmap,
            "host fork": host.fork,
            "host empty": host.empty_fork,
        }
    )
    print(kind, {k: round(v / program.pages, 2) for k, v in ns.items()})
    return {
        f"munmap-{kind}": ns["host unmap"] / ns["unmap"],
        f"fork-{kind}": (ns["host fork"] - ns["host empty"]) / ns["fork"],
    }


class HostPages:
    """Small pages of this process, all present, for the host's calls."""

    def __init__(self, pages: int) -> None:
        self.host = build.load("host")
        self.pages = pages

    def present(self) -> int:
        address: int = self.host.map_pages(self.pages)
        self.host.touch(address, self.pages)
        return address

    def unmap(self) -> int:
        address = self.present()
        start = now()
        self.host.unmap(address, self.pages)
        return now() - start

    def empty_fork(self) -> int:
        start = now()
        child = self.host.fork_child()
        taken = now() - start
        self.host.wait_child(child)
        return taken

    def fork(self) -> int:
        address = self.present()
        taken = self.empty_fork()
        self.host.unmap(address, self.pages)
        return taken


def walks(program: machine.Program) -> dict[str, Value]:
    """The queries that look at pages and move none."""
    mem, host = program.mem, HostPages(program.pages)
    order = np.random.default_rng().permutation(program.pages).astype(np.uint64) * np.uint64(machine.PAGE)
    status = np.zeros(program.pages, np.int32)
    address = host.present()
    ours, theirs = order + np.uint64(program.start), order + np.uint64(address)

    def timed(work: Callable[[], object]) -> Contender:
        def run() -> int:
            start = now()
            work()
            return now() - start

        return run

    def mbind_walk() -> None:
        flags = MPOL_MF_MOVE | MPOL_MF_STRICT
        found = PageList()
        mem.k.migrate.queue_range(mem, program.mm, program.start, program.end, 1 << NODE, True, flags, found)
        assert not len(found)

    values: dict[str, Value] = {}
    for name, mine, host_call in (
        (
            "status-random",
            lambda: mem.k.migrate.pages_status(mem, program.mm, ours, status),
            lambda: host.host.pages_status(theirs, status),
        ),
        ("mbind-nothing-to-move", mbind_walk, lambda: host.host.bind(address, program.pages, 1)),
    ):
        try:
            ns = shortest({"ours": timed(mine), "host": timed(host_call)})
            print(name, {k: round(v / program.pages, 2) for k, v in ns.items()})
            values[name] = ns["host"] / ns["ours"]
        except OSError as error:
            values[name] = Skipped(f"{error.args[1]}, errno {error.errno}")
    host.host.unmap(address, program.pages)
    return values
