"""munmap, fork, move_pages queries and mbind walks: each against the host's own call on as many small pages.

Just before its turn each call is made on a single page: what comes before it in the round has pushed the interpreter
out of the cache, and bringing that back would cost more than the call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numalab.mm._page_list import PageList

from benchmarks import build, machine
from benchmarks.clock import Contender, now, shortest
from benchmarks.gate import Skipped, Value

CONTIGUOUS = 1 << 16
SCATTERED = 1 << 18
NODE = 1  # its lowest zone reaches over the whole node
MPOL_MF_STRICT, MPOL_MF_MOVE = 1, 2


def measure() -> dict[str, Value]:
    mem = machine.build("2x512M")
    machine.keep_from_children(mem)
    program = machine.Program(mem, CONTIGUOUS, NODE)
    program.touch()
    values = walks(program) | unmap_and_fork(program, "contiguous")
    mem.hw.close()

    mem = machine.build("2x3G")
    machine.keep_from_children(mem)
    program = machine.Program(mem, SCATTERED, NODE)
    with machine.scattered_frames(mem, NODE, SCATTERED, np.random.default_rng()):
        program.touch()
        values |= unmap_and_fork(program, "scattered")
        program.close()
    mem.hw.close()
    return values


def unmap_and_fork(program: machine.Program, kind: str) -> dict[str, Value]:
    """munmap of every page, and fork() with every page present: each just after all pages were touched, as the host's.

    The program's pages are there before and after.
    """
    small = machine.Program(program.mem, 1, NODE)

    def touched() -> None:
        program.unmap()
        program.map()
        program.touch()
        small.map()
        small.touch()

    def unmap() -> int:
        touched()
        small.unmap()
        start = now()
        program.unmap()
        taken = now() - start
        program.map()
        program.touch()
        return taken

    def fork() -> int:
        touched()
        small.exit(small.fork())
        start = now()
        child = program.fork()
        taken = now() - start
        program.exit(child)
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
    small.close()
    return {
        f"munmap-{kind}": ns["host unmap"] / ns["unmap"],
        f"fork-{kind}": (ns["host fork"] - ns["host empty"]) / ns["fork"],
    }


class HostPages:
    """Small pages of this process, all present, for the host's calls."""

    def __init__(self, pages: int) -> None:
        self.host = build.load("host")
        self.pages = pages

    def present(self, pages: int) -> int:
        address: int = self.host.map_pages(pages)
        self.host.touch(address, pages)
        return address

    def unmap(self) -> int:
        address = self.present(self.pages)
        self.host.unmap(self.present(1), 1)
        start = now()
        self.host.unmap(address, self.pages)
        return now() - start

    def empty_fork(self) -> int:
        self.host.wait_child(self.host.fork_child())
        start = now()
        child = self.host.fork_child()
        taken = now() - start
        self.host.wait_child(child)
        return taken

    def fork(self) -> int:
        self.host.wait_child(self.host.fork_child())
        address = self.present(self.pages)
        start = now()
        child = self.host.fork_child()
        taken = now() - start
        self.host.wait_child(child)
        self.host.unmap(address, self.pages)
        return taken


def walks(program: machine.Program) -> dict[str, Value]:
    """The queries that look at pages and move none."""
    mem, mm, migrate = program.mem, program.mm, program.mem.k.migrate
    host = HostPages(program.pages)
    address = host.present(program.pages)
    order = np.random.default_rng().permutation(program.pages).astype(np.uint64) * np.uint64(machine.PAGE)
    ours, theirs = order + np.uint64(program.start), order + np.uint64(address)
    status = np.zeros(program.pages, np.int32)

    def query(n: int) -> None:
        migrate.pages_status(mem, mm, ours[:n], status)

    def host_query(n: int) -> None:
        host.host.pages_status(theirs[:n], status)

    def walk(n: int) -> None:
        found = PageList()
        end = program.start + n * machine.PAGE
        migrate.queue_range(
            mem, mm, program.start, end, 1 << NODE, True, MPOL_MF_MOVE | MPOL_MF_STRICT, found
        )
        assert not len(found)

    def host_walk(n: int) -> None:
        host.host.bind(address, n, 1)

    values = {
        "status-random": against_host(query, host_query, program.pages),
        "mbind-nothing-to-move": against_host(walk, host_walk, program.pages),
    }
    host.host.unmap(address, program.pages)
    return values


def against_host(ours: Callable[[int], None], theirs: Callable[[int], None], pages: int) -> Value:
    """How many times as long the host takes, for calls that take a number of pages."""

    def timed(call: Callable[[int], None]) -> Contender:
        def run() -> int:
            call(1)
            start = now()
            call(pages)
            return now() - start

        return run

    try:
        ns = shortest({"ours": timed(ours), "host": timed(theirs)})
    except OSError as error:
        return Skipped(f"{error.args[1]}, errno {error.errno}")
    return ns["host"] / ns["ours"]
